"""The machine's clock and random source: the only place that asks for either."""

from __future__ import annotations

import os
import random
import time
import uuid

_ID_BYTES, _DRAWN = (
    16,
    256,
)  # each question to the operating system lets other threads go first: ask for many ids at once


class SystemClock:
    """Wall time in µs UTC."""

    def now(self) -> int:
        """µs UTC."""
        return time.time_ns() // 1000


class SystemEntropy:
    """Random ids from the operating system; jitter needs no secrecy."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()
        self._drawn: list[bytes] = []

    def uuid(self) -> str:
        """A fresh random UUID in its canonical text form."""
        if not self._drawn:
            block = os.urandom(_ID_BYTES * _DRAWN)
            self._drawn = [block[at : at + _ID_BYTES] for at in range(0, len(block), _ID_BYTES)]
        return str(uuid.UUID(bytes=self._drawn.pop(), version=4))

    def jitter(self, spread: float) -> float:
        """A factor in ``1 ± spread``, evenly distributed."""
        return self._random.uniform(1 - spread, 1 + spread)
