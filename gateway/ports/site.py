"""A site's side: what a connection tells and takes, and what a protocol brings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from gateway.core.mailbox import MailboxSpec, Role
from gateway.core.message import Problem
from gateway.core.point import PointSpec, Reading, Snapshot, Value
from gateway.core.request_plan import RequestPlan
from gateway.core.secret import Reference as SecretReference
from gateway.core.transaction import State
from gateway.errors import SecretError
from gateway.ports.clock import Clock, Entropy


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
    member ``id`` is what the result is labelled with, and an empty one asks for no result. With a ``fault`` (no JSON,
    no id, a bad signature) nothing else of it is believed: it is refused under a key made of its bytes, so that it
    cannot take a caller's id.
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
    ``at`` is not later than when RESULT_SEQ was read: a result may be written while the rest is. ``page`` is the page
    of a result that the site asks for (core/result_block.py); 0 asks for none.
    """

    mailbox: str
    request_seq: int | None
    acknowledged: int
    result_seq: int
    result_acknowledged: int
    at: int
    page: int = 0


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
class PointCall:
    """Call the method that a point with ``access: write`` stands for; an argument None is what the message lacks.

    After LinkLost nobody knows whether the method ran, so it is called again.
    """

    point: str
    arguments: tuple[Value | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleWrite:
    """Write host-to-site registers of a declared mailbox: a number, a text, or the numbers of ``Role.DETAIL``.

    ``passing`` is what the site waits for itself, or will be shown again, so that nobody need have read it.
    """

    mailbox: str
    role: Role
    value: int | str | tuple[int, ...]
    passing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultWrite:
    """Tell who sent a message under its own id what became of it: JSON members (core.relay_values.result_of).

    ``to`` is what `Submitted.reply` said. The same result may come again, under the same ``number``, which is the
    journal's own of this delivery.
    """

    to: Mapping[str, str]
    result: Mapping[str, object]
    number: int = 0


Write = PointWrite | PointCall | RoleWrite | ResultWrite


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


def _no_tls(*_references: SecretReference | None) -> Any:  # noqa: ANN401 - an SSLContext, which this module never sees
    raise SecretError("no TLS contexts are provided here")


async def _always_ours() -> None:
    """Go on: nobody else serves these sites."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What an adapter is given besides its configuration.

    ``secret`` reads a password, key or certificate anew at each call, so that a replaced file counts from the next
    connect on; it raises SecretError. `build` must not call it: keys may be made after the configuration is read.
    ``client_tls`` makes an `ssl.SSLContext` that checks the peer against this CA, or the system's without one, and
    shows this certificate with this key where they are given; the same holds for it. ``server_tls`` makes that of a
    listener: our certificate, its key, and the CA whose certificates callers must show.
    ``still_ours`` is waited for right before each request that writes to the site: another gateway may serve it since
    this one slept. It raises JournalBroken then, which is nobody's to catch.
    """

    clock: Clock
    entropy: Entropy
    event: Callable[..., None]  # telemetry.Telemetry.emit
    secret: Callable[[SecretReference], bytes]
    client_tls: Callable[[SecretReference | None, SecretReference | None, SecretReference | None], Any] = _no_tls
    server_tls: Callable[[SecretReference | None, SecretReference | None, SecretReference | None], Any] = _no_tls
    still_ours: Callable[[], Awaitable[None]] = _always_ours  # Journal.still_ours


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
