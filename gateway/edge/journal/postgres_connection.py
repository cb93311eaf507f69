"""Connections to a journal on PostgreSQL: how they are opened, what their errors mean, and how a lost one is replaced.

What must always hold
---------------------
* ``synchronous_commit`` is at least ``on``, and the server syncs: what COMMIT answered is on disk. A replica is not
  written to, nor read.
* A gateway that stops in the middle of a transaction (a pause, a dead network) is shown out by the server after
  :data:`_IDLE_S`, so that it holds nobody up, and nobody is taken for dead who only waited for it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from gateway.edge.journal.engine import ConnectionLost, OutOfSpace, StatementFailed
from gateway.edge.journal.migrations import load_migrations, pending
from gateway.edge.journal.statements import PARAMETER, Parameter, Row, load_queries
from gateway.errors import JournalBroken, JournalError, JournalMismatch

T = TypeVar("T")
Raw = psycopg.Connection[tuple[Any, ...]]

DIALECT = "postgres"
_OLDEST = 140000  # PostgreSQL 14
_IDLE_S = 2
_CONNECT_S = 5
# How long a database may be away before the process ends, and its supervisor begins it anew.
RECONNECT_S = 60.0
PAUSE_S = 0.2  # between two tries to reach it
_FENCE = ":epoch = (SELECT epoch FROM node WHERE id = :node)"
# Beside the epoch: the row's participant must be leased to whom the transaction acts for.
_LEASED = """ AND (SELECT l.node FROM lease l WHERE l.environment = {table}.environment
    AND l.participant = {table}.participant) IS NOT DISTINCT FROM CAST(:holder AS BIGINT)"""
_UPDATED = re.compile(r"UPDATE (message|submission) ")
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
# What every connection is opened with.
_PATIENCE: Mapping[str, Any] = {
    "connect_timeout": _CONNECT_S,
    "fallback_application_name": "smp-gateway",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
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

    def each(self, name: str, many: Sequence[Mapping[str, Parameter]]) -> None:
        """Run a named statement once for each of these, in one go."""
        try:
            self._cursor.executemany(self._queries[name].encode(), many)
        except psycopg.Error as error:
            raise meaning(error, gone=self.raw.closed) from error

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
        self._queries = {name: _in_psycopg_words(_leased(sql)) for name, sql in load_queries("sharing.sql").items()}

    def connect(self) -> Connection:
        """Open one connection whose commits are durable.

        Raises:
            JournalError: the database cannot be reached, or does not let us in.
            JournalMismatch: it cannot keep a journal.
        """
        try:
            raw = psycopg.connect(self._url, autocommit=True, **_PATIENCE)
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

    async def listening(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """Open a connection of the event loop's own, which is told what is notified.

        Raises:
            psycopg.Error: the database cannot be reached, or does not let us in.
        """
        return await psycopg.AsyncConnection.connect(self._url, autocommit=True, **_PATIENCE)

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
            time.sleep(PAUSE_S)

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


def open_reading(database: Database) -> Connection:
    """Open a connection that only reads a journal.

    Raises:
        JournalMismatch: there is no journal that this program can read.
        JournalError: it cannot be reached, or does not let us in.
    """
    connection = database.connect()
    try:
        connection.ask("SET default_transaction_read_only = on")
        missing = pending(load_migrations(DIALECT), applied(connection))
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


def applied(connection: Connection) -> dict[str, str]:
    """The migrations that a database has, each with its checksum."""
    return {str(name): str(checksum) for name, checksum in connection.ask("SELECT name, checksum FROM migration")}


def _setting(raw: Raw, name: str) -> str:
    row = raw.execute("SELECT current_setting(%s, true)", (name,)).fetchone()
    return "" if row is None else str(row[0])


def _leased(sql: str) -> str:
    """Let a statement that changes a message or submission also ask for the lease of its participant."""
    updated = _UPDATED.match(sql)
    return sql if updated is None else sql.replace(_FENCE, _FENCE + _LEASED.format(table=updated[1]))


def _in_psycopg_words(sql: str) -> str:
    return PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))


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
