"""What enters from the world besides its partners: time and chance."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The only source of wall time."""

    def now(self) -> int:
        """µs UTC."""


class Entropy(Protocol):
    """The only source of ids that must not repeat, and of jitter."""

    def uuid(self) -> str:
        """A fresh random UUID in its canonical text form."""

    def jitter(self, spread: float) -> float:
        """A factor in ``1 ± spread``, evenly distributed."""
