"""Between OPC UA's values and ours: pure, exact, and the same in both directions. No library is needed for it.

Rules
-----
* A number leaves here as a Decimal: an integer as it is, a float as the shortest decimal that means the same float.
* A value is only as good as its status code (:data:`STATUS`); nothing of severity Uncertain or Bad is ever used.
* Encoding refuses what the node's type cannot hold exactly; it never rounds and never clamps.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import IntEnum
from uuid import UUID

from gateway.core.point import PointSpec, Quality, Reading, Value, number_reading, raw_of


class Kind(IntEnum):
    """The built-in types that a point may have, by their number (OPC 10000-6, 5.1.2)."""

    BOOLEAN = 1
    SBYTE = 2
    BYTE = 3
    INT16 = 4
    UINT16 = 5
    INT32 = 6
    UINT32 = 7
    INT64 = 8
    UINT64 = 9
    FLOAT = 10
    DOUBLE = 11
    STRING = 12


_INTEGERS: Mapping[Kind, str] = {
    Kind.SBYTE: "b",
    Kind.BYTE: "B",
    Kind.INT16: "h",
    Kind.UINT16: "H",
    Kind.INT32: "i",
    Kind.UINT32: "I",
    Kind.INT64: "q",
    Kind.UINT64: "Q",
}
_FLOATS: Mapping[Kind, str] = {Kind.FLOAT: "f", Kind.DOUBLE: "d"}
_DIGITS = {Kind.FLOAT: range(6, 10), Kind.DOUBLE: range(15, 18)}  # enough to tell any two floats apart

_SEVERITY_SHIFT = 30
_CODE_MASK = 0xFFFF0000
# OPC 10000-4, 7.39.1: the info type DataValue in bits 10 and 11, Overflow in bit 7.
_INFO_AND_OVERFLOW, _OVERFLOW = 0x0C80, 0x0480

# What a bad status code means to us, by its upper half: (quality, fault). Everything else that is not Good is
# `uncertain` or `bad_status` by its severity. OPC 10000-4, 7.39.2 and OPC 10000-8, 5.3.3.
STATUS: Mapping[int, tuple[Quality, str]] = {
    0x80310000: (Quality.NOT_AVAILABLE, "no_communication"),  # BadNoCommunication
    0x80320000: (Quality.NOT_AVAILABLE, "no_data_yet"),  # BadWaitingForInitialData
    0x808A0000: (Quality.NOT_AVAILABLE, "not_connected"),  # BadNotConnected
    0x808D0000: (Quality.NOT_AVAILABLE, "out_of_service"),  # BadOutOfService
    0x809B0000: (Quality.NOT_AVAILABLE, "no_data"),  # BadNoData
    0x808B0000: (Quality.BAD, "device_failure"),  # BadDeviceFailure
    0x808C0000: (Quality.BAD, "sensor_failure"),  # BadSensorFailure
    0x80330000: (Quality.BAD, "node_unknown"),  # BadNodeIdInvalid
    0x80340000: (Quality.BAD, "node_unknown"),  # BadNodeIdUnknown
    0x80350000: (Quality.BAD, "node_unknown"),  # BadAttributeIdInvalid
    0x803A0000: (Quality.BAD, "not_readable"),  # BadNotReadable
    0x801F0000: (Quality.BAD, "access_denied"),  # BadUserAccessDenied
}
# Refusals of a write or a node that may pass: they say "not now" instead of "never".
TRANSIENT = frozenset(
    {
        0x800A0000,  # BadTimeout
        0x800E0000,  # BadServerHalted
        0x80100000,  # BadTooManyOperations
        0x80310000,  # BadNoCommunication
        0x80320000,  # BadWaitingForInitialData
        0x80030000,  # BadOutOfMemory
        0x80040000,  # BadResourceUnavailable
        0x808A0000,  # BadNotConnected
        0x808B0000,  # BadDeviceFailure
    }
)


def good(status: int) -> bool:
    """Whether a status code is of severity Good."""
    return status >> _SEVERITY_SHIFT == 0


def transient(status: int) -> bool:
    """Whether a refusal may pass by itself."""
    return status & _CODE_MASK in TRANSIENT


def overflowed(status: int) -> bool:
    """Whether the server threw values of this node away before it sent this one."""
    return status & _INFO_AND_OVERFLOW == _OVERFLOW


def read_value(spec: PointSpec, value: object, kind: int, status: int, at: int) -> Reading:
    """Read a Variant's value; whatever is wrong with it is a reading without one.

    ``kind`` is the number of its built-in type, ``status`` the 32 bits of its status code.
    """
    if not good(status):
        return _refused(spec, status, at)
    if value is None:
        return faulty(spec, "no_value", "the node holds no value", at, Quality.NOT_AVAILABLE)
    if isinstance(value, list | tuple):
        return faulty(spec, "not_scalar", "the node holds an array, and a point is one value", at)
    try:
        return _read(spec, value, Kind(kind), at)
    except InvalidOperation:  # a float as large as 1e30 cannot be kept to the digits of a scale
        return faulty(spec, "out_of_range", f"{value!r:.40} at a scale of {spec.scale} has too many digits", at)
    except ValueError:
        return faulty(spec, "type_unsupported", f"a value of built-in type {kind} is no number, text or boolean", at)


def write_value(spec: PointSpec, kind: Kind, value: Value) -> bool | int | float | str:
    """Lay an engineering value into the node's type.

    Raises:
        ValueError: another type, outside the point's range, or not exactly what the type can hold.
    """
    if kind is Kind.BOOLEAN:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not true or false")
        return value
    if kind is Kind.STRING:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not text")
        return value
    if not isinstance(value, Decimal):
        raise ValueError(f"{value!r} is not a number")  # noqa: TRY004 - refused like every other value
    raw = raw_of(spec, value)
    reading = number_reading(spec, raw, 0)
    if reading.quality is not Quality.GOOD:
        raise ValueError(reading.detail)
    return _float(kind, raw) if kind in _FLOATS else _integer(kind, raw, value)


def plain(kind: int, value: object) -> object:
    """A value as a member of JSON: numbers exact, bytes in hexadecimal; None for what JSON has no value for.

    ``kind`` is the number of its built-in type, or of that of its elements.
    """
    match value:
        case list() | tuple():
            return [plain(kind, element) for element in value]
        case bool() | int() | str():
            return value
        case float():
            return _float_decimal(Kind(kind), value) if kind in _FLOATS and math.isfinite(value) else None
        case bytes() | datetime() | UUID():
            return _text_of(value)
        case _:
            return None


def _text_of(value: bytes | datetime | UUID) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, UUID):
        return str(value)
    moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def value_bytes(kind: int, value: object) -> bytes:
    """A value as the CRC of a mailbox takes it: most significant byte first, a text as UTF-8.

    Raises:
        ValueError: not a value of this type.
    """
    code = _INTEGERS.get(Kind(kind)) or _FLOATS.get(Kind(kind))
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    try:
        return struct.pack(f">{code or '?'}", value)
    except (struct.error, OverflowError, TypeError) as error:
        raise ValueError(f"{value!r:.40} is not of built-in type {kind}") from error


def same(kind: Kind, one: object, other: object) -> bool:
    """Whether two values are the same to a node of this type; 0.0 and -0.0 are."""
    if kind in _FLOATS and one == other:
        return True
    try:
        return value_bytes(kind, one) == value_bytes(kind, other)
    except ValueError:
        return False


def faulty(spec: PointSpec, fault: str, detail: str, at: int, quality: Quality = Quality.BAD) -> Reading:
    """A reading that has no value; ``fault`` is a bounded word."""
    return Reading(point=spec.name, value=None, quality=quality, at=at, fault=fault, detail=detail)


def _refused(spec: PointSpec, status: int, at: int) -> Reading:
    uncertain = status >> _SEVERITY_SHIFT == 1
    quality, fault = STATUS.get(status & _CODE_MASK, (Quality.BAD, "uncertain" if uncertain else "bad_status"))
    return faulty(
        spec, fault, f"the server's status of the value is 0x{status:08X} ({fault.replace('_', ' ')})", at, quality
    )


def _read(spec: PointSpec, value: object, kind: Kind, at: int) -> Reading:
    if kind is Kind.BOOLEAN and isinstance(value, bool):
        return Reading(point=spec.name, value=value, at=at)
    if kind is Kind.STRING and isinstance(value, str):
        return _read_text(spec, value, at)
    if kind in _INTEGERS and isinstance(value, int):
        return number_reading(spec, Decimal(value), at)
    if kind in _FLOATS and isinstance(value, int | float):
        return number_reading(spec, _float_decimal(kind, float(value)), at)
    raise ValueError(f"{value!r:.40} is not of built-in type {kind}")


def _read_text(spec: PointSpec, value: str, at: int) -> Reading:
    text = value.split("\0", 1)[0].rstrip(" ")
    if not text.isprintable():
        return faulty(spec, "not_text", f"{text!r:.40} is not printable text", at)
    return Reading(point=spec.name, value=text, at=at)


def _float(kind: Kind, raw: Decimal) -> float:
    number = float(raw)
    try:
        struct.pack(f">{_FLOATS[kind]}", number)
    except OverflowError as error:
        raise ValueError(f"{raw} does not fit into {kind.name.title()}") from error
    return number


def _integer(kind: Kind, raw: Decimal, value: Decimal) -> int:
    if raw != raw.to_integral_value():
        raise ValueError(f"{value} would be {raw:f} in the node, which is not a whole number")
    try:
        struct.pack(f">{_INTEGERS[kind]}", int(raw))
    except struct.error as error:
        raise ValueError(
            f"{value} would be {int(raw)} in the node, which does not fit into {kind.name.title()}"
        ) from error
    return int(raw)


def _float_decimal(kind: Kind, number: float) -> Decimal:
    """The shortest decimal that packs into the same bytes: the Float 0.1 is 0.1, not 0.100000001490116."""
    if not math.isfinite(number):
        return Decimal(str(number))
    data = struct.pack(f">{_FLOATS[kind]}", number)
    texts = (f"{number:.{digits}g}" for digits in _DIGITS[kind])
    text = next((text for text in texts if _packs(kind, text, data)), repr(number))
    return Decimal(format(Decimal(text), "f"))


def _packs(kind: Kind, text: str, data: bytes) -> bool:
    try:
        return struct.pack(f">{_FLOATS[kind]}", float(text)) == data
    except OverflowError:  # rounded up beyond the largest float
        return False
