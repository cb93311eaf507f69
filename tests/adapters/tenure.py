"""A gateway's time at its sites, which ends when a test says so."""

from __future__ import annotations

from gateway.errors import JournalBroken


class Tenure:
    """Stands for `Journal.still_ours`; ``left`` is how often it says yes, None for always."""

    def __init__(self) -> None:
        self.left: int | None = None

    async def __call__(self) -> None:
        """Go on, or find out that another gateway serves the site by now."""
        if self.left == 0:
            raise JournalBroken("another gateway has this journal")
        if self.left is not None:
            self.left -= 1
