"""The one place where a state changes: table, row, audit, hops and relays, all inside the caller's transaction.

What must always hold
---------------------
* No state is written that `core.transaction.advance` (or `combine`, for a message of several parts) did not name.
* Entering a state makes its relay rows in the same commit; a terminal one takes the place of what it overtook there.
* A result sequence is fixed when its relay is made, as soon as the mailbox's counter is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.core.mailbox import next_result_seq
from gateway.core.message import Created, Hop, Hops, Lane, Problem, Submission
from gateway.core.record import Changed
from gateway.core.relay import RelayRule, due
from gateway.core.transaction import TERMINAL, Event, State, advance, combine
from gateway.edge.journal import rows
from gateway.edge.journal.rows import Part
from gateway.edge.journal.statements import Commit, Reading
from gateway.errors import JournalError

GATEWAY = "gateway"  # the actor of everything that no person did
SMP = "smp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why something moves, and what it brings: rows of ``problems`` count within the submission."""

    event: Event
    actor: str = GATEWAY
    detail: str = ""
    transaction_id: str | None = None
    problems: tuple[Problem, ...] = ()
    created: tuple[Created, ...] = ()
    due_at: int | None = None
    hops: Hops = field(default_factory=dict)


def find(reading: Reading, submission_id: str) -> Submission:
    """One submission.

    Raises:
        JournalError: there is none of this id; always our own fault.
    """
    row = reading.one("submission_by_id", id=submission_id)
    if row is None:
        raise JournalError(f"no submission {submission_id}")
    return rows.submission(row)


def move_submission(commit: Commit, submission: Submission, cause: Cause) -> Changed:
    """Move a submission and every message it carries; the answer tells of the first one.

    Raises:
        TransitionRefused: the table knows no such step.
    """
    after = advance(submission.state, cause.event)
    commit.must(
        "move_submission",
        id=submission.id,
        state=after,
        due_at=cause.due_at,
        transaction_id=cause.transaction_id,
    )
    moved = [_move_part(commit, rows.part(row), submission, after, cause) for row in parts_of(commit, submission.id)]
    return moved[0]


def parts_of(commit: Commit, submission_id: str) -> Sequence[tuple[object, ...]]:
    """The rows of a submission's messages, oldest message first; there is always one."""
    return commit.all("parts_of_submission", submission_id=submission_id)


def _move_part(commit: Commit, part: Part, submission: Submission, after: State, cause: Cause) -> Changed:
    states = [State(row[0]) for row in commit.all("part_states", message_id=part.message_id)]
    audit(
        commit,
        part.lane,
        part.message_id,
        cause.event,
        step=(submission.state, after),
        submission_id=submission.id,
        actor=cause.actor,
        detail=cause.detail,
    )
    return _enter(commit, part, combine(states), cause, ended=after in TERMINAL)


def move_message(commit: Commit, message_id: str, cause: Cause) -> Changed:
    """Move a message that has no submission.

    Raises:
        TransitionRefused: the table knows no such step.
    """
    (row,) = commit.all("message_to_move", id=message_id)
    part = rows.part(row)
    after = advance(part.state, cause.event)
    audit(
        commit,
        part.lane,
        message_id,
        cause.event,
        step=(part.state, after),
        actor=cause.actor,
        detail=cause.detail,
    )
    return _enter(commit, part, after, cause, ended=after in TERMINAL)


def _enter(commit: Commit, part: Part, state: State, cause: Cause, *, ended: bool) -> Changed:
    commit.must(
        "update_message",
        id=part.message_id,
        state=state,
        problems=rows.dump_problems((*part.problems, *part.own(cause.problems)) if ended else part.problems),
        created=rows.dump_created((*part.created, *cause.created) if ended else part.created),
        transaction_id=cause.transaction_id,
    )
    hops = dict(cause.hops)
    moved = state is not part.state
    if moved and state in TERMINAL:
        hops[Hop.SETTLED] = commit.now
    record_hops(commit, part.message_id, hops)
    relays = make_relays(commit, part.lane, part.message_id, part.rules, state) if moved else frozenset()
    return Changed(
        message_id=part.message_id, lane=part.lane, state=state, before=part.state, moved=moved, relays=relays
    )


def unmoved(commit: Commit, submission: Submission) -> Changed:
    """What a commit tells that only added evidence."""
    (row, *_) = parts_of(commit, submission.id)
    part = rows.part(row)
    return Changed(message_id=part.message_id, lane=part.lane, state=part.state, moved=False)


def name_transaction(commit: Commit, submission_id: str, message_id: str, transaction_id: str) -> None:
    """Keep a transaction id that came without a step; the first one stands."""
    commit.run("name_transaction", id=submission_id, transaction_id=transaction_id)
    commit.run("name_transaction_of_message", id=message_id, transaction_id=transaction_id)


def record_hops(commit: Commit, message_id: str, hops: Hops) -> None:
    """Keep when a message passed its stations; the first time stands."""
    for hop, at in hops.items():
        commit.run("insert_hop", message_id=message_id, hop=hop, at=at)


def audit(
    commit: Commit,
    lane: Lane,
    message_id: str | None,
    event: str,
    *,
    step: tuple[State, State] | None = None,
    submission_id: str | None = None,
    actor: str = GATEWAY,
    detail: str = "",
) -> None:
    """Write one audit row; without a ``step`` it is evidence that moved nothing."""
    before, after = step if step is not None else (None, None)
    commit.run(
        "insert_audit",
        environment=lane.environment,
        participant=lane.participant,
        message_id=message_id,
        submission_id=submission_id,
        actor=actor,
        event=event,
        from_state=before,
        to_state=after,
        detail=detail,
    )


# ---------------------------------------------------------------- relays
def make_relays(
    commit: Commit, lane: Lane, message_id: str, rules: Sequence[RelayRule], state: State
) -> frozenset[str]:
    """Make the relay rows of a message that entered ``state``, and name their connections."""
    set_off = due(rules, state)
    if set_off and state in TERMINAL:
        _supersede(commit, message_id, set_off)
    for rule in set_off:
        commit.run(
            "insert_relay",
            message_id=message_id,
            participant=lane.participant,
            site=lane.site,
            connection=rule.connection,
            rule=rows.dump_rule(rule),
            event=state,
            result_seq=_result_seq(commit, lane.site, rule, state),
        )
    return frozenset(rule.connection for rule in set_off)


def _supersede(commit: Commit, message_id: str, rules: Sequence[RelayRule]) -> None:
    for relay_id, event, text in commit.all("pending_relays_of_message", message_id=message_id):
        if State(event) in TERMINAL:
            continue
        (pending,) = rows.load_rules(f"[{text}]")
        if any(_covers(rule, pending) for rule in rules):
            commit.run("supersede_relay", id=relay_id)


def _covers(rule: RelayRule, pending: RelayRule) -> bool:
    """Whether ``rule`` writes everything that ``pending`` would have written."""
    if rule.connection != pending.connection:
        return False
    if pending.mailbox is not None:
        return rule.mailbox == pending.mailbox
    if pending.reply is not None:
        return rule.reply == pending.reply
    return rule.mailbox is None and rule.reply is None and _points(pending.write) <= _points(rule.write)


def _points(write: Mapping[str, object]) -> frozenset[str]:
    return frozenset(write)


def _result_seq(commit: Commit, site: str, rule: RelayRule, state: State) -> int | None:
    if rule.mailbox is None or state is State.AWAITING:
        return None
    row = commit.one("mailbox_position", site=site, mailbox=rule.mailbox)
    if row is None or row[3] is None:
        return None
    return take_result_seq(commit, site, rule.mailbox, row[3])


def take_result_seq(commit: Commit, site: str, mailbox: str, previous: int) -> int:
    """Use the next result sequence of a mailbox."""
    result_seq = next_result_seq(previous)
    commit.run("set_result_seq", site=site, mailbox=mailbox, result_seq=result_seq)
    return result_seq
