"""Connections to a journal on PostgreSQL: how they are opened, what their errors mean, and how a lost one is replaced.

What must always hold
---------------------
* ``synchronous_commit`` is at least ``on``, and the server syncs: what COMMIT answered is on disk. A replica is not
  written to, nor read.
* Every transaction begins by counting the gateway's turn in its own row, where its epoch still stands there. That row
  is locked until the transaction ends; so who reads it afterwards knows how the last transaction ended.
* A gateway that stops in the middle of a transaction (a pause, a dead network) is shown out by the server after
  :data:`_IDLE_S`, so that it holds nobody up.
* One gateway has the journal. Its session holds an advisory lock, which ends with the session, and it counts a turn
  within every :data:`LEASE_S`. Others stand by: they take over when the lock is free, or show the holder's session out
  when they have seen no turn for as long as that, by their own clock, while the database could be reached. Taking over
  raises the epoch, and from then on no transaction of the one before can begin.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from gateway.edge.journal.engine import ConnectionLost, OutOfSpace, StatementFailed
from gateway.edge.journal.migrations import LEDGER, load_migrations, pending
from gateway.edge.journal.statements import Commit, Parameter, Row, Stamp, load_queries
from gateway.errors import JournalBroken, JournalError, JournalLocked, JournalMismatch

T = TypeVar("T")
Raw = psycopg.Connection[tuple[Any, ...]]

DIALECT = "postgres"
NODE = 1
_OLDEST = 140000  # PostgreSQL 14
_IDLE_S = 5
_CONNECT_S = 5
# How long a database may be away before the process ends, and its supervisor begins it anew.
RECONNECT_S = 60.0
LEASE_S = 5.0  # without a turn for so long, the gateway that has the journal is taken to be dead
_PAUSE_S = 0.2  # between two tries to reach it
# Held by the one gateway on this journal. "SMP" is ours, and the schema parts journals that share a database.
_LOCK = "SELECT pg_try_advisory_lock(x'534D50'::int, hashtext(current_schema()))"
SHOW_OUT = """SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid = x'534D50'::int AND objid::bigint = hashtext(current_schema())::bigint & 4294967295"""
_TURN = re.compile(r"(?<![:\w]):([a-z_]\w*)")
_SESSION = (
    "SET client_encoding = 'UTF8'",
    "SET TIME ZONE 'UTC'",
    f"SET idle_in_transaction_session_timeout = '{_IDLE_S}s'",
    "SET lock_timeout = '30s'",
)
# What the server does with what it promised to keep; a weaker answer than these is refused.
_DURABLE = {"fsync": {"on"}, "full_page_writes": {"on"}, "synchronous_commit": {"on", "remote_apply"}}
# The server went away, or showed us out; the transaction's end can be asked for.
_GONE = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.DatabaseDropped,
    errors.IdleInTransactionSessionTimeout,
    errors.IdleSessionTimeout,
)
_FATAL_CLASSES = {"53", "58", "F0", "XX"}  # resources, system, configuration and internal errors of the server
_DISK_FULL = "53100"


def meaning(error: psycopg.Error, *, gone: bool) -> JournalError:
    """What an error of a statement means, as `engine` wants it; ``gone`` says that the connection is no more."""
    state = error.sqlstate or ""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if gone or isinstance(error, _GONE) or state.startswith("08"):
        return ConnectionLost(text)
    if state == _DISK_FULL:
        return OutOfSpace(text)
    return JournalBroken(text) if state[:2] in _FATAL_CLASSES else StatementFailed(text)


class Connection:
    """One PostgreSQL connection that knows the named statements; used by one thread at a time."""

    def __init__(self, raw: Raw, queries: Mapping[str, str]) -> None:
        self.raw = raw
        self._cursor = raw.cursor()
        self._queries = queries

    def rows(self, name: str, parameters: Mapping[str, Parameter]) -> Sequence[Row]:
        """Run a named statement and return all its rows."""
        return self.ask(self._queries[name], parameters, prepare=True)

    def ask(
        self, sql: str, parameters: Mapping[str, Parameter] | None = None, *, prepare: bool = False
    ) -> Sequence[Row]:
        """Run a statement of the engine's own and return its rows, if it has any."""
        try:
            self._cursor.execute(sql.encode(), parameters, prepare=prepare)
            return self._cursor.fetchall() if self._cursor.description else ()
        except psycopg.Error as error:
            raise meaning(error, gone=self.raw.closed) from error

    @contextmanager
    def moment(self) -> Iterator[None]:
        """See `engine.Looking`."""
        self.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            if not self.raw.closed:
                self.raw.rollback()

    def close(self) -> None:
        """Give the connection back."""
        self.raw.close()


class Database:
    """Where the journal is: a URL, the name that people may see, and fresh connections."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = _public(url)
        self._queries = {name: _in_psycopg_words(sql) for name, sql in load_queries().items()}

    def connect(self) -> Connection:
        """Open one connection whose commits are durable.

        Raises:
            JournalError: the database cannot be reached, or does not let us in.
            JournalMismatch: it cannot keep a journal.
        """
        try:
            raw = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=_CONNECT_S,
                fallback_application_name="smp-gateway",
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=3,
                tcp_user_timeout=10_000,
            )
        except psycopg.OperationalError as error:
            reason = " ".join(str(error).split())
            raise JournalError(f"the database of the journal, {self.name}, cannot be opened: {reason}") from error
        try:
            raw.prepared_max = 2 * len(self._queries)
            raw.adapters.register_dumper(int, Int8Dumper)
            raw.adapters.register_dumper(str, StrDumper)
            for statement in _SESSION:
                raw.execute(statement.encode())
            self._judge(raw)
        except psycopg.Error as error:
            raw.close()
            raise JournalError(f"the database of the journal, {self.name}, cannot be used: {error}") from error
        except BaseException:
            raw.close()
            raise
        return Connection(raw, self._queries)

    def again(self, first: float) -> Connection:
        """Open a connection in place of one that was lost at ``first`` (monotonic seconds), however often that fails.

        Raises:
            JournalBroken: the database was away for too long.
        """
        while True:
            try:
                return self.connect()
            except JournalMismatch as error:
                raise JournalBroken(str(error)) from error
            except JournalError as error:
                if time.monotonic() - first > RECONNECT_S:
                    raise JournalBroken(f"{error} (for {RECONNECT_S:.0f} s)") from error
            time.sleep(_PAUSE_S)

    def _judge(self, raw: Raw) -> None:
        version = raw.info.server_version
        if version < _OLDEST:
            raise JournalMismatch(f"{self.name} is PostgreSQL {version // 10000}: 14 or newer is needed")
        if _setting(raw, "server_encoding") != "UTF8":
            raise JournalMismatch(f"{self.name} is not encoded in UTF-8: create the database with ENCODING 'UTF8'")
        if _setting(raw, "in_hot_standby") == "on":
            raise JournalMismatch(f"{self.name} is a replica: name the primary server")
        if _setting(raw, "synchronous_commit") not in _DURABLE["synchronous_commit"]:
            raw.execute(b"SET synchronous_commit = on")
        for name, good in _DURABLE.items():
            found = _setting(raw, name)
            if found not in good:
                raise JournalMismatch(
                    f"{self.name} runs with {name} = {found}, so what it stores may be lost: put it on"
                )


def open_writing(database: Database, *, now: int, tell: Callable[[str | None], None]) -> WritingConnection:
    """Open the one connection that writes, bring the schema up to date, and begin an epoch.

    ``tell`` is called from the writer's thread with why the database is away, and with None when it is back.

    Raises:
        JournalLocked: another gateway has this journal.
        JournalMismatch: not a database that can keep this journal, a newer journal, or an altered one.
        JournalError: it cannot be reached, or does not let us in.
    """
    connection = database.connect()
    try:
        _lock(connection, database.name)
        _migrate(connection, database.name, now)
        return WritingConnection(database, connection, tell=tell)
    except BaseException:
        connection.close()
        raise


def open_reading(database: Database) -> Connection:
    """Open a connection that only reads a journal.

    Raises:
        JournalMismatch: there is no journal that this program can read.
        JournalError: it cannot be reached, or does not let us in.
    """
    connection = database.connect()
    try:
        connection.ask("SET default_transaction_read_only = on")
        missing = pending(load_migrations(DIALECT), _applied(connection))
    except StatementFailed as error:
        connection.close()
        raise JournalMismatch(f"{database.name} has no journal: {error}") from error
    except BaseException:
        connection.close()
        raise
    if missing:
        connection.close()
        raise JournalMismatch(f"{database.name} is older than this program: start the gateway once")
    return connection


class WritingConnection:
    """`engine.Writing` on PostgreSQL."""

    def __init__(self, database: Database, connection: Connection, *, tell: Callable[[str | None], None]) -> None:
        self._database = database
        self._connection = connection
        self._tell = tell
        self.held_until = time.monotonic() + LEASE_S
        ((self.epoch,),) = connection.rows("raise_epoch", {"node": NODE})
        ((self._turn,),) = connection.ask("SELECT turn FROM node WHERE id = %(node)s", {"node": NODE})

    def rows(self, name: str, parameters: Mapping[str, Parameter]) -> Sequence[Row]:
        """Run a named statement and return all its rows."""
        return self._connection.rows(name, parameters)

    def begin(self, now: int) -> Commit:
        """See `engine.Writing`."""
        stamp = Stamp(now=now, epoch=self.epoch, node=NODE)
        held_until = time.monotonic() + LEASE_S
        self._turn += 1
        self._connection.ask("BEGIN")
        mine = self._connection.ask(
            "UPDATE node SET turn = %(turn)s WHERE id = %(node)s AND epoch = %(epoch)s RETURNING id",
            {"turn": self._turn, "node": NODE, "epoch": self.epoch},
            prepare=True,
        )
        if not mine:
            raise JournalBroken(f"epoch {self.epoch} is over: another gateway has this journal")
        self.held_until = held_until  # whoever saw no turn since looked later than this began
        return Commit(self, stamp)

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
        epoch, turn = self._standing(first)
        if epoch != self.epoch:
            raise JournalBroken(f"epoch {self.epoch} is over: another gateway has this journal")
        self._tell(None)
        return bool(turn == self._turn)

    def _standing(self, first: float) -> tuple[int, int]:
        """Our row as the lost transaction left it, on a new connection; our own old session may still be there."""
        while True:
            self._connection = self._database.again(first)
            try:
                ((epoch, turn),) = self._connection.ask(
                    "SELECT epoch, turn FROM node WHERE id = %(node)s FOR UPDATE", {"node": NODE}
                )
                if epoch == self.epoch:
                    _lock(self._connection, self._database.name)
            except (ConnectionLost, JournalLocked, StatementFailed) as error:
                self._connection.close()
                if time.monotonic() - first > RECONNECT_S:
                    raise JournalBroken(str(error)) from error
                time.sleep(_PAUSE_S)
            else:
                return epoch, turn

    def rest(self) -> None:
        """See `engine.Writing`; the server looks after itself."""

    def close(self) -> None:
        """Give the connection back, and the journal with it, at once and not only when the server notices."""
        with suppress(JournalError):
            self._connection.ask("SELECT pg_advisory_unlock_all()")
        self._connection.close()


def _lock(connection: Connection, name: str) -> None:
    """Keep other gateways out for as long as this session lasts."""
    ((locked,),) = connection.ask(_LOCK)
    if not locked:
        raise JournalLocked(f"{name} is in use by another gateway")


def _migrate(connection: Connection, name: str, now: int) -> None:
    try:
        connection.ask("BEGIN")
        connection.ask(LEDGER)
        for each in pending(load_migrations(DIALECT), _applied(connection)):
            connection.raw.execute(each.sql.encode(), prepare=False)
            connection.ask(
                "INSERT INTO migration (name, checksum, applied_at) VALUES (%(name)s, %(checksum)s, %(now)s)",
                {"name": each.name, "checksum": each.checksum, "now": now},
            )
        connection.ask("COMMIT")
    except (psycopg.Error, StatementFailed) as error:
        raise JournalMismatch(f"{name} cannot be made a journal: {error}") from error


def _applied(connection: Connection) -> dict[str, str]:
    return {str(name): str(checksum) for name, checksum in connection.ask("SELECT name, checksum FROM migration")}


def _setting(raw: Raw, name: str) -> str:
    row = raw.execute("SELECT current_setting(%s, true)", (name,)).fetchone()
    return "" if row is None else str(row[0])


def _in_psycopg_words(sql: str) -> str:
    return _TURN.sub(r"%(\1)s", sql.replace("%", "%%"))


def _public(url: str) -> str:
    """A URL without what may be secret.

    Raises:
        JournalError: it is no PostgreSQL URL; its text is not repeated, since a password may be in it.
    """
    try:
        found = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise JournalError(
            "the journal's URL cannot be read; expected postgresql://USER@HOST:PORT/DATABASE "
            "(a password's special characters as %XX)"
        ) from None
    host, port = found.get("host", "localhost"), found.get("port")
    return f"postgresql://{host}{f':{port}' if port else ''}/{found.get('dbname', '')}"
