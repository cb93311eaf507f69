"""What the SMP says in the end: callbacks and what the reconciler found, matched, applied or kept, in one transaction.

Rules
-----
* A callback belongs to a submission of the same environment and participant only; a foreign id counts as unknown.
* Both ids, where both are known, must mean the same submission; otherwise nothing is applied, and the submissions are
  asked about at once.
* The first verdict stands. The same again is REPEATED, another is a CONFLICT; both are kept and move nothing.
* A callback for a submission that no longer, or not yet, waits for one is an orphan: it is applied when its transaction
  id appears.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from gateway.core.callback import Callback
from gateway.core.message import Hops, Submission
from gateway.core.record import Changed, Disposition, Evidence, Poll, Received
from gateway.core.relay import CallbackRelay
from gateway.core.transaction import TERMINAL, TRANSITIONS, Event, State
from gateway.core.verdict import Verdict
from gateway.edge.journal import attesting, moving, rows
from gateway.edge.journal.moving import Cause
from gateway.edge.journal.statements import Commit, Reading
from gateway.edge.journal.suggestions import suggest

_ENDS: dict[Event, frozenset[State]] = {
    Event.SUCCESS: frozenset({State.COMPLETED}),
    Event.PARTIAL_SUCCESS: frozenset({State.PARTIAL}),
    # an answer that declined and a verdict of failure say the same: the SMP made nothing of it
    Event.FAILURE: frozenset({State.FAILED, State.REJECTED}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """Which submissions a callback's ids point at, and what becomes of it where that alone decides."""

    submissions: tuple[Submission, ...] = ()
    disposition: Disposition | None = None
    note: str = ""


# ---------------------------------------------------------------- callbacks
def receive(
    commit: Commit,
    evidence: Evidence,
    callback: Callback | None,
    fault: str | None,
    relays: Sequence[CallbackRelay] = (),
) -> Received:
    """Store a callback, with whatever it decides."""
    key = {"environment": evidence.environment, "issuer": evidence.issuer, "jti": evidence.jti}
    row = commit.one("callback_by_jti", **key)
    if row is not None:
        body, first, note = row
        if body != evidence.body:
            return Received(disposition=Disposition.REPLAYED, note="this jti is known with other bytes")
        return Received(disposition=Disposition.DUPLICATE, first=Disposition(first), note=note)
    match = _match(commit, evidence, callback)
    if fault is not None:
        _hasten(commit, match.submissions)
        match = replace(match, disposition=Disposition.QUARANTINED, note=fault)
    elif callback is None or callback.verdict is None:
        match = replace(match, disposition=Disposition.OTHER)
    if match.disposition is not None or callback is None or callback.verdict is None:
        if match.disposition is Disposition.CONFLICT:
            _hasten(commit, match.submissions)
        _store(commit, evidence, callback, match)
        if match.disposition is Disposition.ORPHAN:
            suggest(commit, evidence.environment, evidence.participant, jti=evidence.jti)
        for relay in relays if match.disposition is Disposition.OTHER else ():
            writes = rows.dump_writes(relay.write)
            commit.run("insert_callback_relay", **key, site=relay.site, connection=relay.connection, writes=writes)
        return Received(disposition=match.disposition or Disposition.OTHER, note=match.note)
    return _apply(commit, evidence, callback, callback.verdict, match)


def _apply(commit: Commit, evidence: Evidence, callback: Callback, verdict: Verdict, match: _Match) -> Received:
    """Apply a callback that belongs to exactly one submission, as far as that waits for one."""
    (submission,) = match.submissions
    disposition = _judge(submission, verdict)
    judged = replace(match, disposition=disposition, note=_note(submission, disposition))
    _store(commit, evidence, callback, judged)
    if disposition is Disposition.APPLIED:
        cause = replace(
            _cause(verdict, callback.transaction_id, evidence.hops, f"callback {evidence.jti}"),
            exhibits=attesting.called_back(evidence.issuer, evidence.jti, evidence.body, evidence.signature),
        )
        changed: Changed | None = moving.move_submission(commit, submission, cause)
    elif disposition is Disposition.ORPHAN:
        changed = None
    else:
        changed = moving.unmoved(commit, submission)
    return Received(disposition=disposition, changed=changed, note=judged.note)


def _match(reading: Reading, evidence: Evidence, callback: Callback | None) -> _Match:
    """Find the submissions that a callback's ids name."""
    if callback is None:
        return _Match()
    named = _named(reading, evidence, callback.submission_id)
    known = _of_transaction(reading, evidence, callback.transaction_id, besides={each.id for each in named})
    found = {each.id: each for each in (*named, *known)}
    submissions = tuple(found.values())
    if not submissions:
        return _Match(disposition=Disposition.ORPHAN, note="nothing is known of its ids yet")
    if len(submissions) > 1 or _contradicts(submissions[0], callback.submission_id, callback.transaction_id):
        return _Match(
            submissions=submissions,
            disposition=Disposition.CONFLICT,
            note="its submission id and its transaction id do not belong together",
        )
    return _Match(submissions=submissions)


def _named(reading: Reading, evidence: Evidence, submission_id: str | None) -> list[Submission]:
    if submission_id is None:
        return []
    row = reading.one("submission_by_id", id=submission_id)
    if row is None:
        return []
    submission = rows.submission(row)
    own = (submission.lane.environment, submission.lane.participant) == (evidence.environment, evidence.participant)
    return [submission] if own else []


def _of_transaction(
    reading: Reading, evidence: Evidence, transaction_id: str | None, *, besides: AbstractSet[str]
) -> list[Submission]:
    """The submissions with this transaction id that are not at hand already."""
    if transaction_id is None:
        return []
    found = reading.all(
        "submissions_by_transaction",
        transaction_id=transaction_id,
        environment=evidence.environment,
        participant=evidence.participant,
    )
    return [each for (ident,) in found if ident not in besides for each in _named(reading, evidence, ident)]


def _contradicts(submission: Submission, submission_id: str | None, transaction_id: str | None) -> bool:
    """Whether ids that led to this submission also say that another one is meant."""
    if submission_id is not None and submission_id != submission.id:
        return True
    return None not in (transaction_id, submission.transaction_id) and transaction_id != submission.transaction_id


def _judge(submission: Submission, verdict: Verdict) -> Disposition:
    if submission.state in TERMINAL:
        same = submission.state in _ENDS[verdict.event]
        return Disposition.REPEATED if same else Disposition.CONFLICT
    return Disposition.APPLIED if (submission.state, verdict.event) in TRANSITIONS else Disposition.ORPHAN


def _note(submission: Submission, disposition: Disposition) -> str:
    notes = {
        Disposition.APPLIED: "",
        Disposition.REPEATED: f"the submission is {submission.state} already",
        Disposition.CONFLICT: f"the submission is {submission.state} already, and that stands",
        Disposition.ORPHAN: f"the submission is {submission.state} and waits for no verdict",
    }
    return notes[disposition]


def _cause(verdict: Verdict, transaction_id: str | None, hops: Hops, detail: str) -> Cause:
    return Cause(
        event=verdict.event,
        actor=attesting.SMP,
        detail=detail,
        transaction_id=transaction_id,
        problems=verdict.problems,
        created=verdict.created,
        hops=hops,
    )


def _hasten(commit: Commit, submissions: Sequence[Submission]) -> None:
    for submission in submissions:
        commit.run("hasten", id=submission.id)


def _store(commit: Commit, evidence: Evidence, callback: Callback | None, match: _Match) -> None:
    submission = match.submissions[0] if len(match.submissions) == 1 else None
    disposition = match.disposition or Disposition.OTHER
    commit.run(
        "insert_callback",
        environment=evidence.environment,
        issuer=evidence.issuer,
        jti=evidence.jti,
        participant=evidence.participant,
        body=evidence.body,
        signature=evidence.signature,
        received_at=evidence.received_at,
        hops=rows.dump_hops(evidence.hops),
        disposition=disposition,
        note=match.note,
        transaction_id=None if callback is None else callback.transaction_id,
        named_submission=None if callback is None else callback.submission_id,
        verdict=None if callback is None else rows.dump_verdict(callback.verdict),
        submission_id=None if submission is None else submission.id,
        message_id=None if submission is None else submission.message_id,
    )
    if evidence.key is not None:
        commit.run("insert_public_key", environment=evidence.environment, owner=evidence.issuer, jwk=evidence.key)
    if disposition is not Disposition.APPLIED:
        attesting.audit_callback(commit, evidence, submission, disposition, match.note)


# ---------------------------------------------------------------- orphans
def adopt_orphans(commit: Commit, submission_id: str, changed: Changed) -> Changed:
    """Judge the callbacks that came before this submission's transaction id; the first one may decide its state.

    Without a transaction id nothing is adopted, and ``changed`` comes back as it is.
    """
    submission = moving.find(commit, submission_id)
    if submission.transaction_id is None or submission.state is State.ACCEPTED:
        return changed
    orphans = commit.all(
        "orphans",
        environment=submission.lane.environment,
        participant=submission.lane.participant,
        transaction_id=submission.transaction_id,
        submission_id=submission.id,
    )
    for issuer, jti, hops, transaction_id, named, text, body, signature in orphans:
        verdict, came = rows.load_verdict(text), attesting.called_back(issuer, jti, body, signature)
        disposition = (
            Disposition.CONFLICT if _contradicts(submission, named, transaction_id) else _judge(submission, verdict)
        )
        commit.run(
            "adopt_callback",
            environment=submission.lane.environment,
            issuer=issuer,
            jti=jti,
            disposition=disposition,
            note="it came before its transaction id",
            submission_id=submission.id,
            message_id=submission.message_id,
        )
        if disposition is Disposition.APPLIED:
            cause = _cause(verdict, None, rows.load_hops(hops), f"callback {jti}, which had come early")
            decided = moving.move_submission(commit, submission, replace(cause, exhibits=came))
            changed = replace(decided.after(changed), applied_orphan=True)
            submission = replace(submission, state=TRANSITIONS[submission.state, verdict.event])
        else:
            detail = f"callback {jti}, which had come early"
            event = f"callback_{disposition}"
            attesting.audit_messages(commit, submission, event, actor=attesting.SMP, detail=detail, exhibits=came)
    return changed


# ---------------------------------------------------------------- the reconciler
def resolve(commit: Commit, submission_id: str, cause: Cause, poll: Poll | None) -> Changed:
    """Store what was found out about a submission; a step that the table does not know is kept as evidence."""
    submission = moving.find(commit, submission_id)
    if poll is not None:
        cause = replace(cause, exhibits=attesting.keep_poll(commit, submission, poll))
    if (submission.state, cause.event) in TRANSITIONS:
        changed = moving.move_submission(commit, submission, cause)
        if cause.event is Event.DOUBT_DEADLINE:
            suggest(commit, submission.lane.environment, submission.lane.participant)
    else:
        changed = moving.unmoved(commit, submission)
        if cause.transaction_id is not None:
            moving.name_transaction(commit, submission.id, cause.transaction_id)
        if cause.due_at is not None:
            commit.run("postpone", id=submission.id, due_at=cause.due_at)
        attesting.audit_messages(
            commit, submission, cause.event, actor=cause.actor, detail=cause.detail, exhibits=cause.exhibits
        )
    return adopt_orphans(commit, submission.id, changed)
