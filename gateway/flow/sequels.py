"""Messages that the end of another message of the same site sets off.

The journal keeps each as a row from the commit of that end to the commit of the new message, so that nothing is lost or
made twice whenever the gateway dies. A message that takes values from the site waits until they were read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.core.point import Reading
from gateway.core.record import Sequel
from gateway.errors import JournalFull
from gateway.flow.acceptance import Services
from gateway.flow.uplink import Uplink
from gateway.settings.configuration import SiteConfig

_FULL_PAUSE_S = 10.0


class Sequels:
    """One site's messages after verdicts."""

    def __init__(self, site: SiteConfig, uplink: Uplink, readings: Mapping[str, Reading], services: Services) -> None:
        self._site = site
        self._uplink = uplink
        self._readings = readings
        self._services = services
        self._wake = services.signals.sequels(site.site)

    def reconfigure(self, site: SiteConfig, uplink: Uplink) -> None:
        """Make messages as the site says now."""
        self._site, self._uplink = site, uplink

    async def run(self) -> None:
        """Make what is to be made, until cancelled."""
        while True:
            self._wake.clear()
            for sequel in await self._services.journal.sequels(self._site.site):
                if not self._uplink.lacks(sequel.message, self._readings):
                    await self._follow(sequel)
            await self._wake.wait()

    async def _follow(self, sequel: Sequel) -> None:
        while True:
            try:
                await self._uplink.follow(sequel, self._readings)
            except JournalFull:
                self._services.telemetry.emit("intake_paused", site=self._site.site, reason="the journal is full")
                await asyncio.sleep(_FULL_PAUSE_S)
            else:
                return
