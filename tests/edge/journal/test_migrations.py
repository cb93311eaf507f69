"""Old journals are brought up to date as they stand: a file kept from the first schema, and an old database."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from gateway.cli.evidence import verifier
from gateway.core.record import MessageFilter
from gateway.core.transaction import State
from gateway.edge.journal import chain, connection, intake, postgres_connection
from gateway.edge.journal.migrations import LEDGER, Migration, load_migrations
from gateway.edge.journal.statements import Commit, Stamp
from gateway.edge.journal.stored import StoredJournal
from gateway.errors import JournalBroken, JournalMismatch
from tests.contracts.journal.scenario import BATTERY, Place, draft, sqlite, state_of
from tests.edge.journal import attested
from tests.postgres import PostgresServer

_OLD = Path(__file__).parent / "old" / "0001.sql"


@pytest.fixture
def old(tmp_path: Path) -> Place:
    """The kept file, as it was left by a gateway that was killed."""
    place = sqlite(tmp_path)
    place.path.parent.mkdir()
    with closing(apsw.Connection(str(place.path))) as raw:
        raw.execute(_OLD.read_text(encoding="utf-8"))
        raw.pragma("journal_mode", "wal")
    return place


def names(place: Place) -> list[str]:
    with closing(apsw.Connection(str(place.path))) as raw:
        return [str(name) for (name,) in raw.execute("SELECT name FROM migration ORDER BY name")]


async def test_a_file_of_the_first_schema_goes_on(old: Place) -> None:
    """Nothing of it is lost or altered: states, doubts, chains and evidence; and the next message goes all the way."""
    with pytest.raises(JournalMismatch, match="older than this program"), old.look():
        pass
    async with old.open() as journal:
        states = {each.id: each.state for each in await journal.history(MessageFilter(limit=100))}
        assert sorted(states.values()) == [*[State.COMPLETED] * 4, State.FAILED, State.IN_DOUBT]
        assert await state_of(journal, 4) is State.IN_DOUBT
        assert verifier.check(attested.export(old))
        await attested.completed(journal, 5, replace(BATTERY, message="later"))
    with old.look() as reader:
        assert reader.examine({}) == []
    assert names(old) == [each.name for each in load_migrations("sqlite")]


async def test_a_migration_that_fails_leaves_the_file_as_it_was(old: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first half is not there either, and without it the same file opens."""
    broken = Migration(name="0003_broken", sql="CREATE TABLE half (a TEXT); CREATE TABLE half (a TEXT);", checksum="x")
    with monkeypatch.context() as patched:
        patched.setattr(connection, "load_migrations", lambda dialect: [*load_migrations(dialect), broken])
        with pytest.raises(JournalBroken, match="half already exists"):
            async with old.open():
                pass
    async with old.open() as journal:
        assert await journal.message(draft(1).id) is not None
    with closing(apsw.Connection(str(old.path))) as raw:
        assert raw.execute("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'half'").get == 0


async def test_an_old_database_goes_on(postgres: PostgresServer, tmp_path: Path) -> None:
    """The same on PostgreSQL: one that had only the first schema keeps its message, and no life is used again."""
    place = Place(tmp_path, url=postgres.fresh())
    before = postgres_connection.Database(place.url or "").connect()
    before.ask("BEGIN")
    before.ask(LEDGER)
    for each in load_migrations("postgres"):
        if each.name.startswith("0001"):
            before.raw.execute(each.sql.encode(), prepare=False)
            before.ask(f"INSERT INTO migration VALUES ('{each.name}', '{each.checksum}', 0)")
    before.ask("UPDATE node SET epoch = 7")
    commit = Commit(before, Stamp(now=place.clock.now(), epoch=7, node=1))
    intake.append(commit, draft(1), None, full=False, after_verdict=False)
    chain.seal(commit, {})
    before.ask("COMMIT")
    before.close()
    async with place.open() as journal:
        assert isinstance(journal, StoredJournal)
        assert journal.epoch > 7
        assert await state_of(journal, 1) is State.ACCEPTED
        assert await journal.removable("test", "exstor", 1 << 62, limit=10) is None
        await journal.append(draft(2))
    with place.look() as reader:
        assert reader.examine({}) == []
