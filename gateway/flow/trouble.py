"""What is wrong with one thing now, and since when: told when it begins and when it ends, and shown by `/readyz`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(slots=True)
class Trouble:
    """One thing's trouble; without a reason there is none."""

    reason: str = ""
    since: int = 0  # µs UTC

    def begins(self, reason: str, now: int) -> bool:
        """Note what is wrong; True when that is news."""
        news = reason != self.reason
        if not self.reason:
            self.since = now
        self.reason = reason
        return news

    def ends(self) -> bool:
        """Note that nothing is wrong any more; True when that is news."""
        news = bool(self.reason)
        self.reason = ""
        return news

    def line(self, what: str) -> str:
        """One line for people."""
        since = datetime.fromtimestamp(self.since / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"{what}: {self.reason}, since {since}"
