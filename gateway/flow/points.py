"""What a site's points are now, for operators: the readings that messages would be made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.core.control import POINTS, PointList, PointStanding
from gateway.core.point import fresh
from gateway.errors import ControlRefused
from gateway.flow.site import SiteRuntime
from gateway.ports import Call, Clock, OperationHandlers


class Points:
    """Answers core.control.POINTS for the sites that run here."""

    def __init__(self, sites: Mapping[str, SiteRuntime], clock: Clock) -> None:
        self._sites = sites
        self._clock = clock

    def handlers(self) -> OperationHandlers:
        """What is answered here."""
        return {POINTS: self.points}

    async def points(self, call: Call) -> PointList:
        """Tell how every point of a site stands; one that is too old for a message is told as stale.

        Raises:
            ControlRefused: there is no such site.
        """
        site = self._sites.get(call.parameters["site"])
        if site is None:
            said = f"no site {call.parameters['site']:.64} runs here"
            raise ControlRefused("not_found", said, advice="`smp-gateway nodes` shows which gateway runs it")
        now = self._clock.now()
        return PointList(site=site.site.site, at=now, points=tuple(_standings(site, now)))


def _standings(site: SiteRuntime, now: int) -> Iterator[PointStanding]:
    up = {link.connection: link.up for link in site.links}
    readings = fresh(site.readings, site.site.points, now)
    for name, spec in site.site.points.items():
        reading = readings.get(name)
        here = {"point": name, "connection": spec.connection, "connected": up.get(spec.connection, False)}
        here |= {"access": spec.access.value, "unit": spec.unit}
        if reading is None:
            yield PointStanding.model_validate(here)
            continue
        value = reading.value
        yield PointStanding.model_validate(
            {
                **here,
                "value": value if isinstance(value, bool | str | None) else format(value, "f"),
                "quality": reading.quality.value,
                "read_at": reading.at,
                "fault": reading.fault,
                "detail": reading.detail,
            }
        )
