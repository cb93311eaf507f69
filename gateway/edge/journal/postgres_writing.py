"""The connection that writes a journal on PostgreSQL, alone or beside those of other gateways.

What must always hold
---------------------
* Every transaction begins by counting the gateway's turn in its own row, where its epoch still stands there. That row
  is locked until the transaction ends; so who reads it afterwards knows how the last transaction ended, and who removes
  it knows that none of this gateway is under way or will ever begin.
* What one gateway commits for a participant that another one serves is as if that one had: it holds that one's row
  meanwhile, and the lease's. Rows are locked in one order everywhere (`sharing.sql`), so that nobody waits in a circle.
* A session holds an advisory lock: all gateways together, or one alone, which then serves everybody. Whoever comes in
  alone ends the lives of all that came before.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg

from gateway.core.sharing import LEASE_S
from gateway.edge.journal.engine import Beside, ConnectionLost, Grave, StatementFailed, Ward
from gateway.edge.journal.migrations import LEDGER, load_migrations, pending
from gateway.edge.journal.postgres_connection import (
    DIALECT,
    PAUSE_S,
    RECONNECT_S,
    Connection,
    Database,
    applied,
)
from gateway.edge.journal.statements import Commit, Parameter, Row, Stamp
from gateway.errors import JournalBroken, JournalError, JournalLocked, JournalMismatch

# Held by every gateway on this journal. "SMP" is ours, and the schema parts journals that share a database.
_LOCK = "SELECT pg_try_advisory_lock(x'534D50'::int, hashtext(current_schema()))"
_LOCK_SHARED = "SELECT pg_try_advisory_lock_shared(x'534D50'::int, hashtext(current_schema()))"
_LOCK_SCHEMA = "SELECT pg_advisory_xact_lock(x'534D51'::int, hashtext(current_schema()))"
SHOW_OUT = """SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid = x'534D50'::int AND objid::bigint = hashtext(current_schema())::bigint & 4294967295"""


def machine() -> str:
    """What no other machine, container or boot is called; only there a process can be seen to have ended."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    if not boot.is_file():
        return socket.gethostname()
    return f"{boot.read_text('ascii').strip()} {Path('/proc/self/ns/pid').readlink()}"


def open_writing(
    database: Database, *, now: int, tell: Callable[[str | None], None], shared: bool
) -> WritingConnection:
    """Open the one connection that writes, bring the schema up to date, and begin a life.

    ``tell`` is called from the writer's thread with why the database is away, and with None when it is back.

    Raises:
        JournalLocked: another gateway has this journal.
        JournalMismatch: not a database that can keep this journal, a newer journal, or an altered one.
        JournalError: it cannot be reached, or does not let us in.
    """
    connection = database.connect()
    try:
        _lock(connection, database.name, shared=shared)
        _migrate(connection, database.name, now)
        return WritingConnection(database, connection, now=now, tell=tell, shared=shared)
    except BaseException:
        connection.close()
        raise


class WritingConnection:
    """`engine.Writing` on PostgreSQL; the epoch of a life is its id."""

    def __init__(
        self, database: Database, connection: Connection, *, now: int, tell: Callable[[str | None], None], shared: bool
    ) -> None:
        self._database = database
        self._connection = connection
        self._tell = tell
        self._shared = shared
        self.held_until = time.monotonic() + LEASE_S
        connection.ask("BEGIN")
        if not shared:
            connection.rows("bury_all", {})
            connection.rows("free_all", {"now": now})
        here: dict[str, Parameter] = {"host": socket.gethostname(), "machine": machine(), "process": os.getpid()}
        ((self.epoch,),) = connection.rows("bear_node", {**here, "now": now})
        connection.ask("COMMIT")
        self._turn = 0

    def rows(self, name: str, parameters: Mapping[str, Parameter]) -> Sequence[Row]:
        """Run a named statement and return all its rows."""
        return self._connection.rows(name, parameters)

    def each(self, name: str, many: Sequence[Mapping[str, Parameter]]) -> None:
        """Run a named statement once for each of these."""
        self._connection.each(name, many)

    def begin(self, now: int, beside: Beside | None = None) -> Commit:
        """See `engine.Writing`."""
        held_until = time.monotonic() + LEASE_S
        self._turn += 1
        self._connection.ask("BEGIN")
        holder = self.epoch if self._shared else None
        if isinstance(beside, Grave):
            self._lock_nodes(beside.node)
        elif beside is not None and self._shared:
            holder = self._join(beside)
        mine = {"node": self.epoch, "epoch": self.epoch}
        if not self.rows("count_turn", {**mine, "turn": self._turn}):
            raise JournalBroken(f"epoch {self.epoch} is over: another gateway has this journal")
        self.held_until = held_until  # whoever saw no turn since looked later than this began
        return Commit(self, Stamp(now=now, **mine, holder=holder))

    def _join(self, ward: Ward) -> int | None:
        """Lock the node that serves a participant, and its lease, so that neither changes; which node it is."""
        whose = {"environment": ward.environment, "participant": ward.participant}
        while True:
            holder = _node(self.rows("holder", whose))
            self._lock_nodes(holder)
            if _node(self.rows("lock_lease", whose)) == holder:
                return holder
            self._connection.ask("ROLLBACK")
            self._connection.ask("BEGIN")

    def _lock_nodes(self, other: int | None) -> None:
        for node in sorted({self.epoch, self.epoch if other is None else other}):
            self.rows("lock_node", {"node": node})

    def save(self) -> None:
        """See `engine.Writing`."""
        self._connection.ask("SAVEPOINT command")

    def undo(self) -> None:
        """See `engine.Writing`."""
        self._connection.ask("ROLLBACK TO command")

    def forget(self) -> None:
        """See `engine.Writing`."""
        self._connection.ask("RELEASE command")

    def commit(self) -> None:
        """See `engine.Writing`."""
        self._connection.ask("COMMIT")

    def roll_back(self) -> None:
        """See `engine.Writing`."""
        if not self._connection.raw.closed:
            self._connection.ask("ROLLBACK")

    def recover(self, lost: ConnectionLost) -> bool:
        """See `engine.Writing`: connect again and read our row, which waits until the lost transaction has ended."""
        first = time.monotonic()
        self._connection.close()
        self._tell(str(lost))
        turn = self._standing(first)
        self._tell(None)
        return turn == self._turn

    def _standing(self, first: float) -> int:
        """Our turn as the lost transaction left it, on a new connection; our own old session may still be there.

        Raises:
            JournalBroken: our life is over.
        """
        while True:
            self._connection = self._database.again(first)
            try:
                found = self.rows("turn_of_node", {"node": self.epoch})
                if found and found[0][0] == self.epoch:
                    _lock(self._connection, self._database.name, shared=self._shared)
                    return int(found[0][1])
            except (ConnectionLost, JournalLocked, StatementFailed) as error:
                self._connection.close()
                if time.monotonic() - first > RECONNECT_S:
                    raise JournalBroken(str(error)) from error
                time.sleep(PAUSE_S)
            else:
                raise JournalBroken(f"epoch {self.epoch} is over: another gateway has this journal")

    def rest(self) -> None:
        """See `engine.Writing`; the server looks after itself."""

    def close(self) -> None:
        """Give the connection back, and the journal with it, at once and not only when the server notices."""
        with suppress(JournalError):
            self._connection.ask("SELECT pg_advisory_unlock_all()")
        self._connection.close()


def _node(found: Sequence[Row]) -> int | None:
    return found[0][0] if found else None


def _lock(connection: Connection, name: str, *, shared: bool) -> None:
    """Keep other gateways out for as long as this session lasts, or only those that want the journal alone."""
    ((locked,),) = connection.ask(_LOCK_SHARED if shared else _LOCK)
    if not locked:
        raise JournalLocked(f"{name} is in use by another gateway")


def _migrate(connection: Connection, name: str, now: int) -> None:
    try:
        connection.ask("BEGIN")
        connection.ask(_LOCK_SCHEMA)
        connection.ask(LEDGER)
        for each in pending(load_migrations(DIALECT), applied(connection)):
            connection.raw.execute(each.sql.encode(), prepare=False)
            connection.ask(
                "INSERT INTO migration (name, checksum, applied_at) VALUES (%(name)s, %(checksum)s, %(now)s)",
                {"name": each.name, "checksum": each.checksum, "now": now},
            )
        connection.ask("COMMIT")
    except (psycopg.Error, StatementFailed) as error:
        raise JournalMismatch(f"{name} cannot be made a journal: {error}") from error
