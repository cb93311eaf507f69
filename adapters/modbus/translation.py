"""Between registers and values: pure, exact, and the same in both directions.

Rules
-----
* A number leaves here as a Decimal: an integer as it is, a float as the shortest decimal that means the same float.
* Orders are applied to numbers: ``byte_order`` within a register, ``word_order`` between them. A string knows only the
  order of its bytes.
* Encoding refuses what a register cannot hold exactly; it never rounds and never clamps.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from adapters.modbus.config import ModbusConnection, ModbusPoint, Order, PointType, Table
from gateway.core.point import PointSpec, Quality, Reading, Value, fit_text, number_reading, raw_of
from gateway.ports import ConnectionConfig

_INTEGERS = {
    PointType.INT16: "h",
    PointType.UINT16: "H",
    PointType.INT32: "i",
    PointType.UINT32: "I",
    PointType.INT64: "q",
    PointType.UINT64: "Q",
}
_FLOATS = {PointType.FLOAT32: "f", PointType.FLOAT64: "d"}
_DIGITS = {PointType.FLOAT32: range(6, 10), PointType.FLOAT64: range(15, 18)}  # enough to tell any two floats apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point as this adapter needs it: the generic spec, its place, and the orders that apply."""

    spec: PointSpec
    place: ModbusPoint
    word_order: Order
    byte_order: Order

    @property
    def table(self) -> Table:
        """The table of the device that it lives in."""
        return self.place.address.table


def bind(spec: PointSpec, place: ModbusPoint, connection: ModbusConnection) -> Point:
    """Join a point with the orders of its connection, unless it has its own."""
    return Point(
        spec=spec,
        place=place,
        word_order=place.word_order or connection.word_order,
        byte_order=connection.byte_order,
    )


def bind_all(config: ConnectionConfig) -> dict[str, Point]:
    """The points of a connection by name.

    Raises:
        TypeError: the configuration is another protocol's.
    """
    if not isinstance(config.settings, ModbusConnection):
        raise TypeError(f"{config.name}: {type(config.settings).__name__} is not a Modbus connection")
    points: dict[str, Point] = {}
    for name, (spec, place) in config.points.items():
        if not isinstance(place, ModbusPoint):
            raise TypeError(f"{name}: {type(place).__name__} is not a Modbus point")
        points[name] = bind(spec, place, config.settings)
    return points


def read_point(point: Point, cells: Sequence[int], at: int) -> Reading:
    """Read a point from exactly its registers or bits; whatever is wrong with them is a reading of quality BAD."""
    kind = point.place.kind
    if kind is PointType.BOOL:
        return Reading(point=point.spec.name, value=cells[0] != 0, at=at)
    data = _bytes(point, cells)
    if kind is PointType.STRING:
        return _read_text(point, data, at)
    if kind in _INTEGERS:
        (number,) = struct.unpack(f">{_INTEGERS[kind]}", data)
        return _read_number(point, Decimal(number), at)
    return _read_number(point, _float_decimal(kind, data), at)


def too_short(point: Point, length: int, at: int) -> Reading:
    """The reading of a point that lies beyond the LENGTH of a request's payload."""
    return faulty(
        point, "payload_too_short", f"the payload of {length} registers ends before {point.place.address}", at
    )


def faulty(point: Point, fault: str, detail: str, at: int) -> Reading:
    """A reading that has no value; ``fault`` is a bounded word."""
    return Reading(point=point.spec.name, value=None, quality=Quality.BAD, at=at, fault=fault, detail=detail)


def _read_number(point: Point, raw: Decimal, at: int) -> Reading:
    try:
        return number_reading(point.spec, raw, at)
    except InvalidOperation:  # a float as large as 1e30 cannot be kept to the digits of a scale
        return faulty(point, "out_of_range", f"{raw:.6g} at a scale of {point.spec.scale} has too many digits", at)


def write_point(point: Point, value: Value) -> list[int]:
    """Lay an engineering value into the registers, or the bit, of a point.

    Raises:
        ValueError: another type, outside the point's range, or not exactly what registers of this type can hold.
    """
    kind = point.place.kind
    if kind is PointType.BOOL:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not true or false")
        return [int(value)]
    if kind is PointType.STRING:
        return _registers(point, _write_text(point, value))
    if not isinstance(value, Decimal):
        raise ValueError(f"{value!r} is not a number")  # noqa: TRY004 - refused like every other value
    raw = raw_of(point.spec, value)
    reading = _read_number(point, raw, 0)
    if reading.quality is not Quality.GOOD:
        raise ValueError(reading.detail)
    return _registers(point, _write_number(kind, raw, value))


def fitted(point: Point, value: Value) -> Value:
    """A text for people as a string point can hold it; any other value as it is."""
    if isinstance(value, str) and point.place.kind is PointType.STRING:
        return fit_text(value, 2 * point.place.size)
    return value


def _write_number(kind: PointType, raw: Decimal, value: Decimal) -> bytes:
    if kind in _FLOATS:
        try:
            return struct.pack(f">{_FLOATS[kind]}", float(raw))
        except OverflowError as error:
            raise ValueError(f"{value} does not fit into {kind}") from error
    if raw != raw.to_integral_value():
        raise ValueError(f"{value} would be {raw:f} in the register, which is not a whole number")
    try:
        return struct.pack(f">{_INTEGERS[kind]}", int(raw))
    except struct.error as error:
        raise ValueError(f"{value} would be {int(raw)} in the register, which does not fit into {kind}") from error


def _read_text(point: Point, data: bytes, at: int) -> Reading:
    """Text ends at the first NUL; trailing spaces are padding."""
    text = data.split(b"\0", 1)[0].decode("ascii", "replace").rstrip(" ")
    if not (text.isascii() and text.isprintable()):
        return faulty(point, "not_text", f"{data.hex()} is not printable ASCII", at)
    return Reading(point=point.spec.name, value=text, at=at)


def _write_text(point: Point, value: Value) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")  # noqa: TRY004 - refused like every other value
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"{value!r} is not printable ASCII")
    room = 2 * point.place.size
    if len(value) > room:
        raise ValueError(f"{len(value)} characters do not fit into {point.place.size} registers")
    return value.encode("ascii").ljust(room, b"\0")


def _float_decimal(kind: PointType, data: bytes) -> Decimal:
    """The shortest decimal that packs into the same bytes: the float32 0.1 is 0.1, not 0.100000001490116."""
    code = f">{_FLOATS[kind]}"
    (number,) = struct.unpack(code, data)
    if not math.isfinite(number):
        return Decimal(str(number))
    text = next((text for digits in _DIGITS[kind] if _packs(code, text := f"{number:.{digits}g}", data)), repr(number))
    return Decimal(format(Decimal(text), "f"))


def _packs(code: str, text: str, data: bytes) -> bool:
    try:
        return struct.pack(code, float(text)) == data
    except OverflowError:  # rounded up beyond the largest float
        return False


def _bytes(point: Point, registers: Sequence[int]) -> bytes:
    """The bytes of a value, most significant first."""
    ordered = registers if _in_order(point) else registers[::-1]
    return struct.pack(f"{_endian(point)}{len(ordered)}H", *ordered)


def _registers(point: Point, data: bytes) -> list[int]:
    registers = list(struct.unpack(f"{_endian(point)}{len(data) // 2}H", data))
    return registers if _in_order(point) else registers[::-1]


def _in_order(point: Point) -> bool:
    return point.word_order == "big" or point.place.kind is PointType.STRING


def _endian(point: Point) -> str:
    return ">" if point.byte_order == "big" else "<"
