"""What to do with a submission in doubt or awaiting its verdict, given what the SMP just said of it.

Rules (assurance.md section 1)
------------------------------
* A doubt is resolved by what the SMP knows; it is sent again only where that cannot make a second effect: the SMP
  de-duplicates this kind, or it says "unknown" after the request's time-out and its own processing time have both
  passed.
* Past the doubt deadline, counted from the first doubt, or the verdict limit, people decide: ESCALATED. A late callback
  still wins. The settle time counts from the last attempt, whose `iat` is in whole seconds.
* While the SMP is away it can resolve nothing, so that the doubt deadline counts from when it could be spoken to again;
  past the verdict limit people decide all the same.
* A profile that offers no way out at all (no status by submission, no echo, no de-duplication) leaves a doubt without a
  transaction id to people at once: its lane is blocked, and waiting tells nothing.
* What is doubted again after it was sent again is looked at after a growing pause, so that an SMP that answers every
  submission with an error is not hammered.
* Polls grow from a short to a long pause; the jitter is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.answer import FindingKind, StatusFinding
from gateway.core.message import Submission
from gateway.core.profile import Profile
from gateway.core.transaction import Event, State
from gateway.core.verdict import Verdict

SECOND = 1_000_000
# A doubt that may not be sent again, its message's not-after having passed, is looked at again after this pause,
# until a verdict or the doubt deadline ends it.
LATE_PAUSE_US = 60 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do: record ``event``, or send again, or (neither) look again after ``pause`` µs."""

    event: Event | None = None
    verdict: Verdict | None = None
    transaction_id: str | None = None
    resend: bool = False
    pause: int = 0
    note: str = ""


def decide(
    profile: Profile, submission: Submission, finding: StatusFinding | None, now: int, *, askable_since: int = 0
) -> Step:
    """Choose the next step; ``finding`` is None when the SMP could not be asked.

    ``askable_since`` is since when (µs UTC) the SMP can be spoken to without a break, as far as we know. A finding
    about another transaction or submission than the one asked for is believed as little as none.
    """
    if finding is not None and not _is_about(finding, submission):
        finding = None
    if finding is not None and finding.kind is FindingKind.VERDICT and finding.verdict is not None:
        return Step(
            event=finding.verdict.event,
            verdict=finding.verdict,
            transaction_id=finding.transaction_id,
            note=finding.note,
        )
    if submission.state is State.IN_DOUBT:
        return _doubted(profile, submission, finding, now, askable_since)
    return _awaited(profile, submission, now)


def _is_about(finding: StatusFinding, submission: Submission) -> bool:
    return finding.submission_id in {None, submission.id} and (
        None in {finding.transaction_id, submission.transaction_id}
        or finding.transaction_id == submission.transaction_id
    )


def can_ask(profile: Profile, submission: Submission) -> bool:
    """Whether a status call can name this submission at all."""
    return submission.transaction_id is not None or profile.capabilities.status_by_submission


def doubt_pause(profile: Profile, attempt: int) -> int:
    """µs from a doubt to the first look at it: none after the first attempt, then growing with each."""
    return 0 if attempt <= 1 else poll_pause(profile, attempt - 2)


def longest_pause(profile: Profile) -> int:
    """µs beyond which nothing is ever postponed, jitter included."""
    return round(max(profile.timings.poll_longest_us, LATE_PAUSE_US) * (1 + profile.timings.poll_jitter)) + SECOND


def poll_pause(profile: Profile, polls: int) -> int:
    """µs to the next look: doubling from the profile's first pause to its longest."""
    first, longest = profile.timings.poll_first_us, profile.timings.poll_longest_us
    return min(first << min(polls, 20), longest)


def has_way_out(profile: Profile, submission: Submission) -> bool:
    """Whether this profile offers any way to find out what became of a submission in doubt."""
    offered = profile.capabilities
    return can_ask(profile, submission) or offered.echo_submission or profile.deduplicates(submission.kind)


def _doubted(
    profile: Profile, submission: Submission, finding: StatusFinding | None, now: int, askable_since: int
) -> Step:
    if finding is not None and finding.kind is FindingKind.PENDING:
        return Step(
            event=Event.FOUND_PENDING,
            transaction_id=finding.transaction_id,
            pause=poll_pause(profile, 0),
            note="the SMP has it and is still working on it",
        )
    if not has_way_out(profile, submission):
        return Step(event=Event.DOUBT_DEADLINE, note="the profile offers no way to find out")
    since = submission.doubt_since if submission.doubt_since is not None else now
    overdue = now - max(since, askable_since) >= profile.timings.doubt_deadline_us
    if overdue or now - since >= profile.timings.verdict_limit_us:
        return Step(event=Event.DOUBT_DEADLINE, note="the doubt could not be resolved before its deadline")
    unknown = finding is not None and finding.kind is FindingKind.UNKNOWN
    deduplicated = profile.deduplicates(submission.kind)
    asked_in_vain = unknown or not can_ask(profile, submission)
    if deduplicated and asked_in_vain:
        return Step(resend=True, note="the SMP de-duplicates: the same id and bytes go again")
    if unknown and now - submission.attempt.iat * SECOND >= profile.timings.settle_us + SECOND:
        return Step(resend=True, note="the SMP does not know it, and every request of ours has long ended")
    return Step(pause=poll_pause(profile, submission.polls))


def _awaited(profile: Profile, submission: Submission, now: int) -> Step:
    since = submission.awaiting_since if submission.awaiting_since is not None else now
    if now - since >= profile.timings.verdict_limit_us:
        return Step(event=Event.VERDICT_LIMIT, note="no verdict came within the limit")
    pause = poll_pause(profile, submission.polls)
    if now - since >= profile.timings.verdict_deadline_us:
        pause = profile.timings.poll_first_us
    return Step(pause=pause)
