"""A site's SCADA, to practise against: the master of a register map of ours, and of the mailbox in it.

It does what a SCADA does: it writes what changed, then reads everything that is shown, over and over. Whatever it has
said is kept here and is said again after each connect, since a map of ours forgets with its process: the block first,
its number last.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Self

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU
from pymodbus.transport import CommParams, CommType

from adapters.modbus.addresses import Table
from adapters.modbus.blocks import Limits, plan
from adapters.modbus.config import REGISTERS_PER_READ, ModbusConnection
from adapters.modbus.simulator.plant import laid_out
from adapters.modbus.simulator.shown import Page, Result, page_in, result_in
from adapters.modbus.translation import bind_all, read_point
from gateway.core.mailbox import SITE_BLOCK, MailboxSpec, Role, crc32, next_result_seq
from gateway.core.point import Access, Value
from gateway.ports import ConnectionConfig

_PAUSE_S = 0.02
_PATIENCE_S = 0.5  # pymodbus waits for it even when the connection is gone
_PER_WRITE = 123  # Modbus V1.1b3, 6.12


class ModbusScada:
    """One master; ``async with`` lets it work, whether or not anybody listens yet."""

    def __init__(
        self,
        config: ConnectionConfig,
        mailbox: MailboxSpec,
        *,
        host: str = "127.0.0.1",
        port: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not isinstance(config.settings, ModbusConnection):
            raise TypeError(f"{config.name}: {type(config.settings).__name__} is not a Modbus connection")
        self.mailbox = mailbox
        self.connected = False
        self.host, self.port = host, port
        self._tls = tls
        self._unit = config.settings.unit
        points = bind_all(config)
        self._theirs = {name: point for name, point in points.items() if point.spec.access is Access.WRITE}
        self._own = {name: point for name, point in points.items() if name not in self._theirs}
        self._registers: dict[int, int] = dict.fromkeys(mailbox.site_block, 0)  # of the mailbox, as we say it
        self._page = 0  # that we ask for
        self._values: dict[str, Sequence[int]] = {}  # of points, as we say them
        self._shown: dict[tuple[Table, int], int] = {}
        self._results: dict[int, Result] = {}
        self._unsaid = asyncio.Event()
        self._changed = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._working = asyncio.create_task(self._work(), name="scada")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])

    # ------------------------------------------------------------ what the site's own program does
    def put(self, point: str, value: Value) -> None:
        """Say another value of a point that the site writes.

        Raises:
            ValueError: its registers cannot hold it.
        """
        self._values[point] = laid_out(self._own[point], value)
        self._unsaid.set()

    def put_beside(self, values: Mapping[str, Value]) -> None:
        """Say the values of those points that are the site's and lie in no payload.

        Raises:
            ValueError: registers that cannot hold them.
        """
        for name, value in values.items():
            point = self._own.get(name)
            if point is not None and not (
                point.table is Table.HOLDING and point.place.address.register in self.mailbox.site_block
            ):
                self.put(name, value)

    def shows(self, point: str) -> Value | None:
        """What a point of the gateway's showed last."""
        spec = self._theirs[point]
        cells = [self._shown.get((spec.table, address), 0) for address in spec.place.reach]
        return read_point(spec, cells, 0).value

    def role(self, role: Role) -> int:
        """The number in one register of the mailbox: of the site's half as it is said, of ours as it was read last."""
        if role in SITE_BLOCK:
            return self._registers[self.mailbox.base + SITE_BLOCK[role]]
        place = self.mailbox.place(role)
        if place is None:
            raise ValueError(f"mailbox {self.mailbox.name} has no {role}")
        return self._shown.get((Table.HOLDING, place), 0)

    async def request(self, kind: int, payload: Sequence[int], *, sequence: int | None = None) -> int:
        """Raise a request once the one before is acknowledged; returns its sequence."""
        before = self.role(Role.REQUEST_SEQ)
        if before:
            await self.acknowledged(before)
        now = next_result_seq(before) if sequence is None else sequence
        crc = crc32([now, kind, len(payload), *payload])
        block = [now, kind, len(payload), crc >> 16, crc & 0xFFFF, self.role(Role.RESULT_ACKNOWLEDGE), *payload]
        self._registers |= dict(enumerate(block, start=self.mailbox.base))
        self._unsaid.set()
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
        """Wait for the next result, of whatever request, and consume it."""
        await self._until(lambda: self.role(Role.RESULT_SEQ) not in {0, self.role(Role.RESULT_ACKNOWLEDGE)})
        result = result_in(self._block())
        self._registers[self.mailbox.base + SITE_BLOCK[Role.RESULT_ACKNOWLEDGE]] = result.result_seq
        self._unsaid.set()
        return result

    async def page(self, number: int) -> Page:
        """Ask for a page of the result that is shown, and wait for it."""
        self._page = number
        self._unsaid.set()
        await self._until(lambda: self.role(Role.PAGE) == number)
        return page_in(self.mailbox, self._block())

    # ------------------------------------------------------------ inside
    def _block(self) -> list[int]:
        return [self._shown.get((Table.HOLDING, address), 0) for address in self.mailbox.host_block]

    async def _work(self) -> None:
        while True:
            client = self._client()
            try:
                if await client.connect():
                    self.connected = True
                    await self._rounds(client)
            except (ModbusException, OSError, TimeoutError):
                pass  # whoever listens there went away, or does not listen yet
            finally:
                self.connected = False
                client.close()
            await asyncio.sleep(_PAUSE_S)

    async def _rounds(self, client: AsyncModbusTcpClient) -> None:
        said: dict[int, int] = {}
        put: dict[str, Sequence[int]] = {}
        asked = 0
        while True:
            self._unsaid.clear()
            await self._say(client, said)
            if self._page != asked:
                asked = self._page
                await self._write(client, Table.HOLDING, self.mailbox.page_block.start, [asked])
            for name, cells in [*self._values.items()]:
                if put.get(name) != cells:
                    point = self._own[name]
                    await self._write(client, point.table, point.place.address.register, cells)
                    put[name] = cells
            for table, window in self._windows():
                await self._read(client, table, window)
            self._changed.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_S):
                    await self._unsaid.wait()

    async def _say(self, client: AsyncModbusTcpClient, said: dict[int, int]) -> None:
        """Write what the mailbox's block says otherwise than before, its number last unless it asks for nothing."""
        wanted = dict(self._registers)
        base, number = self.mailbox.base, self.role(Role.REQUEST_SEQ)
        news = [address for address, value in wanted.items() if said.get(address) != value]
        if not news:
            return
        whole = range(min(news), max(news) + 1)
        late = number != 0 and base in news
        rest = range(max(whole.start, base + 1), whole.stop) if late else whole
        for start in range(rest.start, rest.stop, _PER_WRITE):
            part = range(start, min(start + _PER_WRITE, rest.stop))
            await self._write(client, Table.HOLDING, start, [wanted[address] for address in part])
        if late:
            await self._write(client, Table.HOLDING, base, [number])
        said |= wanted

    def _windows(self) -> Iterator[tuple[Table, range]]:
        """Everything that the gateway shows; the result block again and again, its number in the same answer."""
        block = self.mailbox.host_block
        for start in range(block.start, block.stop, REGISTERS_PER_READ):
            yield Table.HOLDING, range(start, min(start + REGISTERS_PER_READ, block.stop))
        for request in plan(self._theirs.values(), Limits(gap=0)):
            yield request.table, request.window

    async def _read(self, client: AsyncModbusTcpClient, table: Table, window: range) -> None:
        call = {
            Table.COIL: client.read_coils,
            Table.DISCRETE: client.read_discrete_inputs,
            Table.HOLDING: client.read_holding_registers,
            Table.INPUT: client.read_input_registers,
        }[table]
        answer = await _answered(call(window.start, count=len(window), device_id=self._unit))
        cells: Sequence[int] = answer.bits if table.bits else answer.registers
        self._shown |= {(table, address): int(cell) for address, cell in zip(window, cells, strict=False)}

    async def _write(self, client: AsyncModbusTcpClient, table: Table, address: int, cells: Sequence[int]) -> None:
        if table is Table.COIL:
            await _answered(client.write_coil(address, bool(cells[0]), device_id=self._unit))
        else:
            await _answered(client.write_registers(address, list(cells), device_id=self._unit))

    def _client(self) -> AsyncModbusTcpClient:
        host, port = self.host, self.port
        client = AsyncModbusTcpClient(host, port=port, retries=0, reconnect_delay=0, timeout=_PATIENCE_S)
        if self._tls is not None:
            client = _TlsClient(host, port, self._tls)
        return client

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


class _TlsClient(AsyncModbusTcpClient):
    """pymodbus's client with the frames of TCP inside TLS, as the standard has them; its own TLS client has others."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        self.comm_params = CommParams(
            comm_type=CommType.TLS,
            comm_name="scada",
            host=host,
            port=port,
            sslctx=tls,
            reconnect_delay=0,
            timeout_connect=_PATIENCE_S,
        )
        super().__init__(host, framer=FramerType.SOCKET, retries=0)


async def _answered(call: object) -> ModbusPDU:
    answer: ModbusPDU = await call  # type: ignore[misc]  # what pymodbus's mixin returns is awaitable in this client only
    if answer.isError():
        raise ModbusException(f"exception {answer.exception_code}")
    return answer
