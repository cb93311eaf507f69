"""Numbered, forward-only migrations: each file is applied once, and its checksum stands in the journal for ever.

Rules
-----
* Files are ``migrations/NNNN_name.sql``, and ``migrations/<dialect>/NNNN_name.sql`` for what only one engine needs; a
  released file is never edited, a later one mends it.
* There is one schema, written in SQLite's words. PostgreSQL gets it with the words of :data:`_WORDS` put into its own:
  texts compare by their bytes there too, and integers have 64 bits.
* A journal that names a file we do not have is newer than this program; one whose checksum differs was altered, or ours
  was. Both are refused: nothing is guessed about a schema.
* A migration and its entry are one transaction.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from gateway.errors import JournalMismatch

# The same in every dialect.
LEDGER = """CREATE TABLE IF NOT EXISTS migration (
    name TEXT NOT NULL PRIMARY KEY,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
)"""

_WORDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "sqlite": (),
    "postgres": (
        (r"--[^\n]*", ""),
        (r"\b(id|number) INTEGER NOT NULL PRIMARY KEY,", r"\1 BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"),
        (r"\bINTEGER\b", "BIGINT"),
        (r"\bBLOB\b", "BYTEA"),
        (r"\bTEXT\b", 'TEXT COLLATE "C"'),
        (r"\) STRICT(, WITHOUT ROWID)?;", ");"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file: its name without the ending, its text for this dialect, and the SHA-256 of its bytes."""

    name: str
    sql: str
    checksum: str


def load_migrations(dialect: str) -> Sequence[Migration]:
    """Read the migrations of a dialect in their order, in its words."""
    common = files(__package__).joinpath("migrations")
    own = common.joinpath(dialect)
    shared = [_read(entry, _WORDS[dialect]) for entry in common.iterdir() if entry.name.endswith(".sql")]
    special = [_read(entry, ()) for entry in (own.iterdir() if own.is_dir() else ()) if entry.name.endswith(".sql")]
    return sorted(shared + special, key=lambda each: each.name)


def _read(entry: Traversable, words: Sequence[tuple[str, str]]) -> Migration:
    sql = entry.read_text(encoding="utf-8")
    for pattern, replacement in words:
        sql = re.sub(pattern, replacement, sql)
    checksum = hashlib.sha256(entry.read_bytes()).hexdigest()
    return Migration(name=entry.name.removesuffix(".sql"), sql=sql, checksum=checksum)


def pending(migrations: Sequence[Migration], applied: Mapping[str, str]) -> Sequence[Migration]:
    """The migrations that a journal still needs; ``applied`` maps names to checksums.

    Raises:
        JournalMismatch: the journal is newer than this program, or a migration was altered.
    """
    known = {each.name: each.checksum for each in migrations}
    for name, checksum in applied.items():
        if name not in known:
            raise JournalMismatch(f"the journal has migration {name}, which this program does not know: it is newer")
        if known[name] != checksum:
            raise JournalMismatch(f"migration {name} was altered after it was applied to this journal")
    return [each for each in migrations if each.name not in applied]
