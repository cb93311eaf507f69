"""One site: its links side by side, and the boundary behind which its faults stay."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.core.mapping import RequestTrigger
from gateway.core.point import Reading
from gateway.core.profile import Profile
from gateway.core.record import Appended
from gateway.errors import JournalBroken
from gateway.flow.acceptance import Services
from gateway.flow.link import Link
from gateway.flow.sequels import Sequels
from gateway.flow.uplink import Uplink
from gateway.ports import Adapter, Entropy
from gateway.settings.configuration import SiteConfig

_FAULT_PAUSE_S = 10.0


class SiteRuntime:
    """Everything that runs for one site."""

    def __init__(
        self,
        site: SiteConfig,
        profile: Profile,
        adapters: Mapping[str, Adapter],
        *,
        services: Services,
        entropy: Entropy,
    ) -> None:
        self.site = site
        self._services = services
        self._entropy = entropy
        self._faulted = False
        self._readings = readings = dict[str, Reading]()
        self._uplink = uplink = Uplink(site, profile, services)
        self._sequels = Sequels(site, uplink, readings, services)
        self.links = tuple(
            Link(site, name, adapter, uplink=uplink, readings=readings, services=services, entropy=entropy)
            for name, adapter in adapters.items()
        )

    @property
    def degraded(self) -> tuple[str, ...]:
        """What of this site does not work now, for `/readyz`."""
        name = f"site {self.site.site}"
        lines = [link.trouble.line(f"{name}, {link.connection}") for link in self.links if link.trouble.reason]
        lines += [f"{name}, {link.connection}: not connected yet" for link in self.links if link.starting]
        return (*lines, f"{name}: stopped by a fault") if self._faulted else tuple(lines)

    async def request(self, message: str, key: str) -> Appended:
        """Make a message that is made on request; the same key again is the same message.

        Raises:
            LookupError: the site has no such message, or it is not made on request; the error says what there is.
            JournalFull: nothing was stored.
        """
        on_request = {n: spec for n, spec in self.site.messages.items() if isinstance(spec.trigger, RequestTrigger)}
        if message not in on_request:
            there = ", ".join(sorted(on_request)) or "none"
            raise LookupError(f"site {self.site.site} has no message {message:.64} on request; there is: {there}")
        _, appended = await self._uplink.requested(on_request[message], key, self._readings)
        return appended

    async def run(self) -> None:
        """Run until cancelled; a fault of this site is told once, and it starts again after a pause.

        Raises:
            JournalBroken: that is not the site's fault, and ends the process.
        """
        while True:
            try:
                await self._links()
            except* JournalBroken:
                raise
            except* Exception as fault:  # noqa: BLE001 - the site boundary: one site's fault never reaches another
                self._tell(fault)
            await asyncio.sleep(_FAULT_PAUSE_S * self._entropy.jitter(0.2))

    async def _links(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sequels.run(), name=f"sequels {self.site.site}")
            for link in self.links:
                group.create_task(link.run(), name=f"link {self.site.site}/{link.connection}")
            if self._faulted:
                self._faulted = False
                self._services.telemetry.emit("site_recovered", site=self.site.site)

    def _tell(self, fault: BaseExceptionGroup[Exception]) -> None:
        if not self._faulted:
            self._faulted = True
            first: BaseException = fault
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            self._services.telemetry.emit("site_faulted", site=self.site.site, error=repr(first))
