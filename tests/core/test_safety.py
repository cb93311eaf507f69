"""P20: no unsafe write. Every class of assurance.md section 4, alone and in every mixture."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.point import Access, PointSpec, Quality, Reading, Value
from gateway.core.safety import Condition, Heartbeat, Limits, Objection, Safety, objection, silence

SECOND = 1_000_000
NOW = 1_795_000_000 * SECOND
SETPOINT = PointSpec(name="setpoint", connection="plc", access=Access.WRITE, minimum=Decimal(0), maximum=Decimal(50))
LIMITS = Limits(
    step=Decimal(5), feedback="now", spacing_us=10 * SECOND, interlock=Condition(point="remote", value=True)
)


def seen(point: str, value: Value | None, quality: Quality = Quality.GOOD) -> Reading:
    return Reading(point=point, value=value, quality=quality, at=NOW)


SITE = {"now": seen("now", Decimal(20)), "remote": seen("remote", Decimal(1))}
# what is changed -> (words of the refusal, whether it is for good)
REFUSED: dict[str, tuple[dict[str, object], str, bool]] = {
    "unknown point": ({"spec": None}, "is not a point", True),
    "not for writing": ({"spec": replace(SETPOINT, access=Access.READ)}, "access: write", True),
    "above the range": ({"value": Decimal("50.1")}, "outside 0..50", True),
    "below the range": ({"value": Decimal("-0.1")}, "outside 0..50", True),
    "no number at all": ({"value": Decimal("NaN")}, "outside 0..50", True),
    "a step too far up": ({"value": Decimal("25.1")}, "more than 5 away from 20", True),
    "a step too far down": ({"value": Decimal("14.9")}, "more than 5 away from 20", True),
    "a text with a step": ({"value": "full"}, "this is no number", True),
    "feedback not read": ({"now": None}, "feedback now cannot be read", False),
    "feedback is bad": ({"now": seen("now", Decimal(20), Quality.BAD)}, "feedback now cannot be read", False),
    "interlock is off": ({"remote": seen("remote", Decimal(0))}, "does not let it", False),
    "interlock not read": ({"remote": None}, "interlock remote cannot be read", False),
    "interlock is bad": ({"remote": seen("remote", Decimal(1), Quality.BAD)}, "interlock remote cannot be read", False),
    "too soon": ({"written_at": NOW - 10 * SECOND + 1}, "too short a time ago", False),
}


def judged(*names: str) -> Objection | None:
    """What is said of a write that keeps to everything but this."""
    given: dict[str, Any] = {"spec": SETPOINT, "value": Decimal(25), "written_at": NOW - 10 * SECOND, **SITE}
    for name in names:
        given |= REFUSED[name][0]
    snapshot = {point: given.pop(point) for point in SITE}
    present = {point: reading for point, reading in snapshot.items() if reading is not None}
    return objection(limits=LIMITS, now=NOW, snapshot=present, **given)


@pytest.mark.parametrize("value", [Decimal(15), Decimal(20), Decimal(25)])
def test_what_keeps_to_everything_is_written(value: Decimal) -> None:
    """Pins the edges: a whole step, the very spacing."""
    assert objection(SETPOINT, LIMITS, value, SITE, written_at=NOW - 10 * SECOND, now=NOW) is None


@pytest.mark.parametrize("name", REFUSED)
def test_each_class_is_refused_by_name(name: str) -> None:
    """Pins each refused class alone: its sentence, and whether waiting can help."""
    _, words, final = REFUSED[name]
    found = judged(name)
    assert found is not None
    assert words in found.reason
    assert found.final is final


@settings(max_examples=500)
@given(st.sets(st.sampled_from(sorted(REFUSED)), min_size=1).map(sorted))
def test_no_mixture_of_faults_lets_a_write_pass(names: list[str]) -> None:
    """Pins that faults never cancel out, and that what is refused for good is never waited for."""
    found = judged(*names)
    assert found is not None
    if {"unknown point", "not for writing"} & set(names):
        assert found.final


@pytest.mark.parametrize(
    ("safety", "beat_at", "said"),
    [
        (Safety(), None, None),
        (Safety(killed=True), None, "the kill switch is on"),
        (Safety(kill=Condition(point="remote")), None, "the kill switch remote is on"),
        (Safety(kill=Condition(point="remote", value=False)), None, None),
        (Safety(kill=Condition(point="now", value=Decimal(20))), None, "the kill switch now is on"),
        (Safety(kill=Condition(point="elsewhere")), None, "the kill switch elsewhere cannot be read: it was not read"),
        (Safety(heartbeat=Heartbeat(read="now", within_us=SECOND)), None, "heartbeat now did not move for 1 s"),
        (Safety(heartbeat=Heartbeat(read="now", within_us=SECOND)), NOW - SECOND - 1, "did not move for 1 s"),
        (Safety(heartbeat=Heartbeat(read="now", within_us=SECOND)), NOW - SECOND, None),
        (Safety(heartbeat=Heartbeat(write="now")), None, None),
    ],
)
def test_what_silences_the_gateway(safety: Safety, beat_at: int | None, said: str | None) -> None:
    """Pins when nothing at all is written: a switch that cannot be read counts as on, a beat never seen as dead."""
    found = silence(safety, SITE, beat_at, NOW)
    assert (found is None) == (said is None)
    assert (said or "") in (found or "")
