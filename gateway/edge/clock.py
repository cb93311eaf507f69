"""The machine's clock and random source: the only place that asks for either."""

from __future__ import annotations

import random
import time
import uuid


class SystemClock:
    """Wall time in µs UTC."""

    def now(self) -> int:
        """µs UTC."""
        return time.time_ns() // 1000


class SystemEntropy:
    """Random ids from the operating system; jitter needs no secrecy."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def uuid(self) -> str:
        """A fresh random UUID in its canonical text form."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def jitter(self, spread: float) -> float:
        """A factor in ``1 ± spread``, evenly distributed."""
        return self._random.uniform(1 - spread, 1 + spread)
