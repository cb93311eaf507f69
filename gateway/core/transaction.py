"""The life of a message as one table, and what each answer of the SMP does to it.

Rules
-----
* :data:`TRANSITIONS` is the whole truth: a step that is not in it does not exist, and :func:`advance` raises.
* SENDING is committed before the first byte leaves. After a restart every SENDING is IN_DOUBT: "retry because we
  restarted" is not a transition.
* The first terminal state stands; whatever contradicts it later is a conflict for people, never a transition.
* Message and submission share these words. A message with one submission has that submission's state; with several,
  or with rows that are in none, :func:`combine` says which. Rows in no submission have a state of their own, so that a
  message which was half sent when its not-after passed ends PARTIAL, or FAILED where nothing of it was made.
* A submission that was refused for the sake of other rows made nothing: RELEASED takes the rest of it back to ACCEPTED,
  to be sent again as another submission (core/division.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from gateway.errors import TransitionRefused


class State(StrEnum):
    """Where a message is; these lower-case words are used in YAML, CLI, metrics and screens."""

    RECEIVED = "received"
    REFUSED = "refused"
    ACCEPTED = "accepted"
    WAITING = "waiting"
    EXPIRED = "expired"
    SENDING = "sending"
    IN_DOUBT = "in_doubt"
    AWAITING = "awaiting"
    REJECTED = "rejected"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    ESCALATED = "escalated"
    PARKED = "parked"


TERMINAL = frozenset({State.REFUSED, State.EXPIRED, State.REJECTED, State.COMPLETED, State.PARTIAL, State.FAILED})
# States that keep the next message of the same lane from being sent (profile `pipeline: after_submit`).
BLOCKING = frozenset({State.WAITING, State.SENDING, State.IN_DOUBT, State.ESCALATED, State.PARKED})


class Event(StrEnum):
    """What can happen to a message."""

    INVALID = "invalid"
    VALID = "valid"
    DEPENDENCY_MISSING = "dependency_missing"
    DEPENDENCIES_MET = "dependencies_met"
    DEPENDENCY_FAILED = "dependency_failed"
    WAIT_LIMIT = "wait_limit"
    NOT_AFTER = "not_after"
    TAKEN = "taken"
    TRANSACTION = "transaction"
    DECLINED = "declined"
    NOT_PROCESSED = "not_processed"
    UNCLEAR = "unclear"
    RESTARTED = "restarted"
    RELEASED = "released"
    FOUND_PENDING = "found_pending"
    RESENT = "resent"
    SUCCESS = "success"
    PARTIAL_SUCCESS = "partial_success"
    FAILURE = "failure"
    DOUBT_DEADLINE = "doubt_deadline"
    VERDICT_LIMIT = "verdict_limit"
    POISON = "poison"
    OPERATOR_ACCEPTED = "operator_accepted"
    OPERATOR_REFUSED = "operator_refused"
    OPERATOR_RESENT = "operator_resent"
    OPERATOR_COMPLETED = "operator_completed"
    OPERATOR_FAILED = "operator_failed"


def _verdicts(state: State) -> dict[tuple[State, Event], State]:
    """A verified callback or an authenticated poll ends a message from any state in which the SMP may have it."""
    return {
        (state, Event.SUCCESS): State.COMPLETED,
        (state, Event.PARTIAL_SUCCESS): State.PARTIAL,
        (state, Event.FAILURE): State.FAILED,
    }


# Where the rows of a submission can be that ends for the sake of others.
_CARRIED = (State.ACCEPTED, State.SENDING, State.IN_DOUBT, State.AWAITING, State.ESCALATED)

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.RECEIVED, Event.INVALID): State.REFUSED,
    (State.RECEIVED, Event.VALID): State.ACCEPTED,
    (State.ACCEPTED, Event.DEPENDENCY_MISSING): State.WAITING,
    (State.WAITING, Event.DEPENDENCIES_MET): State.ACCEPTED,
    (State.WAITING, Event.DEPENDENCY_FAILED): State.REFUSED,
    (State.WAITING, Event.WAIT_LIMIT): State.EXPIRED,
    (State.WAITING, Event.NOT_AFTER): State.EXPIRED,
    (State.ACCEPTED, Event.NOT_AFTER): State.EXPIRED,
    (State.ACCEPTED, Event.TAKEN): State.SENDING,
    # the answer to a submission; what each HTTP answer means is a table of the wire profile
    (State.SENDING, Event.TRANSACTION): State.AWAITING,
    (State.SENDING, Event.DECLINED): State.REJECTED,
    (State.SENDING, Event.NOT_PROCESSED): State.ACCEPTED,
    (State.SENDING, Event.UNCLEAR): State.IN_DOUBT,
    (State.SENDING, Event.RESTARTED): State.IN_DOUBT,
    **_verdicts(State.SENDING),  # a callback may overtake the 202
    (State.IN_DOUBT, Event.FOUND_PENDING): State.AWAITING,
    (State.IN_DOUBT, Event.RESENT): State.SENDING,
    (State.IN_DOUBT, Event.DOUBT_DEADLINE): State.ESCALATED,
    **_verdicts(State.IN_DOUBT),
    (State.AWAITING, Event.VERDICT_LIMIT): State.ESCALATED,
    **_verdicts(State.AWAITING),
    (State.ESCALATED, Event.FOUND_PENDING): State.AWAITING,
    (State.ESCALATED, Event.OPERATOR_RESENT): State.SENDING,
    (State.ESCALATED, Event.OPERATOR_COMPLETED): State.COMPLETED,
    (State.ESCALATED, Event.OPERATOR_FAILED): State.FAILED,
    **_verdicts(State.ESCALATED),  # a late callback wins
    # rows of a submission that ended for other rows' sake: refused by the SMP, or expired before it was sent again
    **{(state, Event.RELEASED): State.ACCEPTED for state in _CARRIED},
    # what the SMP has nothing of can be withdrawn
    (State.ACCEPTED, Event.OPERATOR_REFUSED): State.REFUSED,
    (State.WAITING, Event.OPERATOR_REFUSED): State.REFUSED,
    # any local step failing the same way three times
    (State.ACCEPTED, Event.POISON): State.PARKED,
    (State.PARKED, Event.OPERATOR_ACCEPTED): State.ACCEPTED,
    (State.PARKED, Event.OPERATOR_REFUSED): State.REFUSED,
}


def advance(state: State, event: Event) -> State:
    """Take one step.

    Raises:
        TransitionRefused: the table knows no such step.
    """
    after = TRANSITIONS.get((state, event))
    if after is None:
        raise TransitionRefused(state, event)
    return after


def combine(parts: Iterable[State]) -> State:
    """The state of a message with several submissions: the least settled part, else what the ends add up to.

    Raises:
        ValueError: there are no parts.
    """
    states = list(parts)
    if not states:
        raise ValueError("a message without submissions has its own state")
    for state in _LEAST_SETTLED:
        if state in states:
            return state
    if len(set(states)) == 1:
        return states[0]
    return State.FAILED if not {State.COMPLETED, State.PARTIAL} & set(states) else State.PARTIAL


# What an operator must see first comes first.
_LEAST_SETTLED = (
    State.ESCALATED,
    State.PARKED,
    State.IN_DOUBT,
    State.SENDING,
    State.WAITING,
    State.ACCEPTED,
    State.AWAITING,
)
