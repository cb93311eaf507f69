"""One connection of one site, kept alive: connect, read, relay, and again after a growing pause when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal

from gateway.core.mailbox import Role
from gateway.core.point import Reading
from gateway.errors import LinkLost, PointRejected, WritesHeld
from gateway.flow.acceptance import Services
from gateway.flow.cancellation import heed
from gateway.flow.relay import Relayer
from gateway.flow.safeguard import Guarded, Safeguard
from gateway.flow.trouble import Trouble
from gateway.flow.uplink import Uplink
from gateway.ports import (
    Adapter,
    Entropy,
    MailboxStatus,
    News,
    PointWrite,
    Request,
    RoleWrite,
    Session,
    Submitted,
    Write,
)
from gateway.settings.configuration import SiteConfig

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 30.0  # a link that was up for this long is tried again at once; one that flaps, ever more slowly
_HEARTBEAT_S = 1.0


class Link:
    """The supervisor of one connection."""

    def __init__(
        self,
        site: SiteConfig,
        connection: str,
        adapter: Adapter,
        *,
        uplink: Uplink,
        guard: Safeguard,
        readings: dict[str, Reading],
        services: Services,
        entropy: Entropy,
    ) -> None:
        self.connection = connection
        self.up = False
        self.trouble = Trouble()
        self._site = site
        self._relayer: Relayer | None = None  # of the session that is up
        self._adapter = adapter
        self._uplink = uplink
        self._guard = guard
        self._readings = readings  # of the whole site, shared by its links
        self._services = services
        self._entropy = entropy
        self._boxes = [
            box.name for box in site.mailboxes.values() if box.connection == connection and box.has(Role.HEARTBEAT)
        ]

    @property
    def starting(self) -> bool:
        """Whether nothing is known of the site yet."""
        return not self.up and not self.trouble.reason

    def reconfigure(self, site: SiteConfig, uplink: Uplink) -> None:
        """Go on with what the site says now; of this connection it must say the same as before."""
        self._site, self._uplink = site, uplink
        if self._relayer is not None:
            self._relayer.site = site

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        told = False
        pause = _FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        while True:
            lost, steady_at = "", float("inf")
            try:
                async with self._adapter.connect() as session:
                    heed()
                    first = await session.read()  # a site that takes connections and never answers is not there
                    heed()
                    steady_at, told = loop.time() + _STEADY_S, False
                    self._told_up()
                    await self._serve(Guarded(session, self.connection, self._guard), first)
            except* LinkLost as group:
                lost = str(group.exceptions[0])
            finally:
                self.up = False
            heed()
            self.trouble.begins(f"not connected, {lost}", self._services.clock.now())
            if not told:
                self._services.telemetry.emit(
                    "site_lost", site=self._site.site, connection=self.connection, reason=lost
                )
                told = True
            if loop.time() >= steady_at:
                pause = _FIRST_PAUSE_S
            await asyncio.sleep(pause * self._entropy.jitter(0.2))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _told_up(self) -> None:
        self.up = True
        self.trouble.ends()
        self._services.telemetry.emit("site_connected", site=self._site.site, connection=self.connection)

    async def _serve(self, session: Session, first: Sequence[News]) -> None:
        """Read, relay and beat; nothing is written before the first reading.

        Reading is the group's body: a group that its children end while its body is over leaves its task marked as
        cancelled (Python 3.11), and whoever heeds that would never connect again.
        """
        self._relayer = relayer = Relayer(self._site, self.connection, self._services)
        name = f"{self._site.site}/{self.connection}"
        async with asyncio.TaskGroup() as group:
            group.create_task(relayer.run(session), name=f"relay {name}")
            if relayer.pages.wanted:
                group.create_task(relayer.pages.run(session), name=f"pages {name}")
            if self._beats(0) or self._health():
                group.create_task(self._beat(session), name=f"heartbeat {name}")
            await self._read(session, relayer, first)

    async def _read(self, session: Session, relayer: Relayer, news: Sequence[News]) -> None:
        while True:
            sent = [item for item in news if isinstance(item, Submitted)]
            for item in news:
                match item:
                    case Request():
                        with suppress(WritesHeld):
                            await self._uplink.request(session, item, self._readings)
                    case MailboxStatus():
                        relayer.observe(item)
                        await self._uplink.status(item)
                    case Reading():
                        if item.point not in self._readings:  # a message that needs it may have waited for it
                            self._services.signals.sequels(self._site.site).set()
                            self._services.signals.read(self._site.site).set()
                        before, self._readings[item.point] = self._readings.get(item.point), item
                        self._guard.observe(item, before)
                        await self._uplink.reading(item, self._readings)
            if sent:  # after the readings that came with them; together, so that they share commits
                await self._uplink.submitted(self.connection, session, sent, self._readings)
            heed()
            news = await session.read()
            heed()

    def _beats(self, count: int) -> list[Write]:
        """Our heartbeat in each place of this connection that the site has for it."""
        point = self._site.points.get(self._site.safety.heartbeat.write or "")
        beats: list[Write] = [RoleWrite(mailbox=box, role=Role.HEARTBEAT, value=count) for box in self._boxes]
        if point is not None and point.connection == self.connection:
            beats.append(PointWrite(point=point.name, value=Decimal(count), passing=True))
        return beats

    def _health(self) -> Mapping[str, str]:
        """The points of this connection that show how we are, by the words of core.health."""
        points = self._site.points
        return {w: p for w, p in self._site.health.items() if p in points and points[p].connection == self.connection}

    async def _healthy(self, told: dict[str, int]) -> list[Write]:
        """What has changed of how we are since it was ``told``."""
        places = self._health()
        if not places or self._services.wellbeing is None:
            return []
        numbers = (await self._services.wellbeing.of(self._site, places.keys())).numbers()
        news = {point: numbers[word] for word, point in places.items() if told.get(point) != numbers[word]}
        told |= news
        return [PointWrite(point=point, value=Decimal(value), passing=True) for point, value in news.items()]

    async def _beat(self, session: Session) -> None:
        """Count up the heartbeats and show how we are, so that the site's alarms can watch the gateway.

        A site that refuses it is told of once, and served all the same.
        """
        count = 0
        refused = False
        told: dict[str, int] = {}
        labels = {"site": self._site.site, "connection": self.connection}
        while True:
            count = (count + 1) % 65536
            try:
                if not self._guard.quiet:
                    await session.write([*self._beats(count), *await self._healthy(told)])
                heed()
            except PointRejected as rejected:
                told.clear()
                if not refused:
                    self._services.telemetry.emit("heartbeat_failed", **labels, reason=str(rejected))
                refused = True
            else:
                if refused:
                    self._services.telemetry.emit("heartbeat_recovered", **labels)
                refused = False
            await asyncio.sleep(_HEARTBEAT_S)
