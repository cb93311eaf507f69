"""Which rows of which message a submission carries, and what its verdict means to each of them.

Rules
-----
* A refused submission made nothing of any row, because the SMP is atomic. What its errors name has ended. The rest of
  the same message ends with it, unless the message asks for ``salvage``; then its other rows go again. A message that
  no error names goes again.
* Where no error names a row, one message alone has ended; of several nobody knows whose fault it was, so each goes
  again by itself.
* It ends, because each refusal ends a row at least, or sets messages apart that are never merged again.
* A row stands in one part at most: parts that go again do not count, and no other part has their rows meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.core.message import Created, Problem
from gateway.core.transaction import State


class Fate(StrEnum):
    """What became of a part where that is not what became of its submission."""

    AGAIN = "again"  # the rows go again
    ALONE = "alone"  # they go again, never merged
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"

    @property
    def released(self) -> bool:
        """Whether the rows wait to be sent as if they had not been."""
        return self in {Fate.AGAIN, Fate.ALONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Consecutive rows of one message as a submission carries them: there from row ``offset`` on.

    ``names`` are the rows' names, kept only where a submission carries several messages.
    """

    message_id: str
    rows: range
    offset: int
    names: tuple[str, ...] = ()
    fate: Fate | None = None

    @property
    def places(self) -> range:
        """The same rows, counted in the submission."""
        return range(self.offset, self.offset + len(self.rows))

    def own_row(self, place: int) -> int:
        """A row of the submission, counted in the message."""
        return self.rows.start + place - self.offset


# ---------------------------------------------------------------- what a message adds up to
def unsent(rows: int, parts: Iterable[Part]) -> tuple[range, ...]:
    """The rows of a message that no part stands for, as consecutive pieces in order."""
    pieces: list[range] = []
    at = 0
    for first, after in sorted((p.rows.start, p.rows.stop) for p in parts if p.fate is None or not p.fate.released):
        if first > at:
            pieces.append(range(at, first))
        at = max(at, after)
    return (*pieces, range(at, rows)) if at < rows else tuple(pieces)


def state_of(part: Part, submission: State) -> State:
    """Where the rows of a part are, once their submission is there."""
    return submission if part.fate is None else State(part.fate)


# ---------------------------------------------------------------- whom a verdict concerns
def located(problems: Iterable[Problem], parts: Sequence[Part]) -> tuple[Problem, ...]:
    """Give a problem that tells only a name the row of that name, where the parts know it."""
    places = {name: place for part in parts for name, place in zip(part.names, part.places, strict=False)}
    return tuple(
        problem if problem.row is not None else replace(problem, row=places.get(problem.ref or ""))
        for problem in problems
    )


def own_problems(problems: Iterable[Problem], own: Sequence[Part], *, size: int) -> tuple[Problem, ...]:
    """The problems that concern one message, counted in its own rows; ``size`` is the submission's number of rows.

    A row that the submission does not have is the SMP's mistake: it is shown as it is where rows count alike here and
    there, else as a problem of everybody without a row.
    """
    alike = len(own) == 1 and own[0].rows.start == 0 and len(own[0].rows) == size
    found = []
    for problem in problems:
        part = next((each for each in own if problem.row is not None and problem.row in each.places), None)
        if part is not None and problem.row is not None:
            found.append(replace(problem, row=part.own_row(problem.row)))
        elif problem.row is None or problem.row >= size:
            found.append(problem if alike else replace(problem, row=None))
    return tuple(found)


def own_created(created: Iterable[Created], own: Sequence[Part], *, merged: bool) -> tuple[Created, ...]:
    """What the SMP created for one message."""
    names = {name for part in own for name in part.names}
    return tuple(each for each in created if not merged or each.ref in names)


def refused(
    parts: Sequence[Part], problems: Sequence[Problem], salvaging: Mapping[str, bool]
) -> Mapping[str, tuple[Part, ...]]:
    """The parts of those messages for which a refusal is not the end, cut where some rows have ended and others not.

    ``problems`` are located; ``salvaging`` says of each message whether it asks for salvage.
    """
    named = {problem.row for problem in problems}
    blamed = any(place in named for part in parts for place in part.places)
    if not blamed:
        again = Fate.ALONE if len(salvaging) > 1 else None
        return {} if again is None else {ident: _all(parts, ident, again) for ident in salvaging}
    spared = {}
    for ident, salvage in salvaging.items():
        own = [part for part in parts if part.message_id == ident]
        bad = sum(place in named for part in own for place in part.places)
        if not bad:
            spared[ident] = _all(parts, ident, Fate.AGAIN)
        elif salvage and bad < sum(len(part.rows) for part in own):
            spared[ident] = tuple(piece for part in own for piece in _cut(part, named))
    return spared


def partly(
    parts: Sequence[Part], created: Iterable[Created], messages: Iterable[str]
) -> Mapping[str, tuple[Part, ...]]:
    """How a partial success of a merged submission ended for each message, by what was created."""
    there = {each.ref for each in created}
    ends = {}
    for ident in messages:
        names = [name for part in parts if part.message_id == ident for name in part.names]
        made = sum(name in there for name in names)
        fate = Fate.COMPLETED if made == len(names) else Fate.PARTIAL if made else Fate.FAILED
        ends[ident] = _all(parts, ident, fate)
    return ends


def released(parts: Sequence[Part], message_id: str, fate: Fate) -> tuple[Part, ...]:
    """All parts of a message, given back."""
    return _all(parts, message_id, fate)


def _all(parts: Sequence[Part], message_id: str, fate: Fate) -> tuple[Part, ...]:
    return tuple(replace(part, fate=fate) for part in parts if part.message_id == message_id)


def _cut(part: Part, named: set[int | None]) -> list[Part]:
    """Pieces of a part that alternate between rows which have ended and rows which go again."""
    starts = [place for place in part.places if place == part.offset or (place in named) != (place - 1 in named)]
    pieces = []
    for start, stop in zip(starts, [*starts[1:], part.places.stop], strict=True):
        first, here = start - part.offset, stop - part.offset
        pieces.append(
            Part(
                message_id=part.message_id,
                rows=part.rows[first:here],
                offset=start,
                names=part.names[first:here],
                fate=None if start in named else Fate.AGAIN,
            )
        )
    return pieces
