"""A restored backup sends nothing that the SMP may have by now: people are asked instead."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from gateway.core.acts import Act, Decision
from gateway.core.message import Follower
from gateway.core.transaction import State
from gateway.edge.journal.restoring import make_ready, put_in_place
from gateway.edge.journal.sqlite import SqliteJournal
from gateway.errors import JournalLocked
from tests.contracts.journal.scenario import START, Place, callback, draft, evidence, outgoing, sqlite, state_of
from tests.contracts.journal.test_units import assets, decide, found, named, send, success, unit

_RETRY = Decision(act=Act.RETRY, actor="operator:me", reason="the SMP has nothing of it")
_FOLLOWED = (Follower(message="hams-1", kind="unit", on=frozenset({State.COMPLETED})),)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return sqlite(tmp_path)


async def test_what_was_not_sent_is_parked_and_what_was_is_not(place: Place) -> None:
    """SENDING is in doubt as after any restart, AWAITING waits for its verdict, the rest of each lane is parked."""
    async with place.open() as journal:
        await send(journal, assets(1, "A"), "s1")
        await journal.append(draft(2), outgoing("s2"))
        await journal.append(draft(3))
        await journal.append(draft(4))
    async with place.open() as journal:
        assert isinstance(journal, SqliteJournal)
        assert await journal.distrust() == 2
        states = [await state_of(journal, n) for n in (1, 2, 3, 4)]
        assert states == [State.AWAITING, State.IN_DOUBT, State.PARKED, State.PARKED]
        await journal.decide(draft(3).id, _RETRY)
        assert await state_of(journal, 3) is State.ACCEPTED
    assert [event for _, event, _ in place.steps(draft(4).id)][-1] == "poison"


async def test_a_unit_that_waited_and_one_that_is_set_off_later_are_parked_too(place: Place) -> None:
    """Their assets come to their end after the restore; whether the units were made before is not known either."""
    async with place.open() as journal:
        await send(journal, replace(assets(1, "A"), followers=_FOLLOWED), "s1")
        waits = unit(2, named("A"))
        assert (await journal.append(waits, None)).state is State.WAITING
    async with place.open() as journal:
        assert isinstance(journal, SqliteJournal)
        assert await journal.distrust() == 0
        await decide(journal, "s1", success("A"))
        assert (await found(journal, waits)).state is State.PARKED
        (sequel,) = await journal.sequels("hams-bess")
        made = replace(unit(3, named("A"), name="HAMS-2"), follows=sequel.parent.id)
        appended = await journal.append(made, outgoing("u3"))
        assert (appended.state, appended.submission) == (State.PARKED, None)
        later = await journal.append(assets(4, "B"), outgoing("s4"))
        assert later.state is State.SENDING


async def test_result_sequences_begin_again_at_the_site(place: Place) -> None:
    """Those of the backup may have been read since: a pending result and the mailbox's counter have none any more."""
    async with place.open() as journal:
        await journal.append(draft(1), outgoing("s1"))
        await journal.receive(evidence("c"), callback(None, "s1"), None)
        relay = await journal.next_relay("hams-bess", "plc")
        assert relay is not None
        assert relay[0].result_seq == 1
    async with place.open() as journal:
        assert isinstance(journal, SqliteJournal)
        await journal.distrust()
        relay = await journal.next_relay("hams-bess", "plc")
        assert relay is not None
        assert relay[0].result_seq is None
        assert (await journal.number_relay(relay[0].id, 41)).result_seq == 42


async def test_the_file_that_was_there_is_kept(place: Place, tmp_path: Path) -> None:
    """It is moved aside with its log, and nothing is replaced while a gateway has it."""
    async with place.open() as journal:
        await journal.append(draft(1))
        with pytest.raises(JournalLocked):
            put_in_place(place.path, place.path, START)
    copy = tmp_path / "copy.db"
    copy.write_bytes(place.path.read_bytes())
    async with place.open() as journal:
        await journal.append(draft(2))
    aside = put_in_place(make_ready(copy, place.path), place.path, START)
    assert aside is not None
    assert aside.name == "journal.db.before-20261118T110640Z"
    for path, count in ((aside, 2), (place.path, 1)):
        with closing(apsw.Connection(str(path))) as raw:
            assert raw.execute("SELECT COUNT(*) FROM message").get == count
    assert {each.name for each in place.path.parent.iterdir()} <= {
        *("journal.db", "journal.db.lock", aside.name, "journal.db-wal", "journal.db-shm"),
        *(f"{aside.name}-wal", f"{aside.name}-shm"),
    }
