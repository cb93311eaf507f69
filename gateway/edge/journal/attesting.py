"""What commands add to the chain of evidence: one entry for each step, and for what moved nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core import evidence
from gateway.core.evidence import NOTHING, Entry, Exhibits
from gateway.core.message import Draft, Hop, Lane, Submission
from gateway.core.record import Disposition, Evidence, Poll, Settlement
from gateway.core.transaction import Event, State
from gateway.edge.journal.statements import Commit, Reading

GATEWAY = "gateway"  # the actor of everything that no person did
SMP = "smp"


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
    exhibits: Exhibits = NOTHING,
) -> None:
    """Add one entry to the chain of evidence; without a ``step`` it is evidence that moved nothing."""
    before, after = step if step is not None else (None, None)
    commit.entries.append(
        Entry(
            at=commit.now,
            environment=lane.environment,
            participant=lane.participant,
            epoch=commit.epoch,
            actor=actor,
            event=str(event),
            message_id=message_id,
            submission_id=submission_id,
            from_state=None if before is None else before.value,
            to_state=None if after is None else after.value,
            detail=detail,
            exhibits=exhibits,
        )
    )


def audit_messages(
    commit: Commit,
    submission: Submission,
    event: str,
    *,
    actor: str = GATEWAY,
    detail: str,
    exhibits: Exhibits = NOTHING,
) -> None:
    """Add evidence that moved nothing for each message of a submission."""
    for message_id in messages_of(commit, submission.id):
        audit(
            commit,
            submission.lane,
            message_id,
            event,
            submission_id=submission.id,
            actor=actor,
            detail=detail,
            exhibits=exhibits,
        )


def messages_of(reading: Reading, submission_id: str) -> Sequence[str]:
    """The messages of a submission, in the order of its rows."""
    return list(dict.fromkeys(row[0] for row in reading.all("parts_of_submission", submission_id=submission_id)))


def keep_exhibits(commit: Commit, message_id: str, kept: Mapping[str, bytes | str | None]) -> None:
    """Keep bytes that the audit attests and no other table has."""
    for value in kept.values():
        if value is not None:
            body = value.encode() if isinstance(value, str) else value
            commit.run("insert_exhibit", message_id=message_id, digest=evidence.digest(value), body=body)


def completed(reading: Reading, message_id: str, event: Event) -> Exhibits:
    """The content of a unit that waits no more: only now it holds the names of its assets."""
    if event is not Event.DEPENDENCIES_MET:
        return NOTHING
    (row,) = reading.all("alignment", id=message_id)
    return evidence.exhibits({"content": row[1]})


def received(draft: Draft, *, final: bool) -> Exhibits:
    """What came in and what was made of it; the content of a unit that waits is attested when it is complete."""
    return evidence.exhibits(
        {"raw": draft.raw, "content": draft.content if final else None},
        {
            "lane": str(draft.lane),
            "kind": draft.kind,
            "key": draft.intake_key,
            "rows": draft.rows,
            "revision": draft.revision,
            "notAfter": draft.not_after,
        },
    )


def going_out(submission: Submission) -> Exhibits:
    """What an attempt sends; its signature is attested with what became of it."""
    attempt = submission.attempt
    return evidence.exhibits(
        {"body": submission.body},
        {"attempt": attempt.number, "jti": attempt.jti, "iat": attempt.iat, "keyId": attempt.key_id},
    )


def answered(attempt: int, settlement: Settlement) -> Exhibits:
    """What became of an attempt, and its signature."""
    return evidence.exhibits(
        {
            "signature": settlement.signature,
            "answer": settlement.answer or None,
            "answerSignature": settlement.answer_signature,
        },
        {"attempt": attempt, "status": settlement.status, "sentAt": settlement.hops.get(Hop.SENT)},
    )


def called_back(issuer: str, jti: str, body: bytes, signature: str) -> Exhibits:
    """A callback's bytes and signature."""
    return evidence.exhibits({"callback": body, "callbackSignature": signature}, {"issuer": issuer, "jti": jti})


def audit_callback(
    commit: Commit, call: Evidence, submission: Submission | None, disposition: Disposition, note: str
) -> None:
    """Attest a callback that moves nothing, for each message it belongs to, or for its participant."""
    event, detail = f"callback_{disposition}", f"callback {call.jti}: {note}"
    came = called_back(call.issuer, call.jti, call.body, call.signature)
    if submission is not None:
        audit_messages(commit, submission, event, actor=SMP, detail=detail, exhibits=came)
    else:
        lane = Lane(environment=call.environment, participant=call.participant, site="", message="")
        audit(commit, lane, None, event, actor=SMP, detail=detail, exhibits=came)


def keep_poll(commit: Commit, submission: Submission, poll: Poll) -> Exhibits:
    """Keep what the SMP was asked and said, for each message of the submission."""
    kept: dict[str, bytes | str | None] = {
        "request": poll.request,
        "requestSignature": poll.signature,
        "reply": poll.answer,
        "replySignature": poll.answer_signature,
    }
    for message_id in messages_of(commit, submission.id):
        keep_exhibits(commit, message_id, kept)
    return evidence.exhibits(kept, {"status": poll.status, "url": poll.url})
