"""A plant with a standard mailbox, as a PLC would behave: to practise against, and to misbehave on purpose.

The registers live here, not in pymodbus: its server only shows them and reports writes, through the `action` hook.
With a ``memory`` file every change is on disk before it is answered, so that the plant survives its own death; only
for ``kill``, not for power loss.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, cast

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice

from adapters.modbus.addresses import Table
from adapters.modbus.simulator.shown import Page, Result, page_in, result_in
from adapters.modbus.translation import Point, bind_all, write_point
from gateway.core.mailbox import (
    HOST_REGISTERS,
    SITE_BLOCK,
    MailboxSpec,
    Role,
    crc32,
    next_result_seq,
    payload_window,
)
from gateway.core.point import PointSpec, Value
from gateway.ports import ConnectionConfig

REGISTERS = 10_000
_BITS = 1_000
_READ_COILS, _READ_DISCRETES, _READ_INPUTS = 1, 2, 4
_WRITES = frozenset({5, 6, 15, 16})
_COIL_FUNCTIONS = frozenset({_READ_COILS, _READ_DISCRETES, 5, 15})
_LOG_LENGTH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One request that a master made; ``values`` is None for a read."""

    function: int
    address: int
    count: int
    values: tuple[int, ...] | None

    def touches(self, addresses: range) -> bool:
        """Whether any of these addresses is meant."""
        return self.address < addresses.stop and addresses.start < self.address + self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    addresses: range
    code: int
    reads: bool


class ModbusSite:
    """A Modbus TCP server that is a site; ``async with`` starts it, and ``port`` 0 picks a free one.

    ``on_access``, if set, is called before each request is answered, and may change registers: that is how a test puts
    something exactly between two reads.
    """

    def __init__(
        self,
        mailbox: MailboxSpec,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        unit: int = 1,
        serial_frames: bool = False,
        tls: ssl.SSLContext | None = None,
        inputs: Mapping[int, int] | None = None,
        coils: Sequence[bool] = (),
        discretes: Sequence[bool] = (),
        memory: Path | None = None,
    ) -> None:
        self.mailbox = mailbox
        self.host = host
        self.port = port
        self.log: deque[Access] = deque(maxlen=_LOG_LENGTH)
        self.on_access: Callable[[Access], None] | None = None
        self._unit = unit
        self._framer = FramerType.RTU if serial_frames else FramerType.SOCKET
        self._tls = tls
        self._holding = [0] * REGISTERS
        self._inputs = _filled(REGISTERS, inputs or {})
        self._bits = (_padded(coils), _padded(discretes))
        self._memory = memory
        self._results: dict[int, Result] = {}
        self._refusals: list[_Refusal] = []
        self._stuck: list[range] = []
        self.changed = asyncio.Event()
        self._awake = asyncio.Event()
        self._awake.set()
        self._server: ModbusTcpServer | None = None
        if memory is not None and memory.exists():
            for address, value in json.loads(memory.read_text()).items():
                self._holding[int(address)] = value

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before if there was one.

        Raises:
            RuntimeError: the port is taken.
        """
        self._server, self.port = await _serve([self.device()], (self.host, self.port), self._framer, self._tls)

    async def stop(self) -> None:
        """Close the listener and every connection; the registers stay."""
        if self._server is not None:
            self.thaw()
            self._server.close()
            self._server = None

    def device(self) -> SimDevice:
        """The unit as a server of several shows it."""
        return SimDevice(id=self._unit, simdata=self._blocks(), action=self._act)

    # ------------------------------------------------------------ what the plant's own program does
    def registers(self, address: int, count: int = 1) -> list[int]:
        """The holding registers from ``address`` on."""
        return self._holding[address : address + count]

    def set_registers(self, address: int, values: Sequence[int]) -> None:
        """Change holding registers as the plant's program would."""
        self._holding[address : address + len(values)] = values
        self._remember()

    def set_inputs(self, address: int, values: Sequence[int]) -> None:
        """Change input registers."""
        self._inputs[address : address + len(values)] = values

    def inputs(self, address: int, count: int = 1) -> list[int]:
        """The input registers from ``address`` on."""
        return self._inputs[address : address + count]

    def role(self, role: Role) -> int:
        """The number in one register of the mailbox, of either block."""
        return self._holding[self._address(role)]

    async def request(
        self, kind: int, payload: Sequence[int], *, sequence: int | None = None, crc: int | None = None
    ) -> int:
        """Raise a request once the one before is acknowledged: the block first, REQUEST_SEQ last; returns it.

        ``sequence`` and ``crc`` are for plants that count or calculate wrongly.
        """
        before = self.role(Role.REQUEST_SEQ)
        if before:
            await self.acknowledged(before)
        now = next_result_seq(before) if sequence is None else sequence
        if crc is None:
            crc = crc32([now, kind, len(payload), *payload])
        block = [kind, len(payload), crc >> 16, crc & 0xFFFF, self.role(Role.RESULT_ACKNOWLEDGE), *payload]
        self.set_registers(self._address(Role.KIND), block)
        self.set_registers(self._address(Role.REQUEST_SEQ), [now])
        return now

    async def acknowledged(self, sequence: int) -> None:
        """Wait until ACK_SEQ is ``sequence``."""
        await self._until(lambda: self.role(Role.ACKNOWLEDGE) == sequence)

    async def result(self, for_sequence: int) -> Result:
        """Wait for the result of a request; this and every one before it is consumed."""
        while for_sequence not in self._results:
            result = await self.next_result()
            self._results[result.for_sequence] = result
        return self._results.pop(for_sequence)

    async def next_result(self) -> Result:
        """Wait for the next result, of whatever request, and consume it by writing RESULT_ACK_SEQ."""
        await self._until(self._unread)
        result = self.showing()
        self.set_registers(self._address(Role.RESULT_ACKNOWLEDGE), [result.result_seq])
        return result

    def showing(self) -> Result:
        """What the result block holds now, whether consumed or not."""
        return result_in(self.registers(self.mailbox.results, HOST_REGISTERS))

    async def page(self, number: int) -> Page:
        """Ask for a page of the result that is shown, and wait for it."""
        self.set_registers(self.mailbox.page_block.start, [number])
        await self._until(lambda: self.role(Role.PAGE) == number)
        return page_in(self.mailbox, self.registers(self.mailbox.results, len(self.mailbox.host_block)))

    # ------------------------------------------------------------ how it misbehaves
    def refuse(self, address: int, count: int = 1, *, code: int = 2, reads: bool = True) -> None:
        """Answer exception ``code`` to every write, and with ``reads`` every read, that touches these addresses."""
        self._refusals.append(_Refusal(addresses=range(address, address + count), code=code, reads=reads))

    def stick(self, address: int, count: int = 1) -> None:
        """Take writes to these holding registers without a word, and keep the old values."""
        self._stuck.append(range(address, address + count))

    def heal(self) -> None:
        """End :meth:`refuse` and :meth:`stick`."""
        self._refusals.clear()
        self._stuck.clear()

    def freeze(self) -> None:
        """Keep connections open and answer nothing."""
        self._awake.clear()

    def thaw(self) -> None:
        """Answer again, and also what was asked meanwhile."""
        self._awake.set()

    def forget(self) -> None:
        """Lose all holding registers, as a PLC without a battery does."""
        self._holding[:] = [0] * REGISTERS
        self._remember()

    # ------------------------------------------------------------ inside
    async def _act(  # noqa: PLR0917 - pymodbus calls it so
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        current: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Stand between pymodbus and the registers: `current` is its copy, which begins at `start`."""
        written = None if values is None else tuple(int(value) for value in values)
        access = Access(function=function, address=address, count=len(written or range(count)), values=written)
        self.log.append(access)
        if self.on_access is not None:
            self.on_access(access)
        await self._awake.wait()
        for refusal in self._refusals:
            if access.touches(refusal.addresses) and (refusal.reads or written is not None):
                return ExcCodes(refusal.code)
        if function in _COIL_FUNCTIONS:
            return None  # bits live in pymodbus
        source = self._inputs if function == _READ_INPUTS else self._holding
        if values is not None and written is not None:
            kept = [
                source[at] if any(at in stuck for stuck in self._stuck) else value
                for at, value in enumerate(written, start=address)
            ]
            cast("list[int]", values)[:] = kept
            self.set_registers(address, kept)
        else:
            current[address - start : address - start + count] = source[address : address + count]
        return None

    def _blocks(self) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
        coils, discretes = ([SimData(address=0, values=bits, datatype=DataType.BITS)] for bits in self._bits)
        registers = [[SimData(address=0, count=REGISTERS, datatype=DataType.REGISTERS)] for _ in range(2)]
        return coils, discretes, registers[0], registers[1]

    def _address(self, role: Role) -> int:
        if role in SITE_BLOCK:
            return self.mailbox.base + SITE_BLOCK[role]
        place = self.mailbox.place(role)
        if place is None:
            raise ValueError(f"mailbox {self.mailbox.name} has no {role}")
        return place

    def _unread(self) -> bool:
        return self.role(Role.RESULT_SEQ) not in (0, self.role(Role.RESULT_ACKNOWLEDGE))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    def _remember(self) -> None:
        """Wake whoever waits for a change, after it is in the file."""
        if self._memory is not None:
            held = {address: value for address, value in enumerate(self._holding) if value}
            fresh = self._memory.with_suffix(".new")
            fresh.write_text(json.dumps(held))
            fresh.replace(self._memory)
        self.changed.set()


class SerialGateway:
    """A box that passes serial frames on to several units of one line; one that is frozen is a unit that is silent."""

    def __init__(self, units: Sequence[ModbusSite], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.units = units
        self.host = host
        self.port = port
        self._server: ModbusTcpServer | None = None

    async def __aenter__(self) -> Self:
        devices = [unit.device() for unit in self.units]
        self._server, self.port = await _serve(devices, (self.host, self.port), FramerType.RTU, None)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            for unit in self.units:
                unit.thaw()
            self._server.close()


async def _serve(
    devices: list[SimDevice], address: tuple[str, int], framer: FramerType, tls: ssl.SSLContext | None
) -> tuple[ModbusTcpServer, int]:
    """A server that listens, and its port.

    Raises:
        RuntimeError: the port is taken.
    """
    if tls is None:
        server = ModbusTcpServer(
            devices, framer=framer, address=address, ignore_missing_devices=framer is FramerType.RTU
        )
    else:
        server = ModbusTlsServer(devices, framer=framer, address=address, sslctx=tls)
    await server.serve_forever(background=True)
    return server, cast("asyncio.Server", server.transport).sockets[0].getsockname()[1]


def payload_of(connection: ConnectionConfig, mailbox: MailboxSpec, values: Mapping[str, Value]) -> list[int]:
    """The payload registers of a request with these points' values; points outside the payload are left out.

    Raises:
        ValueError: a value that its registers cannot hold.
    """
    window = payload_window(mailbox, mailbox.capacity)
    points = bind_all(connection)
    cells: dict[int, int] = {}
    for name, value in values.items():
        point = points[name]
        if point.table is Table.HOLDING and point.place.address.register in window:
            cells.update(zip(point.place.window, laid_out(point, value), strict=True))
    return [cells.get(address, 0) for address in range(window.start, max(cells, default=window.start - 1) + 1)]


def laid_out(point: Point, value: Value, factor: int = 0) -> list[int]:
    """The registers of a value as a plant has them, also of one that we only read; of a word its number.

    Raises:
        ValueError: they cannot hold it.
    """
    words = {word: number for number, word in (point.spec.enum or {}).items()}
    if isinstance(value, str) and value in words:
        plain = PointSpec(name=point.spec.name, connection=point.spec.connection)
        return write_point(replace(point, spec=plain), words[value])
    return write_point(point, value, factor)


def _filled(size: int, values: Mapping[int, int]) -> list[int]:
    cells = [0] * size
    for address, value in values.items():
        cells[address] = value
    return cells


def _padded(bits: Sequence[bool]) -> list[bool]:
    return [*bits, *([False] * (_BITS - len(bits)))]
