"""What an operator can do to a message: the exits of PARKED and ESCALATED, and withdrawing what was not sent yet.

Nothing here is a transition of its own: an act is possible where core.transaction knows its event, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.core.message import Created, Problem
from gateway.core.transaction import TRANSITIONS, Event, State


class Act(StrEnum):
    """An operator's decision."""

    RETRY = "retry"
    REFUSE = "refuse"
    RESEND = "resend"
    RESOLVE_COMPLETED = "resolve_completed"
    RESOLVE_FAILED = "resolve_failed"


_EVENTS: Mapping[Act, Event] = {
    Act.RETRY: Event.OPERATOR_ACCEPTED,
    Act.REFUSE: Event.OPERATOR_REFUSED,
    Act.RESEND: Event.OPERATOR_RESENT,
    Act.RESOLVE_COMPLETED: Event.OPERATOR_COMPLETED,
    Act.RESOLVE_FAILED: Event.OPERATOR_FAILED,
}
# The first words of the problem that the site is told; what the operator gave as the reason follows.
_TOLD: Mapping[Act, tuple[str, str]] = {
    Act.REFUSE: ("operator_refused", "refused by an operator"),
    Act.RESOLVE_FAILED: ("operator_failed", "declared failed by an operator"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An act with who decided it and why; ``created`` are the SMP's ids that came with RESOLVE_COMPLETED."""

    act: Act
    actor: str
    reason: str
    created: tuple[Created, ...] = ()

    @property
    def event(self) -> Event:
        """What it is in the life of a message."""
        return _EVENTS[self.act]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the site is told of it, beside the state."""
        if self.act not in _TOLD:
            return ()
        code, said = _TOLD[self.act]
        return (Problem(code=code, message=f"{said}: {self.reason}"),)


def possible(state: State) -> tuple[Act, ...]:
    """The acts that a message in this state allows."""
    return tuple(act for act, event in _EVENTS.items() if (state, event) in TRANSITIONS)
