"""How entries are put on a chain: without reading what the writer knows, and never on trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from gateway.core import evidence
from gateway.core.evidence import Entry
from gateway.edge.journal.connection import Connection, WritingConnection, open_reading
from gateway.edge.journal.examining import examine
from gateway.edge.journal.statements import Commit, Parameter, Reading, Row
from gateway.edge.journal.stored import StoredJournal
from gateway.ports import Journal
from tests.contracts.journal.scenario import BATTERY, Place, draft, sqlite


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return sqlite(tmp_path)


def stored(journal: Journal) -> StoredJournal:
    assert isinstance(journal, StoredJournal)
    return journal


def faults(path: Path) -> Sequence[str]:
    with closing(open_reading(path)) as connection, connection.moment():
        return list(examine(Reading(connection), {}))


async def test_an_entry_costs_no_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the chain's row only one UPDATE is asked for, from the second commit of this start on."""
    asked: list[str] = []
    rows = Connection.rows

    def listening(self: Connection, name: str, parameters: Mapping[str, Parameter]) -> Sequence[Row]:
        asked.append(name)
        return rows(self, name, parameters)

    monkeypatch.setattr(WritingConnection, "rows", listening)
    async with place.open() as journal:
        await journal.append(draft(1))
        assert [name for name in asked if "chain" in name] == ["lengthen_chain", "set_chain_link"]
        asked.clear()
        await journal.append(draft(2))
        assert [name for name in asked if "chain" in name] == ["extend_chain"]
    assert faults(place.path) == []


async def test_what_is_remembered_of_a_chain_is_not_trusted(place: Place) -> None:
    """A chain that somebody else has extended meanwhile is extended from where it is, and verifies."""
    async with place.open() as journal:
        await journal.append(draft(1))
        found = await journal.chain_head(BATTERY.environment, BATTERY.participant)
        assert found is not None
        head, _ = found
        entry = Entry(
            at=1, environment=head.environment, participant=head.participant, epoch=1, actor="other", event="valid"
        )
        link = evidence.link(head.link, None, evidence.line(head.number + 1, entry))
        with closing(apsw.Connection(str(place.path))) as raw, raw:
            raw.execute(
                "INSERT INTO audit (number, at, environment, participant, actor, event, detail, epoch, link)"
                " VALUES (?, 1, ?, ?, 'other', 'valid', '', 1, ?)",
                (head.number + 1, head.environment, head.participant, link),
            )
            raw.execute("UPDATE chain SET length = length + 1, link = ?", (link,))
        await journal.append(draft(2))
    assert faults(place.path) == []


async def test_a_command_that_fails_by_itself_leaves_nothing(place: Place) -> None:
    """What it wrote and attested is gone with it, and the writer goes on with the next."""

    def failing(commit: Commit) -> None:
        commit.run("insert_hop", message_id="m", hop="seen", at=1)
        commit.entries.append(
            Entry(at=1, environment="test", participant="exstor", epoch=1, actor="gateway", event="valid")
        )
        raise KeyError("its own fault")

    async with place.open() as journal:
        with pytest.raises(KeyError, match="its own fault"):
            await stored(journal)._commit(failing)
        assert await journal.chain_head("test", "exstor") is None
        await journal.append(draft(1))
    with closing(apsw.Connection(str(place.path))) as raw:
        assert raw.execute("SELECT COUNT(*) FROM hop WHERE message_id = 'm'").get == 0
    assert faults(place.path) == []
