"""What the journal is told and what it answers: values, each whole in itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gateway.core.message import IMPORT_SITE, Attempt, Created, Hops, Kind, Lane, Message, Problem, Submission
from gateway.core.transaction import Event, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What a commit made of a draft.

    ``existed`` is True when a message with this id was there already; then nothing was stored, and ``same`` says
    whether its content is the same. ``submission`` is there when the message went to SENDING in the same commit; only
    then may, and must, the caller send it. ``relays`` says whether something is now waiting to be written to the site.
    ``problems`` are all for which it was refused, ``sequels`` whether its end sets messages off, and ``others`` the
    messages that moved because of it.
    """

    message_id: str
    state: State
    existed: bool = False
    same: bool = True
    submission: Submission | None = None
    relays: bool = False
    problems: tuple[Problem, ...] = ()
    sequels: bool = False
    others: tuple[Changed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Consecutive rows of a message that a submission carries; without an id, of the message it is committed with.

    ``names`` are the rows' names; they are needed where a submission carries several messages, or the message's rows
    may be salvaged.
    """

    rows: range
    message_id: str | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A submission that could go out: its id, bytes and first attempt, and whose rows it carries, in their order.

    Without portions it carries every row that its message still has to send.
    """

    id: str
    body: bytes
    attempt: Attempt
    portions: tuple[Portion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A message of a lane with rows that could be sent now; ``alone`` when it must not be merged with others."""

    message_id: str
    kind: Kind
    content: bytes
    rows: tuple[range, ...]
    alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of one attempt: the event it means, and the evidence.

    ``created`` and ``problems`` are what a verdict in the answer brings, the latter also what the SMP declined for.
    ``answer`` is the reply's body, ``answer_signature`` its signature in detached form where answers are signed,
    ``status`` its HTTP status or None, ``note`` a sentence for the audit. ``due_at`` is when the reconciler should look
    at it next.
    """

    event: Event
    signature: str | None = None
    transaction_id: str | None = None
    created: tuple[Created, ...] = ()
    problems: tuple[Problem, ...] = ()
    status: int | None = None
    answer: bytes = b""
    answer_signature: str | None = None
    note: str = ""
    due_at: int | None = None
    hops: Hops = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A message after a commit that may have moved it; ``relays`` names the connections that now have something due.

    ``moved`` is False when the commit only added evidence, and ``before`` is where the message was. ``applied_orphan``
    is True when a callback that had come early was matched and decided the state. ``sequels`` says whether its end sets
    messages of its site off. ``others`` are further messages of the same submission, and units that moved because of
    their assets: what is told of one must be told of each of :attr:`all`.
    """

    message_id: str
    lane: Lane
    state: State
    before: State | None = None
    moved: bool = True
    relays: frozenset[str] = frozenset()
    applied_orphan: bool = False
    sequels: bool = False
    others: tuple[Changed, ...] = ()

    @property
    def all(self) -> tuple[Changed, ...]:
        """This message and the others, each by itself."""
        return (self, *self.others)

    def after(self, earlier: Changed) -> Changed:
        """The same, with what an earlier step of the same commit has made due."""
        due = {each.message_id: each.relays for each in earlier.all}
        first, *others = (
            replace(each, relays=each.relays | due.get(each.message_id, frozenset())) for each in self.all
        )
        return replace(first, others=tuple(others))


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What the SMP was asked about a submission, signed, and what it answered."""

    url: str
    request: bytes
    signature: str
    status: int | None
    answer: bytes
    answer_signature: str | None = None


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
    """A validly signed callback as it came, for the journal; ``key`` is the public key that verified it, as a JWK."""

    environment: str
    participant: str
    issuer: str
    jti: str
    body: bytes
    signature: str
    received_at: int
    hops: Hops = field(default_factory=dict)
    key: str | None = None


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
class CallbackFilter:
    """Which callbacks are listed: newest first, at most ``limit``; ``jti`` is the beginning of one."""

    environment: str | None = None
    participant: str | None = None
    disposition: Disposition | None = None
    jti: str = ""
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How many messages are in each state, and relays are pending."""

    messages: Mapping[State, int]
    relays: int


class Origin(StrEnum):
    """How an asset came to be known."""

    CREATED = "created"  # by a message of ours
    ADOPTED = "adopted"  # made before, and told to us by the participant
    SEEN = "seen"  # named by the SMP in a verdict, without being asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One asset or unit of the registry; ``there`` is False when its last message ended without it, see ``note``."""

    environment: str
    participant: str
    kind: Kind
    name: str
    there: bool
    origin: Origin
    smp_id: str | None = None
    gsp_group: str | None = None
    message_id: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFilter:
    """Which assets and units are listed, by name, at most ``limit``."""

    environment: str | None = None
    participant: str | None = None
    kind: Kind | None = None
    limit: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """An asset made long ago, as a participant tells of it; ``line`` is where its file says so."""

    line: int
    name: str
    smp_id: str | None = None
    gsp_group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What a file of adoptions changed: how many assets are new, and which messages moved because of them.

    With ``faults``, each a line and a sentence, nothing was stored.
    """

    new: int = 0
    known: int = 0
    faults: tuple[tuple[int, str], ...] = ()
    others: tuple[Changed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What is not over yet for a site: its open messages, and the connections that verdicts have to go to."""

    messages: int
    connections: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequel:
    """A message that is to be made because ``parent`` ended: its name at the parent's site, and its kind then."""

    parent: Message
    message: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteHold:
    """Who lets nothing be written to a site, since when (µs UTC), and why."""

    at: int
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Debts:
    """What is owed to sites: results by (site, connection), and messages that are not over by site."""

    results: Mapping[tuple[str, str], int]
    messages: Mapping[str, int]

    def unpayable(self, configured: Mapping[str, Collection[str]]) -> Mapping[str, str]:
        """For each site, a sentence about what waits for a site or connection that is not among these.

        ``configured`` names the connections of each site. Imports are nobody's plant.
        """
        told: dict[str, str] = {}
        for site, connection in self.results:
            count = self.results[site, connection]
            if site not in configured:
                continue
            if connection not in configured[site]:
                said = f"{_counted(count, 'result')} of site {site} for its connection {connection}"
                told[site] = f"{said}, which is configured no more"
        for site in sorted({*self.messages, *(site for site, _ in self.results)} - {*configured, IMPORT_SITE}):
            owed = sum(count for (home, _), count in self.results.items() if home == site)
            parts = [_counted(owed, "result"), _counted(self.messages.get(site, 0), "open message")]
            told[site] = f"{' and '.join(parts)} of site {site}, which is configured no more"
        return told


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
