"""The journal on PostgreSQL: the same statements and commands as on SQLite, on a database of the customer's own.

What must always hold
---------------------
* What a call returned is on the server's disk; see `postgres_connection.py` for how that is made sure.
* A database that goes away is waited for, and asked what it has of the transaction that was lost with it. One that
  stays away ends the process, as a broken disk does.
* Nothing waits for the database on the event loop: one thread writes, two threads read.
* Space is the database's own business: when it has none, intake is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from typing import TypeVar

from gateway.edge.journal.engine import ConnectionLost, OutOfSpace, StatementFailed
from gateway.edge.journal.postgres_connection import Database, open_reading, open_writing
from gateway.edge.journal.reader import JournalReader
from gateway.edge.journal.statements import Reading
from gateway.edge.journal.stored import Options, StoredJournal
from gateway.edge.journal.writer import Writer
from gateway.errors import JournalBroken
from gateway.ports import Clock

T = TypeVar("T")


class PostgresJournal(StoredJournal):
    """A journal in one PostgreSQL database; made by :meth:`open` only."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        clock: Clock,
        pipeline_after_verdict: bool | Mapping[str, bool],
        event: Callable[..., None],
    ) -> AsyncIterator[PostgresJournal]:
        """Open the journal as its only gateway, creating what is missing, and put what was under way into doubt.

        Raises:
            JournalLocked: another gateway has it open.
            JournalMismatch: the database cannot keep a journal, or holds one that this program cannot use.
            JournalError: the database cannot be reached, or does not let us in.
        """
        database = Database(url)
        options = Options(after_verdict=pipeline_after_verdict, is_full=lambda: False)
        loop = asyncio.get_running_loop()

        def tell(reason: str | None) -> None:
            loop.call_soon_threadsafe(journal.tell_away, reason)

        with ExitStack() as stack:
            writing = await asyncio.to_thread(open_writing, database, now=clock.now(), tell=tell)
            stack.enter_context(closing(writing))
            lookups, lists = [stack.enter_context(closing(await asyncio.to_thread(_Asker, database))) for _ in range(2)]
            writer = Writer(writing, clock=clock)
            journal = cls(database.name, writer, lookups, lists, options=options, event=event)
            writer.start()
            try:
                await journal.begin()
                yield journal
            finally:
                await writer.stop()

    def tell_away(self, reason: str | None) -> None:
        """The database went away, for this reason, or is back."""
        self.away = reason
        self._event("journal_back" if reason is None else "journal_away", path=self.name, reason=reason or "")


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
