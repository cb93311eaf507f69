"""What waits for people, or for a verdict that should have come: sentences for `/readyz`, per participant.

A message that is ESCALATED or PARKED blocks its lane until somebody decides; a participant that was moved or removed
leaves messages behind that nobody sends or asks about. None of it ends by itself, so that all of it is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.core.message import Lane
from gateway.core.sharing import Owner
from gateway.core.transaction import State


class Stuck(StrEnum):
    """Why something does not go on by itself."""

    ESCALATED = "escalated"
    PARKED = "parked"
    OVERDUE = "overdue"
    LEFT = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """How many messages of each lane are in each open state, and how many verdicts of each owner are overdue."""

    messages: Mapping[tuple[Lane, State], int]
    overdue: Mapping[Owner, int]


_PEOPLE: Mapping[State, tuple[Stuck, str]] = {
    State.ESCALATED: (Stuck.ESCALATED, "escalated, waiting for your decision (messages list --in escalated)"),
    State.PARKED: (Stuck.PARKED, "parked, waiting for your decision (messages list --in parked)"),
}


def attention(
    unfinished: Unfinished, served: Collection[Owner], configured: Collection[Owner]
) -> Mapping[tuple[str, Stuck], str]:
    """A sentence for each participant and reason; ``served`` are those whom this gateway sends for, and where.

    Those who are ``configured`` and not served here are another gateway's to tell of.
    """
    counts: dict[tuple[str, Stuck, str], int] = {}
    for participant, why, said, count in (*_waiting(unfinished, served, configured), *_overdue(unfinished, served)):
        counts[participant, why, said] = counts.get((participant, why, said), 0) + count
    return {(participant, why): f"{count} {said}" for (participant, why, said), count in counts.items()}


def _waiting(
    unfinished: Unfinished, served: Collection[Owner], configured: Collection[Owner]
) -> Iterator[tuple[str, Stuck, str, int]]:
    for (lane, state), count in unfinished.messages.items():
        owner = (lane.environment, lane.participant)
        if owner not in configured:
            said = (
                f"messages left behind in environment {lane.environment}: serve it there, or `messages refuse|resolve`"
            )
            yield lane.participant, Stuck.LEFT, said, count
        elif owner in served and state in _PEOPLE:
            why, said = _PEOPLE[state]
            yield lane.participant, why, f"messages {said}", count


def _overdue(unfinished: Unfinished, served: Collection[Owner]) -> Iterator[tuple[str, Stuck, str, int]]:
    for owner, count in unfinished.overdue.items():
        if owner in served:
            yield owner[1], Stuck.OVERDUE, "verdicts past their deadline (messages list --in awaiting)", count
