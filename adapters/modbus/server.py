"""Server role: the site's SCADA is the master, and finds our mailbox, results and points as a register map.

The machine is the client's own (polling.py, writing.py): it looks at a map in memory instead of asking a device.

Rules
-----
* The map outlives sessions; it does not outlive the process. After our restart nothing counts as said before the master
  has said it again, and what we show comes from the journal.
* A write is confirmed when a master has read it: a verdict that nobody has read is written again after a restart. What
  a master that asks for other things does not read within a minute is refused, so that it does not hold up the rest.
* A master that asks nothing for ``silence`` is a lost link; a new session begins with the first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from adapters.modbus.addresses import ListenAddress, Table
from adapters.modbus.client import ModbusSession
from adapters.modbus.config import ModbusConnection, Transport
from adapters.modbus.frames import Frame
from adapters.modbus.line import NotWritten
from adapters.modbus.listener import Entrance, listening
from adapters.modbus.register_map import Cell, RegisterMap
from adapters.modbus.translation import Point, bind_all
from gateway.core.binding import SITE_ROLES
from gateway.core.mailbox import SITE_BLOCK, Role
from gateway.errors import LinkLost, PointRejected, SecretError
from gateway.ports import (
    Busy,
    Clock,
    Committed,
    ConnectionConfig,
    PointWrite,
    Receipt,
    Refused,
    Resources,
    RoleWrite,
    Session,
    Write,
)

_SECOND = 1_000_000  # µs
_UNREAD_S = 60.0
_NOT_HERE = 11  # Modbus V1.1b3, 7: gateway target device failed to respond
_ANY_UNIT = frozenset({0, 255})  # what masters write where there is only one (messaging on TCP/IP V1.0b, 4.4.2.1)


class ModbusServerAdapter:
    """One connection of a site, with a listener of its own while it is connected."""

    def __init__(self, config: ConnectionConfig, resources: Resources) -> None:
        settings = config.settings
        if not isinstance(settings, ModbusConnection) or settings.listen is None:
            raise TypeError(f"{config.name}: {type(settings).__name__} is not a Modbus server of ours")
        self._config = config
        self._settings = settings
        self._listen: ListenAddress = settings.listen
        self._resources = resources
        self._points = bind_all(config)
        self.shown = RegisterMap(self._points.values(), config.mailboxes)
        self.port = settings.listen.port  # the real one while it listens, where the YAML says 0

    def connect(self) -> AbstractAsyncContextManager[Session]:
        """Listen; entering raises LinkLost when the address is taken, or our certificate cannot be used."""
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Session]:
        line = MapLine(self.shown, self._config, self._settings, self._points, self._resources.clock)
        entrance = self._entrance()
        try:
            if entrance.tls is not None:
                entrance.tls()  # a certificate that cannot be used is told now, not when a master comes
            listener = listening(self._listen, entrance, line.answer, self._refused)
            self.port = await listener.__aenter__()
        except SecretError as error:
            raise LinkLost(str(error)) from error
        except OSError as error:
            raise LinkLost(f"cannot listen at {self._listen}: {error}") from error
        try:
            yield ModbusServerSession(line, self._config, self._settings, self._points, self._resources)
        finally:
            line.close()
            await listener.__aexit__(None, None, None)

    def _entrance(self) -> Entrance:
        settings, resources = self._settings, self._resources
        if settings.transport is not Transport.TLS:
            return Entrance(allow=settings.allow)
        return Entrance(
            allow=settings.allow,
            tls=lambda: resources.server_tls(settings.certificate, settings.key, settings.ca),
            names=frozenset(settings.names),
        )

    def _refused(self, *, peer: str, reason: str | None) -> None:
        labels = {"site": self._config.site, "connection": self._config.name}
        self._resources.event("master_refused", **labels, peer=peer, reason=reason)


class MapLine:
    """What the poller and the writer take for a line: the map, and the masters that ask about it."""

    def __init__(
        self,
        shown: RegisterMap,
        config: ConnectionConfig,
        settings: ModbusConnection,
        points: dict[str, Point],
        clock: Clock,
    ) -> None:
        self._map = shown
        self._clock = clock
        self._unit = settings.unit
        self._silence_s = settings.silence / _SECOND
        self._where = str(settings.listen)
        self._urgent = frozenset(_urgent(config, points))
        self._stirred = asyncio.Event()
        self._opened_at = asyncio.get_running_loop().time()
        self._asked_at: float | None = None
        self._first = asyncio.Event()
        self._unread: set[Cell] = set()
        self._watched = True
        self._taken = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """End the session: whoever waits, and every later call, learns that the link is lost."""
        self._closed = True
        for event in (self._first, self._stirred, self._taken):
            event.set()

    def answer(self, frame: Frame) -> Frame:
        """Answer a master's request."""
        if frame.unit != self._unit and frame.unit not in _ANY_UNIT:
            return Frame(transaction=frame.transaction, unit=frame.unit, pdu=bytes([frame.pdu[0] | 0x80, _NOT_HERE]))
        self._asked_at = asyncio.get_running_loop().time()
        self._first.set()
        reply = self._map.answer(frame.pdu)
        if reply.wrote & self._urgent:
            self._stirred.set()
        if reply.read & self._unread:
            self._unread -= reply.read
            self._taken.set()
        return Frame(transaction=frame.transaction, unit=frame.unit, pdu=reply.pdu)

    def now(self) -> int:
        """µs UTC."""
        return self._clock.now()

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Nothing comes in between where nothing waits."""
        yield

    async def idle(self, until: float) -> None:
        """Wait until then, or until a master wrote something that should be looked at now; first, for any master.

        Raises:
            LinkLost: no master has asked anything for too long.
        """
        await self._first.wait()
        loop = asyncio.get_running_loop()
        self._see_that_it_is_open()
        while not self._stirred.is_set() and (now := loop.time()) < until:
            silent_at = (self._asked_at or now) + self._silence_s
            if silent_at <= now:
                raise self._silent()
            try:
                async with asyncio.timeout_at(min(until, silent_at)):
                    await self._stirred.wait()
            except TimeoutError:
                continue
        self._see_that_it_is_open()
        self._stirred.clear()
        if self._asked_at is not None and loop.time() >= self._asked_at + self._silence_s:
            raise self._silent()

    async def read(
        self,
        table: Table,
        window: range,
        *,
        ahead: bool = False,  # noqa: ARG002 - nothing waits for its turn here
    ) -> tuple[Sequence[int], int]:
        """The cells of ``window``, and now.

        Raises:
            NotWritten: the master has not written all of them yet.
        """
        cells = self._map.read(table, window)
        if cells is None:
            raise NotWritten
        return cells, self._clock.now()

    async def write(self, table: Table, address: int, cells: Sequence[int]) -> None:
        """Show something else from now on, unread.

        Raises:
            LinkLost: nobody is listened to any more.
        """
        self._see_that_it_is_open()
        self._map.write(table, address, cells)
        if self._watched:
            self._unread |= {(table, address + index) for index in range(len(cells))}

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """What is shown inside need not be read by anybody."""
        self._watched = False
        try:
            yield
        finally:
            self._watched = True

    def forget_unread(self) -> None:
        """What was written so far counts as read, or as nobody's business."""
        self._unread.clear()

    async def taken(self, name: str) -> None:
        """Wait until masters have read everything that was written since.

        Raises:
            LinkLost: no master asks anything any more.
            PointRejected: they do, but not for this.
        """
        loop = asyncio.get_running_loop()
        patience = loop.time() + _UNREAD_S
        while self._unread:
            self._taken.clear()
            self._see_that_it_is_open()
            now = loop.time()
            asked_at = self._opened_at if self._asked_at is None else self._asked_at
            if asked_at + self._silence_s <= now:
                raise self._silent()
            if now >= patience:
                table, address = min(self._unread)
                self._unread.clear()
                raise PointRejected(name, f"no master has read {table}:{address} for a minute")
            try:
                async with asyncio.timeout_at(min(patience, asked_at + self._silence_s)):
                    await self._taken.wait()
            except TimeoutError:
                continue

    def _see_that_it_is_open(self) -> None:
        if self._closed:
            raise LinkLost(f"{self._where} was closed here")

    def _silent(self) -> LinkLost:
        return LinkLost(f"no master has asked anything at {self._where} for {self._silence_s:g} s")


class ModbusServerSession(ModbusSession):
    """One life of the listener; see `ports.Session` for the contract."""

    tables = tuple(Table)  # a map of our own has no table that only others can write

    def __init__(
        self,
        line: MapLine,
        config: ConnectionConfig,
        settings: ModbusConnection,
        points: dict[str, Point],
        resources: Resources,
    ) -> None:
        super().__init__(line, config, settings, points, resources)
        self._shown = line
        self._delivering = asyncio.Lock()

    async def write(self, steps: Sequence[Write]) -> None:
        """Show, and return when a master has read it; a sign of life waits for nobody."""
        if all(_passing(step) for step in steps):
            with self._shown.unwatched():
                await self._writer.write(steps)
            return
        async with self._delivering:
            self._shown.forget_unread()
            await self._writer.write(steps)
            await self._shown.taken(_name(steps[0]) if steps else "")

    async def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        """Show ACK_SEQ, which the master looks for by itself."""
        with self._shown.unwatched():
            await super().confirm(receipt, outcome)


def _passing(step: Write) -> bool:
    if isinstance(step, RoleWrite):
        return step.passing or step.role is Role.HEARTBEAT
    return isinstance(step, PointWrite) and step.passing


def _name(step: Write) -> str:
    return str(getattr(step, "point", None) or getattr(step, "mailbox", ""))


def _urgent(config: ConnectionConfig, points: dict[str, Point]) -> Iterator[Cell]:
    """The cells a change of which should be looked at now: the numbers that a site counts up."""
    for box in config.mailboxes.values():
        yield from ((Table.HOLDING, address) for address in box.page_block)
        for role in (Role.REQUEST_SEQ, Role.RESULT_ACKNOWLEDGE):
            if not box.bound:
                yield Table.HOLDING, box.base + SITE_BLOCK[role]
            elif role in box.roles and role in SITE_ROLES.values():
                point = points[box.roles[role]]
                yield from ((point.table, address) for address in point.place.window)
