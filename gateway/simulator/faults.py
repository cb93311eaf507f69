"""What the simulated SMP does wrong on purpose; it may be changed at any time while it runs.

Two ways lead here. Tests of one story fill ``before_commit`` and ``after_commit``: exactly the next submissions fail
so. Long runs set ``chances``: each fault happens to each submission, status call or callback with its own probability.
Every fault draws from dice of its own, seeded by (``seed``, its name), so that the n-th draw of a fault is the same for
the same seed, whatever other faults are set beside it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from random import Random

CUT = 0  # in place of an HTTP status: the connection is cut and no byte is answered
HALF = -1  # in place of an HTTP status: the answer's head and half of its body, then a reset


class Fault(StrEnum):
    """What may go wrong with a probability; the words of ``--fault``, of scenarios and of the control API."""

    LOSE_REQUEST = "lose-request"  # cut before the commit: nothing is stored, nothing answered
    FAIL_BEFORE = "fail-before"  # 500, nothing is stored
    UNAVAILABLE = "unavailable"  # 503 with Retry-After, nothing is stored
    BUSY = "busy"  # 429 with Retry-After, nothing is stored
    EXPIRE_TOKENS = "expire-tokens"  # every token is forgotten when a submission comes
    LOSE_REPLY = "lose-reply"  # cut after the commit
    CUT_REPLY = "cut-reply"  # half of the answer after the commit, then a reset
    FAIL_AFTER = "fail-after"  # 500 after the commit
    FAIL_STATUS = "fail-status"  # 500 to a status call
    CALLBACK_EARLY = "callback-early"  # tried before the submission's answer leaves
    CALLBACK_LATE = "callback-late"  # not before late-by has passed
    CALLBACK_TWICE = "callback-twice"  # the same bytes again at once
    CALLBACK_NEVER = "callback-never"  # only the status call tells
    CALLBACK_CONTRADICT = "callback-contradict"  # a true one, and then a well-signed one with the opposite verdict
    CALLBACK_FORGE_KEY = "callback-forge-key"  # before the true one: the opposite, signed by a stranger under our kid
    CALLBACK_FORGE_BODY = "callback-forge-body"  # before the true one: the opposite under the true one's signature
    CALLBACK_FORGE_AUD = "callback-forge-aud"  # before the true one: the opposite, well signed for another host
    CALLBACK_REORDER = "callback-reorder"  # not before another one was tried, or late-by has passed


class Wait(StrEnum):
    """Durations that belong to faults."""

    DELAY = "delay"  # between a submission's commit and any answer
    JITTER = "jitter"  # up to so much more, evenly spread
    RETRY_AFTER = "retry-after"  # what 429 and 503 ask for, in whole seconds
    LATE_BY = "late-by"  # how late a late callback is


BEFORE_COMMIT: Mapping[Fault, int] = {
    Fault.LOSE_REQUEST: CUT,
    Fault.FAIL_BEFORE: 500,
    Fault.UNAVAILABLE: 503,
    Fault.BUSY: 429,
}
AFTER_COMMIT: Mapping[Fault, int] = {Fault.LOSE_REPLY: CUT, Fault.CUT_REPLY: HALF, Fault.FAIL_AFTER: 500}
ASKING_FOR_PATIENCE = frozenset({Fault.UNAVAILABLE, Fault.BUSY})
WAITS: Mapping[Wait, str] = {
    Wait.DELAY: "answer_delay_s",
    Wait.JITTER: "jitter_s",
    Wait.RETRY_AFTER: "retry_after_s",
    Wait.LATE_BY: "late_by_s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """What happens to one request instead of its answer; ``fault`` is None where a test planned it by hand."""

    status: int
    fault: Fault | None = None
    retry_after_s: float | None = None


@dataclass(slots=True, kw_only=True)
class Faults:
    """A plan of faults; the default is none.

    ``before_commit`` and ``after_commit`` hold an HTTP status, :data:`CUT` or :data:`HALF` for each of the next signed
    submissions: the first kind is answered with nothing stored, the second after the transaction is on disk; they go
    before anything that is drawn. ``answer_delay_s`` and up to ``jitter_s`` more come between the commit and any
    answer. ``callback_first`` processes a submission and tries its callback once before the answer leaves.
    ``callback_copies`` is how often the same bytes are posted at each try.
    """

    answer_delay_s: float = 0.0
    jitter_s: float = 0.0
    retry_after_s: float = 1.0
    late_by_s: float = 1.0
    chances: dict[Fault, float] = field(default_factory=dict)
    seed: int = 0
    before_commit: deque[int] = field(default_factory=deque)
    after_commit: deque[int] = field(default_factory=deque)
    callback_first: bool = False
    callback_copies: int = 1
    callbacks_allowed: asyncio.Event = field(default_factory=asyncio.Event)
    _dice: dict[str, Random] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.callbacks_allowed.set()

    def hold_callbacks(self) -> None:
        """Keep every callback back, the tries of earlier ones included, until :meth:`release_callbacks`."""
        self.callbacks_allowed.clear()

    def release_callbacks(self) -> None:
        """Deliver what was kept back."""
        self.callbacks_allowed.set()

    def happens(self, fault: Fault) -> bool:
        """Draw once."""
        chance = self.chances.get(fault, 0.0)
        return chance > 0.0 and self._die(fault).random() < chance

    def before(self) -> Mishap | None:
        """What goes wrong before this submission is committed."""
        return self._mishap(self.before_commit, BEFORE_COMMIT)

    def after(self) -> Mishap | None:
        """What goes wrong after it."""
        return self._mishap(self.after_commit, AFTER_COMMIT)

    def pause_s(self) -> float:
        """How long this answer waits."""
        return self.answer_delay_s + (self._die(Wait.JITTER).uniform(0.0, self.jitter_s) if self.jitter_s else 0.0)

    def change(self, settings: Mapping[Fault | Wait, float], *, seed: int | None = None) -> None:
        """Set these, probabilities and seconds, and leave the others; a seed throws all dice anew from their start."""
        for name, value in settings.items():
            if isinstance(name, Fault):
                self.chances[name] = value
            else:
                setattr(self, WAITS[name], value)
        if seed is not None:
            self.seed = seed
            self._dice.clear()

    def calm(self) -> None:
        """Forget every probability and duration; what a test planned by hand stays."""
        self.chances.clear()
        defaults = {one.name: one.default for one in fields(self) if one.default is not MISSING}
        for name in WAITS.values():
            setattr(self, name, defaults[name])

    def told(self) -> dict[str, object]:
        """The plan in the form in which scenarios and the control API state it."""
        waits = {str(name): f"{getattr(self, attribute) * 1000:g}ms" for name, attribute in WAITS.items()}
        chances = {str(fault): self.chances[fault] for fault in Fault if self.chances.get(fault)}
        return {"seed": self.seed, "faults": {**chances, **waits}}

    def _mishap(self, planned: deque[int], table: Mapping[Fault, int]) -> Mishap | None:
        if planned:
            return Mishap(status=planned.popleft())
        drawn = [fault for fault in table if self.happens(fault)]  # every die is thrown: none depends on another
        if not drawn:
            return None
        patience = self.retry_after_s if drawn[0] in ASKING_FOR_PATIENCE else None
        return Mishap(status=table[drawn[0]], fault=drawn[0], retry_after_s=patience)

    def _die(self, name: Fault | Wait) -> Random:
        if name not in self._dice:
            self._dice[name] = Random(f"{self.seed}/{name}")
        return self._dice[name]
