from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import codec, strict_json
from gateway.errors import StrictJsonError

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=3)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | NUMBERS | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=30)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a":[1,-2,true,null]}', {"a": [1, -2, True, None]}),
        (b" \t\r\n1 ", 1),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"0.30", Decimal("0.30")),
        (b"1e3", Decimal("1e3")),
        (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
        (b'"\\\\ud800"', "\\ud800"),
    ],
)
def test_accepts(text: bytes, value: object) -> None:
    """Legal JSON keeps its values, and decimals their digits."""
    parsed = strict_json.loads(text)
    assert parsed == value
    assert str(parsed) == str(value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"c":2,"b":3}}',
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"1" * 5000,
        b"1e309",
        b"1e-400",
        b"1e999999999999999999999",
        b"0." + b"1" * 200,
        b'"\\ud800"',
        b'["a",{"b":"\\udc00\\ud800"}]',
        b'{"\\ud800":1}',
        b'"a\x00b"',
        b"{} {}",
        b"{'a':1}",
        b"[1,]",
        b'{"a":1}\x00',
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_refuses(text: bytes) -> None:
    """Whatever two parsers could read differently is refused, and by one kind of error only."""
    with pytest.raises(StrictJsonError):
        strict_json.loads(text)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_is_exact(opening: str) -> None:
    """32 containers inside each other are accepted, 33 are not, also when many lie beside each other."""
    closing = "]" if opening == "[" else "}"
    beside = ",".join(["[]"] * 50)
    for depth, accepted in ((32, True), (33, False)):
        inner = opening * (depth - 2) + f"[{beside}]" + closing * (depth - 2)
        assert _accepts(inner.encode()) is accepted


def test_brackets_inside_strings_are_text() -> None:
    """Only real brackets count for the depth, whatever quotes and escapes surround them."""
    assert strict_json.loads(json.dumps(['[{"\\' * 100, "]" * 99] + [[]] * 40).encode())


@pytest.mark.parametrize(
    "text",
    [b"[" * 4_000_000, b'{"a":' * 800_000, b'"' + b'\\"' * 2_000_000, b"[]" * 2_000_000, b"1" * 4_000_000],
)
def test_hostile_size_is_refused(text: bytes) -> None:
    """Megabytes made to recurse or to backtrack end in the one error; a quadratic step would run for hours."""
    with pytest.raises(StrictJsonError):
        strict_json.loads(text)


def test_limit_counts_bytes() -> None:
    """The limit is inclusive and counts bytes, not characters."""
    text = '"é"'.encode()
    assert strict_json.loads(text, limit=4) == "é"
    with pytest.raises(StrictJsonError):
        strict_json.loads(text, limit=3)


def test_duplicate_is_named() -> None:
    """The error names the key that stands twice."""
    with pytest.raises(StrictJsonError, match="'again'"):
        strict_json.loads(b'{"first":1,"again":1,"again":2}')


@given(VALUES)
def test_round_trip(value: object) -> None:
    """What codec writes, the parser reads back unchanged."""
    assert strict_json.loads(codec.dumps(value), depth=64) == value


@given(st.binary(max_size=200))
def test_bytes_never_do_harm(data: bytes) -> None:
    """Any bytes parse or raise StrictJsonError; what parses, the standard library parses alike."""
    agrees_or_refuses(data)


def agrees_or_refuses(data: bytes) -> None:
    try:
        value = strict_json.loads(data)
    except StrictJsonError:
        return
    assert _floats(value) == json.loads(data)


@given(st.text('[]{}",:\\u0d8 1e-.tn', max_size=40))
def test_grammar_soup(text: str) -> None:
    """Near-JSON parses as the standard library does, or is refused."""
    agrees_or_refuses(text.encode())


def _accepts(text: bytes) -> bool:
    try:
        strict_json.loads(text)
    except StrictJsonError:
        return False
    return True


def _floats(value: object) -> object:
    if isinstance(value, Decimal):
        number = float(value)
        assert math.isfinite(number)
        return number
    if isinstance(value, list):
        return [_floats(item) for item in value]
    if isinstance(value, dict):
        return {name: _floats(item) for name, item in value.items()}
    return value
