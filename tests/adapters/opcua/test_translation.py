"""Values and their quality, in both directions: exact, and never an exception."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from adapters.opcua.translation import (
    STATUS,
    TRANSIENT,
    Kind,
    overflowed,
    read_value,
    same,
    transient,
    value_bytes,
    write_value,
)
from gateway.core.point import PointSpec, Quality

PLAIN = PointSpec(name="soc", connection="scada")
SCALED = PointSpec(name="soc", connection="scada", scale=Decimal("0.1"), minimum=Decimal(0), maximum=Decimal(100))
CODES = ua.StatusCodes


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (Kind.BOOLEAN, True, True),
        (Kind.SBYTE, -128, Decimal(-128)),
        (Kind.UINT64, 2**64 - 1, Decimal(2**64 - 1)),
        (Kind.FLOAT, struct.unpack("f", struct.pack("f", 0.1))[0], Decimal("0.1")),
        (Kind.DOUBLE, 0.1, Decimal("0.1")),
        (Kind.DOUBLE, 1e22, Decimal(10**22)),
        (Kind.STRING, "HAMS 1 ", "HAMS 1"),
        (Kind.STRING, "Südwest", "Südwest"),
    ],
)
def test_a_good_value_is_exact(kind: Kind, raw: object, value: object) -> None:
    """A float is the shortest decimal that means the same float; padding is no text."""
    reading = read_value(PLAIN, raw, kind, 0, 5)
    assert (reading.value, reading.quality, reading.at) == (value, Quality.GOOD, 5)


@pytest.mark.parametrize(
    ("status", "quality", "fault"),
    [
        (CODES.UncertainLastUsableValue, Quality.BAD, "uncertain"),
        (CODES.BadNoCommunication, Quality.NOT_AVAILABLE, "no_communication"),
        (CODES.BadWaitingForInitialData, Quality.NOT_AVAILABLE, "no_data_yet"),
        (CODES.BadNotConnected, Quality.NOT_AVAILABLE, "not_connected"),
        (CODES.BadOutOfService, Quality.NOT_AVAILABLE, "out_of_service"),
        (CODES.BadNoData, Quality.NOT_AVAILABLE, "no_data"),
        (CODES.BadDeviceFailure, Quality.BAD, "device_failure"),
        (CODES.BadSensorFailure, Quality.BAD, "sensor_failure"),
        (CODES.BadNodeIdUnknown, Quality.BAD, "node_unknown"),
        (CODES.BadNodeIdInvalid, Quality.BAD, "node_unknown"),
        (CODES.BadAttributeIdInvalid, Quality.BAD, "node_unknown"),
        (CODES.BadNotReadable, Quality.BAD, "not_readable"),
        (CODES.BadUserAccessDenied, Quality.BAD, "access_denied"),
        (CODES.BadInternalError, Quality.BAD, "bad_status"),
        (CODES.BadNoCommunication | 0x480, Quality.NOT_AVAILABLE, "no_communication"),  # with its Overflow bit
    ],
)
def test_a_value_is_as_good_as_its_status(status: int, quality: Quality, fault: str) -> None:
    """The numbers are the library's, so that a mistyped one of ours shows; the value itself is never used."""
    reading = read_value(PLAIN, 5, Kind.INT32, status, 5)
    assert (reading.value, reading.quality, reading.fault) == (None, quality, fault)


def test_every_status_of_ours_is_one_of_the_standard() -> None:
    """A code that exists nowhere would match nothing."""
    known = {code for name, code in vars(CODES).items() if name.startswith("Bad")}
    assert set(STATUS) | TRANSIENT <= known
    assert transient(CODES.BadTimeout)
    assert not transient(CODES.BadNotWritable)


def test_good_values_with_remarks_are_good() -> None:
    """GoodClamped, local override, and the Overflow bit, which is read besides."""
    for status in (CODES.GoodLocalOverride, CODES.GoodClamped, 0x480):
        assert read_value(PLAIN, 5, Kind.INT32, status, 5).quality is Quality.GOOD
    assert overflowed(0x480)
    assert not overflowed(0x080)  # without the info type these bits mean nothing
    assert not overflowed(CODES.GoodClamped)


@pytest.mark.parametrize(
    ("raw", "kind", "fault"),
    [
        (None, 0, "no_value"),
        ([1, 2], Kind.INT32, "not_scalar"),
        (b"\0", 15, "type_unsupported"),
        (5, 99, "type_unsupported"),
        ("5", Kind.INT32, "type_unsupported"),
        (float("nan"), Kind.DOUBLE, "not_finite"),
        (float("-inf"), Kind.FLOAT, "not_finite"),
        ("a\x07b", Kind.STRING, "not_text"),
    ],
)
def test_what_cannot_be_a_value_is_a_faulty_reading(raw: object, kind: int, fault: str) -> None:
    """Each with a bounded word and a sentence."""
    reading = read_value(PLAIN, raw, kind, 0, 5)
    assert (reading.value, reading.fault) == (None, fault)
    assert reading.detail


def test_scale_and_range_are_the_points() -> None:
    """Refused, never clamped."""
    assert read_value(SCALED, 505, Kind.INT16, 0, 5).value == Decimal("50.5")
    assert read_value(SCALED, 2000, Kind.INT16, 0, 5).fault == "out_of_range"
    assert read_value(SCALED, 1e300, Kind.DOUBLE, 0, 5).fault == "too_large"
    assert write_value(SCALED, Kind.INT16, Decimal("50.5")) == 505


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (Kind.UINT16, Decimal(65536), "does not fit into Uint16"),
        (Kind.UINT16, Decimal("0.5"), "not a whole number"),
        (Kind.BYTE, Decimal(-1), "does not fit into Byte"),
        (Kind.FLOAT, Decimal("1e39"), "does not fit into Float"),
        (Kind.UINT16, "2", "is not a number"),
        (Kind.STRING, Decimal(2), "is not text"),
        (Kind.BOOLEAN, Decimal(1), "is not true or false"),
    ],
)
def test_what_a_node_cannot_hold_is_refused(kind: Kind, value: Decimal | str, words: str) -> None:
    """Never rounded, never clamped."""
    with pytest.raises(ValueError, match=words):
        write_value(PLAIN, kind, value)


@given(number=st.integers(-(2**63), 2**63 - 1))
def test_integers_go_both_ways(number: int) -> None:
    """What is written is what is read."""
    raw = write_value(PLAIN, Kind.INT64, Decimal(number))
    assert read_value(PLAIN, raw, Kind.INT64, 0, 5).value == number


@given(number=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_go_both_ways(number: float) -> None:
    """The decimal that is read packs into the very same float."""
    value = read_value(PLAIN, number, Kind.FLOAT, 0, 5).value
    assert isinstance(value, Decimal)
    assert same(Kind.FLOAT, write_value(PLAIN, Kind.FLOAT, value), number)


def test_bytes_are_those_that_a_crc_covers() -> None:
    """Most significant first, whatever the wire's own order."""
    assert value_bytes(Kind.INT16, 500) == b"\x01\xf4"
    assert value_bytes(Kind.STRING, "AB") == b"AB"
    assert value_bytes(Kind.BOOLEAN, value=True) == b"\x01"
    with pytest.raises(ValueError, match="is not of built-in type"):
        value_bytes(Kind.INT16, 70000)


@given(
    raw=st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers())
    ),
    kind=st.integers(0, 31),
    status=st.integers(0, 2**32 - 1),
)
def test_whatever_a_server_sends_is_a_reading(raw: object, kind: int, status: int) -> None:
    """No combination of value, type and status raises, and none that is not Good has a value."""
    reading = read_value(SCALED, raw, kind, status, 5)
    assert reading.quality is Quality.GOOD or reading.fault
    assert status >> 30 == 0 or reading.value is None
