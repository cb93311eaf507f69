"""A plant whose mailbox lies in points that it had before us, with a program for them, to practise against."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Self

from adapters.modbus.addresses import Table
from adapters.modbus.simulator.plant import ModbusSite, laid_out
from adapters.modbus.simulator.shown import Result
from adapters.modbus.translation import Point, bind_all, raw_bytes, read_point, read_scale_factor
from gateway.core.mailbox import MailboxSpec, Role, next_result_seq
from gateway.core.point import Value
from gateway.ports import ConnectionConfig

_KEPT = (Table.HOLDING, Table.INPUT)
_FACTORS = range(11)  # of SunSpec, those that make a number smaller


class BoundModbusSite:
    """The plant around a :class:`ModbusSite`; ``async with`` starts it.

    Raises:
        ValueError: a role or a payload point lies in bits, which this plant has no program for.
    """

    def __init__(self, config: ConnectionConfig, mailbox: MailboxSpec, site: ModbusSite) -> None:
        self.mailbox = mailbox
        self.site = site
        self._points = bind_all(config)
        self._results: dict[int, Result] = {}
        for name in (*mailbox.roles.values(), *mailbox.payload):
            if self._points[name].table not in _KEPT:
                raise ValueError(f"point {name} lies in {self._points[name].table}s, which cannot be simulated")

    async def __aenter__(self) -> Self:
        await self.site.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.site.stop()

    @property
    def host(self) -> str:
        """Where it listens."""
        return self.site.host

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.site.port

    def role(self, role: Role) -> int:
        """The number that a role's point holds; 0 where the mailbox has no such role."""
        name = self.mailbox.roles.get(role)
        value = Decimal(0) if name is None else self._value(name)
        return int(value) if isinstance(value, Decimal) else 0

    async def request(self, kind: int, values: Mapping[str, Value], *, sequence: int | None = None) -> int:
        """Raise a request once the one before is acknowledged: the payload first, its number last; returns it.

        Raises:
            ValueError: a value that its registers cannot hold.
        """
        before = self.role(Role.REQUEST_SEQ)
        if before:
            await self.acknowledged(before)
        now = next_result_seq(before) if sequence is None else sequence
        for name, value in values.items():
            self._put(name, value)
        self._put_role(Role.KIND, kind)
        self._put_role(Role.LENGTH, len(self.mailbox.payload))
        self._put_role(Role.CRC, self._crc(now, kind))
        self._put_role(Role.REQUEST_SEQ, now)
        return now

    async def acknowledged(self, sequence: int) -> None:
        """Wait until the acknowledgement is ``sequence``."""
        await self._until(lambda: self.role(Role.ACKNOWLEDGE) == sequence)

    async def result(self, for_sequence: int) -> Result:
        """Wait for the result of a request; this and every one before it is consumed.

        Where the mailbox does not say for which request a result is, the next one counts.
        """
        while for_sequence not in self._results:
            result = await self.next_result()
            self._results[result.for_sequence or for_sequence] = result
        return self._results.pop(for_sequence)

    async def next_result(self) -> Result:
        """Wait for the next result, of whatever request, and consume it."""
        await self._until(lambda: self.role(Role.RESULT_SEQ) not in {0, self.role(Role.RESULT_ACKNOWLEDGE)})
        text = self.mailbox.roles.get(Role.TEXT)
        result = Result(
            for_sequence=self.role(Role.RESULT_FOR),
            result_seq=self.role(Role.RESULT_SEQ),
            state=self.role(Role.STATE),
            error_count=self.role(Role.ERROR_COUNT),
            text="" if text is None else str(self._value(text) or ""),
        )
        self._put_role(Role.RESULT_ACKNOWLEDGE, result.result_seq)
        return result

    def _crc(self, sequence: int, kind: int) -> int:
        own = [self._points[name] for name in self.mailbox.payload]
        data = b"".join(raw_bytes(point, self._cells(point)) for point in own)
        return zlib.crc32(struct.pack(">3H", sequence, kind, len(own)) + data)

    def _put_role(self, role: Role, value: int) -> None:
        if role in self.mailbox.roles:
            self._put(self.mailbox.roles[role], Decimal(value))

    def _put(self, name: str, value: Value) -> None:
        put(self.site, self._points[name], value)

    def _value(self, name: str) -> Value | None:
        return read_point(self._points[name], self._cells(self._points[name]), 0).value

    def _cells(self, point: Point) -> list[int]:
        reach = point.place.reach
        if point.table is Table.INPUT:
            return self.site.inputs(reach.start, len(reach))
        return self.site.registers(reach.start, len(reach))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.site.changed.clear()
            await self.site.changed.wait()


def put(site: ModbusSite, point: Point, value: Value) -> None:
    """Let a plant's register hold a value of a point, by the scale factor that is there, or the first that fits.

    Bits are left as they are.

    Raises:
        ValueError: its registers cannot hold it.
    """
    register = point.place.address.register
    change, shown = {
        Table.HOLDING: (site.set_registers, site.registers),
        Table.INPUT: (site.set_inputs, site.inputs),
    }.get(point.table, (None, None))
    if change is None or shown is None:
        return
    place = point.place.scale_factor
    if place is None:
        change(register, laid_out(point, value))
        return
    for factor in (read_scale_factor(point, shown(place.register)[0]) or 0, *_FACTORS):
        try:
            cells = laid_out(point, value, factor)
        except ValueError:
            continue
        change(register, cells)
        change(place.register, [factor])
        return
    raise ValueError(f"{value} does not fit into {point.place.address} with any scale factor")


def show(plant: ModbusSite | BoundModbusSite, config: ConnectionConfig, name: str, value: Value) -> None:
    """Change a point in holding or input registers, as the plant's program would.

    Raises:
        ValueError: it lies in neither, or cannot hold the value.
    """
    point = bind_all(config)[name]
    if point.table not in _KEPT:
        raise ValueError(f"{name}: only points in registers can be shown")
    put(plant if isinstance(plant, ModbusSite) else plant.site, point, value)


def put_beside(site: ModbusSite, config: ConnectionConfig, values: Mapping[str, Value]) -> None:
    """Let a plant's registers hold the values of those points that lie in no payload.

    Raises:
        ValueError: registers that cannot hold them.
    """
    points = bind_all(config)
    for name, value in values.items():
        point = points.get(name)
        if point is not None and not any(
            point.table is Table.HOLDING and point.place.address.register in box.site_block
            for box in config.mailboxes.values()
        ):
            put(site, point, value)
