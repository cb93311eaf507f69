"""The simulated SMP's memory, and the truth that tests compare the gateway with.

Rules
-----
* One SQLite file, rollback journal, ``synchronous=FULL``: whatever was answered survives a kill -9 or a power cut. Each
  method is one transaction; when it returns, it is on disk.
* ``arrival`` has a row for every signed submission in the order of arrival, repetitions and refusals included;
  ``transactions`` has one for each transaction id given out; ``effect`` one for each asset or unit that exists.
* ``fault`` has one row for every fault that was drawn, and for a lie told by callback the host's answer to it.
* A callback is stored with its signature before its first delivery, so that every redelivery carries the same bytes.
* :meth:`Ledger.read` and :meth:`Ledger.read_arrivals` serve other processes, while the simulator runs or after.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from gateway.simulator import recall
from gateway.simulator.record import (
    Arrival,
    Callback,
    CallbackState,
    Decision,
    Entry,
    Mischief,
    Outcome,
    Received,
    Status,
    Transaction,
)

BUSY_TIMEOUT_S = 5.0  # readers of other processes hold the file for milliseconds

SCHEMA = """
CREATE TABLE IF NOT EXISTS arrival (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, last_byte_ns INTEGER NOT NULL, participant TEXT NOT NULL,
  submission TEXT NOT NULL, sha256 TEXT NOT NULL, outcome TEXT NOT NULL, transaction_id TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS arrival_transaction ON arrival (transaction_id);
CREATE TABLE IF NOT EXISTS spent (
  participant TEXT NOT NULL, jti TEXT NOT NULL, PRIMARY KEY (participant, jti)
) STRICT;
CREATE TABLE IF NOT EXISTS transactions (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, participant TEXT NOT NULL, submission TEXT NOT NULL,
  kind TEXT NOT NULL, body BLOB NOT NULL, sha256 TEXT NOT NULL, status TEXT NOT NULL, received_at INTEGER NOT NULL,
  completed_at INTEGER, created TEXT NOT NULL DEFAULT '[]', errors TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE INDEX IF NOT EXISTS transactions_submission ON transactions (participant, submission);
CREATE TABLE IF NOT EXISTS effect (
  participant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, smp_id TEXT NOT NULL, transaction_id TEXT NOT NULL,
  PRIMARY KEY (participant, kind, name)
) STRICT;
CREATE INDEX IF NOT EXISTS effect_transaction ON effect (transaction_id);
CREATE TABLE IF NOT EXISTS callback (
  id TEXT PRIMARY KEY, transaction_id TEXT NOT NULL, participant TEXT NOT NULL, url TEXT NOT NULL, body BLOB NOT NULL,
  signature TEXT NOT NULL, state TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS callback_transaction ON callback (transaction_id);
CREATE TABLE IF NOT EXISTS delivery (
  callback TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, status INTEGER, PRIMARY KEY (callback, number)
) STRICT;
CREATE TABLE IF NOT EXISTS fault (
  seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, name TEXT NOT NULL, transaction_id TEXT, status INTEGER
) STRICT;
"""


class Ledger:
    """The open ledger; one writer at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = _connect(path)
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Let go of the file; nothing is lost, with or without this call."""
        self._db.close()

    @classmethod
    def read(cls, path: Path) -> list[Entry]:
        """Every transaction in the order in which they were given out; needs no running simulator."""
        with closing(_connect(path)) as db:
            return recall.entries(db)

    @classmethod
    def read_arrivals(cls, path: Path) -> list[Arrival]:
        """Every signed submission in the order of arrival, repetitions and refusals included."""
        with closing(_connect(path)) as db:
            return recall.arrivals(db)

    @classmethod
    def read_mischief(cls, path: Path) -> list[Mischief]:
        """Every fault that was drawn, in order."""
        with closing(_connect(path)) as db:
            return recall.mischief(db)

    def entries(self) -> list[Entry]:
        """As :meth:`read`, of this ledger."""
        return recall.entries(self._db)

    def arrivals(self) -> list[Arrival]:
        """As :meth:`read_arrivals`, of this ledger."""
        return recall.arrivals(self._db)

    def mischief(self) -> list[Mischief]:
        """As :meth:`read_mischief`, of this ledger."""
        return recall.mischief(self._db)

    def arrived(self) -> int:
        """How many signed submissions came that no fault kept out, repetitions and refusals included."""
        return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM arrival").fetchone()[0])

    def note(self, fault: str, *, at: int, transaction_id: str | None, status: int | None) -> None:
        """Record that a fault happened, and how the host answered it where it was a lie."""
        with self._commit() as db:
            db.execute(
                "INSERT INTO fault (at, name, transaction_id, status) VALUES (?, ?, ?, ?)",
                (at, fault, transaction_id, status),
            )

    def spend(self, participant: str, jti: str) -> bool:
        """Use up a jti; False when it was used before."""
        with self._commit() as db:
            return _spend(db, participant, jti)

    def admit(self, received: Received, *, deduplicate: bool) -> tuple[Outcome, Transaction | None]:
        """Record an arrival and give it a transaction, unless it is a replay, a repetition or a conflict."""
        with self._commit() as db:
            outcome, transaction = _judge(db, received, deduplicate=deduplicate)
            if outcome is Outcome.ACCEPTED:
                transaction = _open_transaction(db, received)
            _record(db, received, outcome, transaction)
            return outcome, transaction

    def refuse(self, received: Received) -> Outcome:
        """Record an arrival that has not the shape of a submission; its jti is used up all the same."""
        with self._commit() as db:
            outcome = Outcome.MALFORMED if _spend(db, received.participant, received.jti) else Outcome.REPLAYED
            _record(db, received, outcome, None)
            return outcome

    def transaction(self, transaction_id: str) -> Transaction | None:
        """The transaction with this id."""
        return recall.transaction(self._db, "SELECT * FROM transactions WHERE id = ?", transaction_id)

    def transaction_of(self, participant: str, submission: str) -> Transaction | None:
        """The first transaction of this submission id."""
        return recall.transaction(
            self._db,
            "SELECT * FROM transactions WHERE participant = ? AND submission = ? ORDER BY seq",
            participant,
            submission,
        )

    def undecided(self) -> list[str]:
        """The ids of transactions that still need processing, oldest first."""
        rows = self._db.execute(
            "SELECT id FROM transactions WHERE status IN (?, ?) ORDER BY seq", (Status.PENDING, Status.PROCESSING)
        )
        return [row["id"] for row in rows]

    def begin(self, transaction_id: str) -> None:
        """Note that processing has begun."""
        with self._commit() as db:
            db.execute("UPDATE transactions SET status = ? WHERE id = ?", (Status.PROCESSING, transaction_id))

    def existing(self, participant: str, kind: str, names: Iterable[str]) -> frozenset[str]:
        """Which of these names the register holds already."""
        query = "SELECT 1 FROM effect WHERE participant = ? AND kind = ? AND name = ?"
        return frozenset(name for name in names if self._db.execute(query, (participant, kind, name)).fetchone())

    def origins(self, participant: str, kind: str, names: Iterable[str]) -> dict[str, list[str]]:
        """The transactions that created what the register holds of these names, each with its names."""
        query = "SELECT transaction_id FROM effect WHERE participant = ? AND kind = ? AND name = ?"
        found: dict[str, list[str]] = {}
        for name in names:
            for row in self._db.execute(query, (participant, kind, name)):
                found.setdefault(row["transaction_id"], []).append(name)
        return found

    def decide(self, transaction: Transaction, decision: Decision, *, at: int, callback: Callback | None) -> None:
        """Put a decision, what it created and the callback that tells of it on disk in one commit."""
        with self._commit() as db:
            db.execute(
                "UPDATE transactions SET status = ?, completed_at = ?, created = ?, errors = ? WHERE id = ?",
                (decision.status, at, json.dumps(decision.created), json.dumps(decision.errors), transaction.id),
            )
            db.executemany(
                "INSERT INTO effect VALUES (?, ?, ?, ?, ?)",
                [
                    (transaction.participant, transaction.kind, name, smp_id, transaction.id)
                    for name, smp_id in decision.created
                ],
            )
            if callback is not None:
                db.execute(
                    "INSERT INTO callback VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        callback.id,
                        callback.transaction_id,
                        callback.participant,
                        callback.url,
                        callback.body,
                        callback.signature,
                        CallbackState.DUE,
                    ),
                )

    def due(self) -> list[Callback]:
        """The callbacks still to be delivered, oldest first."""
        rows = self._db.execute("SELECT * FROM callback WHERE state = ? ORDER BY rowid", (CallbackState.DUE,))
        return [
            Callback(
                id=row["id"],
                transaction_id=row["transaction_id"],
                participant=row["participant"],
                url=row["url"],
                body=row["body"],
                signature=row["signature"],
            )
            for row in rows
        ]

    def tried(self, callback_id: str, *, at: int, status: int | None, state: CallbackState) -> None:
        """Record one try at delivering a callback and what it made of it."""
        with self._commit() as db:
            db.execute(
                "INSERT INTO delivery SELECT ?, count(*) + 1, ?, ? FROM delivery WHERE callback = ?",
                (callback_id, at, status, callback_id),
            )
            db.execute("UPDATE callback SET state = ? WHERE id = ?", (state, callback_id))

    def give_up(self, callback_id: str) -> None:
        """Record that a callback will never be tried again."""
        with self._commit() as db:
            db.execute("UPDATE callback SET state = ? WHERE id = ?", (CallbackState.ABANDONED, callback_id))

    @contextmanager
    def _commit(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA synchronous = FULL")
    return db


def _spend(db: sqlite3.Connection, participant: str, jti: str) -> bool:
    return db.execute("INSERT INTO spent VALUES (?, ?) ON CONFLICT DO NOTHING", (participant, jti)).rowcount == 1


def _judge(db: sqlite3.Connection, received: Received, *, deduplicate: bool) -> tuple[Outcome, Transaction | None]:
    if not _spend(db, received.participant, received.jti):
        return Outcome.REPLAYED, None
    if not deduplicate:
        return Outcome.ACCEPTED, None
    query = "SELECT * FROM transactions WHERE participant = ? AND submission = ?"
    known = recall.transaction(db, query, received.participant, received.submission)
    if known is None:
        return Outcome.ACCEPTED, None
    same = (known.kind, known.sha256) == (received.kind, received.sha256)
    return (Outcome.REPEATED, known) if same else (Outcome.CONFLICT, None)


def _open_transaction(db: sqlite3.Connection, received: Received) -> Transaction:
    (seq,) = db.execute("SELECT coalesce(max(seq), 0) + 1 FROM transactions").fetchone()
    transaction = Transaction(
        seq=seq,
        id=f"TX-{seq:06d}",
        participant=received.participant,
        submission=received.submission,
        kind=received.kind,
        body=received.body,
        sha256=received.sha256,
        status=Status.PENDING,
        received_at=received.at,
        completed_at=None,
        created=(),
        errors=(),
    )
    db.execute(
        "INSERT INTO transactions (seq, id, participant, submission, kind, body, sha256, status, received_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            seq,
            transaction.id,
            transaction.participant,
            transaction.submission,
            transaction.kind,
            transaction.body,
            transaction.sha256,
            transaction.status,
            received.at,
        ),
    )
    return transaction


def _record(db: sqlite3.Connection, received: Received, outcome: Outcome, transaction: Transaction | None) -> None:
    db.execute(
        "INSERT INTO arrival (at, last_byte_ns, participant, submission, sha256, outcome, transaction_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            received.at,
            received.last_byte_ns,
            received.participant,
            received.submission,
            received.sha256,
            outcome,
            transaction.id if transaction else None,
        ),
    )
