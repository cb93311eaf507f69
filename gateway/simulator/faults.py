"""What the simulated SMP does wrong on purpose; tests change it while it runs."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

CUT = 0  # in place of an HTTP status: the connection is cut and no byte is answered


@dataclass(slots=True, kw_only=True)
class Faults:
    """A plan of faults, for submissions and their callbacks only; the default is none.

    ``before_commit`` and ``after_commit`` hold an HTTP status, or :data:`CUT`, for each of the next signed submissions:
    the first kind is answered with nothing stored, the second after the transaction is on disk. ``answer_delay_s``
    comes between the commit and any answer. ``callback_first`` processes a submission and tries its callback once
    before the answer leaves. ``callback_copies`` is how often the same bytes are posted at each try.
    """

    answer_delay_s: float = 0.0
    before_commit: deque[int] = field(default_factory=deque)
    after_commit: deque[int] = field(default_factory=deque)
    callback_first: bool = False
    callback_copies: int = 1
    callbacks_allowed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.callbacks_allowed.set()

    def hold_callbacks(self) -> None:
        """Keep every callback back, the tries of earlier ones included, until :meth:`release_callbacks`."""
        self.callbacks_allowed.clear()

    def release_callbacks(self) -> None:
        """Deliver what was kept back."""
        self.callbacks_allowed.set()
