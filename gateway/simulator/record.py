"""What the simulated SMP remembers, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What an arrival was answered."""

    ACCEPTED = "accepted"  # a new transaction
    REPEATED = "repeated"  # a known submission id with the same bytes: the same transaction again
    CONFLICT = "conflict"  # a known submission id with other bytes
    REPLAYED = "replayed"  # its jti was used before
    MALFORMED = "malformed"  # well signed, but not the shape of a submission


class Status(StrEnum):
    """Where a transaction is; the wire profile says how each is spelt."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"


class CallbackState(StrEnum):
    """Whether a callback still has to be delivered."""

    DUE = "due"
    DELIVERED = "delivered"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A signed body as it came in; ``at`` is µs UTC, ``last_byte_ns`` CLOCK_MONOTONIC when the last byte was there."""

    participant: str
    submission: str
    kind: str
    body: bytes
    sha256: str
    jti: str
    at: int
    last_byte_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One row of the order of arrival."""

    seq: int
    at: int
    last_byte_ns: int
    participant: str
    submission: str
    sha256: str
    outcome: Outcome
    transaction_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction; ``created`` holds (name, SMP id), ``errors`` are in the wire's words."""

    seq: int
    id: str
    participant: str
    submission: str
    kind: str
    body: bytes
    sha256: str
    status: Status
    received_at: int
    completed_at: int | None
    created: tuple[tuple[str, str], ...]
    errors: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the register made of a transaction: either everything in ``created`` (name, SMP id), or nothing."""

    status: Status
    created: tuple[tuple[str, str], ...] = ()
    errors: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """One signed callback in the wire's form, ready to be sent again and again; a ``signature`` of "" is inside."""

    id: str
    transaction_id: str
    participant: str
    url: str
    body: bytes
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One try at delivering; ``status`` is None when there was no answer."""

    number: int
    at: int
    status: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mischief:
    """One fault that was drawn; ``status`` is the host's answer where it was a lie told by callback."""

    seq: int
    at: int
    fault: str
    transaction_id: str | None
    status: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A transaction with all that became of it, for readers outside."""

    seq: int
    received_at: int
    participant: str
    submission: str
    sha256: str
    transaction_id: str
    kind: str
    status: Status
    completed_at: int | None
    effects: tuple[str, ...]
    errors: tuple[dict[str, Any], ...]
    arrivals: int
    callback: CallbackState | None
    deliveries: tuple[Delivery, ...]
