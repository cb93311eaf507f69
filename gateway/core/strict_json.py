"""The one JSON parser for everything that comes from outside.

Rules (assurance.md section 5)
------------------------------
* UTF-8 without a byte order mark; no lone surrogates, neither raw nor escaped.
* No duplicate keys, no NaN or Infinity, at most ``depth`` containers inside each other, at most ``limit`` bytes.
* Integers fit 64 bits with a sign. Other numbers become Decimal, at most 128 characters long and within the range of a
  double, so that no exponent can blow up when the number is written out.

The scanner is the standard library's, in C; what it lets through is refused by its hooks. Depth is measured before it
runs, because it recurses: strings are cut out, and a running sum over the brackets left is the depth. Up to the first
mistake the scanner sees the same strings and brackets, so that it never recurses deeper than was measured.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal, InvalidOperation
from itertools import accumulate
from typing import TypeAlias

from gateway.errors import StrictJsonError

Json: TypeAlias = "bool | int | Decimal | str | list[Json] | dict[str, Json] | None"

DEFAULT_LIMIT = 4 * 1024 * 1024  # a legal batch of 1000 assets is about 1 MB
DEFAULT_DEPTH = 32

_BOM = b"\xef\xbb\xbf"
# The closing quote is optional: an unterminated string is then swallowed in one step (the scanner refuses it later)
# instead of being tried again from every escaped quote, which would be quadratic.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1 as signed bytes
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_INTEGER_DIGITS = 20  # a sign and the 19 digits of 2**63
_NUMBER_LENGTH = 128
_LARGEST_EXPONENT = 308


def loads(data: bytes, *, limit: int = DEFAULT_LIMIT, depth: int = DEFAULT_DEPTH) -> Json:
    """Parse one JSON text, strictly.

    Raises:
        StrictJsonError: the bytes are not JSON that we accept; nothing else is raised.
    """
    if len(data) > limit:
        raise StrictJsonError(f"{len(data)} bytes, at most {limit} are accepted")
    if data.startswith(_BOM):
        raise StrictJsonError("a byte order mark")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictJsonError("not UTF-8", error.start) from None
    if not _within_depth(data, depth):
        raise StrictJsonError(f"nested deeper than {depth}")
    try:
        value: Json = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise StrictJsonError(error.msg, error.pos) from None
    if _SURROGATE_ESCAPE.search(text):
        _refuse_lone_surrogates(value)
    return value


def _within_depth(data: bytes, depth: int) -> bool:
    if data.count(b"[") + data.count(b"{") <= depth:  # small messages need no closer look
        return True
    steps = _STRING.sub(b"", data).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0) <= depth


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        again = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise StrictJsonError(f"the key {again[:100]!r} stands twice in one object")
    return members


def _integer(text: str) -> int:
    if len(text) <= _INTEGER_DIGITS:
        number = int(text)
        if -(2**63) <= number < 2**63:
            return number
    raise StrictJsonError(f"the integer {text[:30]} does not fit 64 bits")


def _number(text: str) -> Decimal:
    if len(text) <= _NUMBER_LENGTH:
        try:
            number = Decimal(text)
        except InvalidOperation:  # an exponent beyond even Decimal's reach
            pass
        else:
            if abs(number.adjusted()) <= _LARGEST_EXPONENT:
                return number
    raise StrictJsonError(f"the number {text[:30]} is too long or out of range")


def _constant(text: str) -> Json:
    raise StrictJsonError(f"{text} is not JSON")


def _refuse_lone_surrogates(value: Json) -> None:
    """Look through everything; the recursion is bounded by the depth that was checked before."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise StrictJsonError("a lone surrogate in a string") from None
    elif isinstance(value, list):
        for item in value:
            _refuse_lone_surrogates(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            _refuse_lone_surrogates(name)
            _refuse_lone_surrogates(item)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_number, parse_int=_integer, parse_constant=_constant, strict=True
)
