"""The floors that the journal is held against: commits with nothing but the driver, in the same mode (WAL, FULL).

* :class:`OneRow` stores what an append brings as one row. Nobody can be quicker; but it is no journal: nothing could be
  found again by lane, state or submission.
* :class:`SameRows` stores as many rows of as many bytes in as many tables as an append leaves behind, each under one
  key, one statement per table and commit. No second index, no check, no foreign key, no question asked, no chain.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw

# What an append writes to; the last two hold one row per mailbox and participant, which is written over.
TABLES = ("message", "submission", "part", "attempt", "hop", "audit", "mailbox", "chain")
_LARGE = 500  # bytes; smaller rows live in their key's tree, as the journal's do


def _open(path: Path) -> apsw.Connection:
    raw = apsw.Connection(str(path))
    for pragma, value in (("journal_mode", "wal"), ("synchronous", "full")):
        raw.pragma(pragma, value)
    return raw


class OneRow:
    """The bytes of each append in one row."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._raw = _open(path)
        self._content = content
        self._raw.execute("CREATE TABLE row (id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT")

    def commit(self, names: Sequence[str]) -> None:
        """Put one row for each name on disk."""
        with self._raw:
            self._raw.executemany("INSERT INTO row VALUES (?, ?)", [(name, self._content) for name in names])

    def close(self) -> None:
        """Give the file back."""
        self._raw.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What one append leaves in a table: so many rows of so many bytes; ``over`` where it writes over one."""

    name: str
    rows: int
    size: int
    over: bool


class SameRows:
    """The rows of each append in tables of their own."""

    def __init__(self, path: Path, tables: Sequence[Table]) -> None:
        self._raw = _open(path)
        self._tables = [
            (f"INSERT OR REPLACE INTO {each.name} VALUES (?, ?)", each, bytes(each.size)) for each in tables
        ]
        for each in tables:
            tree = "" if each.size > _LARGE else ", WITHOUT ROWID"
            self._raw.execute(f"CREATE TABLE {each.name} (id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT{tree}")

    def commit(self, names: Sequence[str]) -> None:
        """Put the rows of one append for each name on disk; ids are as random as the journal's."""
        keys = [str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in names]
        with self._raw:
            for statement, table, body in self._tables:
                given = ["only"] if table.over else [f"{key} {row}" for key in keys for row in range(table.rows)]
                self._raw.executemany(statement, [(key, body) for key in given])

    def close(self) -> None:
        """Give the file back."""
        self._raw.close()


def tables_of(path: Path, appends: int) -> list[Table]:
    """What each of these appends left in the journal at ``path``, in the mean."""
    with closing(apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY)) as raw:
        return [_table(raw, name, appends) for name in TABLES]


def _table(raw: apsw.Connection, name: str, appends: int) -> Table:
    columns = [str(row[1]) for row in raw.execute(f"PRAGMA table_info({name})")]
    size = " + ".join(f"COALESCE(LENGTH(CAST({column} AS BLOB)), 0)" for column in columns)
    count, total = (int(str(each)) for each in raw.execute(f"SELECT COUNT(*), SUM({size}) FROM {name}").fetchall()[0])
    return Table(name=name, rows=round(count / appends), size=round(total / count), over=count < appends)
