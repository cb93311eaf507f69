"""The OPC UA client: a fresh session per connect, everything read once, then told by the server as it changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from adapters.opcua.calling import Caller
from adapters.opcua.config import OpcuaConnection
from adapters.opcua.events import Events
from adapters.opcua.line import Line
from adapters.opcua.mailboxes import Desk
from adapters.opcua.nodes import Nodes, missing, watched
from adapters.opcua.translation import faulty
from adapters.opcua.watching import Inbox, Subscription
from adapters.opcua.writing import Writer
from gateway.core.mailbox import Role
from gateway.core.point import Access, Reading
from gateway.errors import LinkLost, PointRejected
from gateway.ports import (
    Busy,
    Committed,
    ConnectionConfig,
    News,
    Receipt,
    Refused,
    Resources,
    RoleWrite,
    Session,
    Write,
)

_SECOND = 1_000_000  # µs
_LOOK_FOR_NODES_S = 60.0  # between two attempts to find nodes that the server did not have


class OpcuaAdapter:
    """One connection of a site."""

    def __init__(self, config: ConnectionConfig, resources: Resources) -> None:
        if not isinstance(config.settings, OpcuaConnection):
            raise TypeError(f"{config.name}: {type(config.settings).__name__} is not an OPC UA connection")
        self._config = config
        self._settings = config.settings
        self._resources = resources

    def connect(self) -> AbstractAsyncContextManager[Session]:
        """Open a new session; entering raises LinkLost when the server cannot be reached."""
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Session]:
        line = Line(self._settings, self._resources)
        try:
            await line.open()
            session = OpcuaSession(line, self._config, self._settings, self._resources)
            await session.begin()
            yield session
        finally:
            await line.close()


class OpcuaSession:
    """One live link; see `ports.Session` for the contract."""

    def __init__(self, line: Line, config: ConnectionConfig, settings: OpcuaConnection, resources: Resources) -> None:
        self._line = line
        self._nodes = Nodes(line, config, resources)
        self._read = [name for name, spec in self._nodes.specs.items() if spec.access is Access.READ]
        interval_s = settings.publish / _SECOND
        self._desks = {name: Desk(box, self._nodes, self._read, interval_s) for name, box in config.mailboxes.items()}
        self._inbox = Inbox(self._nodes.specs, line.stirred)
        self._events = Events(line, config, resources)
        self._subscription = Subscription(line, settings, self._inbox, self._heard, self._events.happened)
        self._writer = Writer(line, self._nodes, Caller(line, self._nodes), config.mailboxes)
        self._asked: list[News] = []  # requests and statuses that wait to be taken
        ages = [spec.max_age for spec in self._nodes.specs.values() if spec.max_age is not None]
        self._refresh_s = min(ages, default=0) / _SECOND / 3  # well before is_news wants it
        self._refresh_at = float("inf")
        self._missing: frozenset[str] = frozenset()
        self._look_at = float("inf")

    async def begin(self) -> None:
        """Find the nodes, read everything, and ask to be told what changes.

        Raises:
            LinkLost: the connection is gone.
        """
        await self._nodes.find()
        await self._read_all()
        await self._subscription.open()
        await self._watch([*self._read, *(name for desk in self._desks.values() for name in desk.watched)])
        await self._watch_events()

    async def read(self) -> Sequence[News]:
        """Wait for what the server tells, and look at mailboxes when they may ask something."""
        while True:
            self._line.stirred.clear()
            self._line.check()
            await self._catch_up()
            news = [*self._asked, *self._inbox.take(), *self._events.waiting()]
            self._asked.clear()
            if news:
                return news
            await self._wait()

    async def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        """Write the acknowledgement, unless the outcome is Busy; where it is refused, the link counts as lost."""
        self._line.check()
        if self._events.confirm(receipt, outcome):
            return
        if isinstance(outcome, Busy):
            return
        desk = self._desks[receipt.mailbox]
        try:
            await self.write([RoleWrite(mailbox=receipt.mailbox, role=Role.ACKNOWLEDGE, value=receipt.sequence)])
        except PointRejected as rejected:
            raise LinkLost(f"{receipt.mailbox} takes no acknowledgement: {rejected}") from rejected
        desk.confirmed(receipt.sequence)

    async def write(self, steps: Sequence[Write]) -> None:
        """Write and read back."""
        for step in steps:  # before the server can echo it
            if isinstance(step, RoleWrite) and step.mailbox in self._desks and isinstance(step.value, int):
                self._desks[step.mailbox].wrote(step.role, step.value)
        await self._writer.write(steps)

    async def _catch_up(self) -> None:
        """Do whatever is due now; what it brings waits in the inbox, so that a cancelled read loses nothing."""
        now = asyncio.get_running_loop().time()
        if now >= self._subscription.silent_at:
            raise self._line.lose("the server said nothing for too long; its subscription is dead")
        if self._inbox.lossy or self._events.lossy:
            self._nodes.lost_values()
            await self._read_all()
            self._inbox.lossy = False
            if self._events.lossy or self._subscription.gap:
                self._subscription.gap = False
                await self._events.lost(self._subscription.id)
            for desk in self._desks.values():
                desk.due = 0.0
        if now >= self._refresh_at:
            await self._refresh()
        if now >= self._look_at:
            await self._look_for_nodes()
            await self._watch_events()
        for desk in self._desks.values():
            if now >= desk.due:
                self._asked += await desk.look()

    async def _wait(self) -> None:
        """Sleep until the server tells something, or something is due, or the connection ends."""
        dues = [desk.due for desk in self._desks.values()]
        until = min([self._subscription.silent_at, self._refresh_at, self._look_at, self._events.due, *dues])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._line.stirred.wait()

    async def _read_all(self) -> None:
        readings, _ = await self._nodes.read(self._read)
        for reading in readings.values():
            self._inbox.put(reading)
        self._expect(missing(readings))
        self._refresh_again()

    async def _refresh(self) -> None:
        """Ask again for the points that may not grow old, so that an unchanged value stays usable."""
        readings, _ = await self._nodes.read([n for n in self._read if self._nodes.specs[n].max_age is not None])
        for reading in readings.values():
            self._inbox.put(reading)
        self._refresh_again()

    def _refresh_again(self) -> None:
        if self._refresh_s:
            self._refresh_at = asyncio.get_running_loop().time() + self._refresh_s

    async def _look_for_nodes(self) -> None:
        before = self._missing
        await self._nodes.find()
        readings, _ = await self._nodes.read(sorted(before))
        self._expect(missing(readings))
        await self._watch(sorted(before - self._missing))
        for reading in readings.values():
            self._inbox.put(reading)

    def _expect(self, absent: frozenset[str]) -> None:
        self._missing = absent
        self._look_at = asyncio.get_running_loop().time() + _LOOK_FOR_NODES_S if absent else float("inf")

    async def _watch_events(self) -> None:
        """Ask to be told of events; what the server does not tell of is asked for again with missing nodes."""
        if not await self._events.watch(self._subscription.id):
            self._look_at = min(self._look_at, asyncio.get_running_loop().time() + _LOOK_FOR_NODES_S)

    async def _watch(self, names: Sequence[str]) -> None:
        present = [name for name in names if name not in self._missing]
        for spec, status in await self._subscription.watch(watched(self._nodes, present)):
            detail = f"the server does not watch it (0x{status:08X})"
            self._heard(faulty(spec, "not_watched", detail, self._line.now()))

    def _heard(self, reading: Reading) -> None:
        """Take in what the server told of one point."""
        self._nodes.tell(reading)
        for desk in self._desks.values():
            desk.heard(reading)
        if self._nodes.specs[reading.point].access is Access.READ:
            self._inbox.put(reading)
        self._line.stirred.set()
