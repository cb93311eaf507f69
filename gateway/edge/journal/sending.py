"""What goes to the SMP: a message or a doubt is taken for sending, and what became of each attempt is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from gateway.core import division
from gateway.core.division import Fate
from gateway.core.message import Attempt, Hop, Lane, Message, Problem, Submission
from gateway.core.reconciliation import LATE_PAUSE_US
from gateway.core.record import Changed, Outgoing, Portion, Settlement, Waiting
from gateway.core.transaction import TRANSITIONS, Event, State
from gateway.edge.journal import attesting, intake, listing, moving, registry, rows, verdicts
from gateway.edge.journal.moving import Cause
from gateway.edge.journal.statements import Commit, Reading

_ALL = 2**31 - 1


def head(reading: Reading, lane: Lane, *, after_verdict: bool) -> tuple[Message, Submission | None] | None:
    """The message of a lane to send next, with its submission that fell back."""
    if listing.is_blocked(reading, lane, after_verdict=after_verdict):
        return None
    row = reading.one("first_accepted", lane=str(lane))
    if row is None:
        return None
    message = rows.message(row, rows.hops(reading.all("hops", message_id=row[0])))
    fallen_back = reading.one("fallen_back", message_id=message.id)
    return message, None if fallen_back is None else rows.submission(fallen_back)


def waiting(reading: Reading, lane: Lane, limit: int) -> Sequence[Waiting]:
    """The messages of a lane that could be sent together, oldest first: the first, and others up to ``limit`` rows."""
    found = []
    for ident, spans, alone in _queue(reading, lane, limit):
        (row,) = reading.all("message_by_id", id=ident)
        message = rows.message(row, {})
        found.append(Waiting(message_id=ident, kind=message.kind, content=message.content, rows=spans, alone=alone))
    return found


def _queue(reading: Reading, lane: Lane, limit: int) -> Iterator[tuple[str, tuple[range, ...], bool]]:
    """Id, unsent rows and whether it goes alone, of the messages at the head of a lane."""
    left = limit
    for ident, row_count, _ in reading.all("accepted_of_lane", lane=str(lane), limit=limit):
        parts = moving.parts_of_message(reading, ident)
        spans = division.unsent(row_count, parts)
        count = sum(map(len, spans))
        if not spans or (count > left < limit):  # it fell back and goes first; or it has no place beside the others
            return
        yield ident, spans, any(part.fate is Fate.ALONE for part in parts)
        left -= count


def take(
    commit: Commit, message_id: str, outgoing: Outgoing, waits_for_verdict: Callable[[Lane], bool]
) -> Submission | None:
    """Commit SENDING for the head of a lane; None when it is not that, or a not-after has passed."""
    row = commit.one("lane_of_message", id=message_id)
    if row is None:
        return None
    lane = Lane.parse(row[0])
    found = head(commit, lane, after_verdict=waits_for_verdict(lane))
    if found is None or found[0].id != message_id:
        return None
    message, earlier = found
    if earlier is not None and _is_late(commit, earlier.id):
        return None  # whichever of its messages is late leaves it with the next look at what expires
    if earlier is not None:
        return intake.send_again(commit, earlier, Cause(event=Event.TAKEN), outgoing.attempt)
    portions = outgoing.portions or tuple(
        Portion(message_id=message_id, rows=span) for span in moving.unsent(commit, message_id)
    )
    if not _may_go(commit, lane, portions):
        return None
    submission = intake.open_submission(commit, intake.blank_submission(message, outgoing), portions)
    going_out = attesting.going_out(submission)
    for ident in attesting.messages_of(commit, submission.id):
        moving.take_rows(commit, ident, submission.id, going_out)
    return submission


def _may_go(commit: Commit, lane: Lane, portions: Sequence[Portion]) -> bool:
    """Whether the portions are unsent rows of the first messages of a lane, in its order, none past its not-after."""
    wanted: dict[str, list[range]] = {}
    for portion in portions:
        wanted.setdefault(portion.message_id or "", []).append(portion.rows)
    found = commit.all("accepted_of_lane", lane=str(lane), limit=len(wanted))
    if [ident for ident, *_ in found] != list(wanted):
        return False
    for ident, row_count, not_after in found:
        spans = division.unsent(row_count, moving.parts_of_message(commit, ident))
        if not_after is not None and not_after <= commit.now:
            return False
        if not all(any(rows.start in span and rows.stop <= span.stop for span in spans) for rows in wanted[ident]):
            return False
    return True


def retake(commit: Commit, submission_id: str, event: Event, attempt: Attempt) -> Submission | None:
    """Commit SENDING for a submission in doubt; None when it is not, or its message's not-after has passed."""
    submission = moving.find(commit, submission_id)
    if (submission.state, event) not in TRANSITIONS:
        return None
    if _is_late(commit, submission_id):
        commit.run("postpone", id=submission_id, due_at=commit.now + LATE_PAUSE_US)
        return None
    return intake.send_again(commit, submission, Cause(event=event), attempt)


def _is_late(commit: Commit, submission_id: str) -> bool:
    """Whether the not-after of any message in a submission has passed."""
    row = commit.one("not_after_of_submission", submission_id=submission_id)
    return row is not None and row[0] is not None and row[0] <= commit.now


def settle(commit: Commit, submission_id: str, attempt: int, settlement: Settlement) -> Changed:
    """Store what became of an attempt; it moves the submission only if that still waits for this attempt."""
    submission = moving.find(commit, submission_id)
    _store_outcome(commit, submission, attempt, settlement)
    if submission.state is State.SENDING and submission.attempt.number == attempt:
        changed = moving.move_submission(commit, submission, _cause(attempt, settlement))
    else:
        changed = _keep(commit, submission, attempt, settlement)
    return verdicts.adopt_orphans(commit, submission_id, changed)


def _cause(attempt: int, settlement: Settlement) -> Cause:
    return Cause(
        event=settlement.event,
        detail=settlement.note,
        transaction_id=settlement.transaction_id,
        problems=settlement.problems,
        created=settlement.created,
        due_at=settlement.due_at,
        hops=settlement.hops,
        exhibits=attesting.answered(attempt, settlement),
    )


def _store_outcome(commit: Commit, submission: Submission, attempt: int, settlement: Settlement) -> None:
    commit.run(
        "settle_attempt",
        submission_id=submission.id,
        number=attempt,
        signature=settlement.signature,
        outcome=settlement.event,
        status=settlement.status,
        answer=settlement.answer,
        answer_signature=settlement.answer_signature,
        note=settlement.note,
    )
    sent_at = settlement.hops.get(Hop.SENT)
    if sent_at is not None and submission.first_sent_at is None:
        commit.run("first_sent", id=submission.id, at=sent_at)


def _keep(commit: Commit, submission: Submission, attempt: int, settlement: Settlement) -> Changed:
    """A verdict, a restart or a later attempt came first: the answer is evidence, and its transaction id is news."""
    if settlement.transaction_id is not None:
        moving.name_transaction(commit, submission.id, settlement.transaction_id)
    for message_id in attesting.messages_of(commit, submission.id):
        moving.record_hops(commit, message_id, settlement.hops)
    detail = settlement.note or "the answer came after the state had moved on"
    came = attesting.answered(attempt, settlement)
    attesting.audit_messages(commit, submission, settlement.event, detail=detail, exhibits=came)
    return moving.unmoved(commit, submission)


def expire(commit: Commit, now: int, is_ours: Callable[[Lane], bool]) -> Sequence[Changed]:
    """End what has waited for too long: messages past their not-after, what is left of some, units without assets."""
    late = [(ident, Lane.parse(lane)) for ident, lane in commit.all("expired_messages", now=now)]
    ended = [changed for ident, lane in late if is_ours(lane) for changed in _expire(commit, ident)]
    waits = [(ident, Lane.parse(lane)) for ident, lane in commit.all("expired_waits", now=now)]
    return [*ended, *(_stop_waiting(commit, ident, lane) for ident, lane in waits if is_ours(lane))]


def _stop_waiting(commit: Commit, message_id: str, lane: Lane) -> Changed:
    problem = Problem(code="wait_limit", message=registry.missing_of(commit, message_id, lane))
    return moving.move_message(
        commit, message_id, Cause(event=Event.WAIT_LIMIT, detail="it has waited for too long", problems=(problem,))
    )


def _expire(commit: Commit, message_id: str) -> Sequence[Changed]:
    detail = "its not-after has passed"
    problems = tuple(
        Problem(code="expired", message=f"rows {rows.start} to {rows.stop - 1} were not sent: {detail}")
        for rows in moving.left_over(commit, message_id)
    )
    changed = moving.move_unsent(commit, message_id, Cause(event=Event.NOT_AFTER, detail=detail, problems=problems))
    return [] if changed is None else [changed]


def restart(
    commit: Commit, environment: str | None = None, participant: str | None = None, *, limit: int = _ALL
) -> int:
    """Put submissions that were under way, of all or of one participant, into doubt, due at once; how many."""
    whose = {"environment": environment, "participant": participant}
    cause = Cause(event=Event.RESTARTED, detail="the gateway was restarted", due_at=commit.now)
    under_way = commit.all("sending_submissions", **whose, limit=limit)
    for (submission_id,) in under_way:
        moving.move_submission(commit, moving.find(commit, submission_id), cause)
    return len(under_way)
