"""What the simulated SMP says of a transaction, in the profile's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.simulator.record import Status, Transaction
from gateway.simulator.wire import Wire

_ACTIONS = {"assets": "CreateAsset", "units": "CreateUnit"}


def report(transaction: Transaction, wire: Wire) -> dict[str, Any]:
    """What status answers and callbacks say of a transaction alike."""
    names = wire.result
    word = wire.status_words
    spelt = {
        Status.PENDING: word["pending"][0],
        Status.PROCESSING: word["pending"][-1],
        Status.SUCCESS: word["success"][0],
        Status.FAILED: word["failed"][0],
    }
    smp_names = (wire.created["ref"], wire.created["smp_id"])
    told: dict[str, Any] = {
        names["transaction_id"]: transaction.id,
        "action": _ACTIONS.get(transaction.kind, transaction.kind),
        names["status"]: spelt[transaction.status],
        "completedAt": None if transaction.completed_at is None else instant(transaction.completed_at),
        names["notification"]: spelt[Status.SUCCESS] if transaction.status is Status.SUCCESS else None,
    }
    place(told, names["results"], [dict(zip(smp_names, pair, strict=True)) for pair in transaction.created])
    place(told, names["errors"], list(transaction.errors))
    return {**told, names["submission_id"]: transaction.submission} if wire.echo_submission else told


def place(document: dict[str, Any], path: str, value: object) -> None:
    """Put a value where a path of the profile leads, making the objects on the way."""
    *outer, last = path.split(".")
    for name in outer:
        document = document.setdefault(name, {})
    document[last] = value


def refusal(wire: Wire, errors: list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
    """The answer to what the SMP will not do: a bare list of errors, or one within an object, as the profile says."""
    if wire.result["declined"] == ".":
        return errors
    document: dict[str, Any] = {}
    place(document, wire.result["declined"], errors)
    return document


def instant(at_us: int) -> str:
    """µs UTC as the wire's timestamp, to the second."""
    return datetime.fromtimestamp(at_us // 1_000_000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode(document: Mapping[str, Any] | list[dict[str, Any]]) -> bytes:
    """The bytes of a JSON document, without spaces."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
