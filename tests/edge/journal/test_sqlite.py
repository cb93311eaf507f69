from __future__ import annotations

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from gateway.core.record import MessageFilter
from gateway.core.transaction import Event, State
from gateway.edge.journal.connection import open_reading
from gateway.edge.journal.copying import back_up
from gateway.edge.journal.reader import JournalReader
from gateway.edge.journal.sqlite import SqliteJournal
from gateway.edge.journal.statements import load_queries
from gateway.errors import JournalBroken, JournalError, JournalFull, JournalLocked, JournalMismatch
from tests.contracts.journal.scenario import (
    FAILURE,
    FOREIGN,
    UNCLEAR,
    UNIT_LANE,
    Place,
    accepted,
    attempt,
    callback,
    draft,
    evidence,
    outgoing,
    sent,
    sqlite,
    state_of,
)
from tests.edge.journal.faults import faulty_vfs

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return sqlite(tmp_path)


async def test_it_makes_its_own_folder_and_files_for_its_owner_only(place: Place) -> None:
    """Database, log, index and lock have mode 0600, the folder 0700, and opening is told."""
    async with place.open() as journal:
        await journal.append(draft(1))
        modes = {path.name: path.stat().st_mode & 0o777 for path in place.path.parent.iterdir()}
    names = ("journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock")
    assert modes == dict.fromkeys(names, 0o600)
    assert place.path.parent.stat().st_mode & 0o777 == 0o700
    assert place.events == [("journal_opened", {"path": str(place.path), "epoch": 1, "doubts": 0})]


async def test_one_gateway_at_a_time(place: Place) -> None:
    """A second opening is refused and names the holder; afterwards the journal can be opened again."""
    async with place.open():
        with pytest.raises(JournalLocked, match=f"process {os.getpid()}"):
            async with place.open():
                pass
    async with place.open():
        pass


async def test_an_altered_migration_is_refused(place: Place) -> None:
    """A checksum that differs, or a migration this program does not know, keeps the journal shut."""
    async with place.open():
        pass
    with apsw.Connection(str(place.path)) as raw:
        raw.execute("INSERT INTO migration VALUES ('9999_later', 'x', 0)")
    with pytest.raises(JournalMismatch, match="9999_later"):
        async with place.open():
            pass
    with apsw.Connection(str(place.path)) as raw:
        raw.execute("DELETE FROM migration WHERE name = '9999_later'; UPDATE migration SET checksum = 'x'")
    with pytest.raises(JournalMismatch, match="altered"):
        async with place.open():
            pass
    with pytest.raises(JournalMismatch), JournalReader.open(place.path):
        pass


async def test_another_file_is_not_a_journal(place: Place) -> None:
    """Something that is no SQLite file is refused and left as it is."""
    place.path.parent.mkdir()
    place.path.write_bytes(b"precious" * 200)
    with pytest.raises(JournalMismatch):
        async with place.open():
            pass
    assert place.path.read_bytes() == b"precious" * 200


async def test_group_commit_makes_one_sync_of_what_waits(place: Place) -> None:
    """While one sync is held up, 99 appends wait; they then need one sync together."""
    with faulty_vfs("counting") as faults:
        async with _open(place, vfs="counting") as journal:
            faults.gate.clear()
            faults.reached.clear()
            first = asyncio.create_task(journal.append(draft(1)))
            assert await asyncio.to_thread(faults.reached.wait, 30)
            others = [asyncio.create_task(journal.append(draft(n))) for n in range(2, 101)]
            await asyncio.sleep(0)
            before = faults.syncs
            faults.gate.set()
            await asyncio.gather(first, *others)
            assert faults.syncs - before == 2
            assert (await journal.depth()).messages == {State.ACCEPTED: 100}


async def test_a_failing_command_harms_no_other(place: Place) -> None:
    """In one transaction, a command that raises stores nothing, and its neighbours are stored."""
    async with place.open() as journal:
        results = await asyncio.gather(
            journal.append(draft(1)),
            journal.settle("unknown", 1, accepted("TX")),
            journal.append(draft(2)),
            return_exceptions=True,
        )
        assert isinstance(results[1], JournalError)
        assert not isinstance(results[1], JournalBroken)
        assert [await state_of(journal, n) for n in (1, 2)] == [State.ACCEPTED, State.ACCEPTED]


async def test_a_nearly_full_disk_stops_intake_only(place: Place) -> None:
    """Below the reserve new messages are refused, told once; repeats, answers and verdicts go on."""
    async with place.open() as journal:
        await sent(journal, 1, "s1")
    async with _open(place, reserve_bytes=1 << 62) as journal:
        for n in (2, 3):
            with pytest.raises(JournalFull):
                await journal.append(draft(n))
        assert (await journal.append(draft(1))).existed
        await journal.resolve("s1", Event.FOUND_PENDING, verdict=None, transaction_id="T", due_at=None, note="")
        await journal.receive(evidence("c1"), callback("T"), None)
        assert await state_of(journal, 1) is State.COMPLETED
    assert [name for name, _ in place.events].count("journal_full") == 1


async def test_a_full_disk_refuses_and_recovers(place: Place) -> None:
    """SQLITE_FULL refuses what does not fit, stores nothing of it, and later appends succeed."""
    with faulty_vfs("filling") as faults:
        async with _open(place, vfs="filling") as journal:
            await sent(journal, 1, "s1")
            faults.on_write = apsw.FullError
            with pytest.raises(JournalFull):
                await journal.append(draft(2))
            with pytest.raises(JournalFull):
                await journal.receive(evidence("c1"), callback("T", "s1"), None)
            faults.on_write = None
            assert await journal.message(draft(2).id) is None
            assert not (await journal.append(draft(2))).existed
            await journal.settle("s1", 1, accepted("T"))


async def test_nothing_overtakes_what_finds_no_room(place: Place) -> None:
    """Of appends that wait together, those behind the one that does not fit are refused with it, though they would."""
    with faulty_vfs("filling") as faults:
        async with _open(place, vfs="filling") as journal:
            faults.gate.clear()
            faults.reached.clear()
            first = asyncio.create_task(journal.append(draft(1)))
            assert await asyncio.to_thread(faults.reached.wait, 30)
            others = [asyncio.create_task(journal.append(draft(n))) for n in (2, 3)]
            await asyncio.sleep(0)
            writes: list[str] = []

            def refuse(said: str) -> Exception:
                writes.append(said)
                if len(writes) == 2:  # the two together, then the first of them alone
                    faults.on_write = None
                return apsw.FullError(said)

            faults.on_write = refuse
            faults.gate.set()
            await first
            results = await asyncio.gather(*others, return_exceptions=True)
            assert [type(each) for each in results] == [JournalFull, JournalFull]


async def test_a_full_disk_under_an_answer_breaks_the_journal(place: Place) -> None:
    """What was sent cannot be forgotten: an answer that does not fit ends the process."""
    with faulty_vfs("stuffed") as faults:
        async with _open(place, vfs="stuffed") as journal:
            await sent(journal, 1, "s1")
            faults.on_write = apsw.FullError
            with pytest.raises(JournalBroken):
                await journal.settle("s1", 1, accepted("T"))


async def test_an_io_error_on_commit_is_never_retried(place: Place) -> None:
    """After a failed sync everybody gets JournalBroken, for good, though the disk works again; it is told once."""
    with faulty_vfs("failing") as faults:
        async with _open(place, vfs="failing") as journal:
            await sent(journal, 1, "s1")
            faults.on_sync = apsw.IOError
            results = await asyncio.gather(*(journal.append(draft(n)) for n in (2, 3, 4)), return_exceptions=True)
            assert {type(each) for each in results} == {JournalBroken}
            faults.on_sync = None
            for _ in range(2):
                with pytest.raises(JournalBroken):
                    await journal.append(draft(5))
    assert [name for name, _ in place.events].count("journal_broken") == 1
    async with place.open() as journal:
        assert await state_of(journal, 1) is State.IN_DOUBT


async def _settle(journal: SqliteJournal) -> object:
    return await journal.settle("s1", 1, accepted("T"))


async def _append(journal: SqliteJournal) -> object:
    return await journal.append(draft(2))


async def _receive(journal: SqliteJournal) -> object:
    return await journal.receive(evidence("c1"), callback("T"), None)


@pytest.mark.parametrize("command", [_settle, _append, _receive])
async def test_a_gateway_that_was_replaced_writes_nothing(
    place: Place, command: Callable[[SqliteJournal], Awaitable[object]]
) -> None:
    """With a newer epoch in the file, every command of the older gateway is refused and stores nothing."""
    async with _open(place) as journal:
        await sent(journal, 1, "s1")
        with apsw.Connection(str(place.path)) as raw:
            raw.execute("UPDATE node SET epoch = epoch + 1")
        with pytest.raises(JournalBroken, match="another gateway"):
            await command(journal)
        with JournalReader.open(place.path) as reader:
            assert [message.state for message in reader.history(MessageFilter())] == [State.SENDING]


_CHANGES = [name for name, sql in load_queries().items() if sql.startswith(("UPDATE message ", "UPDATE submission "))]


async def test_each_change_of_a_row_asks_for_the_epoch_itself(place: Place) -> None:
    """Without the look that begins a transaction, an older epoch still changes no message and no submission."""
    async with place.open() as journal:
        await sent(journal, 1, "s1")
        await journal.settle("s1", 1, UNCLEAR)
    given: dict[str, int | str | bytes | None] = {
        "state": "in_doubt",
        "rest": "accepted",
        "problems": "[]",
        "created": "[]",
        "transaction_id": "TX",
    }
    given |= {"due_at": 1, "number": 2, "at": 1, "now": 1, "node": 1, "alignment": None, "content": b""}
    with closing(apsw.Connection(str(place.path))) as raw:
        epoch = int(str(raw.execute("SELECT epoch FROM node").get))
        for name in _CHANGES:
            sql = load_queries()[name]
            own = given | {"id": "s1" if sql.startswith("UPDATE submission") else draft(1).id}
            for mine, changed in ((epoch - 1, 0), (epoch, 1)):
                raw.execute("BEGIN")
                raw.execute(sql, own | {"epoch": mine}).fetchall()
                assert raw.changes() == changed, f"{name}, epoch {mine} of {epoch}"
                raw.execute("ROLLBACK")


async def test_a_broken_constraint_is_its_callers_alone(place: Place) -> None:
    """A submission id used twice is refused with its whole message, and the journal goes on."""
    async with place.open() as journal:
        results = await asyncio.gather(
            journal.append(draft(1), outgoing("s1")),
            journal.append(draft(1, UNIT_LANE), replace(outgoing("s1"), attempt=attempt("jti-s1 again"))),
            journal.append(draft(1, FOREIGN), outgoing("s2")),
            return_exceptions=True,
        )
        assert [isinstance(each, JournalError) for each in results] == [False, True, False]
        assert await journal.message(draft(1, UNIT_LANE).id) is None
        assert (await journal.depth()).messages == {State.SENDING: 2}
    with closing(apsw.Connection(str(place.path))) as raw:
        for table in ("hop", "audit", "part", "attempt"):
            count = raw.execute(f"SELECT COUNT(*) FROM {table} WHERE {_OF[table]} = ?", [_REFUSED[table]]).get
            assert count == 0, f"{table} tells of what was refused"


_REFUSED = dict.fromkeys(("hop", "audit", "part"), draft(1, UNIT_LANE).id) | {"attempt": "jti-s1 again"}
_OF = dict.fromkeys(("hop", "audit", "part"), "message_id") | {"attempt": "jti"}


async def test_what_is_asked_all_day_reads_no_whole_table(place: Place) -> None:
    """Statements of a message's way, and of a restart, find their rows by an index, or in one of open rows only."""
    async with place.open():
        pass
    with closing(open_reading(place.path)) as connection:
        raw = connection.raw
        partial = {
            str(row[0]) for row in raw.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE INDEX % WHERE %'")
        }
        for name in _ALL_DAY:
            sql = load_queries()[name]
            plan = [str(row[3]) for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}", defaultdict(lambda: None))]
            whole = [line for line in plan if line.startswith("SCAN ") and line.split()[-1] not in partial]
            assert not whole, name


_ALL_DAY = (
    "accepted_lanes",
    "delete_needs_settled",
    "delete_relays_of_callbacks",
    "expired_messages",
    "expired_waits",
    "fallen_back",
    "first_accepted",
    "lane_awaiting",
    "lane_blocking",
    "lane_busy",
    "last_of_lane",
    "message_to_move",
    "names_under_way",
    "needs_failed",
    "needs_of",
    "needs_settled",
    "newest_audit",
    "next_callback_relay",
    "next_due",
    "next_relay",
    "open_doubts",
    "orphans",
    "overdue_submissions",
    "parts_of_message",
    "parts_of_submission",
    "pending_relays_of_message",
    "sending_submissions",
    "submission_by_id",
    "submissions_by_transaction",
    "unmatched_callbacks",
)


async def test_a_restart_goes_through_all_that_was_under_way(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few a transaction of the restart takes: all of them are in doubt before the journal is open."""
    monkeypatch.setattr("gateway.edge.journal.stored._AT_ONCE", 2)
    async with place.open() as journal:
        for n in range(1, 6):
            await sent(journal, n, f"s{n}", replace(UNIT_LANE, message=f"unit-{n}"))
    async with place.open() as journal:
        assert (await journal.depth()).messages == {State.IN_DOUBT: 5}
    assert [fields["doubts"] for name, fields in place.events if name == "journal_opened"] == [0, 5]


async def test_a_reader_sees_a_live_journal(place: Place) -> None:
    """Another connection reads whole messages while the gateway writes, and cannot write itself."""
    async with place.open() as journal:
        with JournalReader.open(place.path) as reader:
            for n in range(1, 20):
                await sent(journal, n, f"s{n}")
                await journal.settle(f"s{n}", 1, accepted(f"TX-{n}"))
                await journal.receive(evidence(f"c{n}"), callback(f"TX-{n}", verdict=FAILURE), None)
                story = reader.story(draft(n).id)
                assert story is not None
                assert story.message.state is State.FAILED
            assert reader.depth().messages == {State.FAILED: 19}
            assert reader.story("no such message") is None
            with closing(open_reading(place.path)) as connection, pytest.raises(apsw.ReadOnlyError):
                connection.raw.execute("DELETE FROM message")


async def test_a_story_tells_everything(place: Place) -> None:
    """Raw input, rules, attempt with signature and answer, callback bytes, relay, and each audited step."""
    async with place.open() as journal:
        await sent(journal, 1, "s1")
        await journal.settle("s1", 1, accepted("TX-1"))
        await journal.receive(evidence("c1"), callback("TX-1"), None)
    with JournalReader.open(place.path) as reader:  # no gateway runs
        story = reader.story(draft(1).id)
    assert story is not None
    assert (story.raw, story.revision, story.rules) == (draft(1).raw, "r1", draft(1).rules)
    assert [(a.number, a.signature, a.status, a.answer) for a in story.attempts] == [(1, "sig", 202, b"{}")]
    assert [(c.jti, c.disposition, c.body) for c in story.callbacks] == [("c1", "applied", b"callback c1")]
    assert [(r.event, r.result_seq, r.state) for r in story.relays] == [(State.COMPLETED, 1, "pending")]
    assert [s.body for s in story.submissions] == [b"body of s1"]
    assert [a.to_state for a in story.audit] == [State.ACCEPTED, State.SENDING, State.AWAITING, State.COMPLETED]


def test_a_missing_journal_is_not_made_by_looking(place: Place) -> None:
    """Reading where there is nothing says so and creates nothing."""
    with pytest.raises(JournalError, match="no journal"), JournalReader.open(place.path):
        pass
    assert not place.path.parent.exists()


async def test_damage_is_found(place: Place) -> None:
    """The check passes on a sound file and raises on one with overwritten pages."""
    async with _open(place) as journal:
        for n in range(1, 200):
            await journal.append(draft(n))
        await journal.integrity()
    content = bytearray(place.path.read_bytes())
    content[8 * 4096 : 12 * 4096] = b"\xa5" * 4 * 4096
    place.path.write_bytes(content)
    with pytest.raises(JournalBroken):
        async with _open(place) as journal:
            await journal.integrity()


@pytest.mark.parametrize("after", [1, 40, 200])
async def test_what_was_reported_survives_a_kill(tmp_path: Path, after: int) -> None:
    """SIGKILL in the middle of appending loses no message whose commit was reported."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.edge.journal.appender",
        str(tmp_path),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    reported = [(await process.stdout.readline()).decode().strip() for _ in range(after)]
    process.kill()
    rest = (await process.stdout.read()).decode()
    await process.wait()
    reported += rest[: rest.rfind("\n") + 1].split()
    place = sqlite(tmp_path)
    async with place.open() as journal:
        for ident in reported:
            assert await journal.message(ident) is not None
        assert await state_of(journal, 1) is State.IN_DOUBT
    assert len(reported) >= after


def _open(
    place: Place, *, reserve_bytes: int = 0, vfs: str | None = None
) -> AbstractAsyncContextManager[SqliteJournal]:
    return SqliteJournal.open(
        place.path,
        clock=place.clock,
        pipeline_after_verdict=False,
        event=lambda name, **fields: place.events.append((name, fields)),
        reserve_bytes=reserve_bytes,
        vfs=vfs,
    )


async def test_a_backup_under_load_is_one_whole_moment(place: Place, tmp_path: Path) -> None:
    """A copy taken while messages are appended opens, is sound, and holds each that was there when it began."""
    target = tmp_path / "copy" / "journal.db"
    target.parent.mkdir()
    async with _open(place) as journal:
        for n in range(1, 100):
            await journal.append(draft(n))
        load = asyncio.create_task(_load(journal, range(100, 400)))
        await asyncio.to_thread(back_up, place.path, target)
        load.cancel()
        await asyncio.wait([load])
        for n in range(400, 410):  # the journal goes on
            await journal.append(draft(n))
    assert target.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in target.parent.iterdir()] == ["journal.db"]
    with JournalReader.open(target) as reader:
        assert reader.examine({}) == []
        kept = {message.id for message in reader.history(MessageFilter(limit=1000))}
    assert {draft(n).id for n in range(1, 100)} <= kept
    assert draft(409).id not in kept
    copied = Place(path=target, clock=place.clock)
    async with copied.open() as journal:  # a gateway can start on it
        assert (await journal.append(draft(1))).existed
        assert not (await journal.append(draft(500))).existed


async def _load(journal: SqliteJournal, sequences: range) -> None:
    for n in sequences:
        await journal.append(draft(n))


async def test_a_backup_replaces_nothing_and_leaves_no_pieces(place: Place, tmp_path: Path) -> None:
    """An existing file stays as it was; a damaged journal gives no copy, and nothing half-written stays."""
    async with _open(place) as journal:
        for n in range(1, 200):
            await journal.append(draft(n))
    folder = tmp_path / "copies"
    folder.mkdir()
    (folder / "old").write_bytes(b"precious")
    with pytest.raises(JournalError, match="there already"):
        back_up(place.path, folder / "old")
    content = bytearray(place.path.read_bytes())
    content[8 * 4096 : 12 * 4096] = b"\xa5" * 4 * 4096
    place.path.write_bytes(content)
    with pytest.raises(JournalError):
        back_up(place.path, folder / "new")
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == {"old": b"precious"}
