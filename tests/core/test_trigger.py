import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.mapping import ChangeTrigger, EdgeTrigger
from gateway.core.message import Reference
from gateway.core.point import Quality, Reading, Value
from gateway.core.trigger import Baseline, Fire, intake_key, observe, observe_edge, text_of

TRIGGER = ChangeTrigger(point="p")
KNOWN = Reference(value="1", counter=4)


def reading(value: Value | None, quality: Quality = Quality.GOOD, point: str = "p") -> Reading:
    return Reading(point=point, value=value, quality=quality, at=1)


@pytest.mark.parametrize(
    ("trigger", "reference", "seen", "expected"),
    [
        (TRIGGER, None, reading(Decimal(1)), Baseline(reference=Reference(value="1", counter=0))),
        (
            ChangeTrigger(point="p", initial=True),
            None,
            reading(Decimal(1)),
            Fire(reference=Reference(value="1", counter=1)),
        ),
        (TRIGGER, KNOWN, reading(Decimal(1)), None),
        (TRIGGER, KNOWN, reading(Decimal("1.00")), None),  # the scale was edited, the value is the same
        (TRIGGER, KNOWN, reading(Decimal("1.1")), Fire(reference=Reference(value="1.1", counter=5))),
        (TRIGGER, KNOWN, reading(None), None),
        (TRIGGER, KNOWN, reading(Decimal(2), Quality.BAD), None),
        (TRIGGER, None, reading(Decimal(2), Quality.NOT_AVAILABLE), None),
        (TRIGGER, KNOWN, reading(Decimal(2), point="other"), None),
        (TRIGGER, Reference(value="on", counter=1), reading("off"), Fire(reference=Reference(value="off", counter=2))),
        (TRIGGER, Reference(value="true", counter=1), reading(value=True), None),
    ],
)
def test_observe(
    trigger: ChangeTrigger, reference: Reference | None, seen: Reading, expected: Fire | Baseline | None
) -> None:
    """Pins when a reading is news, row by row."""
    assert observe(trigger, reference, seen) == expected


@pytest.mark.parametrize(
    ("last", "seen", "news"),
    [
        ("1", Decimal("1.5"), False),
        ("1", Decimal("0.5"), False),
        ("1", Decimal("1.51"), True),
        ("1", Decimal("0.49"), True),
        ("on", Decimal(1), True),  # the point was a text before
        ("on", "off", True),
        ("false", True, True),
    ],
)
def test_a_change_within_the_deadband_is_none(last: str, seen: Value, news: bool) -> None:  # noqa: FBT001
    """Pins both edges of a deadband of 0.5, and that only numbers have one."""
    found = observe(TRIGGER, Reference(value=last, counter=4), reading(seen), Decimal("0.5"))
    assert (found is not None) is news


def test_intake_key_counts_messages() -> None:
    """Pins the key under which a change is known, so that a restart makes no second message of it."""
    assert intake_key(Reference(value="x", counter=7)) == "change:7"


@given(
    value=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**18), max_value=10**18),
    zeros=st.integers(0, 5),
)
def test_text_of_a_number_means_the_number(value: Decimal, zeros: int) -> None:
    """Pins one text per number, whatever its trailing zeros or sign of zero, from which the number can be read."""
    padded = Decimal(f"{value:f}{'' if '.' in f'{value:f}' else '.'}{'0' * zeros}")
    assert Decimal(text_of(value)) == value
    assert text_of(padded) == text_of(value)


@given(values=st.lists(st.integers(0, 3) | st.none(), max_size=30))
def test_fires_once_per_change(values: list[int | None]) -> None:
    """Pins that counters rise by one with each change of the good value, and with nothing else."""
    reference: Reference | None = None
    fired: list[int] = []
    for value in values:
        seen = reading(None, Quality.BAD) if value is None else reading(Decimal(value))
        news = observe(TRIGGER, reference, seen)
        reference = reference if news is None else news.reference
        if isinstance(news, Fire):
            fired.append(news.reference.counter)
    good = [value for value in values if value is not None]
    changes = sum(1 for before, after in itertools.pairwise(good) if before != after)
    assert fired == list(range(1, changes + 1))


ON, OFF = Reference(value="true", counter=4), Reference(value="false", counter=4)


@pytest.mark.parametrize(
    ("trigger", "reference", "seen", "expected"),
    [
        (EdgeTrigger(point="p"), None, reading(value=True), Baseline(reference=Reference(value="true", counter=0))),
        (EdgeTrigger(point="p"), OFF, reading(value=True), Fire(reference=Reference(value="true", counter=5))),
        (EdgeTrigger(point="p"), OFF, reading(Decimal(7)), Fire(reference=Reference(value="true", counter=5))),
        (EdgeTrigger(point="p"), ON, reading(Decimal(8)), None),
        (EdgeTrigger(point="p"), ON, reading(Decimal(0)), Baseline(reference=OFF)),
        (EdgeTrigger(point="p"), OFF, reading("on"), None),  # a text is neither on nor off
        (EdgeTrigger(point="p"), OFF, reading(None), None),
        (EdgeTrigger(point="p"), OFF, reading(Decimal(1), Quality.BAD), None),
        (EdgeTrigger(point="p"), OFF, reading(Decimal(1), point="other"), None),
        (
            EdgeTrigger(point="p", rising=False, falling=True),
            ON,
            reading(value=False),
            Fire(reference=Reference(value="false", counter=5)),
        ),
        (EdgeTrigger(point="p", rising=False, falling=True), OFF, reading(value=True), Baseline(reference=ON)),
        # the message was set off otherwise before: where its point stood as an edge is not known
        (EdgeTrigger(point="p"), Reference(value="17", counter=4), reading(value=True), Baseline(reference=ON)),
    ],
)
def test_observe_edge(
    trigger: EdgeTrigger, reference: Reference | None, seen: Reading, expected: Fire | Baseline | None
) -> None:
    """Pins when a point goes on or off, row by row."""
    assert observe_edge(trigger, reference, seen) == expected
