"""The one place where a state changes: table, row, audit, hops and relays, all inside the caller's transaction.

What must always hold
---------------------
* No state is written that `core.transaction.advance` (or `combine`, for a message of several parts) did not name.
* Entering a state makes its relay rows in the same commit; a terminal one takes the place of what it overtook there.
* A result sequence is fixed when its relay is made, as soon as the mailbox's counter is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core import division
from gateway.core.division import Fate, Part
from gateway.core.evidence import NOTHING, Exhibits
from gateway.core.message import Created, Hop, Hops, Problem, Submission
from gateway.core.record import Changed
from gateway.core.transaction import TERMINAL, Event, State, advance, combine
from gateway.edge.journal import owing, registry, rows
from gateway.edge.journal.attesting import GATEWAY, audit, completed, messages_of
from gateway.edge.journal.registry import Consequence
from gateway.edge.journal.rows import Standing
from gateway.edge.journal.statements import Commit, Reading
from gateway.errors import JournalError

# With these the SMP made nothing of a submission, on account of what its problems say.
_REFUSALS = frozenset({Event.DECLINED, Event.FAILURE})


# Why a message of a restored backup is parked.
UNSURE = "restored from a backup: it may have gone to the SMP since; compare, then let it go or refuse it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why something moves, and what it brings: rows of ``problems`` count within the submission.

    ``exhibits`` is what the audit attests of it.
    """

    event: Event
    actor: str = GATEWAY
    detail: str = ""
    transaction_id: str | None = None
    problems: tuple[Problem, ...] = ()
    created: tuple[Created, ...] = ()
    due_at: int | None = None
    hops: Hops = field(default_factory=dict)
    exhibits: Exhibits = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One step of a submission: where it leads, why, and whose rows it takes along."""

    submission: Submission
    after: State
    cause: Cause
    parts: Sequence[Part]


def find(reading: Reading, submission_id: str) -> Submission:
    """One submission.

    Raises:
        JournalError: there is none of this id; always our own fault.
    """
    row = reading.one("submission_by_id", id=submission_id)
    if row is None:
        raise JournalError(f"no submission {submission_id}")
    return rows.submission(row)


def move_submission(commit: Commit, submission: Submission, cause: Cause, *, only: str | None = None) -> Changed:
    """Move a submission and every message it carries.

    The SMP's refusal spares rows that it does not concern, and an end that is ``only`` one message's spares the others:
    they are back in ACCEPTED then (core/division.py).

    Raises:
        TransitionRefused: the table knows no such step.
    """
    after = advance(submission.state, cause.event)
    transaction_id = submission.transaction_id or cause.transaction_id
    commit.must(
        "move_submission", id=submission.id, state=after, due_at=cause.due_at, transaction_id=cause.transaction_id
    )
    parts = parts_of(commit, submission.id)
    messages = {part.message_id: _standing(commit, part.message_id) for part in parts}
    located = cause
    if cause.problems or transaction_id != cause.transaction_id:
        located = replace(cause, transaction_id=transaction_id, problems=division.located(cause.problems, parts))
    fates = _fates(parts, messages, located, only)
    step = _Step(submission=submission, after=after, cause=located, parts=parts)
    moved = [_move_part(commit, message, step, fates.get(message.id, ())) for message in messages.values()]
    if len(moved) == 1:
        return moved[0]
    first, *others = (each for changed in moved for each in _each(changed))
    return replace(first, others=tuple(others))


def parts_of(reading: Reading, submission_id: str) -> Sequence[Part]:
    """The parts of a submission in the order of its rows; there is always one."""
    return [rows.part(row) for row in reading.all("parts_of_submission", submission_id=submission_id)]


def _fates(
    parts: Sequence[Part], messages: Mapping[str, Standing], cause: Cause, only: str | None
) -> Mapping[str, Sequence[Part]]:
    """The parts, by message, whose rows fare otherwise than the submission."""
    if only is not None:
        return {ident: division.released(parts, ident, Fate.AGAIN) for ident in messages if ident != only}
    if cause.event in _REFUSALS:
        return division.refused(parts, cause.problems, {each.id: each.salvage for each in messages.values()})
    if cause.event is Event.PARTIAL_SUCCESS and len(messages) > 1:
        return division.partly(parts, cause.created, messages)
    return {}


def _store_fates(commit: Commit, submission_id: str, parts: Sequence[Part]) -> None:
    if parts:
        commit.run("delete_parts", submission_id=submission_id, message_id=parts[0].message_id)
    for part in parts:
        insert_part(commit, submission_id, part)


def insert_part(commit: Commit, submission_id: str, part: Part) -> None:
    """Store which rows of a message a submission carries, and where."""
    commit.run(
        "insert_part",
        submission_id=submission_id,
        message_id=part.message_id,
        first_row=part.rows.start,
        row_count=len(part.rows),
        first_in_submission=part.offset,
        names=rows.dump_names(part.names),
        fate=part.fate,
    )


def _move_part(commit: Commit, message: Standing, step: _Step, fates: Sequence[Part]) -> Changed:
    """Move one message with its submission; rows that were spared are a step of their own.

    What was created is registered first, so that only the rest has failed when the message ends with it.
    """
    _store_fates(commit, step.submission.id, fates)
    before, cause = step.submission.state, step.cause
    spared = any(part.fate is not None and part.fate.released for part in fates)
    ended = not spared or any(part.fate is None for part in fates)
    if ended:
        end = step.after if spared or not fates else division.state_of(fates[0], step.after)
        _audit_step(commit, message, step, cause, end)
    if spared:
        release = replace(cause, event=Event.RELEASED, detail=f"{cause.event} for other rows' sake: they go again")
        _audit_step(commit, message, step, release, advance(before, release.event))
    if ended and step.after in TERMINAL:
        own = [part for part in step.parts if part.message_id == message.id]
        size = sum(len(part.rows) for part in step.parts)
        problems = division.own_problems(cause.problems, own, size=size)
        created = division.own_created(cause.created, own, merged=len(own) < len(step.parts))
        message = replace(message, problems=(*message.problems, *problems), created=(*message.created, *created))
        served = spread(commit, _created(commit, message, step, fates or own, created))
        changed = _enter(commit, message, cause)
        return replace(changed, others=(*served, *changed.others))
    return _enter(commit, message, cause)


def _created(
    commit: Commit, message: Standing, step: _Step, parts: Sequence[Part], results: Sequence[Created]
) -> Sequence[Consequence]:
    """Register what this end of a submission created for a message: whole parts, or what the SMP names."""
    ends = [
        (part, division.state_of(part, step.after)) for part in parts if part.fate is None or not part.fate.released
    ]
    whole = [part.rows for part, end in ends if end is State.COMPLETED]
    named = results if any(end in {State.COMPLETED, State.PARTIAL} for _, end in ends) else ()
    return registry.created(commit, message.id, message.lane, whole, named)


def _audit_step(commit: Commit, message: Standing, step: _Step, cause: Cause, after: State) -> None:
    audit(
        commit,
        message.lane,
        message.id,
        cause.event,
        step=(step.submission.state, after),
        submission_id=step.submission.id,
        actor=cause.actor,
        detail=cause.detail,
        exhibits=cause.exhibits,
    )


def move_message(commit: Commit, message_id: str, cause: Cause) -> Changed:
    """Move the rows of a message that no submission carries: all of them, where it was not sent yet.

    Raises:
        TransitionRefused: the table knows no such step.
    """
    message = _standing(commit, message_id)
    after = advance(message.rest, cause.event)
    audit(
        commit,
        message.lane,
        message_id,
        cause.event,
        step=(message.rest, after),
        actor=cause.actor,
        detail=cause.detail,
        exhibits=cause.exhibits,
    )
    ended = cause.problems if after in TERMINAL else ()
    return _enter(commit, replace(message, rest=after, problems=(*message.problems, *ended)), cause)


def move_unsent(commit: Commit, message_id: str, cause: Cause) -> Changed | None:
    """Move what the SMP has nothing of: submissions that fell back, without others' rows, and rows in none.

    None when the SMP may have all of it.
    """
    rest = unsent(commit, message_id)
    first = replace(cause, problems=()) if rest else cause  # its problems are told once
    moved = [
        move_submission(commit, rows.submission(row), first, only=message_id)
        for row in commit.all("fallen_back", message_id=message_id)
    ]
    if rest:
        moved.append(move_message(commit, message_id, cause))
    changed = [own for each in moved for own in each.all if own.message_id == message_id]
    others = [other for each in moved for other in each.all if other.message_id != message_id]
    if not changed:
        return None
    relays = frozenset(connection for each in changed for connection in each.relays)
    return replace(changed[-1], before=changed[0].before, relays=relays, others=tuple(others))


def unsent(reading: Reading, message_id: str) -> tuple[range, ...]:
    """The rows of a message that no submission carries, or that go again."""
    message = _standing(reading, message_id)
    return division.unsent(message.rows, parts_of_message(reading, message_id))


def left_over(reading: Reading, message_id: str) -> Sequence[range]:
    """The unsent rows of a message of which other rows were sent; none when the SMP has nothing of it."""
    message = _standing(reading, message_id)
    parts = [part for part, state in _standing_parts(reading, message_id) if state is not State.ACCEPTED]
    return division.unsent(message.rows, parts) if parts else ()


def parts_of_message(reading: Reading, message_id: str) -> Sequence[Part]:
    """Which rows of a message stand in submissions, or did."""
    return [rows.part(row) for row in reading.all("parts_of_message", message_id=message_id)]


def _standing(reading: Reading, message_id: str) -> Standing:
    (row,) = reading.all("message_to_move", id=message_id)
    return rows.standing(row)


def _whole(reading: Reading, message: Standing) -> State:
    """What the rows in submissions and the others add up to."""
    standing = _standing_parts(reading, message.id)
    states = [division.state_of(part, state) for part, state in standing]
    if not states or division.unsent(message.rows, (part for part, _ in standing)):
        states.append(message.rest)
    return combine(states)


def _standing_parts(reading: Reading, message_id: str) -> Sequence[tuple[Part, State]]:
    """The parts of a message that count, each with the state of its submission."""
    found = [(rows.part(row), State(row[6])) for row in reading.all("parts_of_message", message_id=message_id)]
    return [(part, state) for part, state in found if part.fate is None or not part.fate.released]


def _enter(commit: Commit, message: Standing, cause: Cause) -> Changed:
    """Write a message in the state that its rows add up to now, with the relays that entering it makes."""
    state = _whole(commit, message)
    commit.must(
        "update_message",
        id=message.id,
        state=state,
        rest=message.rest,
        problems=rows.dump_problems(message.problems),
        created=rows.dump_created(message.created),
        transaction_id=cause.transaction_id,
    )
    hops = dict(cause.hops)
    moved = state is not message.state
    if moved and state in TERMINAL:
        hops[Hop.SETTLED] = commit.now
    record_hops(commit, message.id, hops)
    relays = owing.make_relays(commit, message.lane, message.id, message.rules, state) if moved else frozenset()
    others, sequels = end(commit, message.id) if moved and state in TERMINAL else ((), False)
    if moved and message.state is State.WAITING:
        commit.run("delete_needs", message_id=message.id)
    return Changed(
        message_id=message.id,
        lane=message.lane,
        state=state,
        before=message.state,
        moved=moved,
        relays=relays,
        sequels=sequels,
        others=others,
    )


def end(commit: Commit, message_id: str) -> tuple[tuple[Changed, ...], bool]:
    """What follows for others from the end of a message; and whether that sets messages of its site off."""
    consequences, sequels = registry.ended(commit, message_id)
    return spread(commit, consequences), sequels


def spread(commit: Commit, consequences: Sequence[Consequence]) -> tuple[Changed, ...]:
    """Move the messages that this commit has consequences for, and those that follow in turn."""
    causes = (
        (
            each.message_id,
            Cause(
                event=each.event,
                detail=each.detail,
                problems=each.problems,
                exhibits=completed(commit, each.message_id, each.event),
            ),
        )
        for each in consequences
    )
    return tuple(each for message_id, cause in causes for each in _go_on(commit, message_id, cause))


def _go_on(commit: Commit, message_id: str, cause: Cause) -> Iterator[Changed]:
    """Move a message and what follows; one of a restored backup does not go out by itself."""
    changed = move_message(commit, message_id, cause)
    yield from _each(changed)
    if changed.state is State.ACCEPTED and commit.one("unsure", message_id=message_id) is not None:
        yield from _each(move_message(commit, message_id, Cause(event=Event.POISON, detail=UNSURE)))


def _each(changed: Changed) -> tuple[Changed, ...]:
    """A change and its others, each by itself and with none."""
    return (replace(changed, others=()), *changed.others) if changed.others else (changed,)


def take_rows(commit: Commit, message_id: str, submission_id: str, exhibits: Exhibits) -> None:
    """Move a message whose rows a new submission carries."""
    message, event = _standing(commit, message_id), Event.TAKEN
    step = (State.ACCEPTED, advance(State.ACCEPTED, event))
    audit(commit, message.lane, message_id, event, step=step, submission_id=submission_id, exhibits=exhibits)
    _enter(commit, message, Cause(event=event))


def unmoved(commit: Commit, submission: Submission) -> Changed:
    """What a commit tells that only added evidence."""
    message = _standing(commit, submission.message_id)
    return Changed(message_id=message.id, lane=message.lane, state=message.state, moved=False)


def name_transaction(commit: Commit, submission_id: str, transaction_id: str) -> None:
    """Keep a transaction id that came without a step; the first one stands."""
    commit.run("name_transaction", id=submission_id, transaction_id=transaction_id)
    for message_id in messages_of(commit, submission_id):
        commit.run("name_transaction_of_message", id=message_id, transaction_id=transaction_id)


def record_hops(commit: Commit, message_id: str, hops: Hops) -> None:
    """Keep when a message passed its stations; the first time stands."""
    commit.hops.extend((message_id, hop, at) for hop, at in hops.items())
