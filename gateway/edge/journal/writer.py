"""The one thread that writes: it takes whatever waits, makes one transaction of it, and syncs once.

Rules
-----
* Each command runs in a savepoint of its own: one that fails harms no other, and nothing of it is stored.
* A caller hears of success only after COMMIT returned, and the file was synced with it (synchronous=FULL).
* Whatever goes wrong outside a command's own refusals (an I/O error, a failed COMMIT, a lost epoch) breaks the writer
  for good: everybody who waits, and everybody who comes later, gets JournalBroken. Nothing is tried again, because
  after a failed sync nobody can know what is on disk; recovery reads that.
* A full disk is no such error: SQLite has written nothing that counts. The batch is undone and its commands run one by
  one; the one that does not fit is refused if it is intake, and breaks the writer if it is not.
* Hops noted meanwhile ride with the next transaction.
* The log is written back by this thread too, after the callers were answered.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import apsw

from gateway.core.message import Hop
from gateway.edge.journal.connection import Connection
from gateway.edge.journal.statements import Commit, Stamp
from gateway.errors import GatewayError, JournalBroken, JournalError, JournalFull
from gateway.ports import Clock

T = TypeVar("T")

_BATCH = 512  # commands per transaction, so that the first of a flood does not wait for the last
_CHECKPOINT_PAGES = 1000  # SQLite's own default
# After these the connection or the file cannot be trusted; other errors of a statement are its command's alone.
_FATAL = (
    apsw.IOError,
    apsw.FullError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.NoMemError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.InterruptError,
    apsw.InternalError,
)


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """One command and whoever waits for it; ``intake`` may be refused for want of space."""

    command: Callable[[Commit], T]
    future: asyncio.Future[T]
    intake: bool
    result: T | None = None
    error: BaseException | None = None

    def deliver(self) -> None:
        if self.future.done():  # the caller was cancelled
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # without an error the command has answered


_AnyJob = _Job[object]


class Writer:
    """Owns the writing connection from :meth:`start` to :meth:`stop`."""

    def __init__(self, connection: Connection, *, epoch: int, clock: Clock) -> None:
        self._connection = connection.raw
        self._statements = connection
        self.epoch = epoch
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_AnyJob | None] = queue.SimpleQueue()
        self._notes: deque[tuple[str, Hop, int]] = deque()
        self._broken: str | None = None
        self._log_pages = 0
        self._thread = threading.Thread(target=self._run, name="journal writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._connection.set_wal_hook(self._remember_log)
        self._thread.start()

    async def stop(self) -> None:
        """Finish what waits, and end the thread; the connection is the caller's again."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def commit(self, command: Callable[[Commit], T], *, intake: bool = False) -> T:
        """Run a command in the next transaction and return what it returned once that is on disk.

        Cancelling leaves it unknown whether the command was stored. Raises whatever the command raises, and:

        Raises:
            JournalFull: ``intake``, and the disk has no room.
            JournalBroken: an I/O error, now or before.
        """
        if self._broken is not None:
            raise JournalBroken(self._broken)
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(command=command, future=future, intake=intake))  # type: ignore[arg-type]  # T is this caller's
        return await future

    def now(self) -> int:
        """The time that goes into rows (µs UTC)."""
        return self._clock.now()

    def note(self, message_id: str, hop: Hop, at: int) -> None:
        """Keep a hop with the next transaction."""
        self._notes.append((message_id, hop, at))

    # ------------------------------------------------------------ the thread
    def _run(self) -> None:
        while True:
            batch, last = self._drain()
            if batch or self._notes:
                self._serve(batch)
            self._loop.call_soon_threadsafe(_deliver, batch)
            if last:
                return
            self._write_back()

    def _drain(self) -> tuple[list[_AnyJob], bool]:
        """Wait for a job, then take whatever else waits; True when the writer is to stop."""
        batch: list[_AnyJob] = []
        job = self._queue.get()
        while job is not None:
            batch.append(job)
            if len(batch) == _BATCH:
                return batch, False
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _serve(self, batch: Sequence[_AnyJob]) -> None:
        try:
            self._transact(batch)
        except apsw.FullError:
            self._roll_back()
            self._serve_singly(batch)
        except (apsw.Error, GatewayError, OSError) as error:
            self._break(batch, error)

    def _serve_singly(self, batch: Sequence[_AnyJob]) -> None:
        for job in batch:
            job.error = None
            try:
                self._transact([job])
            except apsw.FullError as error:
                self._roll_back()
                if not job.intake:
                    self._break(batch, error)
                    return
                job.error = JournalFull("the disk is full: nothing of this call was stored")
            except (apsw.Error, GatewayError, OSError) as error:
                self._break(batch, error)
                return

    def _transact(self, batch: Sequence[_AnyJob]) -> None:
        if self._broken is not None:
            raise JournalBroken(self._broken)
        notes = list(self._notes)
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        commit = Commit(self._statements, Stamp(now=self._clock.now(), epoch=self.epoch))
        commit.fence()
        for job in batch:
            execute("SAVEPOINT command")
            try:
                job.result = job.command(commit)
            except (JournalBroken, *_FATAL):
                raise
            except apsw.Error as error:
                job.error = JournalError(f"{type(error).__name__}: {error}")
                execute("ROLLBACK TO command")
            except Exception as error:  # noqa: BLE001  # whatever it is, it is the caller's, who waits in another thread
                job.error = error
                execute("ROLLBACK TO command")
            execute("RELEASE command")
        for message_id, hop, at in notes:
            commit.run("insert_hop", message_id=message_id, hop=hop, at=at)
        execute("COMMIT")
        for _ in notes:
            self._notes.popleft()

    def _break(self, batch: Sequence[_AnyJob], error: Exception) -> None:
        """Answer nobody of this batch with success: what of it is on disk is unknown."""
        if self._broken is None:
            self._broken = f"the journal cannot be trusted any more: {type(error).__name__}: {error}"
        for job in batch:
            job.error = JournalBroken(self._broken)
        self._roll_back()

    def _roll_back(self) -> None:
        """Leave the transaction, if there still is one; SQLite has left it already after some errors."""
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error as error:
                self._broken = self._broken or f"the journal cannot be rolled back: {error}"

    def _remember_log(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _write_back(self) -> None:
        """Copy the log into the database once it is long; a failure breaks the writer as any other does."""
        if self._log_pages < _CHECKPOINT_PAGES or self._broken is not None:
            return
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.FullError:
            return  # the log keeps everything; a later try will find room or intake will be refused
        except apsw.Error as error:
            self._broken = f"the journal's log cannot be written back: {error}"
        self._log_pages = 0


def _deliver(batch: Sequence[_AnyJob]) -> None:
    for job in batch:
        job.deliver()
