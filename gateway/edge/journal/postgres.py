"""The journal on PostgreSQL: the same statements and commands as on SQLite, on a database of the customer's own.

What must always hold
---------------------
* What a call returned is on the server's disk; see `postgres_connection.py` for how that is made sure.
* A database that goes away is waited for, and asked what it has of the transaction that was lost with it. One that
  stays away ends the process, as a broken disk does.
* A gateway that slept for so long that another one may have taken over counts a turn before it reads, and before it
  sends; so whoever was replaced in its sleep finds out before it does anything.
* Nothing waits for the database on the event loop: one thread writes, two threads read.
* Space is the database's own business: when it has none, intake is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from typing import TypeVar

from gateway.edge.journal.engine import ConnectionLost, OutOfSpace, StatementFailed
from gateway.edge.journal.postgres_connection import (
    LEASE_S,
    SHOW_OUT,
    Database,
    WritingConnection,
    open_reading,
    open_writing,
)
from gateway.edge.journal.reader import JournalReader
from gateway.edge.journal.statements import Reading, Row
from gateway.edge.journal.stored import Options, StoredJournal
from gateway.edge.journal.writer import Writer
from gateway.errors import JournalBroken, JournalError, JournalLocked, JournalMismatch
from gateway.ports import Clock

T = TypeVar("T")

_LOOK_S = 0.5  # between two looks at the gateway that has the journal


class PostgresJournal(StoredJournal):
    """A journal in one PostgreSQL database; made by :meth:`open` only."""

    _writing: WritingConnection

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        clock: Clock,
        pipeline_after_verdict: bool | Mapping[str, bool],
        event: Callable[..., None],
        standing_by: Callable[[], None] | None = None,
    ) -> AsyncIterator[PostgresJournal]:
        """Open the journal as its only gateway, creating what is missing, and put what was under way into doubt.

        While another gateway has it, stand by after calling ``standing_by``, and take over when that one ends or dies.

        Raises:
            JournalLocked: another gateway has it open, and without ``standing_by`` nobody waits for it.
            JournalMismatch: the database cannot keep a journal, or holds one that this program cannot use.
            JournalError: the database cannot be reached, or does not let us in.
        """
        database = Database(url)
        options = Options(after_verdict=pipeline_after_verdict, is_full=lambda: False)
        loop = asyncio.get_running_loop()

        def tell(reason: str | None) -> None:
            loop.call_soon_threadsafe(journal.tell_away, reason)

        async with AsyncExitStack() as stack:
            writing = await _writing(database, clock, tell, standing_by)
            stack.push_async_callback(asyncio.to_thread, writing.close)
            askers = []
            for _ in range(2):
                askers.append(await asyncio.to_thread(_Asker, database))
                stack.push_async_callback(asyncio.to_thread, askers[-1].close)
            lookups, lists = askers
            writer = Writer(writing, clock=clock)
            journal = cls(database.name, writer, lookups, lists, options=options, event=event)
            journal._writing = writing
            writer.start()
            try:
                await journal.begin()
                yield journal
            finally:
                await writer.stop()

    async def still_ours(self) -> None:
        """See `ports.Journal`: who has not counted a turn for long enough to be taken for dead counts one first."""
        if time.monotonic() > self._writing.held_until:
            await self._commit(lambda _commit: None)

    async def hold(self) -> None:
        """See `StoredJournal`: count a turn often enough to be taken for alive."""
        while True:
            await asyncio.sleep(LEASE_S / 5)
            await self._commit(lambda _commit: None)

    def tell_away(self, reason: str | None) -> None:
        """The database went away, for this reason, or is back."""
        self.away = reason
        self._event("journal_back" if reason is None else "journal_away", path=self.name, reason=reason or "")


class _Watch:
    """Sees whether the gateway that has the journal still lives, and shows its session out when it does not."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: Sequence[Row] = ()
        self._since = time.monotonic()

    def look(self) -> None:
        """Look once; what cannot be seen proves nothing.

        Raises:
            JournalError: the database cannot be asked.
        """
        try:
            with closing(self._database.connect()) as connection:
                seen = connection.ask("SELECT epoch, turn FROM node")
                if seen != self._last:
                    self._last, self._since = seen, time.monotonic()
                elif time.monotonic() - self._since >= LEASE_S:
                    connection.ask(SHOW_OUT)
        except JournalError:
            self._last = ()
            raise


async def _writing(
    database: Database, clock: Clock, tell: Callable[[str | None], None], standing_by: Callable[[], None] | None
) -> WritingConnection:
    """The writing connection, once no other gateway has it. Safe to cancel: what was opened then is closed."""
    watch: _Watch | None = None
    while True:
        opening = asyncio.create_task(asyncio.to_thread(open_writing, database, now=clock.now(), tell=tell))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise
        except JournalMismatch:
            raise
        except JournalLocked:
            if standing_by is None:
                raise
            if watch is None:
                standing_by()
                watch = _Watch(database)
        except JournalError:
            if watch is None:  # nobody waits for a database that was never reached
                raise
        with suppress(JournalError):  # a holder that cannot be seen now will be looked at again
            if watch is not None:
                await asyncio.to_thread(watch.look)
        await asyncio.sleep(_LOOK_S)


def _close(opening: asyncio.Task[WritingConnection]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        asyncio.get_running_loop().run_in_executor(None, opening.result().close)


@contextmanager
def look(url: str) -> Iterator[JournalReader]:
    """Open a journal for reading; it may be in use.

    Raises:
        JournalMismatch: there is no journal that this program can read.
        JournalError: it cannot be read, now or while it is open.
    """
    with closing(open_reading(Database(url))) as connection:
        yield JournalReader(connection)


class _Asker:
    """Questions that are answered in a thread with a connection of its own, which is replaced when it is lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = open_reading(database)
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal reader")

    async def read(self, question: Callable[[Reading], T]) -> T:
        """See `engine.Asking`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, question)

    def close(self) -> None:
        """End the thread, and give the connection back."""
        self._threads.shutdown()
        self._connection.close()

    def _ask(self, question: Callable[[Reading], T]) -> T:
        first = time.monotonic()
        while True:
            try:
                return question(Reading(self._connection))
            except ConnectionLost:
                self._connection.close()
                self._connection = self._database.again(first)
            except (StatementFailed, OutOfSpace) as error:
                raise JournalBroken(f"the journal cannot be read: {error}") from error
