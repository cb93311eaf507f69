"""What only the journal on PostgreSQL must do: judge its database, outlive it, and ask what became of a lost COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from gateway.core.message import Hop, Lane
from gateway.core.record import MessageFilter
from gateway.core.transaction import State
from gateway.edge.journal import postgres as postgres_module
from gateway.edge.journal import postgres_connection, postgres_writing
from gateway.edge.journal.migrations import load_migrations
from gateway.edge.journal.postgres import PostgresJournal, look
from gateway.edge.journal.stored import StoredJournal
from gateway.errors import JournalBroken, JournalError, JournalLocked, JournalMismatch
from tests.adapters.fault_proxy import FaultProxy
from tests.contracts.journal.scenario import BATTERY, Place, accepted, draft, outgoing, sent, state_of
from tests.postgres import PostgresServer, postgres_server

_COMMIT = b"COMMIT\0"


@pytest.fixture
def place(postgres: PostgresServer, tmp_path: Path) -> Place:
    return Place(tmp_path, url=postgres.fresh())


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A server that a test may kill."""
    with postgres_server() as server:
        yield server


def url_of(place: Place) -> str:
    assert place.url is not None
    return place.url


async def refusal(url: str, tmp_path: Path) -> str:
    """Why a journal cannot be opened there."""
    with pytest.raises(JournalError) as caught:
        async with Place(tmp_path, url=url).open():
            pass
    assert not isinstance(caught.value, JournalBroken)
    return str(caught.value)


# ---------------------------------------------------------------- at the start
async def test_one_gateway_at_a_time(place: Place) -> None:
    """A second opening is refused, also beside another journal's in the same database; afterwards it is free."""
    async with place.open():
        with pytest.raises(JournalLocked, match="another gateway"):
            async with place.open():
                pass
    async with place.open():
        pass


async def test_journals_of_other_schemas_are_no_hindrance(postgres: PostgresServer, tmp_path: Path) -> None:
    """Two gateways may share a database, each with its own schema."""
    async with Place(tmp_path, url=postgres.fresh()).open(), Place(tmp_path, url=postgres.fresh()).open():
        pass


async def test_an_altered_migration_is_refused(place: Place) -> None:
    """A checksum that differs, or a migration this program does not know, keeps the journal shut."""
    async with place.open():
        pass
    with psycopg.connect(url_of(place), autocommit=True) as raw:
        raw.execute("INSERT INTO migration VALUES ('9999_later', 'x', 0)")
        with pytest.raises(JournalMismatch, match="9999_later"):
            async with place.open():
                pass
        raw.execute("DELETE FROM migration WHERE name = '9999_later'")
        raw.execute("UPDATE migration SET checksum = 'x'")
    with pytest.raises(JournalMismatch, match="altered"):
        async with place.open():
            pass
    with pytest.raises(JournalMismatch), look(url_of(place)):
        pass


async def test_who_cannot_come_in_is_told_why(postgres: PostgresServer, tmp_path: Path) -> None:
    """A wrong database, user, port or URL each names itself, and no password is repeated."""
    base = f"127.0.0.1:{postgres.port}"
    assert '"nowhere" does not exist' in await refusal(f"postgresql://postgres@{base}/nowhere", tmp_path)
    assert '"stranger" does not exist' in await refusal(f"postgresql://stranger:hunter2@{base}/postgres", tmp_path)
    away = await refusal("postgresql://postgres:hunter2@127.0.0.1:1/postgres", tmp_path)
    assert "cannot be opened" in away
    assert "127.0.0.1:1/postgres" in away
    assert "hunter2" not in away
    unread = await refusal("postgresql://postgres:hun%ter2@[/postgres", tmp_path)
    assert "cannot be read" in unread
    assert "ter2" not in unread


async def test_a_user_who_may_create_nothing_is_told(postgres: PostgresServer, tmp_path: Path) -> None:
    """Missing rights are named before anything runs."""
    with psycopg.connect(postgres.url, autocommit=True) as raw:
        raw.execute("CREATE ROLE reader LOGIN")
    said = await refusal(f"postgresql://reader@127.0.0.1:{postgres.port}/postgres", tmp_path)
    assert "permission denied" in said


async def test_a_server_that_may_forget_is_refused(postgres: PostgresServer, tmp_path: Path) -> None:
    """A session that would not wait for its commits is made to; one on a server that does not sync is refused."""
    url = postgres.fresh() + "%20-csynchronous_commit%3Doff"
    async with Place(tmp_path, url=url).open():
        pass
    connection = postgres_connection.Database(url).connect()
    assert connection.ask("SHOW synchronous_commit") == [("on",)]
    connection.close()
    with psycopg.connect(postgres.url, autocommit=True) as raw:
        raw.execute("ALTER SYSTEM SET full_page_writes = off")
        raw.execute("SELECT pg_reload_conf()")
        try:
            said = await refusal(postgres.fresh(), tmp_path)
        finally:
            raw.execute("ALTER SYSTEM RESET full_page_writes")
            raw.execute("SELECT pg_reload_conf()")
    assert "full_page_writes" in said


def test_a_missing_journal_is_not_made_by_looking(place: Place) -> None:
    """Reading where there is nothing says so and creates nothing."""
    with pytest.raises(JournalMismatch, match="no journal"), look(url_of(place)):
        pass
    with psycopg.connect(url_of(place)) as raw:
        assert raw.execute("SELECT to_regclass('message'), to_regclass('migration')").fetchone() == (None, None)


def test_its_schema_is_the_common_one(place: Place) -> None:
    """Every table of the common schema is made from the same file, with 64-bit integers and texts by their bytes."""
    # how an engine keeps the audit from being changed is its own
    common = {each.name: each.checksum for each in load_migrations("sqlite") if "_guards" not in each.name}
    own = {each.name: each.checksum for each in load_migrations("postgres")}
    assert common.items() <= own.items()
    asyncio.run(_opened_once(place))
    with psycopg.connect(url_of(place)) as raw:
        kinds = raw.execute(
            "SELECT DISTINCT data_type, COALESCE(collation_name, '') FROM information_schema.columns "
            "WHERE table_schema = current_schema() AND table_name <> 'migration'"
        ).fetchall()
    assert sorted(kinds) == [("bigint", ""), ("bytea", ""), ("text", "C")]


async def _opened_once(place: Place) -> None:
    async with place.open():
        pass


# ---------------------------------------------------------------- under way
async def test_a_gateway_that_was_replaced_writes_nothing(place: Place) -> None:
    """With a newer epoch in its row, the older gateway's command is refused and stores nothing."""
    async with place.open() as journal:
        await sent(journal, 1, "s1")
        with psycopg.connect(url_of(place), autocommit=True) as raw:
            raw.execute("UPDATE node SET epoch = epoch + 1")
        with pytest.raises(JournalBroken, match="another gateway"):
            await journal.settle("s1", 1, accepted("T"))
        with look(url_of(place)) as reader:
            assert [message.state for message in reader.history(MessageFilter())] == [State.SENDING]


async def test_a_broken_constraint_is_its_callers_alone(place: Place) -> None:
    """In one transaction, a submission id used twice is refused with its whole message; its neighbours are stored."""
    async with place.open() as journal:
        results = await asyncio.gather(
            journal.append(draft(1), outgoing("s1")),
            journal.settle("unknown", 1, accepted("T")),
            journal.append(draft(2), None),
            return_exceptions=True,
        )
        assert [isinstance(each, JournalError) for each in results] == [False, True, False]
        assert (await journal.depth()).messages == {State.SENDING: 1, State.ACCEPTED: 1}


async def test_group_commit_makes_one_transaction_of_what_waits(place: Place) -> None:
    """A hundred appends at once need far fewer transactions than calls: the row that counts them tells."""
    async with place.open() as journal:
        before = _turn(place)
        await asyncio.gather(*(journal.append(draft(n)) for n in range(1, 101)))
        assert _turn(place) - before <= 10
        assert (await journal.depth()).messages == {State.ACCEPTED: 100}


def _turn(place: Place) -> int:
    with psycopg.connect(url_of(place)) as raw:
        row = raw.execute("SELECT turn FROM node").fetchone()
    assert row is not None
    return int(row[0])


async def test_a_database_that_is_killed_and_comes_back_is_waited_for(own: PostgresServer, tmp_path: Path) -> None:
    """Calls made while it is away are answered when it is back; readers find it again too; it is told when and why."""
    place = Place(tmp_path, url=own.fresh())
    async with place.open() as journal:
        await sent(journal, 1, "s1")
        own.kill()
        settling = asyncio.create_task(journal.settle("s1", 1, accepted("T")))
        reading = asyncio.create_task(journal.message(draft(1).id))
        while not any(name == "journal_away" for name, _ in place.events):  # noqa: ASYNC110 - told by another thread
            await asyncio.sleep(0.01)
        assert not settling.done()
        own.start()
        assert (await settling).state is State.AWAITING
        assert (await reading) is not None
        assert await state_of(journal, 1) is State.AWAITING
    assert [name for name, _ in place.events] == ["journal_opened", "journal_away", "journal_back"]


async def test_a_database_that_stays_away_ends_the_journal(
    own: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the limit everybody gets JournalBroken, and nothing is reported as stored."""
    for module in (postgres_connection, postgres_writing):
        monkeypatch.setattr(module, "RECONNECT_S", 0.3)
    place = Place(tmp_path, url=own.fresh())
    async with place.open() as journal:
        own.kill()
        with pytest.raises(JournalBroken, match="cannot be opened"):
            await journal.append(draft(1))
        with pytest.raises(JournalBroken):
            await journal.append(draft(2))


# ---------------------------------------------------------------- a COMMIT whose answer never came
class CuttingProxy(FaultProxy):
    """Resets every connection at the next COMMIT: before the server sees it, or when it answers."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self.cut: str | None = None  # "before" or "after"
        self.cuts = 0
        self._answering = False

    def rising(self, data: bytes) -> bytes:
        """What becomes of bytes on their way to the server."""
        if self.cut is None or _COMMIT not in data:
            return data
        self.cuts += 1
        if self.cut == "before":
            self.cut = None
            self.reset()
            return b""
        self._answering = True
        return data

    def passing(self, data: bytes) -> bytes:
        if not self._answering:
            return data
        self.cut, self._answering = None, False
        self.reset()
        return b""


@asynccontextmanager
async def behind(postgres: PostgresServer, place: Place) -> AsyncIterator[tuple[CuttingProxy, Place]]:
    proxy = CuttingProxy(postgres.port)
    await proxy.open()
    url = url_of(place).replace(f":{postgres.port}/", f":{proxy.port}/")
    try:
        yield proxy, Place(place.path, url=url, clock=place.clock, events=place.events)
    finally:
        await proxy.close()


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_lost_commit_is_asked_for(postgres: PostgresServer, place: Place, cut: str) -> None:
    """Cut before the server saw it, it is run again; cut before its answer, it is not: each effect is there once."""
    async with behind(postgres, place) as (proxy, far), far.open() as journal:
        assert isinstance(journal, PostgresJournal)
        await sent(journal, 1, "s1")
        journal.note(draft(1).id, Hop.ACKNOWLEDGED, 7)
        before = _turn(place)
        proxy.cut = cut
        changed = await journal.settle("s1", 1, accepted("T"))
        assert proxy.cuts == 1
        assert changed.state is State.AWAITING
        assert _turn(place) - before == (1 if cut == "after" else 2)
        message = await journal.message(draft(1).id)
        assert message is not None
        assert (message.state, message.hops[Hop.ACKNOWLEDGED]) == (State.AWAITING, 7)
    assert [step[2] for step in place.steps(draft(1).id)] == [State.ACCEPTED, State.SENDING, State.AWAITING]


async def test_who_was_replaced_while_away_does_not_come_back(postgres: PostgresServer, place: Place) -> None:
    """A gateway whose epoch was raised while its COMMIT was lost reports nothing and ends."""
    async with behind(postgres, place) as (proxy, far), far.open() as journal:
        await sent(journal, 1, "s1")
        await proxy.vanish()
        with psycopg.connect(url_of(place), autocommit=True) as raw:
            raw.execute("UPDATE node SET epoch = epoch + 1")
        settling = asyncio.create_task(journal.settle("s1", 1, accepted("T")))
        await proxy.open()
        with pytest.raises(JournalBroken, match="another gateway"):
            await settling
    assert [step[2] for step in place.steps(draft(1).id)] == [State.ACCEPTED, State.SENDING]


# ---------------------------------------------------------------- several gateways on one database
async def served(journal: StoredJournal, *lanes: Lane) -> list[bool]:
    """Let a gateway that shares its journal take the participants of these lanes; whether it got each of them."""
    owners = {(lane.environment, lane.participant) for lane in lanes}
    await journal.leases.enrol(owners)
    sight = await journal.leases.look()
    return [await journal.leases.claim(each) for each in sight.leases if each.owner in owners]


@asynccontextmanager
async def second(place: Place) -> AsyncIterator[asyncio.Task[int]]:
    """A gateway that stands by; its task ends with its epoch once it had the journal."""
    stands_by = asyncio.Event()

    async def take_over() -> int:
        async with PostgresJournal.open(
            url_of(place),
            clock=place.clock,
            pipeline_after_verdict=False,
            event=lambda *_, **__: None,
            standing_by=stands_by.set,
        ) as journal:
            await served(journal, BATTERY)
            return journal.epoch

    task = asyncio.create_task(take_over())
    try:
        await stands_by.wait()
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_who_stands_by_takes_over_from_one_that_ends(place: Place) -> None:
    """It waits while the other lives, and then begins the next epoch with everything that was stored."""
    async with AsyncExitStack() as stack:
        async with place.open() as journal:
            await sent(journal, 1, "s1")
            other = await stack.enter_async_context(second(place))
            assert not other.done()
        assert await other == 2
    async with place.open() as journal:
        assert await state_of(journal, 1) is State.IN_DOUBT


async def test_a_gateway_that_counts_its_turns_is_never_replaced(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several leases an idle gateway that holds its journal keeps it."""
    for module in (postgres_module, postgres_writing):
        monkeypatch.setattr(module, "LEASE_S", 1.0)
    async with place.open() as journal, second(place) as other:
        assert isinstance(journal, PostgresJournal)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(4):
                await journal.hold()
        assert not other.done()
        await journal.append(draft(1))


async def test_a_gateway_that_sleeps_is_replaced_and_can_do_nothing_when_it_wakes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without turns for a lease it is shown out; then it may neither write, nor read, nor send."""
    for module in (postgres_module, postgres_writing):
        monkeypatch.setattr(module, "LEASE_S", 0.5)
    async with place.open() as journal:
        assert isinstance(journal, PostgresJournal)
        await sent(journal, 1, "s1")
        async with second(place) as other:
            assert await other == 2
        for call in (journal.still_ours, journal.lanes, lambda: journal.settle("s1", 1, accepted("T"))):
            with pytest.raises(JournalBroken, match="another gateway"):
                await call()
    assert [step[2] for step in place.steps(draft(1).id)] == [State.ACCEPTED, State.SENDING, State.IN_DOUBT]


async def test_who_stands_by_can_be_told_to_end(place: Place) -> None:
    """Cancelled while it stands by, it leaves nothing behind: the journal goes to the next one that asks."""
    async with place.open(), second(place) as other:
        other.cancel()
    async with place.open():
        pass
