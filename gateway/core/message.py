"""What is asked of the SMP, in our own words: lanes, messages, submissions, problems, verdicts, and their ids."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

from gateway.core.relay import RelayRule
from gateway.core.transaction import State

# One namespace for the product; participant and environment are hashed below it, so that the same key of two
# participants, or of test and live, can never meet in one id.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "smp-gateway.message")


# What a message is, by the name of its kind: one of the two below, or a further one that the wire profile declares.
Kind = str
ASSETS: Kind = "assets"
UNIT: Kind = "unit"


# The site of an import's lane; no site of a YAML file can have this name.
IMPORT_SITE = "@import"


class Hop(StrEnum):
    """The stations of a message, in order; named alike in metrics, evidence and screens."""

    SEEN = "seen"
    SNAPSHOT = "snapshot"
    COMMITTED = "committed"
    ACKNOWLEDGED = "acknowledged"
    SIGNED = "signed"
    SENT = "sent"
    ANSWERED = "answered"
    CALLED_BACK = "called_back"
    VERIFIED = "verified"
    SETTLED = "settled"
    RELAYED = "relayed"
    READ_BACK = "read_back"


Hops = Mapping[Hop, int]  # µs UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The ordered stream of one message name of one site."""

    environment: str
    participant: str
    site: str
    message: str

    def __str__(self) -> str:
        return f"{self.environment}/{self.participant}/{self.site}/{self.message}"

    @property
    def label(self) -> str:
        """The message name for metrics, of which there is one for all imports."""
        return "import" if self.site == IMPORT_SITE else self.message

    @classmethod
    def parse(cls, text: str) -> Lane:
        """Read what ``str`` wrote."""
        environment, participant, site, message = text.split("/")
        return cls(environment=environment, participant=participant, site=site, message=message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a message, before or after the SMP saw it.

    ``row`` counts assets from 0 and is None when the whole message is meant; ``code`` is the SMP's or ours.
    """

    row: int | None = None
    ref: str | None = None
    field: str | None = None
    code: str
    message: str

    def __str__(self) -> str:
        row = "" if self.row is None else f"row {self.row} "
        return f"{row}{self.field or ''}: {self.message}".removeprefix(": ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """One asset or unit that the SMP created: our name for it and the SMP's id."""

    ref: str
    smp_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxPosition:
    """How far one mailbox was read and answered; ``generation`` counts from 1.

    ``sequence`` 0 means that the site showed 0 in this generation. ``result_seq`` is the last result given; None, where
    a position is stored, leaves the journal's own counter as it is.
    """

    generation: int
    sequence: int
    crc: int
    result_seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """One entry of an accepted unit: an asset's name, or a lane, whose message is ``message_id`` once that is known."""

    asset: str | None = None
    lane: Lane | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What a unit asks for: at most ``limit`` assets of its own GSP group, all there by ``wait_until`` (µs UTC)."""

    refs: tuple[Ref, ...]
    gsp_group: str | None
    limit: int
    wait_until: int

    @property
    def open_lanes(self) -> tuple[Lane, ...]:
        """The lanes whose next message is meant, because none was there yet."""
        return tuple(ref.lane for ref in self.refs if ref.lane is not None and ref.message_id is None)

    def bound(self, lane: Lane, message_id: str) -> Alignment:
        """The same, now that the lane's message is known."""
        refs = (
            replace(ref, message_id=message_id) if ref.lane == lane and ref.message_id is None else ref
            for ref in self.refs
        )
        return replace(self, refs=tuple(refs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """One asset or unit that a message creates, with the GSP group it says."""

    row: int
    name: str
    gsp_group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """A message of the same site that is set off when this one enters one of the states."""

    message: str
    kind: Kind
    on: frozenset[State]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message about to be committed; with problems it is committed as REFUSED.

    ``content`` is canonical JSON in our own member names, ``raw`` the input as it came, both kept as evidence.
    ``rules`` are the relays as they stood at acceptance; ``salvage`` asks that rows which were refused for others' sake
    go again without those. ``warnings`` accompany it, and refuse nothing. ``position`` moves the mailbox in the same
    commit, and ``reference`` the change trigger's reference value: (point, value as text, counter). ``creates`` are the
    names that the message wants to own, ``alignment`` what a unit aligns. ``followers`` are set off by its end, and
    ``follows`` is the message whose end set this one off.
    """

    id: str
    lane: Lane
    kind: Kind
    intake_key: str
    raw: bytes
    content: bytes
    rows: int
    rules: tuple[RelayRule, ...]
    revision: str
    accepted_at: int
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    salvage: bool = False
    not_after: int | None = None
    mailbox: str | None = None
    position: MailboxPosition | None = None
    reference: Reference | None = None
    creates: tuple[Creation, ...] = ()
    alignment: Alignment | None = None
    followers: tuple[Follower, ...] = ()
    follows: str | None = None
    hops: Hops = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The value a change trigger compares with: that of the last committed message, and how many there were."""

    value: str
    counter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as the journal holds it."""

    id: str
    lane: Lane
    kind: Kind
    intake_key: str
    content: bytes
    rows: int
    state: State
    accepted_at: int
    updated_at: int
    not_after: int | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    created: tuple[Created, ...] = ()
    transaction_id: str | None = None
    hops: Hops = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at sending a submission: what its signature's header says. ``iat`` is seconds UTC as RFC 7519 has it."""

    number: int
    jti: str
    iat: int
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One signed payload for the SMP: its own id, which is the wire's ``messageId``, and its exact bytes.

    ``message_id`` is the first message that it carries.
    """

    id: str
    message_id: str
    lane: Lane
    kind: Kind
    body: bytes
    attempt: Attempt
    state: State = State.SENDING
    transaction_id: str | None = None
    first_sent_at: int | None = None
    doubt_since: int | None = None
    awaiting_since: int | None = None
    polls: int = 0


def message_id(lane: Lane, intake_key: str) -> str:
    """Name a message so that reading the same request again after a crash can never make a second one."""
    owner = _owner(f"{lane.participant}|{lane.environment}")
    return str(uuid.uuid5(owner, f"{lane.site}|{lane.message}|{intake_key}"))


@lru_cache(maxsize=1024)  # worked out for every message, and the same for all of a participant's
def _owner(name: str) -> uuid.UUID:
    return uuid.uuid5(NAMESPACE, name)
