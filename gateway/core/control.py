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
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


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
