"""What the journal is told of an attempt: the event that the answer means, the evidence, and when to look again."""

from __future__ import annotations

from gateway.core import answer
from gateway.core.message import Hop, Submission
from gateway.core.profile import Profile
from gateway.core.reconciliation import doubt_pause, poll_pause
from gateway.core.record import Settlement
from gateway.core.transaction import Event
from gateway.ports import Entropy, Reply


def settled(
    profile: Profile,
    submission: Submission,
    result: answer.Answer,
    reply: Reply,
    *,
    signed: tuple[str, int],
    now: int,
    entropy: Entropy,
) -> Settlement:
    """Settle an attempt; ``signed`` is its signature, empty where it was not signed, and when that was made."""
    signature, signed_at = signed
    event = answer.event_of(result, doubted=submission.doubt_since is not None)
    pause = None
    if event is Event.TRANSACTION:
        pause = poll_pause(profile, 0)
    elif event is Event.UNCLEAR:
        pause = doubt_pause(profile, submission.attempt.number)
    due_at = None if pause is None else now + int(pause * entropy.jitter(profile.timings.poll_jitter))
    hops = {Hop.SIGNED: signed_at, Hop.SENT: reply.sent_at, Hop.ANSWERED: reply.answered_at}
    return Settlement(
        event=event,
        signature=signature or None,
        transaction_id=result.transaction_id,
        created=() if result.verdict is None else result.verdict.created,
        problems=result.problems,
        status=reply.status,
        answer=reply.body,
        answer_signature=reply.signature if profile.signature.responses == "signed" else None,
        note=result.note or reply.failure,
        due_at=due_at,
        hops={hop: at for hop, at in hops.items() if at is not None},
    )
