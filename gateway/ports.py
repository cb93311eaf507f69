"""Every seam of the gateway, as Protocols: what `flow` needs, and what `edge` and the adapters provide.

Times are µs UTC unless a name says otherwise. A docstring says what is raised and whether cancelling is safe; what is
not named is not raised. Errors are those of :mod:`gateway.errors`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from gateway.core.acts import Decision
from gateway.core.attention import Unfinished
from gateway.core.callback import Callback
from gateway.core.control import Answer, AnswerT, Operation, Order, OrderT
from gateway.core.evidence import ChainHead, Checkpoint, Cut
from gateway.core.jws import KeyRecord
from gateway.core.mailbox import MailboxSpec, Role
from gateway.core.message import (
    Attempt,
    Draft,
    Hop,
    Hops,
    Lane,
    MailboxPosition,
    Message,
    Problem,
    Reference,
    Submission,
)
from gateway.core.point import PointSpec, Reading, Snapshot, Value
from gateway.core.record import (
    Adopted,
    Adoption,
    Appended,
    Changed,
    Depth,
    Evidence,
    MessageFilter,
    Outgoing,
    Owed,
    Poll,
    Received,
    Sequel,
    Settlement,
    SiteHold,
    Waiting,
)
from gateway.core.relay import CallbackRelay, Relay
from gateway.core.request_plan import RequestPlan
from gateway.core.secret import Reference as SecretReference
from gateway.core.sharing import Hint, Lease, Node, Owner, Sight, Work
from gateway.core.transaction import Event, State
from gateway.core.verdict import Verdict
from gateway.errors import SecretError


# ---------------------------------------------------------------- a site's side
@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What `confirm` needs to acknowledge one request; opaque to everybody but the session that made it.

    For a `Submitted`, ``mailbox`` is the message it asks for and ``sequence`` the session's own number of it.
    """

    mailbox: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that a site raised in a mailbox, complete and checked as a frame, not yet judged against the journal.

    ``crc`` is the site's own, or ours over the same registers where it has none. ``fault`` is ``bad_crc`` when the
    block stayed torn for three polls. ``acknowledged`` and ``result_seq`` are the site's ACK_SEQ and RESULT_SEQ as
    found. ``raw`` is the block as read: registers, big-endian. ``seen_at`` is when the first frame that showed the
    new sequence arrived, ``snapshot_at`` when the last register needed had been read.
    """

    mailbox: str
    sequence: int
    kind: int
    crc: int
    raw: bytes
    snapshot: Snapshot
    receipt: Receipt
    acknowledged: int
    result_seq: int
    seen_at: int
    snapshot_at: int
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A message that the site sent itself, under an id of its own choice: an MQTT message, OPC UA's `Submit`.

    ``message`` names the site's message that it asks for. ``key`` is the caller's id (core.document.caller_id), or
    None where the trigger has ``dedupe`` instead. ``raw`` is the payload as it came, ``document`` its JSON, strict, and
    ``snapshot`` the points that it fills. ``reply`` is kept with the message and comes back in `ResultWrite.to`; its
    member ``id`` is what the result is labelled with. With a ``fault`` (no JSON, no id, a bad signature) nothing else
    of it is believed: it is refused under a key made of its bytes, so that it cannot take a caller's id.
    """

    message: str
    key: str | None
    raw: bytes
    document: object
    snapshot: Snapshot
    receipt: Receipt
    reply: Mapping[str, str]
    seen_at: int
    fault: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxStatus:
    """What a mailbox shows besides a request; sent after each connect and whenever one of the numbers changes.

    ``request_seq`` is None where the site has not said it since our start: an empty register of ours is no zero of it.
    """

    mailbox: str
    request_seq: int | None
    acknowledged: int
    result_seq: int
    result_acknowledged: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PointWrite:
    """Write an engineering value to a point with ``access: write``.

    With ``fit`` a text is for people and is made to fit (core.point.fit_text); everything else is refused when
    the point cannot hold it. ``passing`` is a sign of life: the next one follows, so that nobody need have read it.
    """

    point: str
    value: Value
    fit: bool = False
    passing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleWrite:
    """Write host-to-site registers of a declared mailbox: a number, a text, or the numbers of ``Role.DETAIL``."""

    mailbox: str
    role: Role
    value: int | str | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultWrite:
    """Tell who sent a message under its own id what became of it: JSON members (core.relay_values.result_of).

    ``to`` is what `Submitted.reply` said. The same result may come again, under the same ``number``, which is the
    journal's own of this delivery.
    """

    to: Mapping[str, str]
    result: Mapping[str, object]
    number: int = 0


Write = PointWrite | RoleWrite | ResultWrite


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The request is on disk; for a `Submitted` also as which message, and how far that is."""

    message_id: str | None = None
    state: State | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The request is on disk as refused, for these reasons."""

    problems: tuple[Problem, ...]
    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Nothing was stored; the site must keep its request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reachable:
    """The site's system answered; told once after each connect where silence is nothing unusual."""

    at: int


# What a session tells.
News = Reading | Request | Submitted | MailboxStatus | Reachable


class Session(Protocol):
    """One live link to one connection of a site; it never reconnects by itself."""

    async def read(self) -> Sequence[News]:
        """Wait for news; never empty. A request comes again until it is confirmed, and after each connect.

        Requests that wait may come together, oldest first; they are stored and confirmed in that order.

        Safe to cancel: nothing read is lost to the next call.

        Raises:
            LinkLost: the link is gone; this session is finished.
        """

    async def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        """Tell the site that its request is durable (Committed, Refused), or nothing at all (Busy).

        Raises:
            LinkLost: whether the site was told is unknown; the request will be seen again.
        """

    async def write(self, steps: Sequence[Write]) -> None:
        """Write in this order and return when every value was read back; safe to repeat.

        Raises:
            LinkLost: the outcome is unknown.
            PointRejected: the site's system refused a step for good, or holds another value; later steps were not made.
        """


class Adapter(Protocol):
    """One connection of one site: it knows its protocol; reconnecting, retrying and back-off are the runtime's."""

    def connect(self) -> AbstractAsyncContextManager[Session]:
        """Open a new session; entering raises LinkLost when the site cannot be reached, leaving closes the link."""


class Clock(Protocol):
    """The only source of wall time."""

    def now(self) -> int:
        """µs UTC."""


class Entropy(Protocol):
    """The only source of ids that must not repeat, and of jitter."""

    def uuid(self) -> str:
        """A fresh random UUID in its canonical text form."""

    def jitter(self, spread: float) -> float:
        """A factor in ``1 ± spread``, evenly distributed."""


def _no_tls(*_references: SecretReference | None) -> Any:  # noqa: ANN401 - an SSLContext, which this module never sees
    raise SecretError("no TLS contexts are provided here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What an adapter is given besides its configuration.

    ``secret`` reads a password, key or certificate anew at each call, so that a replaced file counts from the next
    connect on; it raises SecretError. `build` must not call it: keys may be made after the configuration is read.
    ``client_tls`` makes an `ssl.SSLContext` that checks the peer against this CA, or the system's without one, and
    shows this certificate with this key where they are given; the same holds for it. ``server_tls`` makes that of a
    listener: our certificate, its key, and the CA whose certificates callers must show.
    """

    clock: Clock
    entropy: Entropy
    event: Callable[..., None]  # telemetry.Telemetry.emit
    secret: Callable[[SecretReference], bytes]
    client_tls: Callable[[SecretReference | None, SecretReference | None, SecretReference | None], Any] = _no_tls
    server_tls: Callable[[SecretReference | None, SecretReference | None, SecretReference | None], Any] = _no_tls


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionConfig:
    """One connection of a site as the adapter gets it: its own models, validated, and the generic point specs.

    ``points`` holds only this connection's points, each as (generic spec, the adapter's own address model).
    ``triggers`` holds, by message, the adapter's own members of ``when: {message: CONNECTION, ...}``.
    """

    site: str
    name: str
    settings: BaseModel
    points: Mapping[str, tuple[PointSpec, BaseModel]]
    mailboxes: Mapping[str, MailboxSpec]
    triggers: Mapping[str, BaseModel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSpec:
    """What a protocol brings: found by the entry point ``smp_gateway.adapters``, so that anybody can add one.

    ``connection_model`` and ``point_model`` are pydantic models (``extra="forbid"``) of the protocol's own YAML
    members. ``mailbox_layouts`` names the mailbox layouts it can carry. ``build`` does no I/O.
    ``trigger_model`` is that of ``when: {message: CONNECTION, ...}`` for a protocol that can bring a `Submitted`; its
    property ``carries_id`` says whether the site's messages bring an id. ``contradictions`` tells what points and
    triggers of one connection say against each other: (the way there below the site, a sentence). ``plan`` tells what
    is asked for, where a protocol asks; it does no I/O either.
    """

    protocol: str
    connection_model: type[BaseModel]
    point_model: type[BaseModel]
    mailbox_layouts: frozenset[str]
    build: Callable[[ConnectionConfig, Resources], Adapter]
    trigger_model: type[BaseModel] | None = None
    contradictions: Callable[[ConnectionConfig], Iterable[tuple[tuple[str, ...], str]]] | None = None
    plan: Callable[[ConnectionConfig], RequestPlan | None] | None = None


# ---------------------------------------------------------------- the journal
class Journal(Protocol):
    """The durable store. Each call is all or nothing, and on disk when it returns; `take` to `relayed` write.

    Cancelling a call leaves it unknown whether it was stored; the next read tells. Every method may raise
    ``JournalBroken``, after which the process must end.
    """

    async def append(self, draft: Draft, outgoing: Outgoing | None = None) -> Appended:
        """Store a message with its mailbox position, reference value, relays and audit in one commit.

        With ``outgoing`` and a free lane it goes to SENDING in the same commit.

        Raises:
            JournalFull: nothing was stored.
        """

    async def lanes(self) -> Sequence[Lane]:
        """The lanes that have a message which could be sent now, oldest message first."""

    async def head(self, lane: Lane) -> tuple[Message, Submission | None] | None:
        """The message of this lane to send next, or None; with its submission when that fell back to ACCEPTED."""

    async def waiting(self, lane: Lane, limit: int) -> Sequence[Waiting]:
        """The messages of this lane that may share a submission of ``limit`` rows, oldest first, the head always."""

    async def names_under_way(self, lane: Lane) -> frozenset[str]:
        """The names of rows of this lane that AWAIT a verdict after which they may have to go again."""

    async def take(self, message_id: str, outgoing: Outgoing) -> Submission | None:
        """Commit SENDING for an ACCEPTED head of a lane and what goes with it; None when it may not be sent (any more).

        A submission that exists keeps its id and bytes and only gains ``outgoing.attempt``.
        """

    async def retake(self, submission_id: str, event: Event, attempt: Attempt) -> Submission | None:
        """Commit SENDING for a submission in doubt (``Event.RESENT``).

        None when it is not in doubt any more, or when its message's not-after has passed; then it is due again later.
        """

    async def still_ours(self) -> None:
        """Make sure that no other gateway took this journal over while this process slept; stands before each send.

        Raises:
            JournalBroken: one has.
        """

    async def settle(self, submission_id: str, attempt: int, settlement: Settlement) -> Changed:
        """Store what became of an attempt; a callback that came before this transaction id is applied with it."""

    async def resolve(
        self,
        submission_id: str,
        event: Event,
        *,
        verdict: Verdict | None,
        transaction_id: str | None,
        due_at: int | None,
        note: str,
        poll: Poll | None = None,
    ) -> Changed:
        """Store what the reconciler found out, and how; an event the state does not know is kept as evidence only."""

    async def named(self, beginning: str) -> Sequence[str]:
        """The ids of the messages whose id begins so; not all of them, when they are many."""

    async def standings(self, message_ids: Sequence[str]) -> Mapping[str, tuple[State, int]]:
        """The state and the number of rows of those of these messages that exist."""

    async def submissions(self, message_id: str) -> Sequence[Submission]:
        """Everything that was made of a message for the SMP."""

    async def decide(self, message_id: str, decision: Decision) -> Sequence[Changed]:
        """Carry out what an operator decided about a message, with who and why.

        Raises:
            TransitionRefused: nothing of it waits for such a decision.
        """

    async def resend(self, submission_id: str, decision: Decision, attempt: Attempt) -> Submission | None:
        """Commit SENDING for an escalated submission, as an operator decided; None when its not-after has passed.

        Raises:
            TransitionRefused: it is not escalated (any more).
        """

    async def audit_release(self, environment: str, participant: str, *, actor: str, detail: str) -> None:
        """Keep that an operator released a held participant."""

    async def hold_site(self, lane: Lane, *, held: bool, actor: str, reason: str) -> bool:
        """Keep that nothing may be written to ``lane.site``, or may again, with who and why; False when it is so."""

    async def site_holds(self) -> Mapping[str, SiteHold]:
        """The sites that are held."""

    async def postpone(self, submission_id: str, due_at: int) -> None:
        """Set when the reconciler looks at a submission next, and count the poll."""

    async def overdue(
        self, environment: str, participant: str, state: State, now: int, *, horizon: int, limit: int
    ) -> tuple[Sequence[Submission], int | None]:
        """A participant's submissions in this state (IN_DOUBT, AWAITING) whose time has come, longest overdue first.

        At most ``limit``; and when the time of the next one comes that is not due yet. What is due after ``horizon``,
        further away than any pause, was planned by a clock that has stepped back since, and is due now.
        """

    async def backlog(self, environment: str) -> int:
        """How many accepted messages of an environment wait to be sent."""

    async def park(self, message_id: str, reason: str) -> Changed | None:
        """Commit PARKED for what the SMP has nothing of; None when that is nothing (any more)."""

    async def expire(self, now: int) -> Sequence[Changed]:
        """End as EXPIRED what has waited for too long: messages past their not-after, units without their assets."""

    async def receive(
        self, evidence: Evidence, callback: Callback | None, fault: str | None, relays: Sequence[CallbackRelay] = ()
    ) -> Received:
        """Store a callback and whatever it decides in one commit; with ``fault`` it is quarantined.

        ``relays`` are due when it is new and no verdict.

        Raises:
            JournalFull: nothing was stored.
        """

    async def position(self, site: str, mailbox: str) -> MailboxPosition | None:
        """How far a mailbox was read, or None when it never was."""

    async def set_position(self, site: str, mailbox: str, position: MailboxPosition) -> None:
        """Move a mailbox without a message: a baseline, or an alarmed row of the restart table."""

    async def reference(self, lane: Lane) -> Reference | None:
        """The reference value of a change trigger, or None when there is none."""

    async def set_reference(self, lane: Lane, reference: Reference) -> None:
        """Store a baseline that fires nothing."""

    async def sequels(self, site: str) -> Sequence[Sequel]:
        """The messages of a site that the end of another one sets off and that are not made yet, oldest first."""

    async def owed(self, site: str) -> Owed:
        """What is not over yet for a site; messages that are still to be made after others count as open."""

    async def adopt(
        self, environment: str, participant: str, adoptions: Sequence[Adoption], *, actor: str, detail: str
    ) -> Adopted:
        """Keep assets made long ago, all or none; units that waited for them go on in the same commit."""

    async def next_relay(self, site: str, connection: str) -> tuple[Relay, Message] | None:
        """The oldest pending relay of this connection and its message, or None."""

    async def number_relay(self, relay_id: int, found: int) -> Relay:
        """Fix the result sequence of a mailbox relay that has none, continuing from the one found at the site."""

    async def relayed(
        self, relay_id: int, hops: Hops, problem: str | None = None, *, written: bytes | None = None
    ) -> None:
        """Mark a relay as read back at the site, or, with a problem, as refused by the site for good.

        ``written`` says what was written and, without a problem, read back the same.
        """

    async def next_callback_relay(self, site: str, connection: str) -> CallbackRelay | None:
        """The oldest callback of another type that is to be written to this connection, or None."""

    async def callback_relayed(self, relay_id: int, problem: str | None = None) -> None:
        """Mark it as read back at the site, or, with a problem, as refused by the site for good."""

    async def chain_head(self, environment: str, participant: str) -> tuple[ChainHead, int] | None:
        """How far a participant's chain of evidence is, and the number of its last checkpoint (0: none yet)."""

    async def checkpoint(self, checkpoint: Checkpoint, jwks: Sequence[str]) -> None:
        """Keep a signed checkpoint of a chain, and the public keys that its participant signs with, as JWKs."""

    async def removable(self, environment: str, participant: str, before: int, *, limit: int) -> ChainHead | None:
        """How far a participant's chain could be cut since all to there ended ``before`` (µs UTC); None: nowhere.

        At most ``limit`` entries are looked at.
        What is open, owes its site something, or is younger stays, and whatever follows its first entry.
        """

    async def cut(self, cut: Cut) -> None:
        """Begin a chain after the entry that this cut names; what is before it may be removed from now on."""

    async def remove(self, environment: str, participant: str, *, limit: int) -> int:
        """Delete up to ``limit`` of the oldest entries before the cut, and what they tell of; how many there were."""

    def note(self, message_id: str, hop: Hop, at: int) -> None:
        """Remember a hop with the next commit, whatever that is; lost if the process dies before."""

    async def message(self, message_id: str) -> Message | None:
        """One message, or None."""

    async def unmatched(self, until: int) -> Mapping[str, int]:
        """How many callbacks of each participant that came until then belong to nothing that is known."""

    async def unfinished(self, since: Mapping[str, int]) -> Unfinished:
        """What is not over; verdicts count as overdue that were due ``since`` (µs UTC, by environment) or longer."""

    async def history(self, which: MessageFilter) -> Sequence[Message]:
        """Messages, newest first."""

    async def depth(self) -> Depth:
        """Counts for health and metrics."""


class Leases(Protocol):
    """Which participants this gateway serves, of those that all gateways on one journal share (core.sharing).

    Every method may raise ``JournalBroken``, after which the process must end.
    """

    async def look(self) -> Sight:
        """See every node and lease as they are."""

    async def enrol(self, owners: Collection[Owner]) -> None:
        """See to it that there is a lease for each of these."""

    async def claim(self, lease: Lease) -> bool:
        """Take a free lease as it was seen; what was under way for its participant is in doubt then.

        False when somebody else was quicker.
        """

    async def release(self, owner: Owner) -> None:
        """Give a lease back, of a participant for whom nothing is done here any more; the others are told."""

    async def bury(self, node: Node) -> None:
        """Take a node out that was seen dead, unless it has counted a turn since; its leases are free then."""

    async def divide(self, shares: int) -> None:
        """Say that this node uses one of so many shares of the SMP's rate, unless there are more nodes by now."""

    async def leave(self) -> None:
        """Say that this node is going to end, so that nobody leaves anything to it."""

    async def work(self) -> Work:
        """See what waits in the journal, whoever brought it there."""

    async def pause(self) -> None:
        """Wait until it is time for the next look; safe to cancel."""

    def hints(self) -> AsyncGenerator[Hint, None]:
        """Hear what other nodes say, until closed; some of it may be lost."""

    async def doubtful(self) -> None:
        """Wait until this node has been out of touch for so long that others may take it for dead; safe to cancel."""


# ---------------------------------------------------------------- the SMP's side
@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one HTTP attempt brought.

    ``handed_over`` is False only when no byte can have reached the SMP (DNS, connect, TLS, waiting for a connection).
    ``status`` is None when no readable answer came, and ``failure`` then says why. ``retry_after`` is in
    seconds. ``signature`` is the value of the answer's signature header. ``sent_at`` is when the last byte of the
    request was written, ``date_at`` what the answer's `Date` header says.
    """

    handed_over: bool
    status: int | None = None
    body: bytes = b""
    signature: str | None = None
    retry_after: float | None = None
    failure: str = ""
    sent_at: int | None = None
    answered_at: int | None = None
    date_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCall:
    """One signed request as it leaves: ``body`` and ``signature`` (the header's value) are in the wire's form.

    ``url`` is what was signed for, ``jti`` the signature's id, and ``token`` the signature in detached form, as it is
    kept whatever the wire's form is. An empty body is none.
    """

    method: str
    url: str
    body: bytes
    signature: str | None
    jti: str
    token: str
    message_id: str


class Transport(Protocol):
    """One environment of the SMP, for one participant. One call is one attempt; it never raises for the network."""

    async def submit(self, call: SignedCall, bearer: str) -> Reply:
        """Make a signed request with this bearer token; cancelling leaves it unknown whether the SMP has it."""

    async def login(self, username: str, password: str) -> Reply:
        """POST the login; safe to cancel."""


class Signer(Protocol):
    """One private key for one purpose."""

    @property
    def key_id(self) -> str:
        """The ``kid`` of the protected header."""

    @property
    def algorithm(self) -> str:
        """The JWS ``alg``, such as ES256."""

    @property
    def public_jwk(self) -> Mapping[str, str]:
        """The public half as a JSON Web Key."""

    def sign(self, data: bytes) -> bytes:
        """The raw JWS signature (RFC 7518: for ES256 r and s, 32 bytes each).

        Raises:
            SigningFailed: the key, or the device that holds it, does not sign now.
        """


class KeyRing(Protocol):
    """The public keys we trust; the record, never the header, says algorithm, issuer and purpose."""

    def find(self, key_id: str) -> KeyRecord | None:
        """The key of this id, or None."""

    async def refresh(self) -> bool:
        """Look for keys that are new at their source, where it may be asked now; True when there are other keys.

        Bounded in time, and in how often the source is asked, whoever calls how often; safe to cancel.
        """

    @property
    def degraded(self) -> tuple[str, ...]:
        """What does not work now, for `/readyz`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A set of public keys as its issuer publishes it, and for how many seconds it counts as fresh."""

    document: bytes
    life_s: float


class KeySource(Protocol):
    """Where an issuer publishes its keys. One call is one attempt."""

    @property
    def address(self) -> str:
        """Its https URL."""

    async def fetch(self) -> Published:
        """Ask for the set; safe to cancel.

        Raises:
            KeysUnavailable: it did not come, or not in the size and time that a set of keys may take.
        """


class KeyShelf(Protocol):
    """Where the last good set is kept, so that a restart without the SMP can still verify."""

    def load(self) -> bytes | None:
        """What was kept, or None when there is nothing."""

    async def keep(self, document: bytes) -> None:
        """Put it on disk as a whole.

        Raises:
            KeysUnavailable: it could not be written.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackReply:
    """What the callback server answers."""

    status: int
    body: Mapping[str, Any]
    retry_after: int | None = None


# (participant of the path, body bytes, signature header or None, time of the body's last byte) -> reply
CallbackHandler = Callable[[str, bytes, str | None, int], Awaitable[CallbackReply]]


# ---------------------------------------------------------------- operators
@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One operation: who asks (``operator:NAME``, a user of this machine), the path's parameters, the order."""

    actor: str
    parameters: Mapping[str, str]
    order: Order


# Raises ControlRefused for what is not done, and whatever the journal raises.
OperationHandler = Callable[[Call], Awaitable[Answer]]
OperationHandlers = Mapping[Operation[Any, Any], OperationHandler]


class Control(Protocol):
    """The way to a gateway's operations: over the socket of one that runs, or on the journal itself when none does."""

    async def ask(self, operation: Operation[OrderT, AnswerT], order: OrderT, **parameters: str) -> AnswerT:
        """Ask for one operation; cancelling leaves it unknown whether it was done.

        Raises:
            ControlRefused: it was not done.
            ControlUnreachable: the gateway went away; whether it was done is unknown.
            JournalError: the journal, where none runs.
        """
