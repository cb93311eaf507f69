"""What registers may mean: the right reading is among them, and first when somebody says what is expected."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decoding import candidates

ORDERS = st.sampled_from(["big", "little"])


def laid(data: bytes, word_order: str, byte_order: str) -> list[int]:
    """Registers as a device with these orders holds a value's big-endian bytes."""
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    words = words if word_order == "big" else words[::-1]
    return [int.from_bytes(word, "big" if byte_order == "big" else "little") for word in words]


@given(
    code=st.sampled_from([("int32", "i", 2**31), ("uint32", "I", 2**32), ("int64", "q", 2**63)]),
    share=st.floats(0, 0.999),
    word_order=ORDERS,
    byte_order=ORDERS,
    power=st.integers(-3, 0),
)
def test_what_a_device_holds_is_among_the_readings(
    code: tuple[str, str, int], share: float, word_order: str, byte_order: str, power: int
) -> None:
    """For every order and scale: some reading is exactly the value, and the first one is as near as can be."""
    kind, letter, limit = code
    raw = int(share * limit)
    expected = Decimal(raw).scaleb(power)
    found = candidates(laid(struct.pack(f">{letter}", raw), word_order, byte_order), expected)
    assert any((one.type, one.value) == (kind, expected) for one in found)
    assert found[0].error == 0
    assert [one.error for one in found] == sorted(one.error for one in found if one.error is not None)


@pytest.mark.parametrize(
    ("registers", "expected", "line"),
    [
        ([0x4148, 0x0000], "12.5", ("float32", "big", "big", "1")),
        ([0x0000, 0x4148], "12.5", ("float32", "little", "big", "1")),
        ([0x4841, 0x0000], "12.5", ("float32", "big", "little", "1")),
        ([125], "12.5", ("int16", "big", "big", "0.1")),
        ([0xFF83], "-12.5", ("int16", "big", "big", "0.1")),
        ([0x1250], "12.50", ("bcd16", "big", "big", "0.01")),
        ([0x0001, 0x86A0], "100", ("int32", "big", "big", "0.001")),
    ],
)
def test_the_first_reading_is_the_one_to_write(
    registers: list[int], expected: str, line: tuple[str, str, str, str]
) -> None:
    """Real-looking cases; scale 1 and fewer registers win where two readings are as near."""
    first = candidates(registers, Decimal(expected))[0]
    assert (first.type, first.word_order, first.byte_order, str(first.scale)) == line
    assert first.value == Decimal(expected)
    assert first.near


def test_a_live_value_that_moved_on_is_still_near() -> None:
    """One percent off is what somebody at a display can see; half of it is not."""
    found = candidates([126], Decimal("12.5"))
    assert found[0].near
    assert not candidates([6], Decimal("12.5"))[0].near


def test_nothing_expected_shows_everything_once() -> None:
    """In the order of sizes; floats that are none are left out."""
    found = candidates([0x7FC0, 0x0000])
    assert [one.type for one in found][:2] == ["int16", "uint16"]
    assert all(one.value.is_finite() for one in found)
    assert len({(one.type, one.value) for one in found}) == len(found)
