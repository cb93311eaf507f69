"""What follows a doubt or an overdue verdict, for every way out that a profile may offer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.answer import FindingKind, StatusFinding
from gateway.core.message import ASSETS, Attempt, Lane, Submission
from gateway.core.profile import Profile
from gateway.core.reconciliation import decide, doubt_pause, poll_pause
from gateway.core.transaction import Event, State
from gateway.core.verdict import Verdict

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
UNKNOWN = StatusFinding(kind=FindingKind.UNKNOWN)
PENDING = StatusFinding(kind=FindingKind.PENDING, transaction_id="TX-1")
FAILED = StatusFinding(
    kind=FindingKind.VERDICT, transaction_id="TX-1", verdict=Verdict(event=Event.FAILURE, notification=None)
)


def doubted(seconds: int) -> Submission:
    return Submission(
        id="s1",
        message_id="m1",
        lane=Lane(environment="test", participant="exstor", site="hams-bess", message="battery"),
        kind=ASSETS,
        body=b"{}",
        attempt=Attempt(number=1, jti="j", iat=NOW // SECOND - seconds, key_id="k"),
        state=State.IN_DOUBT,
        doubt_since=NOW - seconds * SECOND,
    )


def awaiting(seconds: int, polls: int = 0) -> Submission:
    return replace(
        doubted(0),
        state=State.AWAITING,
        transaction_id="TX-1",
        doubt_since=None,
        awaiting_since=NOW - seconds * SECOND,
        polls=polls,
    )


def offering(profile: Profile, *, status: bool, deduplicates: bool) -> Profile:
    """The profile with other ways out of doubt."""
    capabilities = profile.capabilities.model_copy(
        update={
            "status_by_submission": status,
            "deduplicates": profile.capabilities.deduplicates.model_copy(update={"assets": deduplicates}),
        }
    )
    return profile.model_copy(update={"capabilities": capabilities})


@pytest.mark.parametrize("submission", [doubted(3), awaiting(3)])
def test_a_verdict_found_is_applied_whatever_the_state(profile: Profile, submission: Submission) -> None:
    """What the SMP says is final, in doubt as in waiting."""
    step = decide(profile, submission, FAILED, NOW)
    assert (step.event, step.verdict) == (Event.FAILURE, FAILED.verdict)


@pytest.mark.parametrize(
    "finding",
    [replace(FAILED, transaction_id="TX-2"), replace(FAILED, transaction_id=None, submission_id="s2")],
)
def test_an_answer_about_another_transaction_decides_nothing(profile: Profile, finding: StatusFinding) -> None:
    """No outcome without evidence of its own (I5)."""
    step = decide(profile, awaiting(3), finding, NOW)
    assert (step.event, step.pause) == (None, 2 * SECOND)


def test_a_doubt_that_the_smp_is_working_on_is_no_doubt(profile: Profile) -> None:
    """Pending means that it has it: AWAITING with its transaction id."""
    step = decide(profile, doubted(3), PENDING, NOW)
    assert (step.event, step.transaction_id, step.resend) == (Event.FOUND_PENDING, "TX-1", False)


@pytest.mark.parametrize(
    ("status", "deduplicates", "finding", "age_s", "resend"),
    [
        (True, True, UNKNOWN, 1, True),
        (True, True, None, 1, False),  # it can be asked, so it is asked before anything is repeated
        (True, False, UNKNOWN, 1, False),  # our own request may still be on its way
        (True, False, UNKNOWN, 70, False),
        (True, False, UNKNOWN, 71, True),
        (False, True, None, 1, True),
        (False, False, None, 100, False),
    ],
)
def test_a_doubt_is_sent_again_only_where_that_cannot_double_the_effect(
    profile: Profile, *, status: bool, deduplicates: bool, finding: StatusFinding | None, age_s: int, resend: bool
) -> None:
    """De-duplicated at once when unknown; else only after request time-out and processing time have passed."""
    step = decide(offering(profile, status=status, deduplicates=deduplicates), doubted(age_s), finding, NOW)
    assert step.resend is resend
    assert step.event is None


def test_the_settle_time_counts_from_the_last_attempt_and_the_deadline_from_the_first_doubt(profile: Profile) -> None:
    """Sent again a minute ago: too early to send once more, however old the doubt is, until people must decide."""
    profile = offering(profile, status=True, deduplicates=False)
    fresh = Attempt(number=2, jti="j", iat=NOW // SECOND - 60, key_id="k")
    assert not decide(profile, replace(doubted(14 * 60), attempt=fresh), UNKNOWN, NOW).resend
    assert decide(profile, replace(doubted(15 * 60), attempt=fresh), UNKNOWN, NOW).event is Event.DOUBT_DEADLINE


def test_a_doubt_is_looked_at_at_once_and_then_after_growing_pauses(profile: Profile) -> None:
    """An SMP that answers each attempt with 500 must not be sent the same thing in a tight loop."""
    assert [doubt_pause(profile, attempt) // SECOND for attempt in (1, 2, 3, 4, 99)] == [0, 2, 4, 8, 60]


@pytest.mark.parametrize("finding", [None, UNKNOWN, StatusFinding(kind=FindingKind.UNREADABLE)])
def test_a_doubt_past_its_deadline_goes_to_people(profile: Profile, finding: StatusFinding | None) -> None:
    """15 minutes in smp-v1, whatever the SMP answers except what it did with it."""
    step = decide(profile, doubted(15 * 60), finding, NOW)
    assert (step.event, step.resend) == (Event.DOUBT_DEADLINE, False)


def test_a_verdict_that_never_comes_goes_to_people_after_its_limit(profile: Profile) -> None:
    """24 h in smp-v1; a minute before, it is still polled."""
    assert decide(profile, awaiting(24 * 3600), PENDING, NOW).event is Event.VERDICT_LIMIT
    assert decide(profile, awaiting(24 * 3600 - 60), PENDING, NOW).event is None


def test_polls_grow_and_quicken_again_once_the_verdict_is_overdue(profile: Profile) -> None:
    """2 s, 4 s … 60 s; after 5 minutes without a verdict again every 2 s."""
    assert [poll_pause(profile, polls) // SECOND for polls in (0, 1, 4, 5, 99)] == [2, 4, 32, 60, 60]
    assert decide(profile, awaiting(60, polls=9), PENDING, NOW).pause == 60 * SECOND
    assert decide(profile, awaiting(301, polls=9), PENDING, NOW).pause == 2 * SECOND
