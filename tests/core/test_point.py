from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.point import PointSpec, Quality, Reading, Value, engineering, fresh, is_news, number_reading, raw_of


def point(scale: str = "1", offset: str = "0", low: str | None = None, high: str | None = None) -> PointSpec:
    return PointSpec(
        name="export_limit",
        connection="plc",
        scale=Decimal(scale),
        offset=Decimal(offset),
        unit="MW",
        minimum=None if low is None else Decimal(low),
        maximum=None if high is None else Decimal(high),
    )


@pytest.mark.parametrize(
    ("raw", "scale", "offset", "text"),
    [
        ("3", "0.1", "0", "0.3"),
        ("300", "0.1", "0", "30.0"),
        ("1E+2", "0.1", "0", "10.0"),
        ("-5", "0.01", "0", "-0.05"),
        ("7", "1", "0", "7"),
        ("7", "10", "0", "70"),
        ("21", "1", "-273.15", "-252.15"),
        ("12.5", "1", "0", "12.5"),
        ("65535", "0.001", "0", "65.535"),
    ],
)
def test_engineering(raw: str, scale: str, offset: str, text: str) -> None:
    """Exact decimals with the scale's digits: raw 3 at 0.1 is 0.3 and nothing near it."""
    assert str(engineering(point(scale, offset), Decimal(raw))) == text


@given(
    st.integers(-(2**31), 2**32), st.sampled_from(["1", "0.1", "0.01", "0.001", "10"]), st.sampled_from(["0", "-40"])
)
def test_raw_of_inverts(raw: int, scale: str, offset: str) -> None:
    """What is read can be written back as the same register."""
    spec = point(scale, offset)
    assert raw_of(spec, engineering(spec, Decimal(raw))) == raw


@pytest.mark.parametrize(
    ("raw", "fault"),
    [("0", None), ("600", None), ("601", "out_of_range"), ("-1", "out_of_range"), ("NaN", "not_finite")],
)
def test_range_refuses_and_never_clamps(raw: str, fault: str | None) -> None:
    """The range is inclusive in engineering units; beyond it the reading is bad and keeps its value."""
    reading = number_reading(point("0.1", low="0", high="60"), Decimal(raw), at=5)
    assert reading.fault == fault
    assert (reading.quality is Quality.GOOD) == (fault is None)
    if fault == "out_of_range":
        assert reading.value == Decimal(raw) * Decimal("0.1")
        assert reading.detail is not None
        assert "MW" in reading.detail


AGING = PointSpec(name="soc", connection="scada", max_age=10_000_000)


def soc(at: int, value: str = "50") -> Reading:
    return Reading(point="soc", value=Decimal(value), at=at)


def test_a_reading_older_than_its_point_allows_is_stale() -> None:
    """Pins the limit, the sentence that the site is told, and that a point without max_age never grows old."""
    snapshot = {"soc": soc(0), "level": Reading(point="level", value=Decimal(1), at=0)}
    points = {"soc": AGING, "level": PointSpec(name="level", connection="plc")}
    assert fresh(snapshot, points, 10_000_000) == snapshot
    late = fresh(snapshot, points, 12_340_000)
    assert late["level"] == snapshot["level"]
    assert (late["soc"].quality, late["soc"].fault, late["soc"].value) == (Quality.BAD, "stale", None)
    assert late["soc"].detail == "the last value is 12.3 s old, and may be 10 s old"


@pytest.mark.parametrize(
    ("told", "now", "news"),
    [
        (None, soc(1), True),
        (soc(0), soc(4_999_999), False),
        (soc(0), soc(5_000_000), True),
        (soc(0), soc(1, "51"), True),
    ],
)
def test_an_unchanged_reading_is_told_again_before_it_is_stale(told: Reading | None, now: Reading, news: bool) -> None:  # noqa: FBT001
    """Pins that a value that does not change stays usable as long as somebody goes on reading it."""
    assert is_news(AGING, told, now) is news


def test_a_number_beyond_our_digits_is_a_bad_reading() -> None:
    """A float register or a site's JSON can hold 1E+300; scaling it must not end the session."""
    spec = PointSpec(name="p", connection="plc", scale=Decimal("0.001"))
    reading = number_reading(spec, Decimal("1E+300"), 1)
    assert (reading.value, reading.quality, reading.fault) == (None, Quality.BAD, "too_large")


@pytest.mark.parametrize(
    ("bits", "enum", "raw", "value", "fault"),
    [
        ((4, 7), None, "0xA5", Decimal(10), None),
        ((0, 0), None, "0xA5", Decimal(1), None),
        ((8, 15), None, "-1", Decimal(255), None),  # a signed register's bits are those on the wire
        (None, {Decimal(1): "running"}, "1", "running", None),
        (None, {Decimal(1): "running"}, "2", None, "unknown_value"),
        ((4, 7), {Decimal(10): "local"}, "0xA5", "local", None),
        ((4, 7), None, "1.5", None, "not_whole"),
    ],
)
def test_bits_and_words(
    bits: tuple[int, int] | None, enum: dict[Decimal, str] | None, raw: str, value: Value | None, fault: str | None
) -> None:
    """Pins which part of a raw number counts and what it means, and that what means nothing is not good."""
    spec = PointSpec(name="p", connection="plc", bits=bits, enum=enum)
    found = number_reading(spec, Decimal(int(raw, 16)) if raw.startswith("0x") else Decimal(raw), 1)
    assert (found.value, found.fault) == (value, fault)
    assert (found.quality is Quality.GOOD) == (fault is None)
