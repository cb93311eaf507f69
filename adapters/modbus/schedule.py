"""When which points are polled: one class per period, on a grid of its own. Pure; times are those of the event loop.

Everything is due at once in the beginning, since a message needs all of its points. After that each class keeps its
grid, whose first step is drawn at random, so that a thousand sites that were connected together do not stay together.
A step that was missed is left out, never made up for: a device that is slow is not helped by more requests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

SPREAD = 0.5  # of the first step


class Schedule:
    """The classes of one session; a period is in seconds."""

    def __init__(self, periods: Collection[float], begin: float, jitter: Callable[[float], float]) -> None:
        self._grid: Mapping[float, float] = {period: begin + period * jitter(SPREAD) for period in periods}
        self._next = dict.fromkeys(periods, begin)

    @property
    def next_due(self) -> float:
        """When there is something to do."""
        return min(self._next.values())

    def due(self, now: float) -> frozenset[float]:
        """The periods of the classes that are due."""
        return frozenset(period for period, at in self._next.items() if at <= now)

    def done(self, periods: Collection[float], now: float) -> None:
        """Put classes that were polled, beginning at ``now``, on the next step of their grid."""
        for period in periods:
            first = self._grid[period]
            steps = max(0, int((now - first) // period) + 1)
            self._next[period] = first + steps * period

    def hurry(self, period: float, now: float) -> None:
        """Let a class be due now."""
        self._next[period] = now
