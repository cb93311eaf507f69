"""Registers to values and back: exact, for every type and order, and refused where it cannot be exact."""

from __future__ import annotations

import math
import struct
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapters.modbus.addresses import Table
from adapters.modbus.config import ModbusConnection, ModbusPoint, Order, PointType
from adapters.modbus.translation import Point, bind, read_point, too_short, write_point
from gateway.core.point import PointSpec, Quality, Value

ORDERS: st.SearchStrategy[Order] = st.sampled_from(["big", "little"])
INTEGERS = {
    PointType.INT16: (-(2**15), 2**15 - 1),
    PointType.UINT16: (0, 2**16 - 1),
    PointType.INT32: (-(2**31), 2**31 - 1),
    PointType.UINT32: (0, 2**32 - 1),
    PointType.INT64: (-(2**63), 2**63 - 1),
    PointType.UINT64: (0, 2**64 - 1),
    PointType.BCD16: (0, 10**4 - 1),
    PointType.BCD32: (0, 10**8 - 1),
    PointType.BCD64: (0, 10**16 - 1),
}


def point(
    kind: PointType,
    *,
    word_order: Order = "big",
    byte_order: Order = "big",
    length: int | None = None,
    table: Table = Table.HOLDING,
    scale: str = "1",
    high: str | None = None,
    **members: object,
) -> Point:
    place = ModbusPoint.model_validate(
        {"address": f"{table}:10", "type": kind.value, "length": length, "word_order": word_order, **members}
    )
    connection = ModbusConnection(host="plc.example", byte_order=byte_order)
    spec = PointSpec(name="p", connection="plc", scale=Decimal(scale), maximum=None if high is None else Decimal(high))
    return bind(spec, place, connection)


def read(where: Point, registers: list[int]) -> Value | None:
    reading = read_point(where, registers, 1)
    assert reading.quality is Quality.GOOD, reading.detail
    return reading.value


@given(data=st.data(), kind=st.sampled_from(list(INTEGERS)), words=ORDERS, bytes_=ORDERS)
def test_integers_round_trip(data: st.DataObject, kind: PointType, words: Order, bytes_: Order) -> None:
    """Every integer of every width survives in every order."""
    number = Decimal(data.draw(st.integers(*INTEGERS[kind])))
    where = point(kind, word_order=words, byte_order=bytes_)
    registers = write_point(where, number)
    assert len(registers) == where.place.size
    assert read(where, registers) == number


@given(number=st.floats(width=32, allow_nan=False, allow_infinity=False), words=ORDERS, bytes_=ORDERS)
def test_float32_round_trips(number: float, words: Order, bytes_: Order) -> None:
    """A float comes back as a decimal that packs into the very same registers, and no longer than it must be."""
    where = point(PointType.FLOAT32, word_order=words, byte_order=bytes_)
    registers = write_point(where, Decimal(repr(number)))
    value = read(where, registers)
    assert isinstance(value, Decimal)
    assert write_point(where, value) == registers or number == 0  # a Decimal keeps -0 only with its sign
    assert len(value.normalize().as_tuple().digits) <= 9


@given(number=st.floats(allow_nan=False, allow_infinity=False), words=ORDERS)
def test_float64_round_trips(number: float, words: Order) -> None:
    """As for 32 bits."""
    where = point(PointType.FLOAT64, word_order=words)
    value = read(where, write_point(where, Decimal(repr(number))))
    assert isinstance(value, Decimal)
    assert float(value) == number


@given(text=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20), bytes_=ORDERS, words=ORDERS)
def test_text_round_trips_and_knows_no_word_order(text: str, bytes_: Order, words: Order) -> None:
    """Text reads forward whatever the order of a number's words."""
    where = point(PointType.STRING, length=10, byte_order=bytes_, word_order=words)
    registers = write_point(where, text)
    assert registers == write_point(point(PointType.STRING, length=10, byte_order=bytes_), text)
    assert read(where, registers) == text


@given(kind=st.sampled_from(list(PointType)), cells=st.lists(st.integers(0, 0xFFFF), min_size=10, max_size=10))
def test_any_registers_make_a_reading(kind: PointType, cells: list[int]) -> None:
    """Hostile registers end as a value or as a fault with words, never as an exception."""
    where = point(
        kind,
        scale="0.1",
        length=10 if kind is PointType.STRING else None,
        table=Table.COIL if kind is PointType.BOOL else Table.HOLDING,
    )
    reading = read_point(where, cells[: where.place.size], 1)
    assert (reading.quality is Quality.GOOD) == (reading.fault is None)
    assert reading.fault is None or reading.detail


@pytest.mark.parametrize(
    ("kind", "words", "bytes_", "registers"),
    [
        (PointType.UINT32, "big", "big", [0x0102, 0x0304]),
        (PointType.UINT32, "little", "big", [0x0304, 0x0102]),
        (PointType.UINT32, "big", "little", [0x0201, 0x0403]),
        (PointType.UINT32, "little", "little", [0x0403, 0x0201]),
        (PointType.UINT64, "little", "big", [0x0304, 0x0102, 0, 0]),
    ],
)
def test_orders_are_the_ones_meant(kind: PointType, words: Order, bytes_: Order, registers: list[int]) -> None:
    """Big is the wire's own order; little turns words, or bytes within a word, and nothing else."""
    assert read(point(kind, word_order=words, byte_order=bytes_), registers) == Decimal(0x01020304)


def test_a_scaled_register_is_exact() -> None:
    """Raw 3 at a scale of 0.1 is 0.3, with one digit."""
    assert str(read(point(PointType.INT16, scale="0.1"), [3])) == "0.3"
    assert str(read(point(PointType.INT16, scale="0.1"), [500])) == "50.0"


def test_a_float32_means_its_shortest_decimal() -> None:
    """0.1 in a float32 register is what somebody typed as 0.1."""
    high, low = struct.unpack(">2H", struct.pack(">f", 0.1))
    assert str(read(point(PointType.FLOAT32), [high, low])) == "0.1"
    high, low = struct.unpack(">2H", struct.pack(">f", 1e10))
    assert str(read(point(PointType.FLOAT32), [high, low])) == "10000000000"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_fault(number: float) -> None:
    """NaN and infinity never reach a message."""
    reading = read_point(point(PointType.FLOAT32), list(struct.unpack(">2H", struct.pack(">f", number))), 1)
    assert (reading.quality, reading.fault) == (Quality.BAD, "not_finite")


def test_a_float_beyond_all_digits_is_a_fault() -> None:
    """1e30 at a scale of 0.1 would need more digits than are kept: too large, not an exception."""
    registers = list(struct.unpack(">2H", struct.pack(">f", 1e30)))
    reading = read_point(point(PointType.FLOAT32, scale="0.1"), registers, 1)
    assert (reading.quality, reading.fault) == (Quality.BAD, "too_large")


def test_text_that_is_none_is_a_fault() -> None:
    """Bytes outside printable ASCII are shown as hex, not guessed."""
    reading = read_point(point(PointType.STRING, length=1), [0xFF07], 1)
    assert (reading.fault, reading.detail) == ("not_text", "ff07 is not printable ASCII")


def test_too_short_names_the_place() -> None:
    """The site learns which point its LENGTH left out."""
    reading = too_short(point(PointType.INT16), 4, 1)
    assert (reading.fault, reading.detail) == (
        "payload_too_short",
        "the payload of 4 registers ends before holding:10",
    )


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        (point(PointType.INT16), Decimal(32768), "32768 would be 32768 in the register, which does not fit into int16"),
        (point(PointType.UINT16), Decimal(-1), "does not fit into uint16"),
        (point(PointType.INT16, scale="0.1"), Decimal("1.25"), "1.25 would be 12.5 in the register"),
        (point(PointType.INT16, high="60"), Decimal(61), "61 is outside None..60"),
        (point(PointType.FLOAT32), Decimal("1e39"), "does not fit into float32"),
        (point(PointType.FLOAT32), Decimal("NaN"), "NaN is not a number"),
        (point(PointType.INT16), "5", "'5' is not a number"),
        (point(PointType.INT16), True, "True is not a number"),
        (point(PointType.STRING, length=2), "abcde", "5 characters do not fit into 2 registers"),
        (point(PointType.STRING, length=2), "é", "not printable ASCII"),
        (point(PointType.STRING, length=2), Decimal(1), "is not text"),
        (point(PointType.BOOL, table=Table.COIL), Decimal(1), "is not true or false"),
        (point(PointType.BCD16), Decimal(10000), "does not fit into bcd16: 4 digits"),
        (point(PointType.BCD32), Decimal(-1), "does not fit into bcd32"),
    ],
)
def test_refused_never_clamped(where: Point, value: Value, words: str) -> None:
    """A value that registers cannot hold exactly is not written at all."""
    with pytest.raises(ValueError, match=words):
        write_point(where, value)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2))
def test_what_is_written_reads_back_as_the_same_number(value: Decimal) -> None:
    """Scale and back never drift: either refused, or the same number."""
    where = point(PointType.INT32, scale="0.01")
    try:
        registers = write_point(where, value)
    except ValueError:
        assume(abs(value) >= Decimal(2**31) / 100)
    else:
        assert read(where, registers) == value


def sunspec(kind: PointType, word_order: Order = "big", byte_order: Order = "big") -> Point:
    """A point at 10 with its scale factor at 12 or beyond, and SunSpec's own word for no value."""
    return point(kind, word_order=word_order, byte_order=byte_order, scale_factor="holding:14", not_available="sunspec")


@given(
    data=st.data(),
    kind=st.sampled_from([kind for kind in INTEGERS if kind.startswith(("int", "uint"))]),
    factor=st.integers(-10, 10),
    words=ORDERS,
    bytes_=ORDERS,
)
def test_a_scale_factor_beside_the_point_round_trips(
    data: st.DataObject, kind: PointType, factor: int, words: Order, bytes_: Order
) -> None:
    """Value = raw times ten to the factor, exact in both directions, or refused; never the word for "no value"."""
    where = sunspec(kind, words, bytes_)
    raw = data.draw(st.integers(*INTEGERS[kind]))
    value = Decimal(raw).scaleb(factor)
    if raw == (0x8000 << 16 * (where.place.size - 1)) * -1 or (kind.startswith("uint") and raw == INTEGERS[kind][1]):
        return
    try:
        registers = write_point(where, Decimal(f"{value:f}"), factor)
    except ValueError:
        assert len(value.as_tuple().digits) + max(factor, 0) > 28  # beyond the digits that our decimals keep
        return
    register = factor & 0xFFFF if bytes_ == "big" else int.from_bytes((factor & 0xFFFF).to_bytes(2, "little"), "big")
    cells = [*registers, *[0] * (4 - where.place.size), register]
    reading = read_point(where, cells, 1)
    assert reading.quality is Quality.GOOD or reading.fault == "too_large", reading.detail
    assert reading.fault == "too_large" or reading.value == value


def test_a_scale_factor_is_read_with_its_point() -> None:
    """SunSpec 701: W 1234 with W_SF -1 is 123.4; with +2 the same raw is 123400, without an exponent in its text."""
    where = point(PointType.INT16, scale_factor="holding:116")
    assert where.place.reach == range(10, 117)
    cells = [1234, *[0] * 105, 0xFFFF]
    assert str(read(where, cells)) == "123.4"
    assert str(read(where, [*cells[:-1], 2])) == "123400"
    before = point(PointType.INT32, scale_factor="holding:8")
    assert str(read(before, [0xFFFE, 0, 0, 1234])) == "12.34"


@pytest.mark.parametrize("register", [0x8000, 11, 0x7FFF])
def test_a_scale_factor_that_is_none_makes_no_number(register: int) -> None:
    """A device that has no scale factor says 0x8000: the number beside it means nothing."""
    reading = read_point(point(PointType.INT16, scale_factor="holding:11"), [5, register], 1)
    assert (reading.value, reading.fault) == (None, "scale_factor")


@pytest.mark.parametrize(
    ("kind", "registers"),
    [
        (PointType.INT16, [0x8000]),
        (PointType.UINT16, [0xFFFF]),
        (PointType.INT32, [0x8000, 0]),
        (PointType.UINT32, [0xFFFF, 0xFFFF]),
        (PointType.INT64, [0x8000, 0, 0, 0]),
        (PointType.UINT64, [0xFFFF] * 4),
        (PointType.FLOAT32, [0x7FC0, 0]),
        (PointType.FLOAT32, [0xFFC0, 1]),
        (PointType.FLOAT64, [0x7FF8, 0, 0, 0]),
    ],
)
def test_what_stands_for_no_value_is_none(kind: PointType, registers: list[int]) -> None:
    """Not -32768 and not 65535: NOT_AVAILABLE, in both word orders, and it is never written by accident."""
    where = point(kind, not_available="sunspec")
    reading = read_point(where, registers, 1)
    assert (reading.quality, reading.value, reading.fault) == (Quality.NOT_AVAILABLE, None, "not_available")
    turned = point(kind, not_available="sunspec", word_order="little")
    assert read_point(turned, registers[::-1], 1).quality is Quality.NOT_AVAILABLE
    if kind not in {PointType.FLOAT32, PointType.FLOAT64}:
        value = read(point(kind), registers)
        assert value is not None
        with pytest.raises(ValueError, match="means that there is no value"):
            write_point(where, value)


def test_a_site_may_have_its_own_word_for_no_value() -> None:
    """Not every device follows SunSpec: 0x7FFF, or 9999 in binary-coded digits."""
    assert read_point(point(PointType.INT16, not_available="0x7FFF"), [0x7FFF], 1).fault == "not_available"
    assert read_point(point(PointType.BCD16, not_available=0x9999), [0x9999], 1).fault == "not_available"


def test_digits_beyond_nine_are_no_number() -> None:
    """A register that is not binary-coded decimal says so, with its digits."""
    reading = read_point(point(PointType.BCD16), [0x12A4], 1)
    assert (reading.fault, reading.detail) == ("not_bcd", "12a4 has digits that are not decimal")
    assert read(point(PointType.BCD32, word_order="little"), [0x5678, 0x1234]) == Decimal(12345678)


@given(register=st.integers(0, 0xFFFF), bit=st.integers(0, 15), bytes_=ORDERS)
def test_a_bit_of_a_register_is_a_bool(register: int, bit: int, bytes_: Order) -> None:
    """Bit 0 is the least significant, after the bytes are in order."""
    number = register if bytes_ == "big" else int.from_bytes(register.to_bytes(2, "little"), "big")
    assert read(point(PointType.BOOL, bit=bit, byte_order=bytes_), [register]) is bool(number & 1 << bit)
