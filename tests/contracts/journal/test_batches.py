"""Several submissions of one message, several messages in one submission, and what a refusal means to each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.division import Fate
from gateway.core.message import Created, Message, Problem
from gateway.core.record import Changed, Disposition, Portion, Settlement
from gateway.core.transaction import Event, State
from gateway.core.verdict import Verdict
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BATTERY,
    NOT_PROCESSED,
    SECOND,
    START,
    SUCCESS,
    UNCLEAR,
    Place,
    accepted,
    attempt,
    callback,
    carrying,
    draft,
    evidence,
    state_of,
)


def bad(*rows: int | None) -> tuple[Problem, ...]:
    return tuple(Problem(row=row, code="INVALID_MPAN", message="check digit") for row in rows)


def failed(*rows: int | None) -> Verdict:
    return Verdict(event=Event.FAILURE, problems=bad(*rows))


def declined(*rows: int | None) -> Settlement:
    return Settlement(event=Event.DECLINED, problems=bad(*rows), status=422)


async def message(journal: Journal, sequence: int) -> Message:
    found = await journal.message(draft(sequence).id)
    assert found is not None
    return found


async def awaiting(journal: Journal, name: str, *portions: tuple[int, range]) -> None:
    """Take these rows and have them answered with the transaction ``TX-name``."""
    assert await journal.take(draft(portions[0][0]).id, carrying(name, *portions)) is not None
    await journal.settle(name, 1, accepted(f"TX-{name}"))


async def verdict(journal: Journal, name: str, told: Verdict) -> Changed:
    received = await journal.receive(evidence(f"c-{name}"), callback(f"TX-{name}", name, told), None)
    assert received.disposition is Disposition.APPLIED
    assert received.changed is not None
    return received.changed


def states(changed: Changed) -> dict[str, State]:
    return {each.message_id: each.state for each in changed.all}


async def waiting(journal: Journal, limit: int = 1000) -> list[tuple[str, tuple[range, ...], bool]]:
    return [(each.message_id, each.rows, each.alone) for each in await journal.waiting(BATTERY, limit)]


# ---------------------------------------------------------------- one message, several submissions
async def test_the_next_part_goes_when_the_one_before_is_answered(journal: Journal) -> None:
    """A message with rows left is ACCEPTED again, keeps its turn in the lane, and offers exactly those rows."""
    appended = await journal.append(draft(1, rows=5), carrying("s1", (1, range(2))))
    assert (appended.state, appended.submission is not None) == (State.SENDING, True)
    await journal.append(draft(2))
    assert await journal.head(BATTERY) is None
    changed = await journal.settle("s1", 1, accepted("TX-s1"))
    assert (changed.state, changed.moved) == (State.ACCEPTED, True)
    assert [each[:2] for each in await waiting(journal)] == [(draft(1).id, (range(2, 5),)), (draft(2).id, (range(3),))]
    assert await journal.take(draft(2).id, carrying("s2", (2, range(3)))) is None
    await awaiting(journal, "s3", (1, range(2, 5)))
    assert await state_of(journal, 1) is State.AWAITING
    assert await waiting(journal) == [(draft(2).id, (range(3),), False)]


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        (SUCCESS, SUCCESS, State.COMPLETED),
        (SUCCESS, failed(0), State.PARTIAL),
        (failed(0), SUCCESS, State.PARTIAL),
        (failed(0), failed(0), State.FAILED),
    ],
)
async def test_all_parts_add_up(journal: Journal, first: Verdict, second: Verdict, whole: State) -> None:
    """COMPLETED if all are, FAILED if none is, PARTIAL otherwise; and only when the last part has ended."""
    await journal.append(draft(1, rows=4))
    await awaiting(journal, "s1", (1, range(2)))
    assert (await verdict(journal, "s1", first)).state is State.ACCEPTED
    await awaiting(journal, "s2", (1, range(2, 4)))
    changed = await verdict(journal, "s2", second)
    assert (changed.state, changed.relays) == (whole, frozenset({"plc"}))


async def test_a_failed_part_does_not_stop_the_next(journal: Journal) -> None:
    """Its errors count in the message's own rows, and what was created is collected over all parts."""
    await journal.append(draft(1, rows=6))
    await awaiting(journal, "s1", (1, range(2)))
    await verdict(journal, "s1", replace(SUCCESS, created=(Created(ref="1.0", smp_id="A-0"),)))
    await journal.take(draft(1).id, carrying("s2", (1, range(2, 4))))
    assert (await journal.settle("s2", 1, declined(1))).state is State.ACCEPTED
    await awaiting(journal, "s3", (1, range(4, 6)))
    await verdict(journal, "s3", replace(SUCCESS, created=(Created(ref="1.4", smp_id="A-4"),)))
    found = await message(journal, 1)
    assert (found.state, [problem.row for problem in found.problems]) == (State.PARTIAL, [3])
    assert [each.smp_id for each in found.created] == ["A-0", "A-4"]
    assert found.transaction_id == "TX-s3"


async def test_a_doubt_about_one_part_keeps_the_rest(journal: Journal) -> None:
    """IN_DOUBT blocks the lane until it is resolved, and then the next rows go."""
    await journal.append(draft(1, rows=4), carrying("s1", (1, range(2))))
    assert (await journal.settle("s1", 1, UNCLEAR)).state is State.IN_DOUBT
    assert await journal.lanes() == []
    assert await journal.retake("s1", Event.RESENT, attempt("again")) is not None
    assert (await journal.settle("s1", 2, accepted("TX-s1"))).state is State.ACCEPTED
    assert await journal.lanes() == [BATTERY]


async def test_after_verdict_every_part_waits_for_the_one_before(place: Place) -> None:
    """With `pipeline: after_verdict` AWAITING of the first part keeps the second, and its verdict frees it."""
    async with place.open(after_verdict=True) as journal:
        await journal.append(draft(1, rows=4), carrying("s1", (1, range(2))))
        await journal.settle("s1", 1, accepted("TX-s1"))
        assert await journal.head(BATTERY) is None
        await verdict(journal, "s1", SUCCESS)
        assert await journal.take(draft(1).id, carrying("s2", (1, range(2, 4)))) is not None


async def test_a_restart_between_two_parts_goes_on_where_it_was(place: Place) -> None:
    """SENDING is in doubt, what was not sent is still offered, nothing of it twice."""
    async with place.open() as journal:
        await journal.append(draft(1, rows=6))
        await awaiting(journal, "s1", (1, range(2)))
        await journal.take(draft(1).id, carrying("s2", (1, range(2, 4))))
    async with place.open() as journal:
        assert await state_of(journal, 1) is State.IN_DOUBT
        await journal.resolve("s2", Event.FOUND_PENDING, verdict=None, transaction_id="T", due_at=START, note="")
        assert await waiting(journal) == [(draft(1).id, (range(4, 6),), False)]


@pytest.mark.parametrize(
    ("told", "whole"), [(SUCCESS, State.PARTIAL), (failed(0), State.FAILED), (None, State.AWAITING)]
)
async def test_not_after_ends_the_rows_that_are_left(
    place: Place, journal: Journal, told: Verdict | None, whole: State
) -> None:
    """A half-sent message is told which rows were not sent, and ends by what became of the others."""
    late = place.clock.now() + SECOND
    await journal.append(draft(1, rows=4, not_after=late))
    await awaiting(journal, "s1", (1, range(2)))
    if told is not None:
        await verdict(journal, "s1", told)
    place.clock.at += 2 * SECOND
    (changed,) = await journal.expire(place.clock.now())
    assert changed.state is whole
    assert await journal.take(draft(1).id, carrying("s2", (1, range(2, 4)))) is None
    assert await journal.expire(place.clock.now()) == []
    problem = (await message(journal, 1)).problems[-1]
    assert (problem.code, problem.message.split(" were")[0]) == ("expired", "rows 2 to 3")
    if told is None:
        assert (await verdict(journal, "s1", SUCCESS)).state is State.PARTIAL


async def test_a_second_part_that_fell_back_expires_with_the_rest(place: Place, journal: Journal) -> None:
    """Of three parts one is sent, one fell back and one was never taken: both are left over."""
    late = place.clock.now() + SECOND
    await journal.append(draft(1, rows=6, not_after=late))
    await awaiting(journal, "s1", (1, range(2)))
    await journal.take(draft(1).id, carrying("s2", (1, range(2, 4))))
    await journal.settle("s2", 1, NOT_PROCESSED)
    place.clock.at += 2 * SECOND
    (changed,) = await journal.expire(place.clock.now())
    assert changed.state is State.AWAITING
    found = await message(journal, 1)
    assert [problem.message for problem in found.problems] == ["rows 2 to 5 were not sent: its not-after has passed"]


# ---------------------------------------------------------------- several messages, one submission
async def queued(journal: Journal, *sequences: int, salvage: int | None = None, rows: int = 2) -> None:
    for n in sequences:
        await journal.append(draft(n, rows=rows, salvage=n == salvage))


async def test_what_waits_is_offered_together_up_to_the_limit(journal: Journal) -> None:
    """The head always, then whole messages in accept order while they fit."""
    await queued(journal, 1, 2, 3)
    assert [each[0] for each in await waiting(journal, 5)] == [draft(1).id, draft(2).id]
    assert [each[0] for each in await waiting(journal, 1)] == [draft(1).id]


async def test_a_success_completes_every_message_of_it(journal: Journal) -> None:
    """Each is told by itself, with its own created ids, its own relay and the transaction."""
    await queued(journal, 1, 2)
    await awaiting(journal, "s1", (1, range(2)), (2, range(2)))
    created = tuple(Created(ref=name, smp_id=f"A-{name}") for name in ("1.0", "1.1", "2.0", "2.1"))
    changed = await verdict(journal, "s1", replace(SUCCESS, created=created))
    assert states(changed) == {draft(1).id: State.COMPLETED, draft(2).id: State.COMPLETED}
    assert [each.relays for each in changed.all] == [{"plc"}, {"plc"}]
    for n in (1, 2):
        found = await message(journal, n)
        assert [each.ref for each in found.created] == [f"{n}.0", f"{n}.1"]
        assert found.transaction_id == "TX-s1"


@pytest.mark.parametrize("by", ["callback", "answer", "poll"])
async def test_an_innocent_message_goes_again(journal: Journal, by: str) -> None:
    """However the refusal comes: the message with the error ends with it, the other is offered again and completes."""
    await queued(journal, 1, 2)
    await journal.take(draft(1).id, carrying("s1", (1, range(2)), (2, range(2))))
    if by == "answer":
        changed = await journal.settle("s1", 1, declined(3))
    elif by == "poll":
        await journal.settle("s1", 1, UNCLEAR)
        changed = await journal.resolve(
            "s1", Event.FAILURE, verdict=failed(3), transaction_id="TX-s1", due_at=None, note="poll"
        )
    else:
        await journal.settle("s1", 1, accepted("TX-s1"))
        changed = await verdict(journal, "s1", failed(3))
    ended = State.REJECTED if by == "answer" else State.FAILED
    assert states(changed) == {draft(1).id: State.ACCEPTED, draft(2).id: ended}
    assert [problem.row for problem in (await message(journal, 2)).problems] == [1]
    assert (await message(journal, 1)).problems == ()
    assert await waiting(journal) == [(draft(1).id, (range(2),), False)]
    await awaiting(journal, "s2", (1, range(2)))
    assert (await verdict(journal, "s2", SUCCESS)).state is State.COMPLETED


async def test_without_a_row_each_goes_by_itself(journal: Journal) -> None:
    """Nobody knows whose fault it was: each is marked, and alone it ends for good."""
    await queued(journal, 1, 2)
    await awaiting(journal, "s1", (1, range(2)), (2, range(2)))
    await verdict(journal, "s1", failed(None))
    assert await waiting(journal) == [(draft(1).id, (range(2),), True), (draft(2).id, (range(2),), True)]
    await awaiting(journal, "s2", (1, range(2)))
    assert (await verdict(journal, "s2", failed(None))).state is State.FAILED
    assert len((await message(journal, 1)).problems) == 1


async def test_what_people_decide_is_decided_for_all(journal: Journal) -> None:
    """An operator's `failed` is no refusal of the SMP's: nothing goes again."""
    await queued(journal, 1, 2)
    await journal.take(draft(1).id, carrying("s1", (1, range(2)), (2, range(2))))
    await journal.settle("s1", 1, UNCLEAR)
    await journal.resolve("s1", Event.DOUBT_DEADLINE, verdict=None, transaction_id=None, due_at=None, note="")
    changed = await journal.resolve(
        "s1", Event.OPERATOR_FAILED, verdict=None, transaction_id=None, due_at=None, note="looked at the portal"
    )
    assert set(states(changed).values()) == {State.FAILED}


async def test_only_the_expired_message_of_a_merged_one_that_fell_back_ends(place: Place, journal: Journal) -> None:
    """The submission is over, its other message is offered again, and one that is late too ends as well."""
    late = place.clock.now() + SECOND
    await journal.append(draft(1, not_after=late))
    await journal.append(draft(2))
    await journal.append(draft(3, not_after=late))
    await journal.take(draft(1).id, carrying("s1", (1, range(3)), (2, range(3)), (3, range(3))))
    assert set(states(await journal.settle("s1", 1, NOT_PROCESSED)).values()) == {State.ACCEPTED}
    place.clock.at += 2 * SECOND
    ended = await journal.expire(place.clock.now())
    assert [(each.message_id, each.state) for each in ended] == [
        (draft(1).id, State.EXPIRED),
        (draft(3).id, State.EXPIRED),
    ]
    assert await waiting(journal) == [(draft(2).id, (range(3),), False)]


async def test_a_merged_one_that_fell_back_waits_for_the_late_to_leave_it(place: Place, journal: Journal) -> None:
    """Whichever of its messages is late: it stays until that one has left it, and the rest goes then."""
    await journal.append(draft(1))
    await journal.append(draft(2, not_after=place.clock.now() + SECOND))
    await journal.take(draft(1).id, carrying("s1", (1, range(3)), (2, range(3))))
    await journal.settle("s1", 1, NOT_PROCESSED)
    place.clock.at += 2 * SECOND
    assert await journal.take(draft(1).id, carrying("unused", (1, range(3)))) is None
    await journal.expire(place.clock.now())
    assert await waiting(journal) == [(draft(1).id, (range(3),), False)]
    assert await journal.take(draft(1).id, carrying("s2", (1, range(3)))) is not None


async def test_a_fallen_back_submission_goes_again_whole(journal: Journal) -> None:
    """It keeps id, bytes and messages; nothing is offered to be merged before it went."""
    await queued(journal, 1, 2, 3)
    await journal.take(draft(1).id, carrying("s1", (1, range(2)), (2, range(2))))
    await journal.settle("s1", 1, NOT_PROCESSED)
    assert await waiting(journal) == []
    again = await journal.take(draft(1).id, carrying("unused", (3, range(2))))
    assert again is not None
    assert (again.id, again.attempt.number) == ("s1", 2)
    assert [await state_of(journal, n) for n in (1, 2, 3)] == [State.SENDING, State.SENDING, State.ACCEPTED]


async def test_an_early_callback_of_a_merged_one_is_told_to_all(journal: Journal) -> None:
    """The orphan is applied with the 202, and each message tells what became due."""
    await queued(journal, 1, 2)
    await journal.take(draft(1).id, carrying("s1", (1, range(2)), (2, range(2))))
    early = await journal.receive(evidence("c1"), callback("TX-s1", None, failed(0)), None)
    assert early.disposition is Disposition.ORPHAN
    changed = await journal.settle("s1", 1, accepted("TX-s1"))
    assert (changed.applied_orphan, states(changed)) == (
        True,
        {draft(1).id: State.FAILED, draft(2).id: State.ACCEPTED},
    )


async def test_a_restart_puts_every_message_of_a_merged_one_into_doubt(place: Place) -> None:
    """And one status answer takes all of them out again."""
    async with place.open() as journal:
        await queued(journal, 1, 2)
        await journal.take(draft(1).id, carrying("s1", (1, range(2)), (2, range(2))))
    async with place.open() as journal:
        assert [await state_of(journal, n) for n in (1, 2)] == [State.IN_DOUBT, State.IN_DOUBT]
        changed = await journal.resolve(
            "s1", Event.SUCCESS, verdict=SUCCESS, transaction_id="T", due_at=None, note="poll"
        )
        assert set(states(changed).values()) == {State.COMPLETED}


async def test_a_partial_success_of_a_merged_one_is_told_by_name(journal: Journal) -> None:
    """Where batches are not atomic: who got everything is COMPLETED, who got something PARTIAL, who nothing FAILED."""
    await queued(journal, 1, 2, 3)
    await awaiting(journal, "s1", (1, range(2)), (2, range(2)), (3, range(2)))
    created = tuple(Created(ref=name, smp_id=name) for name in ("1.0", "1.1", "2.0"))
    told = Verdict(event=Event.PARTIAL_SUCCESS, created=created, problems=bad(3, 4, 5))
    changed = await verdict(journal, "s1", told)
    assert list(states(changed).values()) == [State.COMPLETED, State.PARTIAL, State.FAILED]


@pytest.mark.parametrize(
    "portions",
    [
        [(2, range(2))],  # not the head
        [(1, range(2)), (3, range(2))],  # skips one
        [(1, range(3))],  # a row that there is not
        [(2, range(2)), (1, range(2))],
    ],
)
async def test_only_unsent_rows_from_the_head_on_are_taken(journal: Journal, portions: list[tuple[int, range]]) -> None:
    """Whatever was prepared before something else happened is not sent."""
    await queued(journal, 1, 2, 3)
    assert await journal.take(draft(1).id, carrying("s1", *portions)) is None
    assert [await state_of(journal, n) for n in (1, 2, 3)] == [State.ACCEPTED] * 3


async def test_the_story_of_each_message_is_whole(place: Place, journal: Journal) -> None:
    """Submissions, attempts, callbacks and audit of a merged submission are shown with each of its messages."""
    await queued(journal, 1, 2)
    await awaiting(journal, "s1", (1, range(2)), (2, range(2)))
    await verdict(journal, "s1", failed(3))
    await journal.receive(evidence("c-late"), callback("TX-s1", "s1", failed(3)), None)
    await awaiting(journal, "s2", (1, range(2)))
    with place.look() as reader:
        stories = [reader.story(draft(n).id) for n in (1, 2)]
    for story, expected in zip(stories, (["s1", "s2"], ["s1"]), strict=True):
        assert story is not None
        assert [each.id for each in story.submissions] == expected
        assert [each.submission_id for each in story.attempts] == expected
        assert {each.jti for each in story.callbacks} == {"c-s1", "c-late"}
        assert [each.submission_id for each in story.portions] == expected
        assert "callback_repeated" in [each.event for each in story.audit]
    assert stories[0] is not None
    assert [(each.rows, each.offset, each.fate) for each in stories[0].portions] == [
        (range(2), 0, Fate.AGAIN),
        (range(2), 0, None),
    ]
    assert place.steps(draft(1).id)[-3:] == [
        (State.AWAITING, "released", State.ACCEPTED),
        (State.ACCEPTED, "taken", State.SENDING),
        (State.SENDING, "transaction", State.AWAITING),
    ]


async def test_names_that_may_have_to_go_again_are_told(journal: Journal) -> None:
    """While a merged submission AWAITS, a message with one of its names is not sent at once; any other is."""
    await queued(journal, 1, 2)
    assert await journal.names_under_way(BATTERY) == frozenset()
    await awaiting(journal, "s1", (1, range(2)), (2, range(2)))
    assert await journal.names_under_way(BATTERY) == {"1.0", "1.1", "2.0", "2.1"}
    same = replace(carrying("s3", (3, range(2))), portions=(Portion(rows=range(2), names=("3.0", "1.1")),))
    assert (await journal.append(draft(3, rows=2), same)).state is State.ACCEPTED
    await journal.resolve("s1", Event.SUCCESS, verdict=SUCCESS, transaction_id="TX-s1", due_at=None, note="poll")
    assert await journal.names_under_way(BATTERY) == frozenset()
    assert await journal.take(draft(3).id, carrying("s3", (3, range(2)))) is not None


@pytest.mark.parametrize("salvage", [True, False])
async def test_rows_to_be_salvaged_may_have_to_go_again(journal: Journal, *, salvage: bool) -> None:
    """Of a message alone in its submission only `salvage` keeps the names back."""
    own = replace(carrying("s1", (1, range(2))), portions=(Portion(rows=range(2), names=("1.0", "1.1")),))
    await journal.append(draft(1, rows=2, salvage=salvage), own)
    await journal.settle("s1", 1, accepted("TX-s1"))
    assert await journal.names_under_way(BATTERY) == ({"1.0", "1.1"} if salvage else frozenset())


# ---------------------------------------------------------------- salvage
async def test_salvage_sends_the_good_rows_again(journal: Journal) -> None:
    """The bad rows keep their errors, the others go as another submission, and the message ends PARTIAL."""
    await queued(journal, 1, salvage=1, rows=5)
    await awaiting(journal, "s1", (1, range(5)))
    assert (await verdict(journal, "s1", failed(1, 3))).state is State.ACCEPTED
    assert await waiting(journal) == [(draft(1).id, (range(1), range(2, 3), range(4, 5)), False)]
    await awaiting(journal, "s2", (1, range(1)), (1, range(2, 3)), (1, range(4, 5)))
    created = tuple(Created(ref=f"1.{row}", smp_id=f"A-{row}") for row in (0, 2, 4))
    assert (await verdict(journal, "s2", replace(SUCCESS, created=created))).state is State.PARTIAL
    found = await message(journal, 1)
    assert ([problem.row for problem in found.problems], found.created) == ([1, 3], created)


async def test_a_salvaged_submission_may_be_refused_again(journal: Journal) -> None:
    """Its errors count in the message's rows too, whatever was cut out before, and in the end nothing is left."""
    await queued(journal, 1, salvage=1, rows=4)
    await awaiting(journal, "s1", (1, range(4)))
    await verdict(journal, "s1", failed(0))
    await awaiting(journal, "s2", (1, range(1, 4)))
    await verdict(journal, "s2", failed(1))
    await awaiting(journal, "s3", (1, range(1, 2)), (1, range(3, 4)))
    assert (await verdict(journal, "s3", failed(0, 1))).state is State.FAILED
    assert [problem.row for problem in (await message(journal, 1)).problems] == [0, 2, 1, 3]


@pytest.mark.parametrize(("salvage", "told"), [(None, failed(0)), (1, failed(None)), (1, failed(0, 1)), (1, failed(9))])
async def test_without_salvage_or_a_row_to_cut_out_it_has_failed(
    journal: Journal, salvage: int | None, told: Verdict
) -> None:
    """Nobody asked for it, no row is named, or none is left: FAILED."""
    await queued(journal, 1, salvage=salvage)
    await awaiting(journal, "s1", (1, range(2)))
    assert (await verdict(journal, "s1", told)).state is State.FAILED
    assert await waiting(journal) == []


async def test_salvage_is_each_messages_own(journal: Journal) -> None:
    """Merged and both with errors: the one that asks is salvaged, the other ends."""
    await queued(journal, 1, 2, salvage=2)
    await awaiting(journal, "s1", (1, range(2)), (2, range(2)))
    changed = await verdict(journal, "s1", failed(1, 2))
    assert list(states(changed).values()) == [State.FAILED, State.ACCEPTED]
    assert await waiting(journal) == [(draft(2).id, (range(1, 2),), False)]


async def test_salvaged_rows_past_their_not_after_expire(place: Place, journal: Journal) -> None:
    """What could have gone again in time does not go late."""
    late = place.clock.now() + SECOND
    await journal.append(draft(1, rows=2, salvage=True, not_after=late))
    await awaiting(journal, "s1", (1, range(2)))
    place.clock.at += 2 * SECOND
    await verdict(journal, "s1", failed(0))
    (changed,) = await journal.expire(place.clock.now())
    assert changed.state is State.FAILED
    assert [problem.code for problem in (await message(journal, 1)).problems] == ["INVALID_MPAN", "expired"]
