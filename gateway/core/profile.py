"""The wire profile: every name, path, limit, word and switch of the SMP's API, as data.

When NGESO's own API document arrives, another YAML file replaces ``smp-v1.yaml`` and no code changes. What a profile
may ask for but this program does not do yet is refused here by name. Durations are text with a unit in the file
(``10s``, ``5min``, ``24h``) and integers of µs, or seconds where the name says so, in the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gateway.core.further_kind import FurtherKind, KindName
from gateway.core.message import ASSETS, UNIT, Kind
from gateway.core.wire_names import (
    Acknowledgement,
    Algorithm,
    Duration,
    Form,
    Headers,
    MediaTypes,
    MemberName,
    Members,
    Methods,
    Part,
    Paths,
    Signature,
    StatusCode,
    Token,
)

__all__ = ["Algorithm", "FieldSpec", "FieldType", "Form", "Profile", "Shape"]


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


class FieldSpec(Part):
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

    @cached_property
    def word(self) -> str:
        """The type as a plain text: looked up for every member of every row, where an enum's own hash would count."""
        return str(self.type)

    @cached_property
    def wire_members(self) -> tuple[tuple[str, str, FieldSpec], ...]:
        """Our name, the SMP's and the member, of each member of a group."""
        return _wire_members(self.members)

    @cached_property
    def range(self) -> tuple[Decimal | None, Decimal | None]:
        """The lowest and the highest number; a magnitude is not negative unless a minimum says otherwise."""
        low = 0 if self.type is FieldType.MAGNITUDE and self.minimum is None else self.minimum
        return (
            None if low is None else Decimal(str(low)),
            None if self.maximum is None else Decimal(str(self.maximum)),
        )


class Shape(Part):
    """What one asset or one unit looks like; the order of ``members`` is the order on the wire.

    ``ref`` is the member that names it. Of each group in ``require_any`` (dotted names) one must be there.
    """

    action: str
    ref: str
    require_any: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] = ()
    members: dict[str, FieldSpec]

    @cached_property
    def wire_members(self) -> tuple[tuple[str, str, FieldSpec], ...]:
        """Our name, the SMP's and the member, of each member."""
        return _wire_members(self.members)

    @cached_property
    def required_ways(self) -> tuple[tuple[tuple[str, ...], ...], ...]:
        """``require_any`` with each path as its names."""
        return tuple(tuple(tuple(path.split(".")) for path in paths) for paths in self.require_any)

    @model_validator(mode="after")
    def _has_ref(self) -> Shape:
        if self.ref not in self.members:
            raise ValueError(f"ref: {self.ref!r} is not one of the members")
        return self


class Limits(Part):
    """Sizes in bytes per direction, counts, and the longest transaction id in characters.

    ``assets_per_message`` is ours, and protects memory: what is more than ``assets_per_submission`` becomes several.
    """

    request_bytes: int = Field(gt=0)
    response_bytes: int = Field(gt=0)
    callback_bytes: int = Field(gt=0)
    assets_per_submission: int = Field(gt=0)
    assets_per_message: int = Field(default=10_000, gt=0)
    units_per_submission: Literal[1]
    aligned_assets_per_unit: int = Field(gt=0)
    transaction_id_length: int = Field(gt=0, le=1000)


class StatusWords(Part):
    """Which words of a status mean what; any other means: keep polling."""

    pending: tuple[str, ...]
    success: tuple[str, ...] = Field(min_length=1)
    failed: tuple[str, ...] = Field(min_length=1)


class SubmissionAnswers(Part):
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


class LoginAnswers(Part):
    """What an HTTP status means as an answer to a login; any other means: try again later."""

    token: tuple[int, ...]
    held: tuple[int, ...]


class StatusAnswers(Part):
    """What an HTTP status means as an answer to a status call; any other means: poll again."""

    found: tuple[int, ...]
    unknown: tuple[int, ...]
    login: tuple[int, ...]


class Answers(Part):
    """domain.md section 3, "What an answer means"."""

    submission: SubmissionAnswers
    login: LoginAnswers
    status: StatusAnswers


class Deduplicates(Part):
    """For which kinds the SMP answers a repeated submission id with the first answer and no second effect."""

    assets: bool
    units: bool


class Capabilities(Part):
    """The ways out of doubt that the SMP offers."""

    echo_submission: bool
    status_by_submission: bool
    deduplicates: Deduplicates

    def deduplicates_kind(self, kind: Kind) -> bool:
        """Whether sending the same submission id of this kind again cannot make a second effect."""
        return self.deduplicates.assets if kind == ASSETS else self.deduplicates.units


class Timings(Part):
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


class Profile(Part):
    """A whole wire profile, valid by construction."""

    profile: str
    description: str = ""
    paths: Paths
    methods: Methods
    headers: Headers
    media_types: MediaTypes
    signature: Signature
    members: Members
    token: Token
    acknowledgement: Acknowledgement
    enums: dict[str, tuple[str, ...]]
    asset: Shape
    unit: Shape
    result_types: tuple[str, ...] = Field(min_length=1)
    status_words: StatusWords
    answers: Answers
    limits: Limits
    timings: Timings
    capabilities: Capabilities
    kinds: dict[KindName, FurtherKind] = Field(default_factory=dict)
    atomic_batches: bool
    merges: tuple[Kind, ...] = ()  # kinds of which several messages may share a submission
    pipeline: Literal["after_submit", "after_verdict"]
    gsp_mismatch: Literal["warning", "error"]
    # what an error's code, the SMP's or ours, is in a plant's register; several may share a number
    error_numbers: dict[str, Annotated[int, Field(ge=1, lt=0xFFFF)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _status_can_be_asked(self) -> Profile:
        """A GET names what it asks for in its path, a POST in its body."""
        paths, by_submission = self.paths, self.capabilities.status_by_submission
        if self.methods.status == "GET":
            wanted = {"{transaction_id}": paths.status}
            if by_submission:
                wanted["{submission_id}"] = paths.status_by_submission or ""
            for place, path in wanted.items():
                if path.count(place) != 1 or path.count("{") != 1:
                    raise ValueError(f"status by GET: a path must hold {place} once, and {path!r} does not")
        elif "{" in paths.status:
            raise ValueError(f"status by POST: the path {paths.status!r} cannot hold a place for an id")
        if paths.status_by_submission is not None and not (by_submission and self.methods.status == "GET"):
            raise ValueError("paths.status_by_submission is for a status by GET that can ask by submission")
        return self

    @model_validator(mode="after")
    def _enums_exist(self) -> Profile:
        for shape in (self.asset, self.unit):
            for path, field in _fields(shape.members):
                if field.type in {FieldType.WORD, FieldType.WORDS} and field.words not in self.enums:
                    raise ValueError(f"{path}: {field.words!r} is not one of the enums")
        return self

    def request_content_bytes(self, kind: Kind) -> int:
        """How many bytes a submission of this kind may have before it is signed."""
        further = self.kinds.get(kind)
        own = None if further is None else further.request_bytes
        limit = self.limits.request_bytes
        return self.signature.content_bytes(limit if own is None else min(own, limit))

    def answers_with_verdict(self, kind: Kind, status: int) -> bool:
        """Whether an answer of this status to a submission of this kind is the verdict itself."""
        further = self.kinds.get(kind)
        return further is not None and further.verdict == "answer" and status in further.verdict_statuses

    @model_validator(mode="after")
    def _kinds_are_further(self) -> Profile:
        if known := {ASSETS, UNIT} & self.kinds.keys():
            raise ValueError(f"kinds: {', '.join(sorted(known))} is described by its own members")
        for name, kind in self.kinds.items():
            if not self.request_content_bytes(name):
                raise ValueError(f"kinds.{name}.request_bytes: {kind.request_bytes} leaves no room beside a signature")
        return self

    def action(self, kind: Kind) -> str:
        """The word for what is to be done."""
        further = self.kinds.get(kind)
        return self.shape(kind).action if further is None else further.action

    def endpoint(self, kind: Kind) -> tuple[str, str]:
        """The method and path of a submission of this kind."""
        further = self.kinds.get(kind)
        if further is not None:
            return further.method, further.path
        return self.methods.submission(kind), self.paths.submission(kind)

    def deduplicates(self, kind: Kind) -> bool:
        """Whether sending the same submission id of this kind again cannot make a second effect."""
        further = self.kinds.get(kind)
        return self.capabilities.deduplicates_kind(kind) if further is None else further.deduplicated

    def shape(self, kind: Kind) -> Shape:
        """What one row of this kind looks like."""
        return self.asset if kind == ASSETS else self.unit


def _wire_members(members: Mapping[str, FieldSpec]) -> tuple[tuple[str, str, FieldSpec], ...]:
    return tuple((name, spec.name or name, spec) for name, spec in members.items())


def _fields(members: Mapping[str, FieldSpec], prefix: str = "") -> list[tuple[str, FieldSpec]]:
    found: list[tuple[str, FieldSpec]] = []
    for name, field in members.items():
        found.append((prefix + name, field))
        found.extend(_fields(field.members, f"{prefix}{name}."))
    return found
