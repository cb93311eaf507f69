from __future__ import annotations

import pytest

from gateway.core.message import Hop
from gateway.core.record import Settlement
from gateway.core.transaction import Event, State
from gateway.errors import TransitionRefused
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BAD_MPAN,
    BATTERY,
    NOT_PROCESSED,
    SECOND,
    START,
    UNCLEAR,
    Place,
    accepted,
    attempt,
    draft,
    outgoing,
    overdue,
    sent,
    state_of,
)


async def test_only_the_head_can_be_taken(journal: Journal) -> None:
    """The second message of a lane is not sent before the first, and nothing is taken twice."""
    await journal.append(draft(1))
    await journal.append(draft(2))
    assert await journal.take(draft(2).id, outgoing("s2")) is None
    taken = await journal.take(draft(1).id, outgoing("s1"))
    assert taken is not None
    assert (taken.id, taken.state, taken.attempt.number) == ("s1", State.SENDING, 1)
    assert await journal.take(draft(1).id, outgoing("again")) is None
    assert await journal.head(BATTERY) is None
    assert await journal.take("no such message", outgoing("x")) is None


async def test_a_transaction_frees_the_lane(journal: Journal) -> None:
    """AWAITING lets the next message go, and the answer's evidence and hops are on the message."""
    await sent(journal, 1, "s1")
    await journal.append(draft(2))
    changed = await journal.settle("s1", 1, accepted("TX-1"))
    assert (changed.message_id, changed.state, changed.moved) == (draft(1).id, State.AWAITING, True)
    message = await journal.message(draft(1).id)
    assert message is not None
    assert message.transaction_id == "TX-1"
    assert message.hops[Hop.SENT] == START + 2
    assert await journal.take(draft(2).id, outgoing("s2")) is not None


async def test_after_verdict_awaiting_keeps_the_lane(place: Place) -> None:
    """With `pipeline: after_verdict` AWAITING blocks append, head, take and lanes."""
    async with place.open(after_verdict=True) as journal:
        await sent(journal, 1, "s1")
        await journal.settle("s1", 1, accepted("TX-1"))
        assert (await journal.append(draft(2), outgoing("s2"))).state is State.ACCEPTED
        assert await journal.head(BATTERY) is None
        assert await journal.take(draft(2).id, outgoing("s2")) is None
        assert await journal.lanes() == []


@pytest.mark.parametrize("settlement", [UNCLEAR, None])
async def test_a_doubt_keeps_the_lane(journal: Journal, settlement: Settlement | None) -> None:
    """SENDING and IN_DOUBT keep the next message where it is."""
    await sent(journal, 1, "s1")
    if settlement is not None:
        await journal.settle("s1", 1, settlement)
    await journal.append(draft(2))
    assert await journal.head(BATTERY) is None
    assert await journal.lanes() == []


async def test_not_processed_falls_back_and_keeps_id_and_bytes(journal: Journal) -> None:
    """A submission that fell back is offered again, and only gains an attempt when it is taken."""
    await sent(journal, 1, "s1")
    assert (await journal.settle("s1", 1, NOT_PROCESSED)).state is State.ACCEPTED
    found = await journal.head(BATTERY)
    assert found is not None
    assert found[1] is not None
    assert found[1].id == "s1"
    again = await journal.take(draft(1).id, outgoing("unused"))
    assert again is not None
    assert (again.id, again.body, again.attempt.number) == ("s1", b"body of s1", 2)
    assert again.attempt.jti == "jti-unused"


async def test_a_decline_ends_the_message_with_its_problems(journal: Journal) -> None:
    """DECLINED is REJECTED for good, with the SMP's errors and a relay."""
    await sent(journal, 1, "s1")
    changed = await journal.settle("s1", 1, Settlement(event=Event.DECLINED, problems=(BAD_MPAN,), status=422))
    assert (changed.state, changed.relays) == (State.REJECTED, frozenset({"plc"}))
    message = await journal.message(draft(1).id)
    assert message is not None
    assert message.problems == (BAD_MPAN,)


async def test_a_doubt_is_sent_again_under_its_own_id(journal: Journal) -> None:
    """RESENT commits SENDING with the same id and bytes; a second time, or elsewhere, it is None."""
    await sent(journal, 1, "s1")
    assert await journal.retake("s1", Event.RESENT, attempt("early")) is None
    await journal.settle("s1", 1, UNCLEAR)
    again = await journal.retake("s1", Event.RESENT, attempt("again"))
    assert again is not None
    assert (again.id, again.body, again.attempt.number, again.state) == ("s1", b"body of s1", 2, State.SENDING)
    assert await journal.retake("s1", Event.RESENT, attempt("late")) is None


async def test_an_old_attempt_cannot_settle_a_new_one(journal: Journal) -> None:
    """The outcome of attempt 1 is evidence only once attempt 2 is under way."""
    await sent(journal, 1, "s1")
    await journal.settle("s1", 1, UNCLEAR)
    await journal.retake("s1", Event.RESENT, attempt("again"))
    assert not (await journal.settle("s1", 1, NOT_PROCESSED)).moved
    assert await state_of(journal, 1) is State.SENDING


async def test_nothing_is_sent_past_its_not_after(place: Place, journal: Journal) -> None:
    """Neither a first nor a repeated attempt is committed once not-after has passed."""
    late = place.clock.now() + SECOND
    await journal.append(draft(1, not_after=late), outgoing("s1"))
    await journal.settle("s1", 1, UNCLEAR)
    await journal.append(draft(2, not_after=late))
    place.clock.at += 2 * SECOND
    assert await journal.retake("s1", Event.RESENT, attempt("again")) is None
    assert await state_of(journal, 1) is State.IN_DOUBT
    _, next_at = await overdue(journal, place.clock.now())
    assert next_at is not None  # the reconciler does not spin on it
    await journal.resolve("s1", Event.FAILURE, verdict=None, transaction_id=None, due_at=None, note="")
    assert await journal.take(draft(2).id, outgoing("s2")) is None


async def test_what_fell_back_is_not_sent_past_its_not_after(place: Place, journal: Journal) -> None:
    """The same when the SMP said for sure that it did not process the first attempt."""
    late = place.clock.now() + SECOND
    await journal.append(draft(1, not_after=late), outgoing("s1"))
    await journal.settle("s1", 1, NOT_PROCESSED)
    place.clock.at += 2 * SECOND
    assert await journal.take(draft(1).id, outgoing("unused")) is None


async def test_not_after_ends_what_was_not_sent(place: Place, journal: Journal) -> None:
    """`expire` ends ACCEPTED messages, those that fell back too, and leaves what is under way."""
    late = place.clock.now() + SECOND
    await journal.append(draft(1, not_after=late), outgoing("s1"))
    await journal.settle("s1", 1, NOT_PROCESSED)
    await journal.append(draft(2, not_after=late))
    await journal.append(draft(3))
    assert await journal.expire(place.clock.now()) == []
    place.clock.at += 2 * SECOND
    ended = await journal.expire(place.clock.now())
    assert [(each.message_id, each.state) for each in ended] == [
        (draft(1).id, State.EXPIRED),
        (draft(2).id, State.EXPIRED),
    ]
    assert ended[0].relays == {"plc"}
    found = await journal.head(BATTERY)
    assert found is not None
    assert found[0].id == draft(3).id


async def test_overdue_lists_doubts_and_verdicts_that_are_late(place: Place, journal: Journal) -> None:
    """What is due comes back, what is not names the next time, and postponing counts polls."""
    await sent(journal, 1, "s1")
    await journal.settle("s1", 1, accepted("TX-1"))
    due, next_at = await overdue(journal, START + SECOND)
    assert (due, next_at) == ([], START + 60 * SECOND)
    (late,), next_at = await overdue(journal, START + 60 * SECOND)
    assert (late.id, late.state, late.transaction_id, late.polls, next_at) == ("s1", State.AWAITING, "TX-1", 0, None)
    await journal.postpone("s1", START + 90 * SECOND)
    (late,), _ = await overdue(journal, START + 90 * SECOND)
    assert late.polls == 1
    assert late.awaiting_since is not None
    assert late.awaiting_since <= place.clock.at


async def test_what_a_clock_planned_that_has_stepped_back_since_is_due(place: Place, journal: Journal) -> None:
    """Due beyond the horizon, further away than any pause: looked at now instead of in an hour."""
    await sent(journal, 1, "s1")
    await journal.settle("s1", 1, accepted("TX-1"))
    await journal.postpone("s1", place.clock.at + 2 * 3600 * SECOND)
    (stranded,), next_at = await overdue(journal, place.clock.at)
    assert (stranded.id, next_at) == ("s1", None)


async def test_a_restart_puts_sending_into_doubt(place: Place) -> None:
    """After reopening, whatever was SENDING is IN_DOUBT and due at once; nothing else moved."""
    async with place.open() as journal:
        await sent(journal, 1, "s1")
        await journal.settle("s1", 1, accepted("TX-1"))
        await sent(journal, 2, "s2")
        await journal.append(draft(3))
    async with place.open() as journal:
        assert [await state_of(journal, n) for n in (1, 2, 3)] == [State.AWAITING, State.IN_DOUBT, State.ACCEPTED]
        (doubt,), _ = await overdue(journal, place.clock.now())
        assert (doubt.id, doubt.attempt.jti) == ("s2", "jti-s2")
        assert await journal.head(BATTERY) is None


async def test_a_step_that_does_not_exist_is_refused_whole(journal: Journal) -> None:
    """A settlement with an impossible event raises, and nothing of it is kept."""
    await sent(journal, 1, "s1")
    with pytest.raises(TransitionRefused):
        await journal.settle("s1", 1, Settlement(event=Event.VERDICT_LIMIT, transaction_id="TX-9"))
    message = await journal.message(draft(1).id)
    assert message is not None
    assert (message.state, message.transaction_id) == (State.SENDING, None)
