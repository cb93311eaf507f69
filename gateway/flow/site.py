"""One site: its links side by side, and the boundary behind which its faults stay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from gateway.core.mapping import ChangeTrigger, EdgeTrigger, RequestTrigger
from gateway.core.point import Reading, Snapshot
from gateway.core.profile import Profile
from gateway.core.record import Appended
from gateway.errors import JournalBroken
from gateway.flow.acceptance import Services
from gateway.flow.link import Link
from gateway.flow.safeguard import Safeguard
from gateway.flow.sequels import Sequels
from gateway.flow.timetable import Timetable
from gateway.flow.uplink import Uplink
from gateway.ports import Adapter, Entropy
from gateway.settings.configuration import SiteConfig, SiteConnection

_FAULT_PAUSE_S = 10.0


class SiteRuntime:
    """Everything that runs for one site; ``build`` makes the adapter of a connection."""

    def __init__(
        self,
        site: SiteConfig,
        profile: Profile,
        build: Callable[[SiteConnection], Adapter],
        *,
        services: Services,
        entropy: Entropy,
    ) -> None:
        self.site = site
        self.over = False  # it was retired, and nothing is left to do for it
        self._profile = profile
        self._build = build
        self._services = services
        self._entropy = entropy
        self._faulted = False
        self.retiring = False
        self._readings = readings = dict[str, Reading]()
        self._uplink = uplink = Uplink(site, profile, services)
        self._sequels = Sequels(site, uplink, readings, services)
        self._timetable = Timetable(site, uplink, readings, services)
        self._guard = Safeguard(site, readings, services, up=self._up)
        self._links = {name: self._link(name, build(link)) for name, link in site.connections.items()}
        self._leaving: dict[str, Link] = {}  # connections that are configured no more, and still owe something
        self._moved = services.signals.progress(site.site)

    @property
    def guard(self) -> Safeguard:
        """What lets writes into the site."""
        return self._guard

    @property
    def readings(self) -> Snapshot:
        """What was read last, by point."""
        return self._readings

    @property
    def links(self) -> tuple[Link, ...]:
        """Every connection that is kept."""
        return (*self._links.values(), *self._leaving.values())

    async def reconfigure(self, site: SiteConfig) -> None:
        """Go on as the site's file says now. A connection of which it says the same as before is not touched.

        A connection that is gone takes in nothing more, and stays until everything accepted before was told to it.
        """
        same = {name for name, link in site.connections.items() if self.site.connections.get(name) == link}
        fresh = {name: self._build(link) for name, link in site.connections.items() if name not in same}
        before, self.site, self.retiring = self.site, site, False
        self._uplink = uplink = Uplink(site, self._profile, self._services)
        self._leaving |= {name: link for name, link in self._links.items() if name not in site.connections}
        for name in self._leaving.keys() & fresh.keys():
            del self._leaving[name]
        for name in self._leaving:
            self._leaving[name].reconfigure(before, self._closed(before))
        self._links = {
            name: self._links[name] if name in same else self._link(name, fresh[name]) for name in site.connections
        }
        for name in same:
            self._links[name].reconfigure(site, uplink)
        self._guard.reconfigure(site)
        self._sequels.reconfigure(site, uplink)
        self._timetable.reconfigure(site, uplink)
        kept = {name for name, spec in site.points.items() if spec.connection in same}
        for name in self._readings.keys() - kept:
            del self._readings[name]
        self._moved.set()
        await self._look(before)

    def retire(self) -> None:
        """Take in nothing more; :meth:`run` returns once everything accepted before is over and was told."""
        self.retiring = True
        for link in self._links.values():
            link.reconfigure(self.site, self._closed(self.site))
        self._timetable.close()
        self._moved.set()

    @property
    def degraded(self) -> tuple[str, ...]:
        """What of this site does not work now, for `/readyz`."""
        name = f"site {self.site.site}"
        lines = [link.trouble.line(f"{name}, {link.connection}") for link in self.links if link.trouble.reason]
        lines += [f"{name}, {link.connection}: not connected yet" for link in self.links if link.starting]
        lines += self._guard.degraded
        lines += [f"{name}: being removed, once what it asked for is over"] if self.retiring else []
        return (*lines, f"{name}: stopped by a fault") if self._faulted else tuple(lines)

    async def request(self, message: str, key: str) -> Appended:
        """Make a message that is made on request; the same key again is the same message.

        Raises:
            LookupError: the site has no such message, or it is not made on request; the error says what there is.
            JournalFull: nothing was stored.
        """
        on_request = {n: spec for n, spec in self.site.messages.items() if isinstance(spec.trigger, RequestTrigger)}
        if message not in on_request or self.retiring:
            there = ", ".join(sorted(on_request)) or "none"
            raise LookupError(f"site {self.site.site} has no message {message:.64} on request; there is: {there}")
        _, appended = await self._uplink.requested(on_request[message], key, self._readings)
        return appended

    async def run(self) -> None:
        """Run until cancelled, or retired; a fault of this site is told once, and it starts again after a pause.

        Raises:
            JournalBroken: that is not the site's fault, and ends the process.
        """
        while not self.over:
            try:
                await self._parts()
            except* JournalBroken:
                raise
            except* Exception as fault:  # noqa: BLE001 - the site boundary: one site's fault never reaches another
                self._tell(fault)
            if not self.over:
                await asyncio.sleep(_FAULT_PAUSE_S * self._entropy.jitter(0.2))

    async def _parts(self) -> None:
        async with asyncio.TaskGroup() as group:
            name = self.site.site
            makers = [
                group.create_task(self._sequels.run(), name=f"sequels {name}"),
                group.create_task(self._timetable.run(), name=f"timetable {name}"),
            ]
            tasks: dict[Link, asyncio.Task[None]] = {}
            while not self.over:
                self._moved.clear()
                await self._let_go()
                await self._converge(group, tasks)
                if self._faulted:
                    self._faulted = False
                    self._services.telemetry.emit("site_recovered", site=self.site.site)
                if not self.over:
                    await self._moved.wait()
            for maker in makers:
                maker.cancel()

    async def _converge(self, group: asyncio.TaskGroup, tasks: dict[Link, asyncio.Task[None]]) -> None:
        """Let exactly those links run that are kept; a new one of a connection starts when the old one has closed."""
        gone = [tasks.pop(link) for link in tasks.keys() - set(self.links)]
        for task in gone:
            task.cancel()
        if gone:
            await asyncio.wait(gone)
        for link in self.links:
            if link not in tasks:
                tasks[link] = group.create_task(link.run(), name=f"link {self.site.site}/{link.connection}")

    async def _let_go(self) -> None:
        """Drop what was kept only for what was accepted before, and is owed nothing any more."""
        if not self._leaving and not self.retiring:
            return
        owed = await self._services.journal.owed(self.site.site)
        for name in self._leaving.keys() - owed.connections:
            del self._leaving[name]
        if self.retiring and not owed.messages and not owed.connections:
            self.over = True
            self._links.clear()

    def _link(self, name: str, adapter: Adapter) -> Link:
        return Link(
            self.site,
            name,
            adapter,
            uplink=self._uplink,
            guard=self._guard,
            readings=self._readings,
            services=self._services,
            entropy=self._entropy,
        )

    def _up(self, connection: str) -> bool:
        return any(link.up for link in self.links if link.connection == connection)

    def _closed(self, site: SiteConfig) -> Uplink:
        return Uplink(site, self._profile, self._services, closed=True)

    async def _look(self, before: SiteConfig) -> None:
        """Show triggers that are new the values that were read before; their first one is the baseline."""
        news = {name: spec for name, spec in self.site.messages.items() if before.messages.get(name) != spec}
        if any(isinstance(spec.trigger, ChangeTrigger | EdgeTrigger) for spec in news.values()):
            uplink = Uplink(replace(self.site, messages=news), self._profile, self._services)
            for reading in [*self._readings.values()]:
                await uplink.reading(reading, self._readings)

    def _tell(self, fault: BaseExceptionGroup[Exception]) -> None:
        if not self._faulted:
            self._faulted = True
            first: BaseException = fault
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            self._services.telemetry.emit("site_faulted", site=self.site.site, error=repr(first))
