"""The journal beside the bare driver: what an append costs, how fast many are taken, recovery, and memory.

    python -m tests.bench.journal FOLDER APPENDS ROWS OPEN FINISHED

In a process of its own, so that the memory is the journal's. There are two floors (bare_driver.py): the bytes of an
append in one row, and as many rows and tables as an append leaves. All take turns in blocks, so that a disk that is
busy for a while is busy for all.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import apsw

from gateway.core.message import Draft, Hop
from gateway.edge.journal.sqlite import SqliteJournal
from gateway.ports import Journal
from tests.bench.bare_driver import OneRow, SameRows, Table, tables_of
from tests.bench.figures import Figures
from tests.contracts.journal.scenario import BATTERY, Place, accepted, callback, draft, evidence, outgoing, sqlite

APPEND_AIM, GROUP_AIM, RECOVERY_AIM_S = 1.5, 0.5, 5.0
PRODUCERS = 50
_BLOCK = 25
_CONTENT = b"x" * 700
_BYTES = _CONTENT * 2 + bytes(100)  # content, body, and what came in
_ROOT = Path(__file__).parents[2]
# Where a message leaves rows, and the numbers that a table gives by itself.
_TABLES = {
    "message": "number",
    "submission": "",
    "part": "",
    "attempt": "",
    "callback": "",
    "relay": "id",
    "hop": "",
    "audit": "id",
}
_NAMING = {"id", "message_id", "submission_id", "jti", "transaction_id"}  # what is another one in each copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Rates are messages a second; memory is resident, in MB, before and after ``finished`` messages."""

    append: Figures
    one_row: Figures
    same_rows: Figures
    rate: float
    one_row_rate: float
    same_rows_rate: float
    rows: int
    open: int
    recovery_s: float
    finished: int
    first_mb: float
    last_mb: float


def measure(folder: Path, appends: int, rows: int, open_messages: int, finished: int) -> Costs:
    """Measure in another process."""
    (own := folder / "journal").mkdir()
    command = [sys.executable, "-m", "tests.bench.journal", own, appends, rows, open_messages, finished]
    done = subprocess.run([str(word) for word in command], cwd=_ROOT, stdout=subprocess.PIPE, check=True)
    told = json.loads(done.stdout)
    return Costs(**{**told, **{name: Figures(**told[name]) for name in ("append", "one_row", "same_rows")}})


def _drafts(count: int, lane: str) -> Iterator[Draft]:
    for number in range(1, count + 1):
        yield draft(number, replace(BATTERY, message=f"{lane}-{number}"), content=_CONTENT)


async def _shape(place: Place) -> list[Table]:
    """What an append leaves in which tables."""
    async with place.open() as journal:
        for each in _drafts(_BLOCK, "shape"):
            await journal.append(each, replace(outgoing(each.id), body=_CONTENT))
    return tables_of(place.path, _BLOCK)


async def _singly(place: Place, floors: Sequence[OneRow | SameRows], count: int) -> list[Figures]:
    """One append after the other, each with its submission, as a site's request is; and raw commits in turn."""
    took: list[list[int]] = [[], *([] for _ in floors)]
    async with place.open() as journal:
        for number, each in enumerate(_drafts(count, "single")):
            out = replace(outgoing(each.id), body=_CONTENT)
            began = time.perf_counter_ns()
            await journal.append(each, out)
            took[0].append(time.perf_counter_ns() - began)
            if number % _BLOCK == _BLOCK - 1:
                for floor, theirs in zip(floors, took[1:], strict=True):
                    theirs.extend(_block(floor, number))
    return [Figures.of(each) for each in took]


def _block(floor: OneRow | SameRows, number: int) -> Iterator[int]:
    for turn in range(_BLOCK):
        began = time.perf_counter_ns()
        floor.commit([f"{number}-{turn}"])
        yield time.perf_counter_ns() - began


async def _together(place: Place, floors: Sequence[OneRow | SameRows], count: int) -> list[float]:
    """What :data:`PRODUCERS` producers get on disk, and the driver with as many of them in each commit."""
    waiting = [(each, replace(outgoing(each.id), body=_CONTENT)) for each in _drafts(count, "group")]
    coming = iter(waiting)

    async def produce() -> None:
        for each, out in coming:
            await journal.append(each, out)

    async with place.open() as journal:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(PRODUCERS):
                group.create_task(produce())
        rates = [count / (time.perf_counter() - began)]
    for floor in floors:
        began = time.perf_counter()
        for first in range(0, count, PRODUCERS):
            floor.commit([f"group-{number}" for number in range(first, first + PRODUCERS)])
        rates.append(count / (time.perf_counter() - began))
    return rates


async def _finish(journal: Journal, number: int) -> None:
    """One message all the way to its verdict at the site."""
    lane = replace(BATTERY, message="finished")
    name = f"finished {number}"
    await journal.append(draft(number, lane, content=_CONTENT), replace(outgoing(name), body=_CONTENT))
    await journal.settle(name, 1, accepted(f"{name} TX"))
    await journal.receive(evidence(f"{name} jti", lane=lane), callback(f"{name} TX"), None)
    relay = await journal.next_relay(lane.site, "plc")
    if relay is None:
        raise RuntimeError("a verdict owes its site nothing")
    await journal.relayed(relay[0].id, {Hop.READ_BACK: 9}, written=b"[]")


async def _recovery(place: Place, rows: int, open_messages: int) -> tuple[int, float]:
    """How many rows there were, and the seconds until a journal with them is open and its doubts are due."""
    async with place.open() as journal:
        drafts = list(_drafts(open_messages, "open"))
        await asyncio.gather(*(journal.append(each, replace(outgoing(each.id), body=_CONTENT)) for each in drafts))
        await _finish(journal, 1)
    with closing(apsw.Connection(str(place.path))) as raw, raw:
        made = _multiply(raw, rows)
    began = time.perf_counter()
    async with place.open() as journal:
        took = time.perf_counter() - began
        if not isinstance(journal, SqliteJournal) or journal.doubts != open_messages:
            raise RuntimeError("the restart did not put into doubt what was under way")
    return made, took


def _multiply(raw: apsw.Connection, rows: int) -> int:
    """Copy the rows of the one finished message until there are so many in all, and count them."""
    raw.pragma("foreign_keys", 0)
    (ident,) = raw.execute("SELECT id FROM message WHERE state = 'completed'").fetchone() or ("",)
    kept = {table: list(_rows_of(raw, table, given, str(ident))) for table, given in _TABLES.items()}
    count = sum(int(raw.execute(f"SELECT COUNT(*) FROM {table}").get) for table in _TABLES)
    copies = max(0, rows - count) // sum(map(len, kept.values()))
    for table, found in kept.items():
        columns = ", ".join(found[0])
        places = ", ".join("?" * len(found[0]))
        copied = (
            tuple(f"{value} {copy}" if name in _NAMING else value for name, value in row.items())
            for copy in range(copies)
            for row in found
        )
        raw.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", copied)
    return sum(int(raw.execute(f"SELECT COUNT(*) FROM {table}").get) for table in _TABLES)


def _rows_of(raw: apsw.Connection, table: str, given: str, ident: str) -> Iterator[dict[str, apsw.SQLiteValue]]:
    """The rows of a table that the finished message left, by column."""
    for row in (cursor := raw.execute(f"SELECT * FROM {table}")):
        names = [str(column[0]) for column in cursor.description]
        found = dict(zip(names, row, strict=True))
        if any(isinstance(value, str) and (value == ident or value.startswith("finished ")) for value in row):
            yield {name: value for name, value in found.items() if name != given}


async def _memory(place: Place, finished: int) -> tuple[float, float]:
    """What is resident with a tenth of these finished messages, and with all of them."""
    async with place.open() as journal:
        for number in range(1, finished // 10 + 1):
            await _finish(journal, number)
        before = _resident_mb()
        for number in range(finished // 10 + 1, finished + 1):
            await _finish(journal, number)
        return before, _resident_mb()


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1024 / 1024


async def _all(folder: Path, appends: int, rows: int, open_messages: int, finished: int) -> Costs:
    for each in ("memory", "shape", "single", "group", "recovery"):
        (folder / each).mkdir()
    first, last = await _memory(sqlite(folder / "memory"), finished)
    shape = await _shape(sqlite(folder / "shape"))
    with (
        closing(OneRow(folder / "one-row.db", _BYTES)) as one_row,
        closing(SameRows(folder / "same-rows.db", shape)) as same_rows,
    ):
        append, *single = await _singly(sqlite(folder / "single"), (one_row, same_rows), appends)
        rate, *rates = await _together(sqlite(folder / "group"), (one_row, same_rows), appends * 5)
    made, took = await _recovery(sqlite(folder / "recovery"), rows, open_messages)
    return Costs(
        append=append,
        one_row=single[0],
        same_rows=single[1],
        rate=rate,
        one_row_rate=rates[0],
        same_rows_rate=rates[1],
        rows=made,
        open=open_messages,
        recovery_s=took,
        finished=finished,
        first_mb=first,
        last_mb=last,
    )


if __name__ == "__main__":
    costs = asyncio.run(_all(Path(sys.argv[1]), *map(int, sys.argv[2:])))
    sys.stdout.write(json.dumps(dataclasses.asdict(costs)) + "\n")
