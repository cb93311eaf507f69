"""The judge of a kill run: a pure function over the three records, made outside of the gateway.

Each :class:`Kind` is one way to break a promise; the invariants I1 to I9 are those of assurance.md section 7. What a
plant was not told to have acknowledged may be anywhere or nowhere; everything else must be in its place exactly once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.core.message import ASSETS
from gateway.core.transaction import TERMINAL, TRANSITIONS, Event, State
from gateway.simulator.record import Arrival, Entry, Status
from tests.crash.records import JournalRecord, Kept, LedgerRecord, PlantRecord, Read, Sent

_STATUS_OF = {State.COMPLETED: Status.SUCCESS, State.FAILED: Status.FAILED}


class Kind(StrEnum):
    """What a violation breaks."""

    LOST = "acknowledged, and not in the journal"  # I1
    UNASKED = "in the journal, and no plant asked for it"  # I1
    DOUBLED = "two messages of one request"  # I1
    UNFINISHED = "not ended"  # I1, I10
    WRONG_END = "ended otherwise than it must"  # I1
    EFFECT_TWICE = "created twice at the SMP"  # I2
    SUBMITTED_TWICE = "one request under two submission ids"  # I2
    SPARED = "sent again although the SMP did not refuse it"  # I2
    REORDERED = "sent in another order than accepted"  # I3
    UNCOMMITTED = "sent without or before a commit"  # I4
    OTHER_BYTES = "sent with other bytes than committed"  # I4
    UNFOUNDED = "an outcome that the SMP does not know, or without its word"  # I5
    BAD_STEP = "a step that the table does not know"  # I6
    UNREAD = "acknowledged, and its plant read no result"  # I7
    READ_TWICE = "its plant read two results"  # I7
    READ_WRONG = "its plant read another state than the journal's"  # I7
    READ_OUT_OF_TURN = "a result number left out or repeated"  # I7
    UNFOLLOWED = "completed, and the unit that follows it was not made"  # I1
    UNIT_EARLY = "a unit that was sent before the SMP had its assets, or without them"  # I3
    FOREIGN = "one participant's data under another"  # I8


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken promise; ``detail`` says of what."""

    kind: Kind
    detail: str

    def __str__(self) -> str:
        return f"{self.kind.name}: {self.kind.value}: {self.detail}"


def check(plants: Sequence[PlantRecord], ledger: LedgerRecord, journal: JournalRecord) -> list[Violation]:
    """Every broken promise, in the order of the message's way; empty means that all were kept."""
    return [
        *_requests(plants, journal),
        *_results(plants, journal),
        *_units(plants, ledger, journal),
        *_submissions(journal, ledger),
        *_effects(ledger),
        *_order(journal, ledger),
        *_steps(journal),
        *_owners(plants, ledger, journal),
    ]


# ---------------------------------------------------------------- between plants and journal
def _requests(plants: Sequence[PlantRecord], journal: JournalRecord) -> Iterator[Violation]:
    asked = {(plant.site, each.sequence): each for plant in plants for each in plant.asked.values()}
    requests = [(message, message.sequence) for message in journal.messages if message.sequence is not None]
    kept = Counter((message.lane.site, sequence) for message, sequence in requests)
    for plant in plants:
        for sequence in sorted(plant.acknowledged):
            if not kept[plant.site, sequence]:
                yield Violation(kind=Kind.LOST, detail=f"{plant.site} {sequence}")
    for key, count in kept.items():
        if count > 1:
            yield Violation(kind=Kind.DOUBLED, detail=f"{key[0]} {key[1]}: {count} messages")
    for message, sequence in requests:
        request = asked.get((message.lane.site, sequence))
        if request is None:
            yield Violation(kind=Kind.UNASKED, detail=_named(message))
        elif message.state not in TERMINAL:
            yield Violation(kind=Kind.UNFINISHED, detail=f"{_named(message)} is {message.state}")
        elif message.state is not request.expected:
            yield Violation(kind=Kind.WRONG_END, detail=f"{_named(message)} is {message.state}, not {request.expected}")


def _results(plants: Sequence[PlantRecord], journal: JournalRecord) -> Iterator[Violation]:
    ends = {(each.lane.site, each.sequence): each.state for each in journal.messages if each.sequence is not None}
    for plant in plants:
        read: dict[int, list[Read]] = defaultdict(list)
        for result in plant.results:
            read[result.sequence].append(result)
        for sequence in sorted(plant.acknowledged - read.keys()):
            yield Violation(kind=Kind.UNREAD, detail=f"{plant.site} {sequence}")
        for sequence, results in read.items():
            if len(results) > 1:
                numbers = ", ".join(str(result.result_seq) for result in results)
                yield Violation(kind=Kind.READ_TWICE, detail=f"{plant.site} {sequence}: results {numbers}")
            for result in results:
                if result.state != ends.get((plant.site, sequence)):
                    yield Violation(kind=Kind.READ_WRONG, detail=f"{plant.site} {sequence}: {result.state}")
        for before, after in zip(plant.results, plant.results[1:], strict=False):
            if after.result_seq != before.result_seq % 0xFFFF + 1:  # it counts on, and skips 0
                detail = f"{plant.site}: {after.result_seq} after {before.result_seq}"
                yield Violation(kind=Kind.READ_OUT_OF_TURN, detail=detail)


# ---------------------------------------------------------------- units, which follow what a plant asked for
def _units(plants: Sequence[PlantRecord], ledger: LedgerRecord, journal: JournalRecord) -> Iterator[Violation]:
    by_id = {message.id: message for message in journal.messages}
    names = {plant.site: plant.unit for plant in plants if plant.unit is not None}
    units = [message for message in journal.messages if message.sequence is None]
    made = Counter(unit.follows for unit in units if unit.lane.message == names.get(unit.lane.site))
    for message in journal.messages:
        if message.sequence is not None and message.state is State.COMPLETED and message.lane.site in names:
            count = made[message.id]
            if count != 1:
                kind = Kind.DOUBLED if count else Kind.UNFOLLOWED
                yield Violation(kind=kind, detail=f"{_named(message)}: {count} units")
    there = _created_at(ledger)
    first = {arrival.submission: arrival.at for arrival in reversed(ledger.arrivals)}
    for unit in units:
        parent = by_id.get(unit.follows or "")
        if parent is None or parent.state is not State.COMPLETED or unit.lane.message != names.get(unit.lane.site):
            yield Violation(kind=Kind.UNASKED, detail=f"{_named(unit)} follows {parent and _named(parent)}")
            continue
        yield from _unit(unit, parent, there, first)
    yield from _one_of_each_name(units)


def _unit(
    unit: Kept, parent: Kept, there: Mapping[tuple[str, str], int], first: Mapping[str, int]
) -> Iterator[Violation]:
    """One unit beside the message that set it off: its assets are that one's, and they were there when it was sent."""
    if unit.state not in TERMINAL:
        yield Violation(kind=Kind.UNFINISHED, detail=f"{_named(unit)} is {unit.state}")
    elif unit.state not in _STATUS_OF:
        yield Violation(kind=Kind.WRONG_END, detail=f"{_named(unit)} is {unit.state}")
    assets = {name for each in parent.submissions for name in each.names}
    for sent in unit.submissions:
        if set(sent.aligned) != assets:
            yield Violation(kind=Kind.FOREIGN, detail=f"{_named(unit)} aligns other assets than {sorted(assets)}")
        for name in sent.aligned:
            created_at = there.get((unit.lane.participant, name))
            if sent.id in first and (created_at is None or created_at > first[sent.id]):
                yield Violation(kind=Kind.UNIT_EARLY, detail=f"{_named(unit)}: {name}")


def _created_at(ledger: LedgerRecord) -> Mapping[tuple[str, str], int]:
    """When the SMP created each asset, by participant and name."""
    return {
        (entry.participant, name): entry.completed_at
        for entry in ledger.entries
        if entry.kind == ASSETS and entry.completed_at is not None
        for name in entry.effects
    }


def _one_of_each_name(units: Sequence[Kept]) -> Iterator[Violation]:
    """The first unit of a name is created, every later one refused by the SMP because it is there."""
    there: set[tuple[str, str]] = set()
    for unit in units:
        for name in {name for sent in unit.submissions for name in sent.names}:
            key = (unit.lane.participant, name)
            expected = State.FAILED if key in there else State.COMPLETED
            there.add(key)
            if unit.state in _STATUS_OF and unit.state is not expected:
                yield Violation(kind=Kind.WRONG_END, detail=f"{_named(unit)} is {unit.state}, not {expected}")


# ---------------------------------------------------------------- between journal and SMP
def _submissions(journal: JournalRecord, ledger: LedgerRecord) -> Iterator[Violation]:
    sent = {submission.id: (message, submission) for message in journal.messages for submission in message.submissions}
    arrivals: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in ledger.arrivals:
        arrivals[arrival.submission].append(arrival)
    for ident, came in arrivals.items():
        if ident not in sent:
            yield Violation(kind=Kind.UNCOMMITTED, detail=f"submission {ident} is not in the journal")
        else:
            yield from _commits(sent[ident][1], came)
    known = {entry.submission: entry for entry in ledger.entries}
    for message in journal.messages:
        standing = [each for each in message.submissions if each.stands]
        if len(standing) > 1:
            yield Violation(kind=Kind.SUBMITTED_TWICE, detail=_named(message))
        for each in message.submissions:
            if not each.stands and each.id in known and known[each.id].status is not Status.FAILED:
                yield Violation(kind=Kind.SPARED, detail=f"{_named(message)}: submission {each.id}")
        yield from _outcome(message, [known[each.id] for each in standing if each.id in known])


def _commits(submission: Sent, arrivals: Sequence[Arrival]) -> Iterator[Violation]:
    """The n-th arrival needs n attempts on disk before it, and the very bytes."""
    for number, arrival in enumerate(arrivals, start=1):
        before = sum(at <= arrival.at for at in submission.committed)
        if before < number:
            detail = f"submission {submission.id}: arrival {number} after {before} commits"
            yield Violation(kind=Kind.UNCOMMITTED, detail=detail)
        if arrival.sha256 != submission.sha256:
            yield Violation(kind=Kind.OTHER_BYTES, detail=f"submission {submission.id}: arrival {number}")


def _outcome(message: Kept, entries: Sequence[Entry]) -> Iterator[Violation]:
    """What the journal says of the end is what the SMP says, and was learnt from it once."""
    status = _STATUS_OF.get(message.state)
    told = {entry.status for entry in entries}
    if status is not None and told != {status}:
        yield Violation(kind=Kind.UNFOUNDED, detail=f"{_named(message)} is {message.state}, the SMP has {sorted(told)}")
    if message.verdicts != (1 if status is not None else 0):
        yield Violation(kind=Kind.UNFOUNDED, detail=f"{_named(message)}: {message.verdicts} verdicts were applied")
    if message.state is State.REFUSED and entries:
        yield Violation(kind=Kind.UNFOUNDED, detail=f"{_named(message)} is refused, and the SMP has it")


def _effects(ledger: LedgerRecord) -> Iterator[Violation]:
    names = Counter((entry.participant, entry.kind, name) for entry in ledger.entries for name in entry.effects)
    for (participant, _, name), count in names.items():
        if count > 1:
            yield Violation(kind=Kind.EFFECT_TWICE, detail=f"{participant} {name}: {count} times")
    for submission, count in Counter(entry.submission for entry in ledger.entries).items():
        if count > 1:
            yield Violation(kind=Kind.EFFECT_TWICE, detail=f"submission {submission}: {count} transactions")


def _order(journal: JournalRecord, ledger: LedgerRecord) -> Iterator[Violation]:
    first: dict[str, int] = {}
    for arrival in ledger.arrivals:
        first.setdefault(arrival.submission, arrival.seq)
    last: dict[str, int] = {}
    for message in journal.messages:
        here = min((first[each.id] for each in message.submissions if each.id in first), default=None)
        if here is None:
            continue
        if here < last.get(str(message.lane), 0):
            yield Violation(kind=Kind.REORDERED, detail=f"{_named(message)} came before its predecessor")
        last[str(message.lane)] = here


# ---------------------------------------------------------------- within the journal, and between participants
def _steps(journal: JournalRecord) -> Iterator[Violation]:
    for message in journal.messages:
        here: State = State.RECEIVED
        for row in message.audit:
            if row.from_state is None or row.to_state is None:
                continue  # evidence that moved nothing
            known = row.event in set(Event) and TRANSITIONS.get((row.from_state, Event(row.event))) is row.to_state
            if not known or row.from_state is not here:
                detail = f"{_named(message)}: from {here}, {row.from_state} on {row.event} to {row.to_state}"
                yield Violation(kind=Kind.BAD_STEP, detail=detail)
            here = row.to_state
        if here is not message.state:
            yield Violation(
                kind=Kind.BAD_STEP, detail=f"{_named(message)} is {message.state}, its audit ends at {here}"
            )


def _owners(plants: Sequence[PlantRecord], ledger: LedgerRecord, journal: JournalRecord) -> Iterator[Violation]:
    owner = {plant.site: plant.participant for plant in plants}
    asked = {(plant.site, each.sequence): each.name for plant in plants for each in plant.asked.values()}
    of_submission: dict[str, str] = {}
    for message in journal.messages:
        of_submission |= {each.id: message.lane.participant for each in message.submissions}
        if owner.get(message.lane.site) != message.lane.participant:
            yield Violation(kind=Kind.FOREIGN, detail=f"{_named(message)} is kept for {message.lane.participant}")
        if message.sequence is None:
            continue  # a unit's own are compared with those of the message that it follows
        expected = asked.get((message.lane.site, message.sequence))
        if any(each.names != (expected,) for each in message.submissions):
            yield Violation(kind=Kind.FOREIGN, detail=f"{_named(message)} carries other assets than {expected}")
    for entry in ledger.entries:
        if entry.participant != of_submission.get(entry.submission, entry.participant):
            yield Violation(kind=Kind.FOREIGN, detail=f"{entry.transaction_id} was sent by {entry.participant}")
    for plant in plants:
        own = {each.name for each in plant.asked.values()}
        for entry in ledger.entries:
            if entry.participant != plant.participant and own & set(entry.effects):
                yield Violation(kind=Kind.FOREIGN, detail=f"{entry.participant} has an asset of {plant.site}")


def _named(message: Kept) -> str:
    if message.sequence is None:
        return f"{message.lane.site} {message.lane.message} after {message.follows}"
    return f"{message.lane.site} {message.sequence}"
