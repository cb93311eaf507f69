"""Whose turn it is: a fair order for all who wait to speak to one environment of the SMP.

Rules
-----
* Participants take turns, so that one who brings thousands delays another by one turn each.
* Inside a participant the more urgent goes first: a login, then fresh messages, then the backlog, then enquiries. What
  was passed over :data:`PATIENCE` times in a row goes next all the same, so that a backlog drains and doubts are
  resolved however much is fresh.
* Inside an urgency lanes take turns; inside a lane the order stays.
* *Fresh* is what began to wait after the SMP last came back (:meth:`Turns.demote` is called then); what had waited
  until then is backlog. A lane brings one message at a time, its oldest, so that a fresh message behind its own
  lane's backlog waits for that, and one in another lane does not.
* A request whose endpoint may not be used now is passed over without losing its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

PATIENCE = 3


class Urgency(IntEnum):
    """What a request is for; the smaller goes first."""

    LOGIN = 0
    FRESH = 1
    BACKLOG = 2
    ENQUIRY = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Errand:
    """One request that waits for its turn; each is itself only, however alike two are.

    ``endpoint`` is the kind of a submission, or ``status`` or ``login``.
    """

    participant: str
    lane: str
    urgency: Urgency
    endpoint: str


class Turns:
    """Everybody who waits."""

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}  # by participant, in the order of their next turns

    def __bool__(self) -> bool:
        return bool(self._shares)

    def __iter__(self) -> Iterator[Errand]:
        return (errand for share in self._shares.values() for errand in share)

    def add(self, errand: Errand) -> None:
        """Let one more wait, behind its own lane, its own participant, and the others' next turns."""
        self._shares.setdefault(errand.participant, _Share()).add(errand)

    def remove(self, errand: Errand) -> None:
        """Let one go that gave up waiting."""
        share = self._shares.get(errand.participant)
        if share is not None:
            share.remove(errand)
            if not share:
                del self._shares[errand.participant]

    def next(self, usable: Callable[[str], bool]) -> Errand | None:
        """Take out whose turn it is; ``usable`` says of an endpoint whether it may be used now."""
        for participant, share in self._shares.items():
            errand = share.next(usable)
            if errand is not None:
                del self._shares[participant]
                if share:
                    self._shares[participant] = share
                return errand
        return None

    def demote(self) -> None:
        """The SMP came back: whoever has waited until now is backlog."""
        for share in self._shares.values():
            share.demote()


class _Share:
    """One participant's requests: by urgency, and there by lane in the order of their next turns."""

    def __init__(self) -> None:
        self._lanes: dict[Urgency, dict[str, deque[Errand]]] = {urgency: {} for urgency in Urgency}
        self._passed_over = dict.fromkeys(Urgency, 0)

    def __bool__(self) -> bool:
        return any(self._lanes.values())

    def __iter__(self) -> Iterator[Errand]:
        return (errand for lanes in self._lanes.values() for waiting in lanes.values() for errand in waiting)

    def add(self, errand: Errand) -> None:
        self._lanes[errand.urgency].setdefault(errand.lane, deque()).append(errand)

    def remove(self, errand: Errand) -> None:
        for lanes in self._lanes.values():
            waiting = lanes.get(errand.lane, ())
            if errand in waiting:
                lanes[errand.lane].remove(errand)
                if not lanes[errand.lane]:
                    del lanes[errand.lane]

    def next(self, usable: Callable[[str], bool]) -> Errand | None:
        ready = {urgency: lane for urgency in Urgency if (lane := self._first(urgency, usable)) is not None}
        if not ready:
            return None
        starved = (urgency for urgency in ready if self._passed_over[urgency] >= PATIENCE)
        chosen = next(starved, next(iter(ready)))
        for urgency in ready:
            self._passed_over[urgency] += 1
        self._passed_over[chosen] = 0
        return self._take(self._lanes[chosen], ready[chosen])

    def demote(self) -> None:
        backlog = self._lanes[Urgency.BACKLOG]
        for lane, waiting in self._lanes[Urgency.FRESH].items():
            backlog.setdefault(lane, deque()).extend(waiting)
        self._lanes[Urgency.FRESH] = {}

    def _first(self, urgency: Urgency, usable: Callable[[str], bool]) -> str | None:
        return next((lane for lane, waiting in self._lanes[urgency].items() if usable(waiting[0].endpoint)), None)

    @staticmethod
    def _take(lanes: dict[str, deque[Errand]], lane: str) -> Errand:
        waiting = lanes.pop(lane)
        errand = waiting.popleft()
        if waiting:
            lanes[lane] = waiting
        return errand
