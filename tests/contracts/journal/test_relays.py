from __future__ import annotations

from gateway.core.message import Hop, MailboxPosition
from gateway.core.record import Owed
from gateway.core.relay import FAILURES, RelayRule
from gateway.core.transaction import Event, State
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BAD_MPAN,
    START,
    UNCLEAR,
    Place,
    accepted,
    callback,
    draft,
    evidence,
    mailbox_rule,
    outgoing,
    sent,
)


async def test_relays_come_in_order_and_end_one_by_one(journal: Journal) -> None:
    """The oldest relay of a connection comes first, again and again, until it is marked."""
    await journal.append(draft(1, problems=(BAD_MPAN,)))
    await journal.append(draft(2, problems=(BAD_MPAN,)))
    first = await journal.next_relay("hams-bess", "plc")
    assert first == await journal.next_relay("hams-bess", "plc")
    assert first is not None
    assert (first[0].result_seq, first[0].rule, first[0].participant) == (1, mailbox_rule(1), "exstor")
    await journal.relayed(first[0].id, {Hop.RELAYED: START + 6, Hop.READ_BACK: START + 7})
    second = await journal.next_relay("hams-bess", "plc")
    assert second is not None
    assert (second[0].result_seq, second[1].id) == (2, draft(2).id)
    await journal.relayed(second[0].id, {}, "the site refused it")
    assert await journal.next_relay("hams-bess", "plc") is None
    assert await journal.next_relay("hams-bess", "scada") is None
    message = await journal.message(draft(1).id)
    assert message is not None
    assert message.hops[Hop.READ_BACK] == START + 7


async def test_a_terminal_verdict_overtakes_what_it_would_overwrite(journal: Journal) -> None:
    """A pending progress relay is superseded at its own place only."""
    rules = (
        mailbox_rule(1, progress=True),
        RelayRule(connection="plc", on=frozenset({State.AWAITING}), write={"smp_state": 1}),
        RelayRule(connection="plc", on=frozenset({State.AWAITING}), write={"lamp": 1}),
        RelayRule(connection="scada", on=frozenset({State.AWAITING}), write={"smp_state": 1}),
        RelayRule(connection="plc", on=frozenset({State.COMPLETED, *FAILURES}), write={"smp_state": 2, "text": "ok"}),
    )
    await journal.append(draft(1, rules=rules), outgoing("s1"))
    changed = await journal.settle("s1", 1, accepted("TX-1"))
    assert changed.relays == {"plc", "scada"}
    progress = await journal.next_relay("hams-bess", "plc")
    assert progress is not None
    assert (progress[0].event, progress[0].result_seq) == (State.AWAITING, None)
    await journal.receive(evidence("c1"), callback("TX-1"), None)
    left = []
    for connection in ("plc", "scada"):
        while (found := await journal.next_relay("hams-bess", connection)) is not None:
            left.append((connection, found[0].event, dict(found[0].rule.write)))
            await journal.relayed(found[0].id, {})
    assert left == [
        ("plc", State.AWAITING, {"lamp": 1}),
        ("plc", State.COMPLETED, {}),
        ("plc", State.COMPLETED, {"smp_state": 2, "text": "ok"}),
        ("scada", State.AWAITING, {"smp_state": 1}),
    ]


async def test_result_sequences_go_on_after_a_restart(place: Place) -> None:
    """A repeated relay carries the same result sequence, and the next one the next."""
    async with place.open() as journal:
        await journal.append(draft(1, problems=(BAD_MPAN,), result_seq=65534))
        await sent(journal, 2, "s2")
    async with place.open() as journal:
        first = await journal.next_relay("hams-bess", "plc")
        assert first is not None
        assert first[0].result_seq == 65535
        await journal.relayed(first[0].id, {})
        await journal.resolve("s2", Event.DOUBT_DEADLINE, verdict=None, transaction_id=None, due_at=None, note="")
        second = await journal.next_relay("hams-bess", "plc")
        assert second is not None
        assert second[0].result_seq == 1  # 0 is skipped


async def test_an_unknown_counter_is_fixed_from_the_site(journal: Journal) -> None:
    """Without a counter the first relay continues from the value found, once, and later ones from the journal's."""
    await journal.append(draft(1, problems=(BAD_MPAN,), result_seq=None))
    found = await journal.next_relay("hams-bess", "plc")
    assert found is not None
    assert found[0].result_seq is None
    assert (await journal.number_relay(found[0].id, 41)).result_seq == 42
    assert (await journal.number_relay(found[0].id, 7)).result_seq == 42
    await journal.append(draft(2, problems=(BAD_MPAN,)))
    await journal.relayed(found[0].id, {})
    following = await journal.next_relay("hams-bess", "plc")
    assert following is not None
    assert following[0].result_seq == 43
    assert await journal.position("hams-bess", "plc") == MailboxPosition(generation=1, sequence=2, crc=2, result_seq=43)


async def test_a_superseded_relay_may_still_arrive(journal: Journal) -> None:
    """A relay that was under way when it was superseded can be marked, and the terminal one still comes."""
    await sent(journal, 1, "s1")
    await journal.settle("s1", 1, UNCLEAR)
    await journal.resolve("s1", Event.DOUBT_DEADLINE, verdict=None, transaction_id=None, due_at=None, note="")
    under_way = await journal.next_relay("hams-bess", "plc")
    assert under_way is not None
    await journal.receive(evidence("c1"), callback(None, "s1"), None)
    await journal.relayed(under_way[0].id, {Hop.READ_BACK: START})
    terminal = await journal.next_relay("hams-bess", "plc")
    assert terminal is not None
    assert (terminal[0].event, terminal[0].result_seq) == (State.COMPLETED, 2)


async def test_depth_counts_states_and_pending_relays(journal: Journal) -> None:
    """Messages by state, and relays that no site has read back yet."""
    await sent(journal, 1, "s1")
    await journal.append(draft(2))
    await journal.append(draft(3, problems=(BAD_MPAN,)))
    depth = await journal.depth()
    assert depth.messages == {State.SENDING: 1, State.ACCEPTED: 1, State.REFUSED: 1}
    assert depth.relays == 1


async def test_what_a_site_is_owed_ends_with_its_messages_and_relays(journal: Journal) -> None:
    """An open message promises its verdict to the connections of its rules; a pending relay is owed until marked."""
    assert await journal.owed("hams-bess") == Owed(messages=0, connections=frozenset())
    rules = (RelayRule(connection="scada", on=frozenset({State.COMPLETED}), write={"smp_state": 2}),)
    await journal.append(draft(1, rules=rules), outgoing("s1"))
    await journal.settle("s1", 1, accepted("TX-1"))
    assert await journal.owed("hams-bess") == Owed(messages=1, connections=frozenset({"scada"}))
    assert await journal.owed("solent-bess") == Owed(messages=0, connections=frozenset())
    await journal.receive(evidence("c1"), callback("TX-1"), None)
    assert await journal.owed("hams-bess") == Owed(messages=0, connections=frozenset({"scada"}))
    found = await journal.next_relay("hams-bess", "scada")
    assert found is not None
    await journal.relayed(found[0].id, {})
    assert await journal.owed("hams-bess") == Owed(messages=0, connections=frozenset())


async def test_a_result_is_found_by_its_number(place: Place) -> None:
    """The newest of that mailbox, also after a restart; for 0 the last it was given; of another mailbox nothing."""
    async with place.open() as journal:
        assert await journal.result("hams-bess", "plc", "plc", 0) is None
        await journal.append(draft(1, problems=(BAD_MPAN,), result_seq=65534))
        await journal.append(draft(2, problems=(BAD_MPAN,)))
        first = await journal.next_relay("hams-bess", "plc")
        assert first is not None
        await journal.relayed(first[0].id, {})
    async with place.open() as journal:
        for shown, sequence in ((65535, 1), (1, 2), (0, 2)):
            found = await journal.result("hams-bess", "plc", "plc", shown)
            assert found is not None
            assert (found[1].id, found[1].problems) == (draft(sequence).id, (BAD_MPAN,))
        second = await journal.next_relay("hams-bess", "plc")
        assert second is not None
        await journal.relayed(second[0].id, {}, "the site refused it")
        assert await journal.result("hams-bess", "plc", "plc", 1) is None
        assert await journal.result("hams-bess", "plc", "other", 65535) is None
        assert await journal.result("hams-bess", "scada", "plc", 65535) is None
