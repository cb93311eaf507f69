from __future__ import annotations

from gateway.core.evidence import Cut
from gateway.core.message import Hop
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BAD_MPAN,
    BATTERY,
    SECOND,
    Place,
    accepted,
    callback,
    draft,
    evidence,
    sent,
)

_OWNER = (BATTERY.environment, BATTERY.participant)


async def test_finished_messages_can_be_removed(place: Place, journal: Journal) -> None:
    """Up to a cut everything of what ended goes, in batches; the open message, and the chain from there, stay."""
    await journal.append(draft(1, problems=(BAD_MPAN,), rules=()))
    await sent(journal, 2, "s2")
    await journal.settle("s2", 1, accepted("TX"))
    await journal.receive(evidence("c"), callback("TX"), None)
    relay = await journal.next_relay("hams-bess", "plc")
    assert relay is not None
    await journal.relayed(relay[0].id, {Hop.READ_BACK: 9}, written=b"[]")
    await sent(journal, 3, "s3")
    await journal.append(draft(4, rules=()))
    assert await journal.removable(*_OWNER, place.clock.at - SECOND, limit=100) is None
    assert await journal.remove(*_OWNER, limit=100) == 0
    place.clock.at += SECOND
    found = await journal.removable(*_OWNER, place.clock.at, limit=100)
    assert found is not None
    assert found.number == 1  # message 2 has the newest relay
    await journal.settle("s3", 1, accepted("TX-3"))
    await journal.receive(evidence("c3"), callback("TX-3"), None)
    found = await journal.removable(*_OWNER, place.clock.at, limit=100)
    assert found is not None
    await journal.cut(Cut(head=found, at=1, key_id="k", token="t"))
    assert await journal.removable(*_OWNER, place.clock.at, limit=100) is None
    assert [await journal.remove(*_OWNER, limit=4) for _ in range(3)] == [4, 2, 0]
    assert [await journal.message(draft(n).id) for n in (1, 2)] == [None, None]
    assert await journal.message(draft(3).id) is not None
    assert await journal.submissions(draft(2).id) == []
    again = await journal.append(draft(2, rules=()))
    assert not again.existed
