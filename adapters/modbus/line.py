"""One Modbus connection: one request at a time, and finished for good at the first sign of trouble.

Rules
-----
* One request is in flight; the next one waits its turn. Turns are single requests, so that a write never waits for a
  whole poll, and while somebody is :meth:`ahead`, no poll comes in between.
* After a timeout the connection is closed, never used again: a late answer has nobody left to be mistaken by. Serial
  frames carry no number, so that nothing else would tell a late answer from the right one.
* A caller that is cancelled leaves its request to finish on its own; the next one waits for that.
* pymodbus never retries and never reconnects here: repeating is decided by those who know what is safe to repeat.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse
from pymodbus.transport import CommParams, CommType

from adapters.modbus.addresses import Table
from adapters.modbus.config import ModbusConnection, Transport
from gateway.errors import LinkLost
from gateway.ports import Resources

# pymodbus logs whole frames where nobody listens, which Python would print; what matters is in our own errors.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())

_SECOND = 1_000_000  # µs
# Function codes, Modbus application protocol V1.1b3 section 6.
_READ = {Table.COIL: 1, Table.DISCRETE: 2, Table.HOLDING: 3, Table.INPUT: 4}
_WRITE_COIL, _WRITE_REGISTERS = 5, 16
# Exception codes, ibid. section 7.
_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not respond",
}
_TRANSIENT = frozenset({5, 6})  # they say "not now" instead of "never"
_ADDRESS = frozenset({2, 3, 4})  # what devices answer when one address of several is not theirs
_ABSENT = frozenset({10, 11})  # a gateway's word for a unit that is not there: for us as silent as if it were


class DeviceRefusal(Exception):
    """The device answered a request with an exception code; the link itself is well."""

    fault = "device_exception"
    transient: bool  # "not now" instead of "never"
    of_an_address: bool  # another request may leave out what it was refused for

    def __init__(self, code: int) -> None:
        self.transient = code in _TRANSIENT
        self.of_an_address = code in _ADDRESS
        super().__init__(f"the device answered {_said(code)}")


class NotWritten(DeviceRefusal):
    """Of a map of our own: the site's master has not written there since our start."""

    fault = "not_written"

    def __init__(self) -> None:
        Exception.__init__(self, "no master has written it yet")
        self.transient, self.of_an_address = True, False


def _said(code: int) -> str:
    return f"exception {code}, {_EXCEPTIONS.get(code, 'which is not in the standard')}"


class Wire(Protocol):
    """What is read and written: a line to a device, or a map of our own that the site's masters ask about."""

    def now(self) -> int:
        """µs UTC, as answers are stamped."""

    async def idle(self, until: float) -> None:
        """Wait until this time of the event loop's clock, or until something should be looked at; raises LinkLost."""

    def ahead(self) -> AbstractContextManager[None]:
        """Let no poll in between the requests made inside."""

    async def read(self, table: Table, window: range, *, ahead: bool = False) -> tuple[Sequence[int], int]:
        """The cells of ``window``, and when they were read; raises LinkLost and DeviceRefusal."""

    async def write(self, table: Table, address: int, cells: Sequence[int]) -> None:
        """Write registers, or one coil; raises LinkLost and DeviceRefusal."""


class _Holding(ReadHoldingRegistersResponse):
    """pymodbus's own, decoded at once instead of register by register, and without its text for a log nobody reads."""

    def decode(self, data: bytes) -> None:
        """Take the registers out of a PDU without its function.

        Raises:
            ValueError: fewer bytes than it says, or half a register.
        """
        size = data[0]
        if size % 2 or size >= len(data):
            raise ValueError(f"{size} bytes of registers in {len(data)}")
        self.registers = list(struct.unpack_from(f">{size // 2}H", data, 1))

    def __str__(self) -> str:
        return type(self).__name__


class _Input(_Holding):
    function_code = 4


class _Client(AsyncModbusTcpClient):
    """pymodbus's client without its retries and reconnects, which also says why it could not connect."""

    def __init__(
        self, settings: ModbusConnection, tls: ssl.SSLContext | None, on_connection: Callable[[bool], None]
    ) -> None:
        timeout = settings.timeout / _SECOND
        # its own TLS client frames each read as one message; the standard's frames inside TLS are those of TCP
        self.comm_params = CommParams(
            comm_type=CommType.TCP if tls is None else CommType.TLS,
            comm_name="modbus",
            host=settings.host,
            port=settings.tcp_port,
            sslctx=tls,
            reconnect_delay=0,
            timeout_connect=timeout,
        )
        framer = FramerType.RTU if settings.transport is Transport.RTU_OVER_TCP else FramerType.SOCKET
        super().__init__(settings.host, framer=framer, retries=0, trace_connect=on_connection)
        self.register(_Holding)
        self.register(_Input)
        self.failure = ""
        self._create = self.ctx.call_create
        self.ctx.call_create = self._connect

    async def _connect(self) -> object:
        try:
            return await self._create()
        except (OSError, ssl.CertificateError) as error:
            self.failure = f": {error}"
            raise


class Line:
    """A connection to one unit; made by :meth:`open`, ended by :meth:`close` or by the first LinkLost."""

    def __init__(self, settings: ModbusConnection, resources: Resources, tls: ssl.SSLContext | None = None) -> None:
        self._unit = settings.unit
        self._clock = resources.clock
        self._still_ours = resources.still_ours
        self._where = f"{settings.host}:{settings.tcp_port}"
        self._turn = asyncio.Lock()
        self._ahead = 0  # how many are ahead of all polls
        self._calm = asyncio.Event()  # set while there is nobody
        self._asking: set[asyncio.Task[tuple[ModbusPDU, int]]] = set()
        self._lost: str | None = None
        self._idle: asyncio.Future[None] | None = None
        self._client = _Client(settings, tls, self._on_connection)
        self._readers: dict[Table, Callable[..., Awaitable[ModbusPDU]]] = {
            Table.COIL: self._client.read_coils,
            Table.DISCRETE: self._client.read_discrete_inputs,
            Table.HOLDING: self._client.read_holding_registers,
            Table.INPUT: self._client.read_input_registers,
        }

    async def open(self) -> None:
        """Connect.

        Raises:
            LinkLost: nobody answers there.
        """
        if not await self._client.connect():
            raise self._lose(f"{self._where} cannot be reached{self._client.failure}")

    async def close(self) -> None:
        """End the connection and whatever is still waiting for an answer; safe to repeat."""
        self._lose(f"{self._where} was closed here")
        await asyncio.gather(*self._asking, return_exceptions=True)

    def now(self) -> int:
        """µs UTC, as answers are stamped."""
        return self._clock.now()

    async def idle(self, until: float) -> None:
        """Wait until this time of the event loop's clock.

        Raises:
            LinkLost: the connection ended meanwhile.
        """
        loop = asyncio.get_running_loop()
        waiter = self._idle = loop.create_future()
        timer = loop.call_at(until, _wake, waiter)
        try:
            if self._lost is None:
                await waiter
        finally:
            timer.cancel()
        if self._lost is not None:
            raise LinkLost(self._lost)

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Let no poll in between the requests made inside."""
        self._ahead += 1
        self._calm.clear()
        try:
            yield
        finally:
            self._ahead -= 1
            if not self._ahead:
                self._calm.set()

    async def read(self, table: Table, window: range, *, ahead: bool = False) -> tuple[Sequence[int], int]:
        """Read the registers or bits of ``window``; also when the answer arrived, in µs UTC.

        Raises:
            LinkLost: no answer, or none that can be understood.
            DeviceRefusal: an exception code.
        """
        call = self._readers[table]
        answer, at = await self._ask(
            _READ[table], lambda: call(window.start, count=len(window), device_id=self._unit), ahead=ahead
        )
        cells: Sequence[int] = answer.bits[: len(window)] if table.bits else answer.registers
        if len(cells) != len(window):
            raise self._lose(f"{self._where} answered {len(cells)} instead of {len(window)} values")
        return cells, at

    async def write(self, table: Table, address: int, cells: Sequence[int]) -> None:
        """Write registers by FC16, or one coil by FC5.

        Raises:
            LinkLost: no answer; whether it was written is unknown.
            DeviceRefusal: an exception code.
        """

        async def call() -> ModbusPDU:
            await self._still_ours()
            if table is Table.COIL:
                return await self._client.write_coil(address, bool(cells[0]), device_id=self._unit)
            return await self._client.write_registers(address, list(cells), device_id=self._unit)

        await self._ask(_WRITE_COIL if table is Table.COIL else _WRITE_REGISTERS, call, ahead=True)

    async def _ask(
        self, function: int, call: Callable[[], Awaitable[ModbusPDU]], *, ahead: bool = False
    ) -> tuple[ModbusPDU, int]:
        task = asyncio.ensure_future(self._take_turn(function, call, ahead=ahead))
        self._asking.add(task)
        task.add_done_callback(self._forget)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._lost is not None and current is not None and not current.cancelling():
                raise LinkLost(self._lost) from None  # the request was given up with its connection, not its caller
            raise

    async def _take_turn(
        self, function: int, call: Callable[[], Awaitable[ModbusPDU]], *, ahead: bool
    ) -> tuple[ModbusPDU, int]:
        if self._ahead and not ahead:
            await self._calm.wait()
        async with self._turn:
            if self._lost is not None:
                raise LinkLost(self._lost)
            try:
                answer = await call()
            except (ModbusException, OSError) as error:
                raise self._lose(f"{self._where} did not answer: {error}") from error
            at = self._clock.now()
        if answer.isError() and answer.exception_code in _ABSENT:
            raise self._lose(f"unit {self._unit} at {self._where} is not there: {_said(answer.exception_code)}")
        if answer.isError():
            raise DeviceRefusal(answer.exception_code)
        if answer.function_code != function:
            raise self._lose(f"{self._where} answered function {answer.function_code} instead of {function}")
        return answer, at

    def _forget(self, task: asyncio.Task[tuple[ModbusPDU, int]]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone; the loop need not complain

    def _on_connection(self, connected: bool) -> None:  # noqa: FBT001 - pymodbus calls it so
        if not connected:
            self._lose(f"{self._where} closed the connection")

    def _lose(self, reason: str) -> LinkLost:
        """End everything, once; the first reason stands."""
        if self._lost is None:
            self._lost = reason
            _wake(self._idle)
            self._client.close()
            for task in self._asking - {asyncio.current_task()}:
                task.cancel()
        return LinkLost(self._lost)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
