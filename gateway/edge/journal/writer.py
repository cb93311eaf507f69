"""The one thread that writes: it takes whatever waits, makes one transaction of it, and syncs once.

Rules
-----
* A command that fails harms no other, and nothing of it is stored: its transaction is begun anew, and each command is
  in a savepoint of its own there. Savepoints cost a third of a commit, and nearly none fails, so not before.
* A caller hears of success only after COMMIT returned, and everything was synced with it.
* Whatever goes wrong outside a command's own refusals (an I/O error, a failed COMMIT, a lost epoch) breaks the writer
  for good: everybody who waits, and everybody who comes later, gets JournalBroken. Nothing is tried again, because
  after a failed sync nobody can know what is on disk; recovery reads that.
* A full disk is no such error: nothing was written that counts. The batch is undone and its commands run one by
  one; the one that does not fit is refused if it is intake, and breaks the writer if it is not. Intake behind a
  refused one is refused with it, so that nothing overtakes it.
* Neither is a database that went away and can be asked, when it is back, whether it has the transaction. A batch that
  it does not have is run again; commands ask and change the journal and nothing else, so that they can be.
* Hops noted meanwhile ride with the next transaction.
* What is done beside another gateway (`engine.Beside`) is a transaction of its own, since it holds that one up.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.core.message import Hop
from gateway.edge.journal import chain
from gateway.edge.journal.engine import Beside, ConnectionLost, OutOfSpace, Writing
from gateway.edge.journal.statements import Commit
from gateway.errors import GatewayError, JournalBroken, JournalFull
from gateway.ports import Clock

T = TypeVar("T")

_BATCH = 512  # commands per transaction, so that the first of a flood does not wait for the last


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """One command and whoever waits for it; ``intake`` may be refused for want of space."""

    command: Callable[[Commit], T]
    future: asyncio.Future[T]
    intake: bool
    beside: Beside | None = None
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

    def __init__(self, database: Writing, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_AnyJob | None] = queue.SimpleQueue()
        self._notes: deque[tuple[str, Hop, int]] = deque()
        self._heads: chain.Heads = {}
        self._broken: str | None = None
        self._thread = threading.Thread(target=self._run, name="journal writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    async def stop(self) -> None:
        """Finish what waits, and end the thread; the connection is the caller's again."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def commit(self, command: Callable[[Commit], T], *, intake: bool = False, beside: Beside | None = None) -> T:
        """Run a command in the next transaction and return what it returned once that is on disk.

        Cancelling leaves it unknown whether the command was stored. Raises whatever the command raises, and:

        Raises:
            JournalFull: ``intake``, and the disk has no room.
            JournalBroken: an I/O error, now or before.
        """
        if self._broken is not None:
            raise JournalBroken(self._broken)
        future: asyncio.Future[T] = self._loop.create_future()
        job = _Job(command=command, future=future, intake=intake, beside=beside)
        self._queue.put(job)  # type: ignore[arg-type]  # T is this caller's
        return await future

    @property
    def epoch(self) -> int:
        """Which life of this gateway on this journal this is."""
        return self._database.epoch

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
                for each in _apart(batch):
                    self._serve(each)
            self._loop.call_soon_threadsafe(_deliver, batch)
            if last:
                return
            self._rest()

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
        except OutOfSpace:
            self._roll_back()
            self._serve_singly(batch)
        except (GatewayError, OSError) as error:
            self._break(batch, error)

    def _serve_singly(self, batch: Sequence[_AnyJob]) -> None:
        full: JournalFull | None = None
        for job in batch:
            if full is not None and job.intake:  # a smaller one that fits must not overtake it
                job.error = full
                continue
            try:
                self._transact([job])
            except OutOfSpace as error:
                self._roll_back()
                if not job.intake:
                    self._break(batch, error)
                    return
                job.error = full = JournalFull("the disk is full: nothing of this call was stored")
            except (GatewayError, OSError) as error:
                self._break(batch, error)
                return

    def _transact(self, batch: Sequence[_AnyJob]) -> None:
        """Run a batch until it is on disk, or an engine that cannot lose its database says that it never will be."""
        if self._broken is not None:
            raise JournalBroken(self._broken)
        notes = list(self._notes)
        while True:
            try:
                self._attempt(batch, notes)
                break
            except ConnectionLost as lost:
                if self._database.recover(lost):
                    break
        for _ in notes:
            self._notes.popleft()

    def _attempt(self, batch: Sequence[_AnyJob], notes: Sequence[tuple[str, Hop, int]]) -> None:
        database = self._database
        commit = database.begin(self._clock.now(), batch[0].beside if batch else None)
        if len(batch) == 1:
            commit = self._run_alone(commit, batch[0])
        elif batch:
            commit = self._run_together(commit, batch)
        hops = (*commit.hops, *notes)
        commit.each("insert_hop", ({"message_id": ident, "hop": hop, "at": at} for ident, hop, at in hops))
        heads = chain.seal(commit, self._heads)
        database.commit()
        chain.remember(heads, self._heads)

    def _run_alone(self, commit: Commit, job: _AnyJob) -> Commit:
        """Run the only command of a transaction; where it fails another transaction takes the place of this one."""
        if _run_job(commit, job):
            return commit
        self._database.roll_back()
        return self._database.begin(commit.now, job.beside)

    def _run_together(self, commit: Commit, batch: Sequence[_AnyJob]) -> Commit:
        """Run the commands of a transaction; where one fails another takes its place, in which each can be undone."""
        if all(_run_job(commit, job) for job in batch):
            return commit
        self._database.roll_back()
        commit = self._database.begin(commit.now, batch[0].beside)
        for job in batch:
            self._database.save()
            entries, hops = len(commit.entries), len(commit.hops)
            if not _run_job(commit, job):
                self._database.undo()
                del commit.entries[entries:], commit.hops[hops:]
            self._database.forget()
        return commit

    def _break(self, batch: Sequence[_AnyJob], error: Exception) -> None:
        """Answer nobody of this batch with success: what of it is on disk is unknown."""
        if self._broken is None:
            self._broken = f"the journal cannot be trusted any more: {error}"
        for job in batch:
            job.error = JournalBroken(self._broken)
        self._roll_back()

    def _roll_back(self) -> None:
        try:
            self._database.roll_back()
        except GatewayError as error:
            self._broken = self._broken or f"the journal cannot be rolled back: {error}"

    def _rest(self) -> None:
        """Let the engine do its own work; a failure breaks the writer as any other does."""
        if self._broken is not None:
            return
        try:
            self._database.rest()
        except GatewayError as error:
            self._broken = str(error)


def _run_job(commit: Commit, job: _AnyJob) -> bool:
    """Run a command; False when it failed by its own doing, and is to be undone."""
    job.result, job.error = None, None
    try:
        job.result = job.command(commit)
    except (JournalBroken, OutOfSpace, ConnectionLost):
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the caller's, who waits in another thread
        job.error = error
    return job.error is None


def _apart(batch: Sequence[_AnyJob]) -> Iterator[Sequence[_AnyJob]]:
    """The transactions that a batch becomes; without a job there still is one, for the hops."""
    parts: dict[Beside | None, list[_AnyJob]] = {}
    for job in batch:
        parts.setdefault(job.beside, []).append(job)
    yield from parts.values() or ([],)


def _deliver(batch: Sequence[_AnyJob]) -> None:
    for job in batch:
        job.deliver()
