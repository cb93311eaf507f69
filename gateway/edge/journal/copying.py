"""A journal's file looked at as a whole, and copied while a gateway writes it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import apsw

from gateway.edge.journal.connection import create_file, open_reading
from gateway.errors import JournalBroken, JournalError

_SHOWN = 20  # faults of a damaged file; the first ones tell enough


def file_faults(path: Path) -> Sequence[str]:
    """What SQLite's full integrity check says against a file; it disturbs nobody, and may take long.

    Raises:
        JournalError: there is no such journal, or it cannot be read at all.
    """
    with closing(open_reading(path)) as connection:
        try:
            found = [str(row[0]) for row in connection.raw.execute(f"PRAGMA integrity_check({_SHOWN})")]
        except apsw.Error as error:
            return [f"{type(error).__name__}: {error}"]
    return [] if found == ["ok"] else found


def back_up(path: Path, target: Path) -> None:
    """Copy a journal as it is at one moment; who writes it goes on. The copy is there whole, on disk, or not at all.

    Raises:
        JournalError: there is no such journal, or the copy cannot be written.
        JournalBroken: the copy is damaged, so the journal is.
    """
    if target.exists():
        raise JournalError(f"{target} is there already; a backup never takes the place of another file")
    part = target.with_name(f"{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        create_file(part)
        _copy(path, part)
        if faults := file_faults(part):
            raise JournalBroken(f"the copy of {path} is damaged: {'; '.join(faults)}")
        sync(part)
        part.rename(target)
        sync(target.parent)
    except (apsw.Error, OSError) as error:
        raise JournalError(f"{target} cannot be written: {error}") from error
    finally:
        for each in (part, *(part.with_name(part.name + ending) for ending in ("-wal", "-shm"))):
            each.unlink(missing_ok=True)


def _copy(path: Path, part: Path) -> None:
    """Copy all pages in one step, so that they are of one moment however much is written meanwhile."""
    with closing(open_reading(path)) as source, closing(apsw.Connection(str(part))) as raw:
        with raw.backup("main", source.raw, "main") as backup:
            backup.step(-1)
        raw.pragma("journal_mode", "delete")  # a file that is whole by itself; the gateway makes it WAL again


def sync(path: Path) -> None:
    """Put a file, or what a folder lists, on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
