"""What the journal is told and what it answers: values, each whole in itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.message import Attempt, Hops, Lane, Problem, Submission
from gateway.core.transaction import Event, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What a commit made of a draft.

    ``existed`` is True when a message with this id was there already; then nothing was stored, and ``same`` says
    whether its content is the same. ``submission`` is there when the message went to SENDING in the same commit; only
    then may, and must, the caller send it. ``relays`` says whether something is now waiting to be written to the site.
    """

    message_id: str
    state: State
    existed: bool = False
    same: bool = True
    submission: Submission | None = None
    relays: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A submission that could go out with a message: its id, bytes and first attempt."""

    id: str
    body: bytes
    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of one attempt: the event it means, and the evidence.

    ``answer`` is the reply as received (status line excluded), ``status`` its HTTP status or None, ``note`` a sentence
    for the audit. ``due_at`` is when the reconciler should look at it next.
    """

    event: Event
    signature: str | None = None
    transaction_id: str | None = None
    problems: tuple[Problem, ...] = ()
    status: int | None = None
    answer: bytes = b""
    note: str = ""
    due_at: int | None = None
    hops: Hops = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A message after a commit that may have moved it; ``relays`` names the connections that now have something due.

    ``moved`` is False when the commit only added evidence, and ``before`` is where the message was. ``applied_orphan``
    is True when a callback that had come early was matched and decided the state.
    """

    message_id: str
    lane: Lane
    state: State
    before: State | None = None
    moved: bool = True
    relays: frozenset[str] = frozenset()
    applied_orphan: bool = False


class Disposition(StrEnum):
    """What became of a callback."""

    APPLIED = "applied"  # it decided a message
    REPEATED = "repeated"  # a verdict was there already and says the same: kept, no transition
    CONFLICT = "conflict"  # it contradicts what is known: kept, alarmed, no transition
    ORPHAN = "orphan"  # nobody it belongs to yet: kept until its transaction id appears
    OTHER = "other"  # another message type: kept and shown
    QUARANTINED = "quarantined"  # validly signed, but stale or not readable: kept as evidence
    DUPLICATE = "duplicate"  # the very bytes, already stored
    REPLAYED = "replayed"  # a known jti with other bytes: not stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A validly signed callback as it came, for the journal."""

    environment: str
    participant: str
    issuer: str
    jti: str
    body: bytes
    signature: str
    received_at: int
    hops: Hops = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of a callback, and of the message it decided.

    For DUPLICATE, ``first`` is the disposition of the first time, and ``note`` the note kept with it.
    """

    disposition: Disposition
    changed: Changed | None = None
    first: Disposition | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages `history` lists: newest first, at most ``limit``."""

    environment: str | None = None
    participant: str | None = None
    site: str | None = None
    state: State | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How many messages are in each state, and relays are pending."""

    messages: Mapping[State, int]
    relays: int
