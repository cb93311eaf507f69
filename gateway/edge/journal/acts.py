"""What operators decide, each act in one transaction with who decided and why.

What becomes of a message, which sites are held, which unmatched callbacks need nobody's attention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.acts import Decision
from gateway.core.message import Attempt, Lane, Submission
from gateway.core.record import Changed, SiteHold
from gateway.core.transaction import TRANSITIONS, State, advance
from gateway.edge.journal import attesting, intake, moving, rows
from gateway.edge.journal.moving import Cause
from gateway.edge.journal.statements import Commit, Reading

_UNSENT = frozenset({State.ACCEPTED, State.WAITING})
_NAMED = 6  # ids that begin alike, of which all are shown


def named(reading: Reading, beginning: str) -> Sequence[str]:
    """The ids of the messages whose id begins so; at most six, since more than one is too many already."""
    found = reading.all("messages_between", low=beginning, high=beginning + "~", limit=_NAMED)
    return [row[0] for row in found]


def standings(reading: Reading, message_ids: Sequence[str]) -> Mapping[str, tuple[State, int]]:
    """The state and the number of rows of those of these messages that exist."""
    found = ((ident, reading.one("message_standing", id=ident)) for ident in message_ids)
    return {ident: (State(row[0]), row[1]) for ident, row in found if row is not None}


def submissions(reading: Reading, message_id: str) -> Sequence[Submission]:
    """Everything that was made of a message for the SMP."""
    return [rows.submission(row) for row in reading.all("submissions_of_message", message_id=message_id)]


def decide(commit: Commit, message_id: str, decision: Decision) -> Sequence[Changed]:
    """Move every part of a message that waits for this decision, and what else those parts carry.

    Raises:
        TransitionRefused: no part of it waits for such a decision (any more).
    """
    cause = Cause(
        event=decision.event,
        actor=decision.actor,
        detail=decision.reason,
        problems=decision.problems,
        created=decision.created,
    )
    state = _state_of(commit, message_id)
    advance(state, cause.event)
    if state in _UNSENT:
        changed = moving.move_unsent(commit, message_id, cause)
        return [] if changed is None else [changed]
    stuck = [each for each in submissions(commit, message_id) if (each.state, cause.event) in TRANSITIONS]
    if stuck:
        return [moving.move_submission(commit, each, cause) for each in stuck]
    return [moving.move_message(commit, message_id, cause)]


def _state_of(reading: Reading, message_id: str) -> State:
    (standing,) = reading.all("message_standing", id=message_id)
    return State(standing[0])


def resend(commit: Commit, submission_id: str, decision: Decision, attempt: Attempt) -> Submission | None:
    """Commit SENDING for an escalated submission: the same id, the same bytes, one attempt more.

    None when the not-after of what it carries has passed.

    Raises:
        TransitionRefused: it is not escalated any more.
    """
    row = commit.one("not_after_of_submission", submission_id=submission_id)
    if row is not None and row[0] is not None and row[0] <= commit.now:
        return None
    submission = moving.find(commit, submission_id)
    cause = Cause(event=decision.event, actor=decision.actor, detail=decision.reason)
    return intake.send_again(commit, submission, cause, attempt)


def hold_site(commit: Commit, lane: Lane, *, held: bool, actor: str, reason: str) -> bool:
    """Hold a site, or release it; False when it is so already."""
    if (lane.site in site_holds(commit)) is held:
        return False
    if held:
        commit.run("hold_site", site=lane.site, now=commit.now, actor=actor, reason=reason)
    else:
        commit.run("release_site", site=lane.site)
    event = "site_held" if held else "site_released"
    attesting.audit(commit, lane, None, event, actor=actor, detail=f"{lane.site}: {reason}")
    return True


def site_holds(reading: Reading) -> Mapping[str, SiteHold]:
    """The sites that are held."""
    rows = reading.all("site_holds")
    return {site: SiteHold(at=at, actor=actor, reason=reason) for site, at, actor, reason in rows}


def audit_release(commit: Commit, environment: str, participant: str, *, actor: str, detail: str) -> None:
    """Keep that a held participant was released, by whom and why."""
    lane = Lane(environment=environment, participant=participant, site="", message="")
    attesting.audit(commit, lane, None, "participant_released", actor=actor, detail=detail)


def dismiss(commit: Commit, lane: Lane, issuer: str, jti: str, *, actor: str, reason: str) -> bool:
    """Keep that an unmatched callback needs nobody's attention; False when there is no such one (any more)."""
    whose = {"environment": lane.environment, "participant": lane.participant}
    if commit.one("dismiss_callback", **whose, issuer=issuer, jti=jti, decision=f"{actor}: {reason}") is None:
        return False
    attesting.audit(commit, lane, None, "callback_dismissed", actor=actor, detail=f"callback {jti}: {reason}")
    return True
