"""How a journal behaves, whatever engine stores it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.core.message import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a journal behaves; ``after_verdict`` is the profile's pipeline, by environment or for all.

    ``is_full`` says whether intake must stop so that what was accepted can be finished, ``is_ours`` what we serve.
    """

    after_verdict: bool | Mapping[str, bool]
    is_full: Callable[[], bool]
    is_ours: Callable[[Lane], bool] = bool

    def waits_for_verdict(self, lane: Lane) -> bool:
        """Whether AWAITING blocks this lane."""
        if isinstance(self.after_verdict, bool):
            return self.after_verdict
        return self.after_verdict.get(lane.environment, False)
