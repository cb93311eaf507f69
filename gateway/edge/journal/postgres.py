"""The journal on PostgreSQL: the same statements and commands as on SQLite, on a database of the customer's own.

What must always hold
---------------------
* What a call returned is on the server's disk; see `postgres_connection.py` for how that is made sure.
* A database that goes away is waited for, and asked what it has of the transaction that was lost with it. One that
  stays away ends the process, as a broken disk does.
* A gateway that slept for so long that another one may have taken over counts a turn before it reads, and before it
  sends; so whoever was replaced in its sleep finds out before it does anything.
* Nothing waits for the database on the event loop: one thread writes, two threads read.
* What is changed of a participant is changed by the gateway that has its lease, or beside it (`postgres_writing.py`):
  so it is with callbacks, which come to any gateway. Leases end by their gateway's own commit or with its life, and
  both stand in the WHERE of every change of a message or submission.
* Space is the database's own business: when it has none, intake is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from typing import TypeVar

from gateway.core.callback import Callback
from gateway.core.message import Lane
from gateway.core.record import Evidence, Received
from gateway.core.relay import CallbackRelay
from gateway.core.sharing import LEASE_S, Hint
from gateway.edge.journal import news, verdicts
from gateway.edge.journal.engine import Beside, ConnectionLost, OutOfSpace, StatementFailed, Ward
from gateway.edge.journal.leases import Shared
from gateway.edge.journal.options import Options
from gateway.edge.journal.postgres_connection import Database, open_reading
from gateway.edge.journal.postgres_hearing import hear
from gateway.edge.journal.postgres_writing import SHOW_OUT, WritingConnection, machine, open_writing
from gateway.edge.journal.reader import JournalReader
from gateway.edge.journal.statements import Commit, Reading, Row
from gateway.edge.journal.stored import StoredJournal
from gateway.edge.journal.writer import Writer
from gateway.errors import JournalBroken, JournalError, JournalLocked, JournalMismatch
from gateway.ports import Clock

T = TypeVar("T")

_LOOK_S = 0.5  # between two looks at the gateway that has the journal


class PostgresJournal(StoredJournal):
    """A journal in one PostgreSQL database; made by :meth:`open` only."""

    _writing: WritingConnection
    _database: Database
    _shared: Shared | None = None

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

        With ``standing_by`` it is shared with other gateways, each of which serves the participants that it has the
        lease of; while one has it alone, that is called, and it is waited for.

        Raises:
            JournalLocked: another gateway has it open, and without ``standing_by`` nobody waits for it.
            JournalMismatch: the database cannot keep a journal, or holds one that this program cannot use.
            JournalError: the database cannot be reached, or does not let us in.
        """
        database = Database(url)
        options = Options(
            after_verdict=pipeline_after_verdict,
            is_full=lambda: False,
            is_ours=lambda lane: journal.serves(lane),  # noqa: PLW0108 - there is no journal yet
        )
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
            journal._writing, journal._database = writing, database
            writer.start()
            try:
                if standing_by is not None:
                    journal.leases = journal._shared = Shared(journal, machine())
                await journal.begin()
                yield journal
            finally:
                if journal._shared is not None:
                    with suppress(JournalError):  # then the others see for themselves
                        await journal._shared.end()
                await writer.stop()

    # ------------------------------------------------------------ of several gateways, one
    async def receive(
        self, evidence: Evidence, callback: Callback | None, fault: str | None, relays: Sequence[CallbackRelay] = ()
    ) -> Received:
        """See `ports.Journal`; for a participant of another gateway beside that one, which is told of it."""
        owner = (evidence.environment, evidence.participant)
        if self._shared is None or owner in self._shared.mine:
            return await super().receive(evidence, callback, fault, relays)

        def command(commit: Commit) -> Received:
            received = verdicts.receive(commit, evidence, callback, fault, relays)
            changed = () if received.changed is None else received.changed.all
            commit.run("notify", payload=news.write(self.epoch, Hint(owner=owner, changed=changed)))
            return received

        ward = Ward(environment=evidence.environment, participant=evidence.participant)
        return await self._commit(command, intake=True, beside=ward)

    async def _restart(self) -> int:
        """See `StoredJournal`; what is shared comes into doubt with each participant that is taken over."""
        return 0 if self._shared is not None else await super()._restart()

    def serves(self, lane: Lane) -> bool:
        """Whether this gateway has the lease of a lane's participant."""
        return self._shared is None or (lane.environment, lane.participant) in self._shared.mine

    async def commit(self, command: Callable[[Commit], T], *, beside: Beside | None = None) -> T:
        """See `leases.Store`."""
        return await self._commit(command, beside=beside)

    async def list(self, read: Callable[[Reading], T]) -> T:
        """See `leases.Store`."""
        return await self._list(read)

    def hear(self) -> AsyncGenerator[str, None]:
        """See `leases.Store`."""
        return hear(self._database)

    async def run_out(self) -> None:
        """See `leases.Store`."""
        while (left := self._writing.held_until - time.monotonic()) > 0:  # noqa: ASYNC110 - moved on by a thread
            await asyncio.sleep(left)

    async def still_ours(self) -> None:
        """See `ports.Journal`: who has not counted a turn for long enough to be taken for dead counts one first."""
        if time.monotonic() > self._writing.held_until:
            await self._commit(lambda _commit: None)

    async def hold(self) -> None:
        """See `StoredJournal`: count a turn often enough to be taken for alive."""
        while True:
            idle_s = LEASE_S - (self._writing.held_until - time.monotonic())
            if idle_s >= LEASE_S / 5:
                await self._commit(lambda _commit: None)
                idle_s = 0.0
            await asyncio.sleep(LEASE_S / 5 - idle_s)

    def tell_away(self, reason: str | None) -> None:
        """The database went away, for this reason, or is back."""
        self.away = reason
        self._event("journal_back" if reason is None else "journal_away", path=self.name, reason=reason or "")


class _Watch:
    """Sees whether who has the journal alone still lives, and shows its session out when it does not."""

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
                seen = connection.ask("SELECT id, turn FROM node")
                if seen != self._last:
                    self._last, self._since = seen, time.monotonic()
                elif time.monotonic() - self._since >= LEASE_S:
                    connection.ask(SHOW_OUT)
                    for node, turn in seen:
                        connection.rows("bury_node", {"dead": node, "turn": turn})
        except JournalError:
            self._last = ()
            raise


async def _writing(
    database: Database, clock: Clock, tell: Callable[[str | None], None], standing_by: Callable[[], None] | None
) -> WritingConnection:
    """The writing connection, once nobody is in its way. Safe to cancel: what was opened then is closed."""
    watch: _Watch | None = None
    shared = standing_by is not None
    while True:
        work = asyncio.to_thread(open_writing, database, now=clock.now(), tell=tell, shared=shared)
        opening = asyncio.create_task(work)
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
