"""Connections to a journal on SQLite: how they are opened, and how a file is made ready for this program."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from gateway.edge.journal.engine import Beside, ConnectionLost, OutOfSpace, StatementFailed
from gateway.edge.journal.migrations import LEDGER, Migration, load_migrations, pending
from gateway.edge.journal.statements import PARAMETER, Commit, Parameter, Row, Stamp, load_queries
from gateway.errors import JournalBroken, JournalError, JournalMismatch

DIALECT = "sqlite"
NODE = 1  # a file has one gateway
# The first release without the WAL-reset corruption.
_OLDEST_SQLITE = (3, 51, 3)
_STATEMENTS = 256  # more than queries.sql has, so that each is parsed once per connection
_BUSY_MS = 5000  # readers of other processes may hold a lock for a moment, while a log is recovered
_APPLIED = "SELECT name, checksum FROM migration ORDER BY name"


_CHECKPOINT_PAGES = 1000  # SQLite's own default
_CACHE_KIB = 8 * 1024  # what the largest batches change, so that none of it goes to the log twice
# After these the connection or the file cannot be trusted; other errors of a statement are its command's alone.
_FATAL = (
    apsw.IOError,
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


def _meaning(error: apsw.Error) -> JournalError:
    """What an error of SQLite's means, as `engine` wants it."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, apsw.FullError):
        return OutOfSpace(text)
    return JournalBroken(text) if isinstance(error, _FATAL) else StatementFailed(text)


class Connection:
    """One SQLite connection that knows the named statements; used by one thread at a time."""

    def __init__(self, raw: apsw.Connection, queries: Mapping[str, str]) -> None:
        self.raw = raw
        self._queries = {name: _numbered(sql) for name, sql in queries.items()}

    def rows(self, name: str, parameters: Mapping[str, Parameter]) -> Sequence[Row]:
        """Run a named statement and return all its rows."""
        sql, places = self._queries[name]
        try:
            return self.raw.execute(sql, [parameters[each] for each in places]).fetchall()
        except apsw.Error as error:
            raise _meaning(error) from error

    def each(self, name: str, many: Sequence[Mapping[str, Parameter]]) -> None:
        """Run a named statement once for each of these."""
        sql, places = self._queries[name]
        try:
            self.raw.executemany(sql, ([parameters[each] for each in places] for parameters in many))
        except apsw.Error as error:
            raise _meaning(error) from error

    @contextmanager
    def moment(self) -> Iterator[None]:
        """See `engine.Looking`."""
        self.raw.execute("BEGIN")
        try:
            yield
        finally:
            self.raw.execute("ROLLBACK")

    def close(self) -> None:
        """Give the connection back.

        Raises:
            JournalBroken: the log could not be written back; what was committed is in it.
        """
        try:
            self.raw.close()
        except apsw.Error as error:
            raise JournalBroken(f"the journal cannot be closed: {error}") from error


class WritingConnection(Connection):
    """The one that writes: `engine.Writing` on SQLite. It is the only checkpointer too."""

    def __init__(self, raw: apsw.Connection, queries: Mapping[str, str]) -> None:
        super().__init__(raw, queries)
        (row,) = self.rows("raise_epoch", {"node": NODE})
        self.epoch: int = row[0]
        self._log_pages = 0
        raw.set_wal_hook(self._remember_log)

    def begin(self, now: int, beside: Beside | None = None) -> Commit:
        """See `engine.Writing`; a file has one gateway."""
        del beside
        self._execute("BEGIN IMMEDIATE")
        commit = Commit(self, Stamp(now=now, epoch=self.epoch, node=NODE))
        commit.fence()
        return commit

    def save(self) -> None:
        """See `engine.Writing`."""
        self._execute("SAVEPOINT command")

    def undo(self) -> None:
        """See `engine.Writing`."""
        self._execute("ROLLBACK TO command")

    def forget(self) -> None:
        """See `engine.Writing`."""
        self._execute("RELEASE command")

    def commit(self) -> None:
        """See `engine.Writing`."""
        self._execute("COMMIT")

    def roll_back(self) -> None:
        """See `engine.Writing`; SQLite has left the transaction already after some errors."""
        if self.raw.in_transaction:
            self._execute("ROLLBACK")

    def recover(self, lost: ConnectionLost) -> bool:
        """See `engine.Writing`; a file does not go away and come back."""
        raise JournalBroken(str(lost))

    def rest(self) -> None:
        """Copy the log into the database once it is long."""
        if self._log_pages < _CHECKPOINT_PAGES:
            return
        try:
            self.raw.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.FullError:
            return  # the log keeps everything; a later try will find room or intake will be refused
        except apsw.Error as error:
            raise JournalBroken(f"the journal's log cannot be written back: {error}") from error
        self._log_pages = 0

    def _execute(self, control: str) -> None:
        try:
            self.raw.execute(control)
        except apsw.Error as error:
            raise _meaning(error) from error

    def _remember_log(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK


def _numbered(sql: str) -> tuple[str, Sequence[str]]:
    """A statement with ``?1`` in the place of a name, and the names in order, so that no run looks for them by name."""
    places = list(dict.fromkeys(PARAMETER.findall(sql)))
    return PARAMETER.sub(lambda found: f"?{places.index(found[1]) + 1}", sql), places


def create_folder(path: Path) -> None:
    """Make the journal's folder where it is missing, for its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def create_file(path: Path) -> None:
    """Make the file where it is missing, readable by its owner only; SQLite gives its own files the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def open_writing(path: Path, *, now: int, vfs: str | None = None) -> WritingConnection:
    """Open the one connection that writes, bring the schema up to date, and begin an epoch.

    Raises:
        JournalMismatch: not a journal, a newer one, or an altered one; or SQLite is too old.
        JournalBroken: the file cannot be read or written.
    """
    assert_version()
    try:
        raw = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE, vfs=vfs, statementcachesize=_STATEMENTS)
        raw.set_busy_timeout(_BUSY_MS)
        raw.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        for pragma, value in (("journal_mode", "wal"), ("synchronous", "full"), ("foreign_keys", 1)):
            raw.pragma(pragma, value)
        raw.pragma("cache_size", -_CACHE_KIB)
        _migrate(raw, load_migrations(DIALECT), now)
    except apsw.NotADBError as error:
        raise JournalMismatch(f"{path} is not a journal: {error}") from error
    except apsw.Error as error:
        raise JournalBroken(f"{path} cannot be opened: {error}") from error
    return WritingConnection(raw, load_queries())


def open_reading(path: Path, *, vfs: str | None = None) -> Connection:
    """Open a connection that can only read.

    Raises:
        JournalMismatch: not a journal that this program can read.
        JournalError: there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise JournalError(f"there is no journal at {path}")
    try:
        raw = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY, vfs=vfs, statementcachesize=_STATEMENTS)
        raw.set_busy_timeout(_BUSY_MS)
        missing = pending(load_migrations(DIALECT), _applied(raw))
    except (apsw.NotADBError, apsw.SQLError) as error:
        raise JournalMismatch(f"{path} is not a journal: {error}") from error
    except apsw.Error as error:
        raise JournalError(f"{path} cannot be read: {error}") from error
    if missing:
        raise JournalMismatch(f"{path} is older than this program: start the gateway once")
    return Connection(raw, load_queries())


async def check_integrity(path: Path) -> None:
    """Run SQLite's quick check over a whole file, on a connection and in a thread of its own. Safe to cancel.

    Raises:
        JournalBroken: the file is damaged.
    """
    with closing(open_reading(path)) as connection:
        check = asyncio.create_task(asyncio.to_thread(_quick_check, connection.raw), name="journal check")
        try:
            faults = await asyncio.shield(check)
        except asyncio.CancelledError:
            connection.raw.interrupt()
            await asyncio.wait([check])
            raise
    if faults:
        raise JournalBroken(f"{path} is damaged: {'; '.join(faults)}")


def _quick_check(raw: apsw.Connection) -> list[str]:
    try:
        found = [str(row[0]) for row in raw.execute("PRAGMA quick_check(10)")]
    except apsw.InterruptError:
        return []
    except apsw.Error as error:
        return [f"{type(error).__name__}: {error}"]
    return [] if found == ["ok"] else found


def assert_version() -> None:
    """Refuse an SQLite that can corrupt what it stores.

    Raises:
        JournalMismatch: it is older than 3.51.3.
    """
    version = tuple(int(each) for each in apsw.sqlite_lib_version().split("."))
    if version < _OLDEST_SQLITE:
        raise JournalMismatch(f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 is needed")


def _migrate(raw: apsw.Connection, migrations: Sequence[Migration], now: int) -> None:
    raw.execute(LEDGER)
    for each in pending(migrations, _applied(raw)):
        with raw:  # one transaction
            raw.execute(each.sql)
            raw.execute(
                "INSERT INTO migration (name, checksum, applied_at) VALUES (?, ?, ?)", (each.name, each.checksum, now)
            )


def _applied(raw: apsw.Connection) -> dict[str, str]:
    return {str(name): str(checksum) for name, checksum in raw.execute(_APPLIED)}
