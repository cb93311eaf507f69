"""The shape of sites/*.yaml, member by member.

An adapter's own members are not here: the generic ones of a connection or point are taken out, the rest goes to the
adapter's models (settings/site.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from gateway.core import safety, units
from gateway.core.mailbox import DETAIL_MAX, PAYLOAD_MAX
from gateway.core.message import ASSETS, UNIT, Kind
from gateway.core.transaction import State
from gateway.settings import quantities
from gateway.settings.part import Part
from gateway.settings.quantities import (
    Bits,
    Duration,
    Extent,
    Line,
    Name,
    Number,
    PointName,
    Rate,
    Scalar,
    Text,
    Words,
    shown,
)
from gateway.settings.when import ANY_FAILURE, OTHER, When


class Connection(Part):
    """What every connection has, whatever its protocol."""

    protocol: Text


class Condition(Part):
    """A point that must show something."""

    point: PointName
    value: Scalar = Field(default=True, alias="is", description="true, false, a number or a text; true without it")

    def resolved(self) -> safety.Condition:
        """The same for the rest of the gateway."""
        return safety.Condition(point=self.point, value=self.value)


class Heartbeat(Part):
    """Signs of life, both ways."""

    read: PointName | None = Field(default=None, description="The site's program changes it; else nothing is written")
    within: Duration | None = Field(default=None, description="How long `read` may stand still")
    write: PointName | None = Field(default=None, description="We count it up every second")

    @model_validator(mode="after")
    def _read_within(self) -> Self:
        if (self.read is None) != (self.within is None):
            raise ValueError("read and within belong together: {read: POINT, within: 10s}")
        if self.read is None and self.write is None:
            raise ValueError("write {read: POINT, within: 10s}, {write: POINT}, or both")
        return self


class Health(Part):
    """The points in which the site finds how we are, so that its own alarms can watch us; each a number."""

    gateway: PointName | None = Field(default=None, description="1; with heartbeat it says that we run")
    smp: PointName | None = Field(default=None, description="1 while the SMP can be reached, else 0")
    held: PointName | None = Field(default=None, description="1 while the SMP takes nothing of the participant")
    clock: PointName | None = Field(
        default=None, description="Our clock and the SMP's: 1 agreed, 2 more than 30 s apart, 3 nothing is signed"
    )
    waiting: PointName | None = Field(default=None, description="How many messages of the site are not over")
    verdict: PointName | None = Field(default=None, description="The last end of a message, numbered as in a mailbox")

    def resolved(self) -> dict[str, str]:
        """The point of each word that is used."""
        return {name: point for name, point in self if point is not None}


class Point(Part):
    """What every point has, whatever its protocol."""

    unbuilt: ClassVar[Mapping[str, str]] = {
        "expr": "expr belongs to the message that needs it: {expr: 'a + b'} in the place of {point: a}",
    }
    connection: Name
    access: Literal["read", "write"] = Field(default="read", description="Writing is never implied")
    scale: Number = Field(default=Decimal(1), description="value = raw * scale + offset")
    offset: Number = Decimal(0)
    unit: Text | None = Field(default=None, description="The unit of the value, as the message needs it")
    raw_unit: Text | None = Field(default=None, description="The unit in which the site counts; becomes `unit`")
    sign: Literal["export", "import"] = Field(
        default="export", description="What the site counts as positive; with `import` the value is turned round"
    )
    bits: Bits | None = Field(default=None, description="[lowest, highest] bit that counts, 0 is the least significant")
    enum: Words | None = Field(default=None, description="What each number means: {0: stopped, 1: running}")
    range: Extent | None = Field(default=None, description="[low, high]; outside it is refused, never clamped")
    deadband: Number | None = Field(default=None, description="A change of no more than this is no change; in `unit`")
    max_age: Duration | None = Field(default=None, description="An older value refuses the message that needs it")
    step: Number | None = Field(default=None, gt=0, description="The largest change that a write may make")
    feedback: PointName | None = Field(default=None, description="The point that shows what `step` is counted from")
    rate: Rate | None = Field(default=None, description="How often it may be written, evenly, such as 6/m")
    interlock: Condition | None = Field(default=None, description="What another point must show for a write")
    description: Text | None = None

    @model_validator(mode="after")
    def _scale_is_not_zero(self) -> Self:
        if not self.scale:
            raise ValueError("scale must not be 0")
        return self

    @model_validator(mode="after")
    def _units_fit(self) -> Self:
        if self.raw_unit is not None and self.unit is None:
            raise ValueError("raw_unit needs unit: the one that it becomes")
        if self.raw_unit is not None and self.unit is not None:
            units.factor(self.raw_unit, self.unit)
        return self

    @model_validator(mode="after")
    def _words_are_no_numbers(self) -> Self:
        if (self.bits or self.enum) and self.access == "write":
            raise ValueError("bits and enum are for reading")
        if self.enum and (self.range or self.deadband is not None or self.scale != 1 or self.offset or self.raw_unit):
            raise ValueError("with enum the value is a word; leave out scale, offset, raw_unit, range and deadband")
        return self

    @property
    def line(self) -> tuple[Decimal, Decimal]:
        """Scale and offset in all: with the sign and the unit's factor."""
        factor = units.factor(self.raw_unit, self.unit) if self.raw_unit and self.unit else Decimal(1)
        factor = -factor if self.sign == "import" else factor
        return self.scale * factor, self.offset * factor

    @model_validator(mode="after")
    def _deadband_is_a_distance(self) -> Self:
        if self.deadband is not None and self.deadband < 0:
            raise ValueError("deadband is a distance, so it must not be below 0")
        return self


def _layout(value: object) -> str:
    if value != "standard":
        raise ValueError(f"layout {shown(value)} is not built yet; available: standard")
    return "standard"


class Mailbox(Part):
    """The registers in which a site raises requests and finds its results."""

    connection: Name
    layout: Annotated[str, PlainValidator(_layout), WithJsonSchema({"enum": ["standard"]})] = "standard"
    base: int = Field(ge=0, le=65535, description="Where the site's block begins")
    results: int = Field(ge=0, le=65535, description="Where the gateway's block begins")
    capacity: int = Field(default=PAYLOAD_MAX, ge=0, le=PAYLOAD_MAX, description="Payload registers the site provides")
    crc: Literal["crc32", "none"] = "crc32"
    progress: bool = Field(default=False, description="Also show 'awaiting', in place")
    restart: Literal["alarm", "expected"] = Field(default="alarm", description="Whether a restart of the PLC alarms")
    latest: bool = Field(default=False, description="Overwrite a result that the site has not consumed")
    detail: int = Field(
        default=0,
        ge=0,
        le=DETAIL_MAX,
        description="How many errors follow the text, each as row and number (the wire profile's error_numbers), and "
        "then the SMP's first id",
    )
    pages: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="The register in which the site asks for page 2, 3, ... of the errors and ids; needs detail",
    )


KINDS = (ASSETS, UNIT)  # beside those that a wire profile declares


def _kind(value: object) -> Kind:
    if value not in KINDS:
        raise ValueError(f"{shown(value)} is no kind of message{quantities.among(value, KINDS)}")
    return str(value)


class Existing(Part):
    """An aligned asset by its name: made long ago, or by whatever message."""

    existing: Line


class Named(Part):
    """An aligned asset whose name the site gives, by ``{point: NAME}`` or ``{path: JMESPATH}``."""

    name: dict[Literal["point", "path"], Text] = Field(min_length=1, max_length=1)


def _aligned(value: object) -> object:
    """One entry of ``aligned``; a mapping goes on to :class:`Existing` or :class:`Named`."""
    if isinstance(value, str) and re.fullmatch(r"[^/]+(/[^/]+)?", value):
        return value
    if isinstance(value, dict) and len(value) == 1 and "existing" in value:
        return Existing.model_validate(value)
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("name"), dict):
        return Named.model_validate(value)
    raise ValueError(
        f"{shown(value)} aligns nothing; write a message of this site, SITE/MESSAGE, {{existing: NAME}}, "
        "{name: {point: POINT}} or {name: {path: JMESPATH}}"
    )


class Message(Part):
    """One message that the site can ask for."""

    unbuilt: ClassVar[Mapping[str, str]] = {
        "dedupe": "dedupe belongs to the trigger: when: {message: CONNECTION, dedupe: {window: 10m}}",
    }
    kind: Annotated[Kind, PlainValidator(_kind), WithJsonSchema({"enum": [*KINDS]})]
    when: When
    not_after: Duration | None = Field(default=None, description="How long after its acceptance it may still be sent")
    salvage: bool = Field(default=False, description="Send the good rows again where the SMP refused all for some")
    assets: list[dict[str, object]] | None = Field(
        default=None,
        min_length=1,
        description="The wire profile's asset members; each value a constant, {point: NAME}, or {path: JMESPATH} into "
        "JSON that the site sends; with for_each: JMESPATH, an asset stands for each element of a list there, and with "
        "for_each: {array: NAME} for each element of an array, whose points it names as if they were the site's",
    )
    unit: dict[str, object] | None = Field(
        default=None, description="The wire profile's unit members; values as in assets, without for_each"
    )
    aligned: (
        list[Annotated[object, PlainValidator(_aligned), WithJsonSchema({"type": ["string", "object"]})]] | None
    ) = Field(
        default=None,
        min_length=1,
        description="Whose assets: a message of this site, SITE/MESSAGE, {existing: NAME} or {name: {point: POINT}}",
    )

    @model_validator(mode="after")
    def _what_its_kind_needs(self) -> Self:
        for member, wanted in (("assets", ASSETS), ("unit", UNIT), ("aligned", UNIT)):
            given = getattr(self, member) is not None
            if given and self.kind != wanted:
                raise ValueError(f"{member} belongs to kind: {wanted}, and this is kind: {self.kind}")
            if not given and self.kind == wanted:
                raise ValueError(f"kind: {wanted} needs {member}")
        return self


def _write_value(value: object) -> object:
    if isinstance(value, dict):
        if set(value) != {"field"}:
            raise ValueError("expected a value to write, or {field: NAME} such as {field: errors.0.message}")
        if not isinstance(value["field"], str) or not (
            _MESSAGE_FIELD.fullmatch(value["field"]) or value["field"] in CALLBACK_FIELDS
        ):
            raise ValueError(
                f"{shown(value['field'])} is no field of a message; available: state, transactionId, "
                "errors.N.row|ref|field|code|message, results.N.ref|smpId"
            )
        return value
    if value is None or isinstance(value, list):
        raise ValueError(f"expected a value to write, found {shown(value)}")
    return value


def _argument(value: object) -> object:
    """One argument of a method: a constant, or ``{field: NAME, default: VALUE}``."""
    if not isinstance(value, dict):
        return _write_value(value)
    if not {"field"} <= set(value) <= {"field", "default"} or isinstance(value.get("default"), dict | list):
        raise ValueError("expected a value to hand over, or {field: NAME}, also with default: what stands for nothing")
    if value["field"] not in CALL_FIELDS:
        try:
            _write_value({"field": value["field"]})
        except ValueError as error:
            raise ValueError(f"{error}, {', '.join(sorted(CALL_FIELDS))}") from error
    return value


def _relay_word(value: object) -> str:
    if value not in RELAY_WORDS:
        raise ValueError(f"{shown(value)} is no state of a message{quantities.among(value, RELAY_WORDS)}")
    return str(value)


_MESSAGE_FIELD = re.compile(
    r"state|transactionId|errors\.[0-9]+\.(row|ref|field|code|message)|results\.[0-9]+\.(ref|smpId)"
)
CALLBACK_FIELDS = frozenset({"raw", "messageType", "messageId", "issuedAt", "transactionId"})
# What a method may be told besides: whose result it is, and a number that is the same when it is told again.
CALL_FIELDS = frozenset({"id", "messageId", "message", "number"})
# RECEIVED is over before anything is stored, so nothing can be relayed on it.
RELAY_WORDS = (*(state.value for state in State if state is not State.RECEIVED), ANY_FAILURE, OTHER)


class Relay(Part):
    """What to write into the site's points when a message enters one of these states."""

    message: Name | None = Field(default=None, description="Only of this message; without it, of every one")
    on: list[Annotated[str, PlainValidator(_relay_word), WithJsonSchema({"enum": [*RELAY_WORDS]})]] = Field(
        min_length=1
    )
    write: dict[
        PointName,
        Annotated[
            object,
            PlainValidator(_write_value),
            WithJsonSchema({"anyOf": [{"type": kind} for kind in ("string", "number", "boolean", "object")]}),
        ],
    ] = Field(default_factory=dict)
    call: dict[
        PointName,
        list[
            Annotated[
                object,
                PlainValidator(_argument),
                WithJsonSchema({"anyOf": [{"type": kind} for kind in ("string", "number", "boolean", "object")]}),
            ]
        ],
    ] = Field(
        default_factory=dict,
        description="Points that are methods, each with its arguments in order: values, {field: NAME}, or "
        "{field: NAME, default: VALUE} for what a message may not have; called after everything is written",
    )

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if not self.write and not self.call:
            raise ValueError("write {write: {POINT: VALUE}}, {call: {METHOD: [ARGUMENTS]}}, or both")
        other = OTHER in self.on
        if other and self.call:
            raise ValueError("call tells of the states of a message; what other brings can be written only")
        if other and len(self.on) > 1:
            raise ValueError("other is a callback that is no verdict; write a relay of its own for it")
        if other and self.message is not None:
            raise ValueError("message belongs to the states of a message; other callbacks are nobody's")
        fields = [value["field"] for value in self.write.values() if isinstance(value, dict)]
        for name in fields:
            if other and name not in CALLBACK_FIELDS:
                available = ", ".join(sorted(CALLBACK_FIELDS))
                raise ValueError(f"{shown(name)} is no field of such a callback; available: {available}")
            if not other and not _MESSAGE_FIELD.fullmatch(name):
                raise ValueError(
                    f"{shown(name)} is a field of other callbacks only, which are relayed with on: [other]"
                )
        return self


class SiteFile(Part):
    """sites/NAME.yaml: one participant's plant. Each part has its own model, so that one fault hides no other."""

    site: Name
    participant: Name
    description: Text = ""
    dry_run: bool = Field(default=False, description="Tell of every write, and make none")
    kill_switch: bool | Condition = Field(default=False, description="Write nothing: now, or while a point says so")
    heartbeat: Heartbeat | None = None
    health: Health | None = None
    connections: dict[Name, dict[str, object]] = Field(min_length=1)
    points: dict[PointName, dict[str, object]] = Field(default_factory=dict)
    arrays: dict[Name, dict[str, object]] = Field(
        default_factory=dict, description="Blocks of registers that the plant has several times, one per machine"
    )
    mailboxes: dict[Name, dict[str, object]] = Field(default_factory=dict)
    messages: dict[Name, dict[str, object]] = Field(default_factory=dict)
    relay: list[dict[str, object]] = Field(default_factory=list)
