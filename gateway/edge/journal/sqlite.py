"""The journal on SQLite: one file, one gateway, one writing thread.

What must always hold
---------------------
* WAL with ``synchronous=FULL``: what a call returned is on disk. SQLite is 3.51.3 or newer, since older ones can
  corrupt a write-ahead log that is reset while it is read.
* An exclusive lock beside the file admits one gateway. Its epoch is raised at each start; every transaction begins by
  making sure that the epoch is still ours, and it stands in the WHERE of every UPDATE of a message or submission.
* At the start, before anything else, every SENDING submission is put into doubt, due at once.
* Only the writer thread writes. Single rows by key are read on the event loop, from pages that are nearly always in
  memory (tens of µs, against about a hundred for a thread); whatever may look at many rows is read in a thread.
* Intake stops while the disk has less than the reserve free, so that what was accepted can be finished.

Files: ``journal.db`` (mode 0600), its ``-wal`` and ``-shm``, and ``journal.db.lock`` with the holder's process id.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TypeVar

from gateway.edge.journal import restoring
from gateway.edge.journal.connection import (
    Connection,
    check_integrity,
    create_file,
    create_folder,
    open_reading,
    open_writing,
)
from gateway.edge.journal.engine import OutOfSpace, StatementFailed
from gateway.edge.journal.lock import locked
from gateway.edge.journal.options import Options
from gateway.edge.journal.statements import Reading
from gateway.edge.journal.stored import StoredJournal
from gateway.edge.journal.writer import Writer
from gateway.errors import JournalBroken
from gateway.ports import Clock

T = TypeVar("T")

# Enough for the log and the verdicts of everything that a gateway has under way.
RESERVE_BYTES = 64 * 1024 * 1024
_LOOK_S = 0.05  # in which no machine writes the reserve full


class SqliteJournal(StoredJournal):
    """A journal in one SQLite file, at ``path``; made by :meth:`open` only."""

    path: Path

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        pipeline_after_verdict: bool | Mapping[str, bool],
        event: Callable[..., None],
        reserve_bytes: int = RESERVE_BYTES,
        vfs: str | None = None,
    ) -> AsyncIterator[SqliteJournal]:
        """Open the journal as its only gateway, creating what is missing, and put what was under way into doubt.

        ``pipeline_after_verdict`` says, for all or by environment, whether AWAITING blocks a lane. ``vfs`` names a
        registered SQLite VFS.

        Raises:
            JournalLocked: another gateway has it open.
            JournalMismatch: the file is not a journal that this program can use, or SQLite is too old.
            JournalBroken: the file cannot be read or written.
        """
        options = Options(after_verdict=pipeline_after_verdict, is_full=Room(path, reserve_bytes).is_gone)
        with _opened(path, clock=clock, vfs=vfs) as (writer, lookups, lists):
            journal = cls(str(path), writer, lookups, lists, options=options, event=event)
            journal.path = path
            writer.start()
            try:
                await journal.begin()
                yield journal
            finally:
                await writer.stop()

    async def distrust(self) -> int:
        """Treat what is stored as a backup, after which anything may have happened; how many messages are parked."""
        return len(await self._commit(restoring.distrust))

    async def integrity(self) -> None:
        """See `StoredJournal`: check the whole file, which disturbs nobody."""
        await check_integrity(self.path)


class _Inline:
    """Questions that are answered here and now, from pages that are nearly always in memory."""

    def __init__(self, connection: Connection) -> None:
        self._reading = Reading(connection)

    async def read(self, question: Callable[[Reading], T]) -> T:
        """See `engine.Asking`."""
        with _failing_closed():
            return question(self._reading)


class _Threaded:
    """Questions that are answered in the readers' thread."""

    def __init__(self, connection: Connection, threads: ThreadPoolExecutor) -> None:
        self._reading = Reading(connection)
        self._threads = threads

    async def read(self, question: Callable[[Reading], T]) -> T:
        """See `engine.Asking`."""
        with _failing_closed():
            return await asyncio.get_running_loop().run_in_executor(self._threads, question, self._reading)


@contextmanager
def _failing_closed() -> Iterator[None]:
    """A journal that cannot be read is broken, whatever kept it from being read."""
    try:
        yield
    except (StatementFailed, OutOfSpace) as error:
        raise JournalBroken(f"the journal cannot be read: {error}") from error


class Room:
    """What the disk has left for the journal; a flood of messages does not ask for each."""

    def __init__(self, path: Path, reserve_bytes: int) -> None:
        self._folder = path.parent
        self._reserve_bytes = reserve_bytes
        self._asked_at = -_LOOK_S
        self._gone = False

    def is_gone(self) -> bool:
        """Whether less than the reserve was free a moment ago."""
        now = time.monotonic()
        if now - self._asked_at >= _LOOK_S:
            disk = os.statvfs(self._folder)
            self._asked_at, self._gone = now, disk.f_bavail * disk.f_frsize < self._reserve_bytes
        return self._gone


@contextmanager
def _opened(path: Path, *, clock: Clock, vfs: str | None) -> Iterator[tuple[Writer, _Inline, _Threaded]]:
    """Lock the journal, make it ready, begin an epoch; the three connections close before the lock is given back."""
    create_folder(path)
    with locked(path):
        create_file(path)
        with (
            closing(open_writing(path, now=clock.now(), vfs=vfs)) as writing,
            closing(open_reading(path, vfs=vfs)) as lookups,
            closing(open_reading(path, vfs=vfs)) as lists,
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal reader") as threads,
        ):
            yield Writer(writing, clock=clock), _Inline(lookups), _Threaded(lists, threads)
