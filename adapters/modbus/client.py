"""The Modbus client: a fresh connection per session, polled inside `read`, written between the requests of a poll."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from adapters.modbus.addresses import Table
from adapters.modbus.config import ModbusConnection, Transport
from adapters.modbus.line import DeviceRefusal, Line, Wire
from adapters.modbus.polling import News, Poller
from adapters.modbus.schedule import Schedule
from adapters.modbus.translation import Point, bind_all
from adapters.modbus.writing import DEVICE_TABLES, Writer
from gateway.core.mailbox import HOST_BLOCK, Role
from gateway.errors import LinkLost, PointRejected, SecretError
from gateway.ports import Busy, Committed, ConnectionConfig, Receipt, Refused, Resources, RoleWrite, Session, Write

_SECOND = 1_000_000  # µs
_EARLY_S = 0.001  # an event loop's timer may end so much before its time, and a poll need not wait for the rest


class ModbusAdapter:
    """One connection of a site."""

    def __init__(self, config: ConnectionConfig, resources: Resources) -> None:
        if not isinstance(config.settings, ModbusConnection):
            raise TypeError(f"{config.name}: {type(config.settings).__name__} is not a Modbus connection")
        self._config = config
        self._settings = config.settings
        self._resources = resources
        self._points = bind_all(config)

    def connect(self) -> AbstractAsyncContextManager[Session]:
        """Open a new session; entering raises LinkLost when the device cannot be reached."""
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Session]:
        settings = self._settings
        tls = None
        if settings.transport is Transport.TLS:
            try:
                tls = self._resources.client_tls(settings.ca, settings.certificate, settings.key)
            except SecretError as error:
                raise LinkLost(str(error)) from error
        line = Line(settings, self._resources, tls)
        try:
            await line.open()
            yield ModbusSession(line, self._config, settings, self._points, self._resources)
        finally:
            await line.close()


class ModbusSession:
    """One live link; see `ports.Session` for the contract."""

    tables: Collection[Table] = DEVICE_TABLES

    def __init__(
        self,
        line: Wire,
        config: ConnectionConfig,
        settings: ModbusConnection,
        points: dict[str, Point],
        resources: Resources,
    ) -> None:
        self._line = line
        self._mailboxes = config.mailboxes
        self._poller = Poller(line, config, settings, points, resources)
        self._writer = Writer(line, points, config.mailboxes, self.tables)
        periods = [period / _SECOND for period in self._poller.periods]
        now = asyncio.get_running_loop().time()
        self._schedule = Schedule(periods, now, resources.entropy.jitter)
        self._own = settings.poll / _SECOND
        self._hurried = False

    async def read(self) -> Sequence[News]:
        """Poll until something is new; a torn poll is repeated at once, but not twice in a row."""
        while True:
            await self._line.idle(self._schedule.next_due)
            started = asyncio.get_running_loop().time() + _EARLY_S
            due = self._schedule.due(started)
            poll = await self._poller.poll([round(period * _SECOND) for period in due])
            self._schedule.done(due, started)
            self._hurried = poll.torn and not self._hurried
            if self._hurried:
                self._schedule.hurry(self._own, started)
            if poll.news:
                return poll.news

    async def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        """Write ACK_SEQ, unless the outcome is Busy; where the device refuses it, the link counts as lost."""
        if isinstance(outcome, Busy):
            return
        box = self._mailboxes[receipt.mailbox]
        try:
            if box.bound:
                await self._writer.write([RoleWrite(mailbox=box.name, role=Role.ACKNOWLEDGE, value=receipt.sequence)])
            else:
                address = box.results + HOST_BLOCK[Role.ACKNOWLEDGE]
                with self._line.ahead():
                    await self._line.write(Table.HOLDING, address, [receipt.sequence])
        except (DeviceRefusal, PointRejected) as refusal:
            raise LinkLost(f"{receipt.mailbox} takes no acknowledgement: {refusal}") from refusal
        self._poller.confirmed(receipt.mailbox, receipt.sequence)

    async def write(self, steps: Sequence[Write]) -> None:
        """Write and read back."""
        await self._writer.write(steps)
