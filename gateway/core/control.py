"""What operators ask of a gateway and what it answers: every operation with its path and typed bodies, in one place.

Rules
-----
* An operation is named by method and path; the path begins with the version, and a version only ever gains members.
* Bodies are JSON in camelCase. Orders are strict: an unknown member is refused. Answers may gain members: a reader
  ignores those that it does not know.
* Times are µs UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from gateway.core.acts import Act
from gateway.core.transaction import State


class Order(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class Nothing(Order):
    """The body of an operation that needs none."""


class Answer(BaseModel):
    """What is answered."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


OrderT = TypeVar("OrderT", bound=Order)
AnswerT = TypeVar("AnswerT", bound=Answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[OrderT, AnswerT]):
    """One thing that can be asked for; ``path`` holds a ``{name}`` for each parameter."""

    method: Literal["GET", "POST"]
    path: str
    order: type[OrderT]
    answer: type[AnswerT]


# ---------------------------------------------------------------- when it is not done
class Blame(StrEnum):
    """Whose fault it is that something was not done."""

    CALLER = "caller"
    GATEWAY = "gateway"
    SMP = "smp"


class Problem(Answer):
    """Why an operation was not done: ``code`` for programs, ``detail`` and ``next`` (what to do now) for people."""

    code: str
    detail: str
    blame: Blame
    next: str = ""


# The HTTP status of each code; what is not listed is a conflict with how things are now.
STATUS_OF_CODE = {
    "not_json": 400,
    "not_found": 404,
    "key_reused": 409,
    "no_such_operation": 404,
    "too_large": 413,
    "invalid": 422,
    "internal": 500,
    "journal_broken": 503,
    "journal_full": 507,
}
CONFLICT = 409


# ---------------------------------------------------------------- the gateway itself
class GatewayStatus(Answer):
    """How a running gateway is; ``reasons`` say why it is not ready, ``degraded`` what does not work meanwhile."""

    version: str
    process: int
    started_at: int
    status: Literal["ready", "degraded", "not ready"]
    reasons: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()


STATUS = Operation(method="GET", path="/v1/status", order=Nothing, answer=GatewayStatus)


# ---------------------------------------------------------------- what operators decide
def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("only characters that can be printed, in one line")
    return text


Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), AfterValidator(_line)]
# Why somebody decided something; it stands in the audit for good, and may be told to the site.
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500), AfterValidator(_line)]


class CreatedAsset(Order):
    """An asset or unit that exists at the SMP, by the message's name for it and the SMP's id."""

    ref: Line
    smp_id: Line


class ActOrder(Order):
    """What to do with a message, and why; ``created`` may come with resolve_completed."""

    act: Act
    reason: Reason
    created: tuple[CreatedAsset, ...] = Field(default=(), max_length=100_000)


class Acted(Answer):
    """What an act did: the message's state before and now, and which other messages moved with it."""

    message: str
    act: Act
    before: State
    state: State
    others: tuple[str, ...] = ()


# ``message`` is an id or the beginning of one.
ACT = Operation(method="POST", path="/v1/messages/{message}/acts", order=ActOrder, answer=Acted)


class RequestOrder(Order):
    """Ask for a message of a site that is made on request; the same ``key`` again is the same message."""

    key: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")]


class Requested(Answer):
    """The message that was made, or had been made under this key before (``existed``), and what is wrong with it."""

    message: str
    state: State
    existed: bool = False
    problems: tuple[str, ...] = ()


REQUEST = Operation(
    method="POST", path="/v1/sites/{site}/messages/{message}/requests", order=RequestOrder, answer=Requested
)


class PointStanding(Answer):
    """A point of a site as it was read last; ``read_at`` is None while it was not, or is only written.

    A number comes as its decimal text, so that no digit is lost. ``fault`` and ``detail`` say why it is not good.
    """

    point: str
    connection: str
    connected: bool
    access: Literal["read", "write"]
    value: str | bool | None = None
    unit: str | None = None
    quality: str | None = None
    read_at: int | None = None
    fault: str | None = None
    detail: str | None = None


class PointList(Answer):
    """All points of a site, in the order of its file."""

    site: str
    at: int
    points: tuple[PointStanding, ...]


POINTS = Operation(method="GET", path="/v1/sites/{site}/points", order=Nothing, answer=PointList)


class ParticipantStanding(Answer):
    """How a participant's account at the SMP is; ``held`` says why nothing is sent for it.

    Of one that another gateway on the same journal serves (``served`` False) nothing else is known here.
    """

    participant: str
    environment: str
    held: str | None = None
    logged_in: bool
    degraded: tuple[str, ...] = ()
    served: bool = True


class ParticipantList(Answer):
    """All participants."""

    participants: tuple[ParticipantStanding, ...]


class ReleaseOrder(Order):
    """Why a held participant may log in again."""

    reason: Reason


class Released(Answer):
    """Whom was released, and what it had been held for."""

    participant: str
    held: str


PARTICIPANTS = Operation(method="GET", path="/v1/participants", order=Nothing, answer=ParticipantList)
RELEASE = Operation(method="POST", path="/v1/participants/{participant}/release", order=ReleaseOrder, answer=Released)


class ConnectionStanding(Answer):
    """How one connection of a site is."""

    connection: str
    protocol: str
    connected: bool


class SiteStanding(Answer):
    """How a site is. ``held``: who lets nothing be written to it, and why; ``writing``: what else holds writes back."""

    site: str
    participant: str
    environment: str
    connections: tuple[ConnectionStanding, ...]
    held: str | None = None
    held_at: int | None = None
    writing: str | None = None
    degraded: tuple[str, ...] = ()


class SiteList(Answer):
    """All sites that run."""

    sites: tuple[SiteStanding, ...]


class HoldOrder(Order):
    """Why nothing may be written to a site, or why that is over."""

    reason: Reason


class SiteHeld(Answer):
    """Whether a site is held now, and by whom it was held before."""

    site: str
    held: bool
    before: str | None = None


SITES = Operation(method="GET", path="/v1/sites", order=Nothing, answer=SiteList)
HOLD_SITE = Operation(method="POST", path="/v1/sites/{site}/hold", order=HoldOrder, answer=SiteHeld)
RELEASE_SITE = Operation(method="POST", path="/v1/sites/{site}/release", order=HoldOrder, answer=SiteHeld)


class Sealed(Answer):
    """How far a participant's chain of evidence is covered by a signed checkpoint now; 0 when it is empty."""

    participant: str
    environment: str
    entries: int
    link: str = ""


SEAL = Operation(method="POST", path="/v1/participants/{participant}/checkpoints", order=Nothing, answer=Sealed)


# ---------------------------------------------------------------- callbacks that belong to nothing
class DismissOrder(Order):
    """Which unmatched callback needs nobody's attention any more, and why."""

    environment: Literal["live", "test"]
    issuer: str
    jti: str
    reason: Reason


class Dismissed(Answer):
    """The callback that was dismissed."""

    jti: str


DISMISS = Operation(
    method="POST", path="/v1/participants/{participant}/dismissals", order=DismissOrder, answer=Dismissed
)
