"""Messages that the clock sets off (core.schedule).

The instant made last is the lane's reference value, and moves in the commit of its message: a restart makes nothing
twice, and makes late what came due meanwhile. A message that takes values from the site waits a while for those that
were not read yet; then it is made all the same, and refused for what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.core import schedule
from gateway.core.mapping import TimeTrigger
from gateway.core.point import Reading
from gateway.errors import JournalFull
from gateway.flow.acceptance import Services
from gateway.flow.uplink import Uplink
from gateway.settings.configuration import SiteConfig

_LONGEST_SLEEP_S = 30.0  # the wall clock may be set under way: nobody sleeps far ahead of it
_FULL_PAUSE_S = 10.0
_PATIENCE_S = 60.0  # for the first values after a start


class Timetable:
    """One site's messages by the clock."""

    def __init__(self, site: SiteConfig, uplink: Uplink, readings: Mapping[str, Reading], services: Services) -> None:
        self._uplink = uplink
        self._readings = readings
        self._services = services
        self._wake = services.signals.read(site.site)
        self._specs = _timed(site)

    def reconfigure(self, site: SiteConfig, uplink: Uplink) -> None:
        """Make messages as the site says now."""
        self._uplink, self._specs = uplink, _timed(site)
        self._wake.set()

    def close(self) -> None:
        """Make no more messages."""
        self._specs = {}
        self._wake.set()

    async def run(self) -> None:
        """Make what comes due, until cancelled."""
        patience = asyncio.get_running_loop().time() + _PATIENCE_S
        while True:
            self._wake.clear()
            now, pause = self._services.clock.now(), _LONGEST_SLEEP_S
            left = patience - asyncio.get_running_loop().time()
            for name, due in self._specs.items():
                if left > 0 and self._uplink.lacks(name, self._readings):
                    pause = min(pause, left)
                elif not await self._made(name, schedule.last(due, now)):
                    pause = min(pause, _FULL_PAUSE_S)
                pause = min(pause, (schedule.following(due, now) - now) / 1_000_000)
            await self._sleep(pause if self._specs else None)

    async def _made(self, name: str, instant: int) -> bool:
        spec = self._uplink.spec(name)
        try:
            if spec is not None:
                await self._uplink.timed(spec, instant, self._readings)
        except JournalFull:
            self._services.telemetry.emit("intake_paused", site=self._uplink.site, reason="the journal is full")
            return False
        return True

    async def _sleep(self, pause: float | None) -> None:
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return


def _timed(site: SiteConfig) -> Mapping[str, schedule.Schedule]:
    return {n: spec.trigger.schedule for n, spec in site.messages.items() if isinstance(spec.trigger, TimeTrigger)}
