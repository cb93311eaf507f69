"""The part of a wire profile that is names: paths, methods, headers, media types, JSON members, forms of signature.

A *member path* is a member's name, or several with dots between where the SMP wraps one object in another; ``.`` alone
is the whole document.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from gateway.core.message import ASSETS, Kind

_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|min|h|d)")
_STATUS_CODE = re.compile(r"[1-5](?:xx|[0-9]{2})")
_WHOLE = "."
_ENCLOSING = 4096  # bytes of a protected header, a signature and the names of three members, generously


def _microseconds(value: object) -> int:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration: write a number and a unit, such as 10s, 5min or 24h")
    return round(float(match[1]) * _UNITS_US[match[2]])


def _status_code(value: object) -> str:
    text = str(value)
    if not _STATUS_CODE.fullmatch(text):
        raise ValueError(f"{value!r} is neither an HTTP status nor a class such as 3xx")
    return text


Duration = Annotated[int, BeforeValidator(_microseconds), Field(json_schema_extra={"type": "string"})]
StatusCode = Annotated[str, BeforeValidator(_status_code)]
UrlPath = Annotated[str, Field(pattern=r"^/[!-~]*$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
MediaType = Annotated[str, Field(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$")]
MemberName = Annotated[str, Field(min_length=1, max_length=100)]
MemberPath = Annotated[str, Field(pattern=r"^(\.|[^.]+(\.[^.]+)*)$", max_length=200)]
Algorithm = Literal["ES256", "PS256", "RS256", "EdDSA"]
Form = Literal["detached", "compact", "flattened"]


class Part(BaseModel):
    """A mapping of the profile."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


def steps(path: str) -> tuple[str, ...]:
    """The names of a member path, from the outside in."""
    return () if path == _WHOLE else tuple(path.split("."))


class Paths(Part):
    """Below the base URL; ``callback`` below our public URL, with ``{participant}`` for the participant's name.

    A status by GET has the id in its path: ``{transaction_id}`` in ``status``, and ``{submission_id}`` in
    ``status_by_submission`` where the SMP can be asked so.
    """

    authenticate: UrlPath
    assets: UrlPath
    units: UrlPath
    status: UrlPath
    status_by_submission: UrlPath | None = None
    callback: UrlPath

    @field_validator("callback")
    @classmethod
    def _names_participant(cls, value: str) -> str:
        if value.count("{participant}") != 1:
            raise ValueError("the callback path must hold {participant} once")
        return value

    def submission(self, kind: Kind) -> str:
        """Where a submission of this kind is sent."""
        return self.assets if kind == ASSETS else self.units

    def callback_of(self, participant: str) -> str:
        """Where this participant's callbacks arrive."""
        return self.callback.replace("{participant}", participant)

    def status_of(self, *, transaction_id: str | None, submission_id: str | None) -> str | None:
        """Where a status by GET is asked for by one of the ids, percent-encoded; None where it cannot be."""
        if transaction_id is not None:
            return self.status.replace("{transaction_id}", _segment(transaction_id))
        if submission_id is not None and self.status_by_submission is not None:
            return self.status_by_submission.replace("{submission_id}", _segment(submission_id))
        return None


def _segment(text: str) -> str:
    """One segment of a path (RFC 3986 section 3.3); dots alone would lead elsewhere."""
    return text.replace(".", "%2E") if set(text) == {"."} else quote(text, safe="")


class Methods(Part):
    """HTTP methods; a GET has no body and signs the empty one."""

    authenticate: Literal["POST"]
    assets: Literal["POST", "PUT"]
    units: Literal["POST", "PUT"]
    status: Literal["POST", "GET"]

    def submission(self, kind: Kind) -> str:
        """How a submission of this kind is sent."""
        return self.assets if kind == ASSETS else self.units


class Headers(Part):
    """Names of HTTP headers; without a ``message_id`` none is sent, without a scheme the token stands alone."""

    authorization: HeaderName
    authorization_scheme: HeaderName | None
    message_id: HeaderName | None
    signature: HeaderName

    def token(self, token: str) -> str:
        """The value of the authorization header."""
        return token if self.authorization_scheme is None else f"{self.authorization_scheme} {token}"


class MediaTypes(Part):
    """What bodies are said to be: ``plain`` those that are not signed, ``signed`` those that are, in their form."""

    plain: MediaType
    signed: MediaType


class Signature(Part):
    """How bodies are signed, and what is accepted as signed.

    ``detached``: the signature stands in the header beside the body. ``compact`` and ``flattened``: it encloses the
    body; what has no body is signed in the header all the same. ``responses``: whether answers are signed too, or
    authentic because the TLS peer's certificate was checked.
    """

    form: Form
    responses: Literal["tls", "signed"]
    algorithms: tuple[Algorithm, ...] = Field(min_length=1)
    typ_request: str
    typ_callback: str
    typ_response: str

    def content_bytes(self, wire_bytes: int) -> int:
        """How many bytes may be signed, so that what travels has at most ``wire_bytes``; base64url adds a third."""
        return wire_bytes if self.form == "detached" else max(wire_bytes - _ENCLOSING, 0) * 3 // 4


class LoginMembers(Part):
    """Members of the login."""

    username: MemberName
    password: MemberName


class SubmissionMembers(Part):
    """Members around what is submitted."""

    message_id: MemberName
    action: MemberName
    assets: MemberName
    unit: MemberName


class StatusMembers(Part):
    """Members of the status call's body."""

    transaction_id: MemberName
    submission_id: MemberName


class ResultMembers(Part):
    """Members of what comes back: immediate returns, status answers and callbacks.

    ``declined`` is where the answer to a declined submission lists its errors: the SMP may wrap the list or send it
    bare.
    """

    message_id: MemberName
    message_type: MemberName
    issued_at: MemberName
    participant: MemberName
    transaction_id: MemberName
    submission_id: MemberName
    status: MemberName
    notification: MemberName
    results: MemberPath
    errors: MemberPath
    declined: MemberPath


class CreatedMembers(Part):
    """Members of one entry of the results."""

    ref: MemberName
    smp_id: MemberName


class ErrorMembers(Part):
    """Members of one entry of the errors; ``first_row`` is the number of the first row, 0 or 1."""

    row: MemberName
    ref: MemberName
    field: MemberName
    code: MemberName
    message: MemberName
    first_row: int = Field(default=0, ge=0, le=1)


class Members(Part):
    """JSON member names outside of assets and units."""

    login: LoginMembers
    submission: SubmissionMembers
    status: StatusMembers
    result: ResultMembers
    created: CreatedMembers
    error: ErrorMembers


class Token(Part):
    """Where the login's answer holds the token, and how long it lives: the smallest of what is said counts.

    ``expires`` leads to a number of seconds from now, to a time in seconds UTC (``epoch``) or in RFC 3339
    (``instant``); where nothing says, ``life`` is assumed. A JWT's own ``exp`` counts beside it.
    """

    path: MemberPath
    expires: MemberPath | None = None
    expires_as: Literal["seconds", "epoch", "instant"] = "seconds"
    life_us: Duration | None = Field(default=None, alias="life")

    @model_validator(mode="after")
    def _ends(self) -> Token:
        if self.expires is None and self.life_us is None:
            raise ValueError("either expires or life must say how long a token lives")
        return self


class Acknowledgement(Part):
    """What a callback is answered with when it is on disk."""

    message_id: MemberName
    word: MemberName
    accepted: str
    duplicate: str
