"""What a round brings home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Round:
    """How much was tried, and what failed; ``reached`` counts what is to be seen often in all rounds together."""

    n: int
    failures: Sequence[str]
    reached: Mapping[str, int] = field(default_factory=dict)
