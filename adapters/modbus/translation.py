"""Between registers and values: pure, exact, and the same in both directions.

Rules
-----
* A number leaves here as a Decimal: an integer as it is, a float as the shortest decimal that means the same float.
* Orders are applied to numbers: ``byte_order`` within a register, ``word_order`` between them. A string knows only the
  order of its bytes.
* Encoding refuses what a register cannot hold exactly; it never rounds and never clamps.
* A scale factor is an int16 in -10..10 beside the point (SunSpec's sunssf): the raw number times that power of ten,
  before ``scale`` and ``offset``. One outside, as a device without a value has it, makes the reading BAD.
* What stands for "no value" is NOT_AVAILABLE, never a number: 0x8000 is not -32768.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cache

from adapters.modbus.addresses import Table
from adapters.modbus.config import SIZES, ModbusConnection, ModbusPoint, Order, PointType
from gateway.core.mailbox import MailboxSpec, payload_window
from gateway.core.point import Access, PointSpec, Quality, Reading, Value, fit_text, number_reading, raw_of
from gateway.ports import ConnectionConfig

_INTEGERS = {
    PointType.INT16: "h",
    PointType.UINT16: "H",
    PointType.INT32: "i",
    PointType.UINT32: "I",
    PointType.INT64: "q",
    PointType.UINT64: "Q",
}
_BCD = frozenset({PointType.BCD16, PointType.BCD32, PointType.BCD64})
_SCALE_FACTORS = range(-10, 11)  # SunSpec information model reference, sunssf
_FLOATS = {PointType.FLOAT32: "f", PointType.FLOAT64: "d"}
_EXACT = Context(prec=400)  # more digits than a float64 has
_DIGITS = {PointType.FLOAT32: range(6, 10), PointType.FLOAT64: range(15, 18)}  # enough to tell any two floats apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point as this adapter needs it: the generic spec, its place, and the orders that apply.

    ``own`` are the cells of its value within those of its reach. ``whole`` reads them where they are an integer and
    nothing else, as they mostly are.
    """

    spec: PointSpec
    place: ModbusPoint
    word_order: Order
    byte_order: Order
    own: slice
    whole: Callable[[Sequence[int]], int] | None = None

    @property
    def table(self) -> Table:
        """The table of the device that it lives in."""
        return self.place.address.table


def bind(spec: PointSpec, place: ModbusPoint, connection: ModbusConnection) -> Point:
    """Join a point with the orders of its connection, unless it has its own."""
    first = place.window.start - place.reach.start
    return Point(
        spec=spec,
        place=place,
        own=slice(first, first + place.size),
        word_order=place.word_order or connection.word_order,
        byte_order=place.byte_order or connection.byte_order,
        whole=_whole(place, place.word_order or connection.word_order, place.byte_order or connection.byte_order),
    )


def _whole(place: ModbusPoint, word_order: Order, byte_order: Order) -> Callable[[Sequence[int]], int] | None:
    if place.kind not in _INTEGERS or place.absent is not None or place.scale_factor is not None:
        return None
    return _integer(place.kind, place.size, word_order == "big", byte_order == "big")


@cache
def _integer(kind: PointType, size: int, in_order: bool, high_first: bool) -> Callable[[Sequence[int]], int]:  # noqa: FBT001 - a key
    """Read an integer from its registers, as :func:`_bytes` and :func:`_raw` would."""
    lay = struct.Struct(f"{'>' if high_first else '<'}{size}H").pack
    read = struct.Struct(f">{_INTEGERS[kind]}").unpack
    if in_order:
        return lambda own: int(read(lay(*own))[0])
    return lambda own: int(read(lay(*own[::-1]))[0])


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


def divide(
    points: Iterable[Point], mailboxes: Mapping[str, MailboxSpec], connection: ModbusConnection
) -> tuple[dict[str, list[Point]], dict[int, list[Point]]]:
    """Part the points into those of each mailbox's payload, and all others by their period in µs.

    The connection's own period is there in any case, for its mailboxes. Points that are only written are in neither.
    """
    payloads: dict[str, list[Point]] = {name: [] for name in mailboxes}
    classes: dict[int, list[Point]] = {connection.poll: []}
    for point in points:
        if point.spec.access is Access.WRITE:
            continue
        home = home_of(point, mailboxes)
        if home is not None:
            payloads[home].append(point)
        else:
            classes.setdefault(point.place.poll or connection.poll, []).append(point)
    return payloads, classes


def home_of(point: Point, mailboxes: Mapping[str, MailboxSpec]) -> str | None:
    """The mailbox in whose payload registers a point lies."""
    for name, box in mailboxes.items():
        if point.table is Table.HOLDING and point.place.address.register in payload_window(box, box.capacity):
            return name
    return None


def cut(cells: Sequence[int], window: range, point: Point) -> Sequence[int]:
    """The cells of a point's reach out of those of ``window``."""
    first = point.place.reach.start - window.start
    return cells[first : first + len(point.place.reach)]


def raw_bytes(point: Point, cells: Sequence[int]) -> bytes:
    """A point's value in bytes, as the CRC of a mailbox of points counts it: most significant first, a text as it is.

    ``cells`` are those of its reach.
    """
    own = cells[point.own]
    if point.place.kind is PointType.BOOL:
        return bytes([_read_bit(point, own[0])])
    data = _bytes(point, own)
    return data.split(b"\0", 1)[0].rstrip(b" ") if point.place.kind is PointType.STRING else data


def read_point(point: Point, cells: Sequence[int], at: int) -> Reading:
    """Read a point from exactly the cells of its ``reach``; whatever is wrong with them is a reading without value."""
    own = cells[point.own]
    if point.whole is not None:
        return number_reading(point.spec, Decimal(point.whole(own)), at)
    if point.place.kind is PointType.BOOL:
        return Reading(point=point.spec.name, value=_read_bit(point, own[0]), at=at)
    data = _bytes(point, own)
    if point.place.kind is PointType.STRING:
        return _read_text(point, data, at)
    return _read_number(point, cells, data, at)


def _read_number(point: Point, cells: Sequence[int], data: bytes, at: int) -> Reading:
    place = point.place
    if place.absent is not None and _is_absent(place, data):
        return _not_available(point, at)
    raw = _raw(place.kind, data)
    if raw is None:
        return faulty(point, "not_bcd", f"{data.hex()} has digits that are not decimal", at)
    if place.scale_factor is not None:
        factor = read_scale_factor(point, cells[place.scale_factor.register - place.reach.start])
        if factor is None:
            return faulty(point, "scale_factor", f"{place.scale_factor} holds no scale factor in -10..10", at)
        raw = _shifted(raw, factor)
    return number_reading(point.spec, raw, at)


def read_scale_factor(point: Point, register: int) -> int | None:
    """The power of ten in a scale-factor register, or None when it is none."""
    data = struct.pack(f"{_endian(point)}H", register)
    (factor,) = struct.unpack(">h", data)
    return factor if factor in _SCALE_FACTORS else None


def _shifted(raw: Decimal, factor: int) -> Decimal:
    """Raw times a power of ten, exact however long, and without an exponent of its own."""
    if not raw.is_finite() or factor < 0:
        return raw.scaleb(factor, _EXACT) if raw.is_finite() else raw
    return _EXACT.multiply(raw, Decimal(10) ** factor)


def _read_bit(point: Point, cell: int) -> bool:
    bit = point.place.bit
    if bit is None:
        return cell != 0
    (register,) = struct.unpack(">H", struct.pack(f"{_endian(point)}H", cell))
    return bool(register >> bit & 1)


def _raw(kind: PointType, data: bytes) -> Decimal | None:
    """The number in the registers; None for binary-coded digits beyond 9."""
    if kind in _INTEGERS:
        (number,) = struct.unpack(f">{_INTEGERS[kind]}", data)
        return Decimal(number)
    if kind in _BCD:
        return Decimal(data.hex()) if data.hex().isdecimal() else None
    return _float_decimal(kind, data)


def _is_absent(place: ModbusPoint, data: bytes) -> bool:
    """Whether the registers say "no value"; for floats every NaN does, as IEEE 754 has many."""
    if place.not_available == "sunspec" and place.kind in _FLOATS:
        (number,) = struct.unpack(f">{_FLOATS[place.kind]}", data)
        return math.isnan(number)
    return int.from_bytes(data, "big") == place.absent


def _not_available(point: Point, at: int) -> Reading:
    return Reading(
        point=point.spec.name,
        value=None,
        quality=Quality.NOT_AVAILABLE,
        at=at,
        fault="not_available",
        detail=f"the device has no value at {point.place.address}",
    )


def too_short(point: Point, length: int, at: int) -> Reading:
    """The reading of a point that lies beyond the LENGTH of a request's payload."""
    return faulty(
        point, "payload_too_short", f"the payload of {length} registers ends before {point.place.address}", at
    )


def faulty(point: Point, fault: str, detail: str, at: int) -> Reading:
    """A reading that has no value; ``fault`` is a bounded word."""
    return Reading(point=point.spec.name, value=None, quality=Quality.BAD, at=at, fault=fault, detail=detail)


def write_point(point: Point, value: Value, factor: int = 0) -> list[int]:
    """Lay an engineering value into the registers, or the bit, of a point; ``factor`` is its scale factor now.

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
    if not value.is_finite():
        raise ValueError(f"{value} is not a number")
    try:
        raw = raw_of(point.spec, value)
    except ArithmeticError as error:
        raise ValueError(f"{value} is too large") from error
    reading = number_reading(point.spec, raw, 0)
    if reading.quality is not Quality.GOOD:
        raise ValueError(reading.detail)
    data = _write_number(kind, _shifted(raw, -factor), value)
    if point.place.absent is not None and _is_absent(point.place, data):
        raise ValueError(f"{value} would be {data.hex()} in the registers, which means that there is no value")
    return _registers(point, data)


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
    if kind in _BCD:
        return _write_bcd(kind, int(raw), value)
    try:
        return struct.pack(f">{_INTEGERS[kind]}", int(raw))
    except struct.error as error:
        raise ValueError(f"{value} would be {int(raw)} in the register, which does not fit into {kind}") from error


def _write_bcd(kind: PointType, raw: int, value: Decimal) -> bytes:
    digits = 4 * SIZES[kind]
    if not 0 <= raw < 10**digits:
        raise ValueError(f"{value} would be {raw} in the register, which does not fit into {kind}: {digits} digits")
    return bytes.fromhex(f"{raw:0{digits}}")


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
