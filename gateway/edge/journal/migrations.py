"""Numbered, forward-only migrations: each file is applied once, and its checksum stands in the journal for ever.

Rules
-----
* Files are ``migrations/<dialect>/NNNN_name.sql``; a released file is never edited, a later one mends it.
* A journal that names a file we do not have is newer than this program; one whose checksum differs was altered, or ours
  was. Both are refused: nothing is guessed about a schema.
* A migration and its entry are one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from gateway.errors import JournalMismatch

# The same in every dialect.
LEDGER = """CREATE TABLE IF NOT EXISTS migration (
    name TEXT NOT NULL PRIMARY KEY,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file: its name without the ending, its text, and the SHA-256 of its bytes."""

    name: str
    sql: str
    checksum: str


def load_migrations(dialect: str) -> Sequence[Migration]:
    """Read the migrations of a dialect in their order."""
    folder = files(__package__).joinpath("migrations", dialect)
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return [
        Migration(
            name=entry.name.removesuffix(".sql"),
            sql=entry.read_text(encoding="utf-8"),
            checksum=hashlib.sha256(entry.read_bytes()).hexdigest(),
        )
        for entry in sorted(found, key=lambda each: each.name)
    ]


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
