"""What is said of a row of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Milliseconds; percentiles by nearest rank, so that each is a time that was really measured."""

    n: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, nanoseconds: Sequence[int]) -> Figures:
        """Summarise at least one sample."""
        ordered = sorted(nanoseconds)

        def rank(share: float) -> float:
            return ordered[math.ceil(share * len(ordered)) - 1] / 1e6

        return cls(n=len(ordered), p50_ms=rank(0.5), p99_ms=rank(0.99), max_ms=ordered[-1] / 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One way through the gateway beside the floor's."""

    way: str
    gateway: Figures
    floor: Figures

    @property
    def p50_ratio(self) -> float:
        """How many floors the median is high."""
        return self.gateway.p50_ms / self.floor.p50_ms

    @property
    def p99_ratio(self) -> float:
        """The same of the 99th percentile."""
        return self.gateway.p99_ms / self.floor.p99_ms

    @property
    def p50_above_ms(self) -> float:
        """What could at most be gained in the median."""
        return self.gateway.p50_ms - self.floor.p50_ms

    @property
    def p99_above_ms(self) -> float:
        """The same of the 99th percentile."""
        return self.gateway.p99_ms - self.floor.p99_ms
