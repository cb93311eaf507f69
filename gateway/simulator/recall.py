"""The ledger's rows, read back as values."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from gateway.simulator.record import (
    Arrival,
    CallbackState,
    Delivery,
    Entry,
    Mischief,
    Outcome,
    Status,
    Transaction,
)


def transaction(db: sqlite3.Connection, query: str, *arguments: str) -> Transaction | None:
    """The transaction that a query finds, or None."""
    row = db.execute(query, arguments).fetchone()
    if row is None:
        return None
    return Transaction(
        seq=row["seq"],
        id=row["id"],
        participant=row["participant"],
        submission=row["submission"],
        kind=row["kind"],
        body=row["body"],
        sha256=row["sha256"],
        status=Status(row["status"]),
        received_at=row["received_at"],
        completed_at=row["completed_at"],
        created=tuple((name, smp_id) for name, smp_id in json.loads(row["created"])),
        errors=tuple(json.loads(row["errors"])),
    )


def arrivals(db: sqlite3.Connection) -> list[Arrival]:
    """Every arrival in its order."""
    return [
        Arrival(
            seq=row["seq"],
            at=row["at"],
            last_byte_ns=row["last_byte_ns"],
            participant=row["participant"],
            submission=row["submission"],
            sha256=row["sha256"],
            outcome=Outcome(row["outcome"]),
            transaction_id=row["transaction_id"],
        )
        for row in db.execute("SELECT * FROM arrival ORDER BY seq")
    ]


def mischief(db: sqlite3.Connection) -> list[Mischief]:
    """Every fault that was drawn, in its order."""
    return [
        Mischief(**row)
        for row in db.execute("SELECT seq, at, name AS fault, transaction_id, status FROM fault ORDER BY seq")
    ]


def entries(db: sqlite3.Connection) -> list[Entry]:
    """Every transaction with all that became of it, oldest first."""
    db.execute("BEGIN")  # one view of all tables, whatever the simulator writes meanwhile
    try:
        return [_entry(db, row) for row in db.execute("SELECT * FROM transactions ORDER BY seq").fetchall()]
    finally:
        db.execute("COMMIT")


def _entry(db: sqlite3.Connection, row: sqlite3.Row) -> Entry:
    key: Sequence[str] = (row["id"],)
    (count,) = db.execute("SELECT count(*) FROM arrival WHERE transaction_id = ?", key).fetchone()
    effects = db.execute("SELECT name FROM effect WHERE transaction_id = ? ORDER BY rowid", key)
    callback = db.execute("SELECT id, state FROM callback WHERE transaction_id = ?", key).fetchone()
    tries = (
        db.execute("SELECT number, at, status FROM delivery WHERE callback = ? ORDER BY number", (callback["id"],))
        if callback
        else ()
    )
    return Entry(
        seq=row["seq"],
        received_at=row["received_at"],
        participant=row["participant"],
        submission=row["submission"],
        sha256=row["sha256"],
        transaction_id=row["id"],
        kind=row["kind"],
        status=Status(row["status"]),
        completed_at=row["completed_at"],
        effects=tuple(effect["name"] for effect in effects),
        errors=tuple(json.loads(row["errors"])),
        arrivals=count,
        callback=CallbackState(callback["state"]) if callback else None,
        deliveries=tuple(Delivery(number=t["number"], at=t["at"], status=t["status"]) for t in tries),
    )
