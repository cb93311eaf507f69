"""Points and readings: what a site measures, as exact decimals from the register on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

Value = Decimal | str | bool

_SECOND = 1_000_000  # µs
_WHOLE = Decimal(1)


class Quality(StrEnum):
    """How far a reading can be trusted; anything but GOOD keeps a message from being made of it."""

    GOOD = "good"
    BAD = "bad"
    NOT_AVAILABLE = "not_available"


class Access(StrEnum):
    """Whether the gateway may write a point; reading is the default and writing is never implied."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSpec:
    """A point as the site's YAML declares it, without its protocol's address.

    ``value = raw * scale + offset``, in ``unit``; ``minimum`` and ``maximum`` are engineering values, inclusive.
    A change of no more than ``deadband`` is none. ``max_age`` (µs) is how old a reading may be when a message is made
    of it; a session tells such a point again, changed or not, before half of that has passed. ``bits`` are the lowest
    and the highest bit of the raw number that count, ``enum`` the words that its values mean; both are for reading.
    """

    name: str
    connection: str
    access: Access = Access.READ
    scale: Decimal = Decimal(1)
    offset: Decimal = Decimal(0)
    unit: str | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    deadband: Decimal | None = None
    max_age: int | None = None
    bits: tuple[int, int] | None = None
    enum: Mapping[Decimal, str] | None = None
    quantum: Decimal | None = field(init=False, compare=False, repr=False)  # to the digits of scale and offset

    def __post_init__(self) -> None:
        digits = min(_exponent(self.scale), _exponent(self.offset))
        object.__setattr__(self, "quantum", Decimal(1).scaleb(digits) if digits < 0 else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value of one point at one time; ``at`` is µs UTC of the frame that brought it.

    With a quality other than GOOD, ``fault`` is a bounded code (such as ``out_of_range`` or ``payload_too_short``) and
    ``detail`` a sentence for people.
    """

    point: str
    value: Value | None
    quality: Quality = Quality.GOOD
    at: int
    fault: str | None = None
    detail: str | None = None


Snapshot = Mapping[str, Reading]


def engineering(spec: PointSpec, raw: Decimal) -> Decimal:
    """Turn a raw number into the point's unit: raw 3 at scale 0.1 is exactly 0.3.

    The result keeps the digits of scale and offset, so that the same register always signs as the same text.
    """
    value = raw * spec.scale + spec.offset
    if spec.quantum is None or (not raw.same_quantum(_WHOLE) and _exponent(raw) < 0):
        return value  # a float register brings its own digits
    return value.quantize(spec.quantum)


def raw_of(spec: PointSpec, value: Decimal) -> Decimal:
    """Turn an engineering value into the raw number a device holds; the inverse of :func:`engineering`."""
    return (value - spec.offset) / spec.scale


def number_reading(spec: PointSpec, raw: Decimal, at: int) -> Reading:
    """Read a raw number as a point: scaled, and refused (never clamped) outside its range."""
    if not raw.is_finite():
        return Reading(
            point=spec.name, value=None, quality=Quality.BAD, at=at, fault="not_finite", detail=f"{raw} is not a number"
        )
    if spec.bits is not None or spec.enum is not None:
        return _coded(spec, raw, at)
    try:
        value = engineering(spec, raw)
    except ArithmeticError:  # more digits than a decimal of ours has
        return Reading(
            point=spec.name, value=None, quality=Quality.BAD, at=at, fault="too_large", detail=f"{raw} is too large"
        )
    low, high = spec.minimum, spec.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        unit = f" {spec.unit}" if spec.unit else ""
        return Reading(
            point=spec.name,
            value=value,
            quality=Quality.BAD,
            at=at,
            fault="out_of_range",
            detail=f"{value}{unit} is outside {low}..{high}{unit}",
        )
    return Reading(point=spec.name, value=value, at=at)


def _coded(spec: PointSpec, raw: Decimal, at: int) -> Reading:
    """Read a raw number whose bits, or whose values, each have a meaning of their own."""
    if raw != raw.to_integral_value() or (spec.bits is not None and not -(1 << 63) <= raw < 1 << 64):
        said = f"{raw} has no bits" if spec.bits is not None else f"{raw} is no whole number"
        return Reading(point=spec.name, value=None, quality=Quality.BAD, at=at, fault="not_whole", detail=said)
    if spec.bits is not None:
        low, high = spec.bits
        raw = Decimal(int(raw) >> low & ((1 << high - low + 1) - 1))
    if spec.enum is None:
        return number_reading(replace(spec, bits=None), raw, at)
    word = spec.enum.get(raw)
    if word is None:
        known = ", ".join(f"{number} {each}" for number, each in sorted(spec.enum.items()))
        said = f"{raw} means nothing; known are {known}"
        return Reading(point=spec.name, value=None, quality=Quality.BAD, at=at, fault="unknown_value", detail=said)
    return Reading(point=spec.name, value=word, at=at)


def is_news(spec: PointSpec, told: Reading | None, now: Reading) -> bool:
    """Whether a session should tell a reading: it differs from the one told last, or that one grows old."""
    if told is None or (told.value, told.quality, told.fault) != (now.value, now.quality, now.fault):
        return True
    return spec.max_age is not None and 2 * (now.at - told.at) >= spec.max_age


def fresh(snapshot: Snapshot, points: Mapping[str, PointSpec], at: int) -> Snapshot:
    """The readings as they may be used at ``at`` (µs UTC): one older than its point allows is BAD, and says so."""
    return {name: _aged(reading, points.get(name), at) for name, reading in snapshot.items()}


def _aged(reading: Reading, spec: PointSpec | None, at: int) -> Reading:
    if spec is None or spec.max_age is None or at - reading.at <= spec.max_age:
        return reading
    age, limit = (at - reading.at) / _SECOND, spec.max_age / _SECOND
    detail = f"the last value is {age:.1f} s old, and may be {limit:g} s old"
    return replace(reading, value=None, quality=Quality.BAD, fault="stale", detail=detail)


def fit_text(text: str, room: int) -> str:
    """Make a sentence for people fit a place for ``room`` ASCII characters: others become ``?``, the end ``...``."""
    plain = "".join(character if character.isascii() and character.isprintable() else "?" for character in text)
    return plain if len(plain) <= room else f"{plain[: max(room - 3, 0)]}..."[:room]


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0
