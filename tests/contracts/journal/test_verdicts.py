from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.message import Created, Hop
from gateway.core.record import Disposition
from gateway.core.relay import CallbackRelay
from gateway.core.transaction import Event, State
from gateway.core.verdict import Verdict
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BAD_MPAN,
    FAILURE,
    FOREIGN,
    NOT_PROCESSED,
    SECOND,
    START,
    SUCCESS,
    UNCLEAR,
    Place,
    accepted,
    callback,
    draft,
    evidence,
    outgoing,
    overdue,
    sent,
    state_of,
)


async def awaiting(journal: Journal, sequence: int = 1) -> None:
    """Bring a message to AWAITING as s<n> and TX-<n>."""
    await sent(journal, sequence, f"s{sequence}")
    await journal.settle(f"s{sequence}", 1, accepted(f"TX-{sequence}"))


async def test_a_callback_decides_its_message(journal: Journal) -> None:
    """State, created ids, hops and relay are one commit with the callback."""
    await awaiting(journal)
    verdict = replace(SUCCESS, created=(Created(ref="PCS 1", smp_id="A-1"),))
    received = await journal.receive(evidence("c1"), callback("TX-1", "s1", verdict), None)
    assert received.disposition is Disposition.APPLIED
    assert received.changed is not None
    assert (received.changed.state, received.changed.relays) == (State.COMPLETED, frozenset({"plc"}))
    message = await journal.message(draft(1).id)
    assert message is not None
    assert message.created == verdict.created
    assert {Hop.CALLED_BACK, Hop.VERIFIED, Hop.SETTLED} <= set(message.hops)


@pytest.mark.parametrize("ids", [("TX-1", None), (None, "s1")])
async def test_one_id_is_enough(journal: Journal, ids: tuple[str | None, str | None]) -> None:
    """A callback is matched by its transaction id or by our submission id alone, and errors are kept."""
    await awaiting(journal)
    received = await journal.receive(evidence("c1"), callback(*ids, FAILURE), None)
    assert received.disposition is Disposition.APPLIED
    message = await journal.message(draft(1).id)
    assert message is not None
    assert (message.state, message.problems) == (State.FAILED, (BAD_MPAN,))


@pytest.mark.parametrize("submission", [None, "s1"])
async def test_a_callback_before_the_answer_waits_for_its_transaction(journal: Journal, submission: str | None) -> None:
    """By transaction id alone it is an orphan until the 202; with our id it decides at once; both end well."""
    await sent(journal, 1, "s1")
    received = await journal.receive(evidence("c1"), callback("TX-1", submission), None)
    early = submission is None
    assert received.disposition is (Disposition.ORPHAN if early else Disposition.APPLIED)
    changed = await journal.settle("s1", 1, accepted("TX-1"))
    assert (changed.state, changed.moved, changed.applied_orphan) == (State.COMPLETED, early, early)
    message = await journal.message(draft(1).id)
    assert message is not None
    assert message.transaction_id == "TX-1"
    assert {Hop.CALLED_BACK, Hop.ANSWERED} <= set(message.hops)
    found = await journal.next_relay("hams-bess", "plc")
    assert found is not None
    assert found[0].event is State.COMPLETED


async def test_an_orphan_survives_a_restart_and_waits_for_the_poll(place: Place) -> None:
    """An orphan is on disk, and is applied when the reconciler learns the transaction id."""
    async with place.open() as journal:
        await sent(journal, 1, "s1")
        await journal.receive(evidence("c1"), callback("TX-1"), None)
    async with place.open() as journal:
        changed = await journal.resolve(
            "s1", Event.FOUND_PENDING, verdict=None, transaction_id="TX-1", due_at=START, note="pending"
        )
        assert (changed.state, changed.applied_orphan) == (State.COMPLETED, True)


async def test_the_first_of_two_orphans_decides(journal: Journal) -> None:
    """Of two early callbacks the first one stands, and the second moves nothing."""
    await sent(journal, 1, "s1")
    await journal.receive(evidence("c1"), callback("TX-1", verdict=FAILURE), None)
    await journal.receive(replace(evidence("c2"), received_at=START + 1), callback("TX-1"), None)
    assert (await journal.settle("s1", 1, accepted("TX-1"))).state is State.FAILED
    again = await journal.receive(evidence("c2"), callback("TX-1"), None)
    assert (again.disposition, again.first) == (Disposition.DUPLICATE, Disposition.CONFLICT)


async def test_a_fallen_back_submission_keeps_its_callback_for_later(journal: Journal) -> None:
    """A verdict for a submission in ACCEPTED is an orphan, and decides once a transaction id appears."""
    await sent(journal, 1, "s1")
    await journal.settle("s1", 1, NOT_PROCESSED)
    received = await journal.receive(evidence("c1"), callback(None, "s1"), None)
    assert received.disposition is Disposition.ORPHAN
    await journal.take(draft(1).id, outgoing("s1"))
    changed = await journal.settle("s1", 2, accepted("TX-1"))
    assert (changed.state, changed.applied_orphan) == (State.COMPLETED, True)


async def test_the_same_bytes_again_are_a_duplicate(journal: Journal) -> None:
    """A known jti with identical bytes tells what became of the first, at any age, and moves nothing."""
    await awaiting(journal)
    await journal.receive(evidence("c1"), callback("TX-1"), None)
    again = await journal.receive(evidence("c1"), callback("TX-1"), None)
    assert (again.disposition, again.first, again.changed) == (Disposition.DUPLICATE, Disposition.APPLIED, None)


async def test_a_known_jti_with_other_bytes_is_replayed(journal: Journal) -> None:
    """It is not stored and decides nothing; another issuer or environment has jtis of its own."""
    await awaiting(journal)
    await journal.receive(evidence("c1"), callback("TX-0"), None)
    other = evidence("c1", b"other")
    assert (await journal.receive(other, callback("TX-1"), None)).disposition is Disposition.REPLAYED
    assert await state_of(journal, 1) is State.AWAITING
    elsewhere = replace(other, issuer="smp-2")
    assert (await journal.receive(elsewhere, callback("TX-1"), None)).disposition is Disposition.APPLIED


async def test_the_first_verdict_stands(journal: Journal) -> None:
    """A later verdict is REPEATED when it says the same and a CONFLICT when it does not; neither moves anything."""
    await awaiting(journal)
    await journal.receive(evidence("c1"), callback("TX-1"), None)
    repeated = await journal.receive(evidence("c2"), callback("TX-1"), None)
    assert repeated.disposition is Disposition.REPEATED
    assert repeated.changed is not None
    assert not repeated.changed.moved
    conflict = await journal.receive(evidence("c3"), callback("TX-1", verdict=FAILURE), None)
    assert (conflict.disposition, bool(conflict.note)) == (Disposition.CONFLICT, True)
    assert await state_of(journal, 1) is State.COMPLETED
    assert (await journal.depth()).relays == 1


@pytest.mark.parametrize("ids", [("TX-1", "s2"), ("TX-9", "s1"), ("TX-1", "unknown")])
async def test_ids_of_different_submissions_conflict(journal: Journal, ids: tuple[str, str]) -> None:
    """Ids that do not belong together decide nothing, and what they name is asked about at once."""
    await awaiting(journal)
    await awaiting(journal, 2)
    received = await journal.receive(evidence("c1"), callback(*ids), None)
    assert received.disposition is Disposition.CONFLICT
    assert [await state_of(journal, n) for n in (1, 2)] == [State.AWAITING, State.AWAITING]
    due, _ = await overdue(journal, START + SECOND)
    assert "s1" in [each.id for each in due]


async def test_a_foreign_transaction_counts_as_unknown(journal: Journal) -> None:
    """Another participant's ids, or those of the other environment, decide nothing."""
    await awaiting(journal)
    for n, foreign in enumerate((evidence("c1", lane=FOREIGN), replace(evidence("c2"), environment="live"))):
        received = await journal.receive(foreign, callback("TX-1", "s1"), None)
        assert (n, received.disposition) == (n, Disposition.ORPHAN)
    assert await state_of(journal, 1) is State.AWAITING


async def test_a_faulty_callback_is_kept_and_its_transaction_polled(journal: Journal) -> None:
    """QUARANTINED decides nothing, makes its submission due at once, and comes back as the duplicate of that."""
    await awaiting(journal)
    received = await journal.receive(evidence("c1"), callback("TX-1"), "clock")
    assert (received.disposition, received.note) == (Disposition.QUARANTINED, "clock")
    (due,), _ = await overdue(journal, START + SECOND)
    assert due.id == "s1"
    again = await journal.receive(evidence("c1"), callback("TX-1"), "clock")
    assert (again.disposition, again.first, again.note) == (
        Disposition.DUPLICATE,
        Disposition.QUARANTINED,
        "clock",
    )
    assert (await journal.receive(evidence("c2"), None, "schema")).disposition is Disposition.QUARANTINED
    assert await state_of(journal, 1) is State.AWAITING


async def test_another_message_type_is_kept(journal: Journal) -> None:
    """A callback without a verdict is OTHER, whatever its ids say."""
    await awaiting(journal)
    received = await journal.receive(evidence("c1"), callback("TX-1", "s1", None), None)
    assert received.disposition is Disposition.OTHER
    assert await state_of(journal, 1) is State.AWAITING


async def test_a_verdict_before_the_answer_stands_against_it(journal: Journal) -> None:
    """A terminal message takes a late, contradicting answer as evidence and does not move."""
    await sent(journal, 1, "s1")
    await journal.receive(evidence("c1"), callback("TX-1", "s1"), None)
    assert not (await journal.settle("s1", 1, UNCLEAR)).moved
    assert await state_of(journal, 1) is State.COMPLETED


async def test_the_reconciler_moves_what_the_table_knows(journal: Journal) -> None:
    """A found verdict ends a doubt with its problems; the same step again is evidence only."""
    await sent(journal, 1, "s1")
    await journal.settle("s1", 1, UNCLEAR)
    verdict = Verdict(event=Event.PARTIAL_SUCCESS, problems=(BAD_MPAN,))
    for moved in (True, False):
        changed = await journal.resolve(
            "s1", verdict.event, verdict=verdict, transaction_id="TX-1", due_at=None, note="poll"
        )
        assert (changed.state, changed.moved) == (State.PARTIAL, moved)
    message = await journal.message(draft(1).id)
    assert message is not None
    assert (message.problems, message.transaction_id) == ((BAD_MPAN,), "TX-1")


async def test_a_late_callback_wins_over_people(journal: Journal) -> None:
    """An ESCALATED message is still decided by its callback."""
    await sent(journal, 1, "s1")
    await journal.settle("s1", 1, UNCLEAR)
    escalated = await journal.resolve(
        "s1", Event.DOUBT_DEADLINE, verdict=None, transaction_id=None, due_at=None, note="late"
    )
    assert (escalated.state, escalated.relays) == (State.ESCALATED, frozenset({"plc"}))
    received = await journal.receive(evidence("c1"), callback(None, "s1"), None)
    assert received.disposition is Disposition.APPLIED


async def test_unmatched_callbacks_are_counted_by_participant_until_they_are_matched(journal: Journal) -> None:
    """An early callback counts as unmatched from its time on, and no longer once its transaction id appeared."""
    await sent(journal, 1, "s1")
    await journal.receive(evidence("c1"), callback("TX-1"), None)
    await journal.receive(evidence("c2"), callback("TX-9"), None)
    assert await journal.unmatched(START - 1) == {}
    assert await journal.unmatched(START) == {"exstor": 2}
    await journal.settle("s1", 1, accepted("TX-1"))
    assert await journal.unmatched(START) == {"exstor": 1}


async def test_what_is_not_over_is_counted_by_lane_and_state_and_verdicts_as_overdue(journal: Journal) -> None:
    """Ended messages do not count; a verdict is overdue for its own environment only, from its own moment on."""
    for sequence in (1, 2):
        await awaiting(journal, sequence)
    await sent(journal, 3, "s3")
    await journal.receive(evidence("c1"), callback("TX-1"), None)
    lane = draft(1).lane
    found = await journal.unfinished({"test": START + 3600 * SECOND, "live": START + 3600 * SECOND})
    assert found.messages == {(lane, State.AWAITING): 1, (lane, State.SENDING): 1}
    assert found.overdue == {("test", "exstor"): 1}
    assert (await journal.unfinished({"test": START - 1})).overdue == {}


async def test_another_type_is_relayed_once_in_order_and_survives_a_restart(place: Place) -> None:
    """In the callback's own commit; the same bytes again and a verdict make no relay; marked, it is not due again."""
    notice = CallbackRelay(site="hams-bess", connection="plc", write={"text": "raw", "count": 3})
    async with place.open() as journal:
        await awaiting(journal)
        for _ in range(2):
            await journal.receive(evidence("c1"), callback(None, None, None), None, [notice])
        await journal.receive(evidence("c2"), callback("TX-1"), None, [notice])
        await journal.receive(evidence("c3"), callback(None, None, None), None, [replace(notice, write={"text": "2"})])
        assert await journal.next_callback_relay("hams-bess", "scada") is None
        pending = (await journal.depth()).relays
    async with place.open() as journal:
        first = await journal.next_callback_relay("hams-bess", "plc")
        assert first is not None
        assert first.write == {"text": "raw", "count": 3}
        await journal.callback_relayed(first.id)
        second = await journal.next_callback_relay("hams-bess", "plc")
        assert second is not None
        assert second.write == {"text": "2"}
        await journal.callback_relayed(second.id, "refused")
        assert await journal.next_callback_relay("hams-bess", "plc") is None
        assert (await journal.depth()).relays == pending - 2
