"""The wire profile: every name, path, limit, word and switch of the SMP's API, as data.

When NGESO's own API document arrives, another YAML file replaces ``smp-v1.yaml`` and no code changes. What a profile
may ask for but this program does not do yet is refused here by name. Durations are text with a unit in the file
(``10s``, ``5min``, ``24h``) and integers of µs, or seconds where the name says so, in the program.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from gateway.core.message import ASSETS, Kind

_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|min|h|d)")
_STATUS_CODE = re.compile(r"[1-5](?:xx|[0-9]{2})")


def _microseconds(value: object) -> int:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration: write a number and a unit, such as 10s, 5min or 24h")
    return round(float(match[1]) * _UNITS_US[match[2]])


def _not_built(value: object, built: str) -> object:
    if isinstance(value, str) and value != built:
        raise ValueError(f"{value!r} is not built yet; built: {built}")
    return value


def _status_code(value: object) -> str:
    text = str(value)
    if not _STATUS_CODE.fullmatch(text):
        raise ValueError(f"{value!r} is neither an HTTP status nor a class such as 3xx")
    return text


Duration = Annotated[int, BeforeValidator(_microseconds), Field(json_schema_extra={"type": "string"})]
StatusCode = Annotated[str, BeforeValidator(_status_code)]
UrlPath = Annotated[str, Field(pattern=r"^/[!-~]*$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
MemberName = Annotated[str, Field(min_length=1, max_length=100)]
Algorithm = Literal["ES256", "PS256", "RS256", "EdDSA"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


class Paths(_Part):
    """Below the base URL; ``callback`` below our public URL, with ``{participant}`` for the participant's name."""

    authenticate: UrlPath
    assets: UrlPath
    units: UrlPath
    status: UrlPath
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


class Methods(_Part):
    """HTTP methods; only POST is built."""

    authenticate: Literal["POST"] = "POST"
    assets: Literal["POST"] = "POST"
    units: Literal["POST"] = "POST"
    status: Literal["POST"] = "POST"

    @field_validator("*", mode="before")
    @classmethod
    def _built(cls, value: object) -> object:
        return _not_built(value, "POST")


class Headers(_Part):
    """Names of HTTP headers."""

    authorization: HeaderName
    message_id: HeaderName
    signature: HeaderName


class Signature(_Part):
    """How bodies are signed, and what is accepted as signed."""

    form: Literal["detached"]
    responses: Literal["tls"]
    algorithms: tuple[Algorithm, ...] = Field(min_length=1)
    typ_request: str
    typ_callback: str
    typ_response: str

    @field_validator("form", "responses", mode="before")
    @classmethod
    def _built(cls, value: object, info: ValidationInfo) -> object:
        return _not_built(value, "detached" if info.field_name == "form" else "tls")


class LoginMembers(_Part):
    """Members of the login and its answer."""

    username: MemberName
    password: MemberName
    token: MemberName
    expires_in: MemberName


class SubmissionMembers(_Part):
    """Members around what is submitted."""

    message_id: MemberName
    action: MemberName
    assets: MemberName
    unit: MemberName


class StatusMembers(_Part):
    """Members of the status call's body."""

    transaction_id: MemberName
    submission_id: MemberName


class ResultMembers(_Part):
    """Members of what comes back: immediate returns, status answers and callbacks."""

    message_id: MemberName
    message_type: MemberName
    issued_at: MemberName
    participant: MemberName
    transaction_id: MemberName
    submission_id: MemberName
    status: MemberName
    notification: MemberName
    results: MemberName
    errors: MemberName


class CreatedMembers(_Part):
    """Members of one entry of the results."""

    ref: MemberName
    smp_id: MemberName


class ErrorMembers(_Part):
    """Members of one entry of the errors."""

    row: MemberName
    ref: MemberName
    field: MemberName
    code: MemberName
    message: MemberName


class Members(_Part):
    """JSON member names outside of assets and units."""

    login: LoginMembers
    submission: SubmissionMembers
    status: StatusMembers
    result: ResultMembers
    created: CreatedMembers
    error: ErrorMembers


class FieldType(StrEnum):
    """What a member of an asset or unit holds."""

    TEXT = "text"
    NUMBER = "number"
    MAGNITUDE = "magnitude"  # a number that is not negative
    WORD = "word"  # one of an enum
    WORDS = "words"  # several different ones of an enum
    NAMES = "names"  # several different texts
    DATE = "date"
    GSP_GROUP = "gsp_group"
    METER_POINTS = "meter_points"  # a list of groups, whose MPANs are checked
    BM_UNIT = "bm_unit"
    GROUP = "group"


class FieldSpec(_Part):
    """One member: our name is its key in the profile, ``name`` the SMP's (ours where it is left out)."""

    name: MemberName | None = None
    type: FieldType
    required: bool = False
    nullable: bool = False
    length: int | None = Field(default=None, ge=1)  # of a text, or of each of several names, in characters
    at_least: int = Field(default=0, ge=0)  # entries
    at_most: int | None = Field(default=None, ge=1)
    words: str | None = None  # the name of an enum
    minimum: float | None = None
    maximum: float | None = None
    members: dict[str, FieldSpec] = Field(default_factory=dict)


class Shape(_Part):
    """What one asset or one unit looks like; the order of ``members`` is the order on the wire.

    ``ref`` is the member that names it. Of each group in ``require_any`` (dotted names) one must be there.
    """

    action: str
    ref: str
    require_any: tuple[tuple[str, ...], ...] = ()
    members: dict[str, FieldSpec]

    @model_validator(mode="after")
    def _has_ref(self) -> Shape:
        if self.ref not in self.members:
            raise ValueError(f"ref: {self.ref!r} is not one of the members")
        return self


class Limits(_Part):
    """Sizes in bytes per direction, counts, and the longest transaction id in characters."""

    request_bytes: int = Field(gt=0)
    response_bytes: int = Field(gt=0)
    callback_bytes: int = Field(gt=0)
    assets_per_submission: int = Field(gt=0)
    units_per_submission: Literal[1]
    aligned_assets_per_unit: int = Field(gt=0)
    transaction_id_length: int = Field(gt=0, le=1000)


class StatusWords(_Part):
    """Which words of a status mean what; any other means: keep polling."""

    pending: tuple[str, ...]
    success: tuple[str, ...] = Field(min_length=1)
    failed: tuple[str, ...] = Field(min_length=1)


class SubmissionAnswers(_Part):
    """What an HTTP status means as an answer to a submission; any other is unclear."""

    transaction: tuple[StatusCode, ...]
    declined: tuple[StatusCode, ...]
    login: tuple[StatusCode, ...]
    hold_participant: tuple[StatusCode, ...]
    not_processed: tuple[StatusCode, ...]
    hold_endpoint: tuple[StatusCode, ...]

    @model_validator(mode="after")
    def _disjoint(self) -> SubmissionAnswers:
        seen: dict[str, str] = {}
        for meaning, codes in self:
            for code in codes:
                if code in seen:
                    raise ValueError(f"{code} stands under both {seen[code]} and {meaning}")
                seen[code] = meaning
        return self

    def meaning(self, status: int) -> str | None:
        """The name of the row for this status, or None; an exact status goes before its class."""
        for wanted in (str(status), f"{status // 100}xx"):
            for meaning, codes in self:
                if wanted in codes:
                    return str(meaning)
        return None


class LoginAnswers(_Part):
    """What an HTTP status means as an answer to a login; any other means: try again later."""

    token: tuple[int, ...]
    held: tuple[int, ...]


class StatusAnswers(_Part):
    """What an HTTP status means as an answer to a status call; any other means: poll again."""

    found: tuple[int, ...]
    unknown: tuple[int, ...]
    login: tuple[int, ...]


class Answers(_Part):
    """domain.md section 3, "What an answer means"."""

    submission: SubmissionAnswers
    login: LoginAnswers
    status: StatusAnswers


class Deduplicates(_Part):
    """For which kinds the SMP answers a repeated submission id with the first answer and no second effect."""

    assets: bool
    units: bool


class Capabilities(_Part):
    """The ways out of doubt that the SMP offers."""

    echo_submission: bool
    status_by_submission: bool
    deduplicates: Deduplicates

    def deduplicates_kind(self, kind: Kind) -> bool:
        """Whether sending the same submission id of this kind again cannot make a second effect."""
        return self.deduplicates.assets if kind == ASSETS else self.deduplicates.units


class Timings(_Part):
    """How long things may take; ``token_renewal`` is the share of a token's life after which the next is fetched."""

    request_us: Duration = Field(alias="request")
    max_processing_us: Duration = Field(alias="max_processing")
    settle_us: Duration = Field(alias="settle")
    poll_first_us: Duration = Field(alias="poll_first")
    poll_longest_us: Duration = Field(alias="poll_longest")
    poll_jitter: float = Field(ge=0, lt=1)
    verdict_deadline_us: Duration = Field(alias="verdict_deadline")
    doubt_deadline_us: Duration = Field(alias="doubt_deadline")
    verdict_limit_us: Duration = Field(alias="verdict_limit")
    wait_limit_us: Duration = Field(alias="wait_limit")
    clock_tolerance_us: Duration = Field(alias="clock_tolerance")
    token_renewal: float = Field(gt=0, lt=1)

    @property
    def request_s(self) -> float:
        """The request's time-out in seconds."""
        return self.request_us / 1_000_000

    @model_validator(mode="after")
    def _settled(self) -> Timings:
        if self.settle_us < self.request_us + self.max_processing_us:
            raise ValueError("settle must not be shorter than request and max_processing together")
        return self


class Profile(_Part):
    """A whole wire profile, valid by construction."""

    profile: str
    description: str = ""
    paths: Paths
    methods: Methods = Methods()
    headers: Headers
    signature: Signature
    members: Members
    enums: dict[str, tuple[str, ...]]
    asset: Shape
    unit: Shape
    result_types: tuple[str, ...] = Field(min_length=1)
    status_words: StatusWords
    answers: Answers
    limits: Limits
    timings: Timings
    capabilities: Capabilities
    atomic_batches: bool
    pipeline: Literal["after_submit", "after_verdict"]
    gsp_mismatch: Literal["warning", "error"]

    @model_validator(mode="after")
    def _enums_exist(self) -> Profile:
        for shape in (self.asset, self.unit):
            for path, field in _fields(shape.members):
                if field.type in {FieldType.WORD, FieldType.WORDS} and field.words not in self.enums:
                    raise ValueError(f"{path}: {field.words!r} is not one of the enums")
        return self

    def shape(self, kind: Kind) -> Shape:
        """What one row of this kind looks like."""
        return self.asset if kind == ASSETS else self.unit


def _fields(members: Mapping[str, FieldSpec], prefix: str = "") -> list[tuple[str, FieldSpec]]:
    found: list[tuple[str, FieldSpec]] = []
    for name, field in members.items():
        found.append((prefix + name, field))
        found.extend(_fields(field.members, f"{prefix}{name}."))
    return found
