"""Tells of an outage of one environment of the SMP: once when it begins, once when it ends, with what waits for it."""

from __future__ import annotations

from gateway.flow.gate import Gate
from gateway.ports import Journal
from gateway.telemetry import Telemetry


class OutageWatch:
    """The one who tells; the gate only notes, because counting what waits takes a look into the journal."""

    def __init__(self, gate: Gate, journal: Journal, telemetry: Telemetry) -> None:
        self._gate = gate
        self._journal = journal
        self._telemetry = telemetry

    async def run(self) -> None:
        """Tell until cancelled."""
        environment = self._gate.environment
        while True:
            news = await self._gate.news.get()
            waiting = await self._journal.backlog(environment)
            if news.lasted_s is None:
                self._telemetry.emit("smp_unavailable", environment=environment, reason=news.reason, waiting=waiting)
            else:
                self._telemetry.emit(
                    "smp_available",
                    environment=environment,
                    reason=news.reason,
                    lasted_s=round(news.lasted_s, 1),
                    waiting=waiting,
                )
