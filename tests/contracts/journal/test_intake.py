from __future__ import annotations

from dataclasses import replace

from gateway.core.message import ASSETS, UNIT, Hop, MailboxPosition, Reference
from gateway.core.record import MessageFilter
from gateway.core.relay import MAILBOX_STATES, RelayRule
from gateway.core.transaction import State
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BAD_MPAN,
    BATTERY,
    FOREIGN,
    START,
    UNIT_LANE,
    Place,
    draft,
    outgoing,
    sent,
)


async def test_a_free_lane_sends_in_the_same_commit(journal: Journal) -> None:
    """Append with an outgoing answers SENDING with the submission exactly as given."""
    appended = await journal.append(draft(1), outgoing("s1"))
    assert appended.state is State.SENDING
    assert appended.submission is not None
    assert (appended.submission.id, appended.submission.body) == ("s1", b"body of s1")
    assert appended.submission.attempt == outgoing("s1").attempt


async def test_without_an_outgoing_it_waits_to_be_taken(journal: Journal) -> None:
    """Append alone accepts, and `head` and `lanes` then offer the message."""
    assert (await journal.append(draft(1))).state is State.ACCEPTED
    found = await journal.head(BATTERY)
    assert found is not None
    assert (found[0].id, found[1]) == (draft(1).id, None)
    assert await journal.lanes() == [BATTERY]


async def test_a_busy_lane_queues_and_another_does_not(journal: Journal) -> None:
    """A lane whose head is SENDING only accepts; a lane never waits for another."""
    await sent(journal, 1, "s1")
    assert (await journal.append(draft(2), outgoing("s2"))).submission is None
    assert (await journal.append(draft(1, UNIT_LANE), outgoing("u1"))).submission is not None


async def test_an_earlier_accepted_message_keeps_its_turn(journal: Journal) -> None:
    """A newer message does not overtake one that was accepted and not sent yet."""
    await journal.append(draft(1))
    assert (await journal.append(draft(2), outgoing("s2"))).state is State.ACCEPTED


async def test_everything_of_a_draft_is_kept(journal: Journal) -> None:
    """Message, mailbox position, reference value and hops are there after one append."""
    reference = Reference(value="12.5", counter=3)
    kept = replace(draft(1), reference=reference, not_after=START + 10_000_000, warnings=(BAD_MPAN,))
    await journal.append(kept)
    message = await journal.message(draft(1).id)
    assert message is not None
    assert (message.lane, message.kind, message.content, message.rows) == (BATTERY, ASSETS, draft(1).content, 3)
    assert (message.accepted_at, message.not_after) == (START, START + 10_000_000)
    assert (message.problems, message.warnings) == ((), (BAD_MPAN,))
    assert message.hops[Hop.SEEN] == START - 2
    assert await journal.position("hams-bess", "plc") == draft(1).position
    assert await journal.reference(BATTERY) == reference


async def test_the_same_message_again_stores_nothing(journal: Journal) -> None:
    """A known id answers the stored state, and neither position nor reference moves."""
    await sent(journal, 1, "s1")
    moved = MailboxPosition(generation=9, sequence=9, crc=9)
    again = await journal.append(replace(draft(1), position=moved), outgoing("other"))
    assert (again.existed, again.same, again.state, again.submission) == (True, True, State.SENDING, None)
    assert await journal.position("hams-bess", "plc") == draft(1).position
    assert (await journal.depth()).messages == {State.SENDING: 1}


async def test_another_content_under_a_known_id_is_told(journal: Journal) -> None:
    """`same` is False when the content or the kind differs, and the first content stands."""
    await journal.append(draft(1))
    assert not (await journal.append(draft(1, content=b'{"assets":[1]}'))).same
    assert not (await journal.append(replace(draft(1), kind=UNIT))).same
    message = await journal.message(draft(1).id)
    assert message is not None
    assert message.content == draft(1).content


async def test_a_refused_draft_is_known_by_its_raw_input(journal: Journal) -> None:
    """For a draft with problems the raw input decides what is the same."""
    await journal.append(draft(1, problems=(BAD_MPAN,)))
    assert (await journal.append(draft(1, problems=(BAD_MPAN,), content=b"{}"))).same
    assert not (await journal.append(replace(draft(1, problems=(BAD_MPAN,)), raw=b"\xff"))).same


async def test_a_draft_with_problems_is_refused_and_relayed(journal: Journal) -> None:
    """A refused message is committed with its problems, and its verdict waits for the site."""
    appended = await journal.append(draft(1, problems=(BAD_MPAN,)), outgoing("s1"))
    assert (appended.state, appended.submission, appended.relays) == (State.REFUSED, None, True)
    found = await journal.next_relay("hams-bess", "plc")
    assert found is not None
    assert (found[0].event, found[0].result_seq, found[1].problems) == (State.REFUSED, 1, (BAD_MPAN,))
    assert Hop.SETTLED in found[1].hops
    assert await journal.lanes() == []


async def test_positions_and_references_move_without_a_message(journal: Journal) -> None:
    """Baselines are stored alone, and a position without a result sequence keeps the counter."""
    assert await journal.position("hams-bess", "plc") is None
    assert await journal.reference(BATTERY) is None
    await journal.set_position("hams-bess", "plc", MailboxPosition(generation=1, sequence=5, crc=7, result_seq=41))
    await journal.set_position("hams-bess", "plc", MailboxPosition(generation=2, sequence=0, crc=0))
    await journal.set_reference(BATTERY, Reference(value="1", counter=0))
    await journal.set_reference(BATTERY, Reference(value="2", counter=1))
    assert await journal.position("hams-bess", "plc") == MailboxPosition(generation=2, sequence=0, crc=0, result_seq=41)
    assert await journal.reference(BATTERY) == Reference(value="2", counter=1)


async def test_history_lists_what_is_asked_for(journal: Journal) -> None:
    """Newest first, filtered by participant, site and state, and never more than the limit."""
    for sequence in (1, 2, 3):
        await journal.append(draft(sequence))
    await sent(journal, 1, "f1", FOREIGN)
    newest = [message.id for message in await journal.history(MessageFilter())]
    assert newest == [draft(1, FOREIGN).id, draft(3).id, draft(2).id, draft(1).id]
    assert len(await journal.history(MessageFilter(participant="exstor", limit=2))) == 2
    assert [m.lane for m in await journal.history(MessageFilter(state=State.SENDING))] == [FOREIGN]
    assert await journal.history(MessageFilter(site="elsewhere")) == []
    assert await journal.history(MessageFilter(environment="live")) == []


async def test_notes_ride_with_the_next_commit(journal: Journal) -> None:
    """A noted hop is on the message after whatever is committed next, and the first time stands."""
    await journal.append(draft(1))
    journal.note(draft(1).id, Hop.ACKNOWLEDGED, START + 7)
    journal.note(draft(1).id, Hop.ACKNOWLEDGED, START + 8)
    journal.note("no such message", Hop.ACKNOWLEDGED, START)
    await journal.append(draft(2))
    message = await journal.message(draft(1).id)
    assert message is not None
    assert message.hops[Hop.ACKNOWLEDGED] == START + 7
    assert Hop.COMMITTED in message.hops


async def test_notes_survive_an_orderly_end(place: Place) -> None:
    """Closing writes what was noted last."""
    async with place.open() as journal:
        await journal.append(draft(1))
        journal.note(draft(1).id, Hop.ACKNOWLEDGED, START + 7)
    async with place.open() as journal:
        message = await journal.message(draft(1).id)
        assert message is not None
        assert message.hops[Hop.ACKNOWLEDGED] == START + 7


async def test_who_asks_again_under_its_own_id_is_told_the_stored_outcome_again(journal: Journal) -> None:
    """Once more for each time it asks, and not while an answer is still on its way; the same bytes are the same."""
    reply = RelayRule(connection="mqtt", on=MAILBOX_STATES, reply={"id": "A-1", "topic": "depot/result/A-1"})
    refused = draft(1, rules=[reply], problems=(BAD_MPAN,))
    assert (await journal.append(refused)).relays
    assert not (await journal.append(refused)).relays
    for _ in range(2):
        found = await journal.next_relay("hams-bess", "mqtt")
        assert found is not None
        assert (found[0].event, found[0].rule, found[0].result_seq) == (State.REFUSED, reply, None)
        await journal.relayed(found[0].id, {})
        assert await journal.next_relay("hams-bess", "mqtt") is None
        again = await journal.append(replace(refused, problems=(), content=b'{"assets":[2]}'))
        assert (again.existed, again.same, again.state, again.relays) == (True, True, State.REFUSED, True)
