"""What registers may mean: every type, word order and byte order, beside the value that somebody expects there.

The answer to "the display says 12.5 and the register says 16712": all readings are made, the ones near the expected
value come first, with the power of ten that brings them there.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

# The struct code of each type, and how many registers it takes.
_CODES: Mapping[str, tuple[str, int]] = {
    "int16": ("h", 1),
    "uint16": ("H", 1),
    "int32": ("i", 2),
    "uint32": ("I", 2),
    "float32": ("f", 2),
    "int64": ("q", 4),
    "uint64": ("Q", 4),
    "float64": ("d", 4),
}
_BCD = {1: "bcd16", 2: "bcd32", 4: "bcd64"}
_POWERS = range(-6, 7)  # of ten, as devices scale
_FLOAT_DIGITS = {"float32": 9, "float64": 17}
_NEAR = Decimal("0.02")  # of the expected value: two people never read a display at the same moment
REGISTERS = 4  # of the longest number


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to read the registers from the first one on; ``error`` is relative, None where nothing is expected."""

    type: str
    registers: int
    word_order: str
    byte_order: str
    scale: Decimal
    value: Decimal
    error: Decimal | None = None

    @property
    def near(self) -> bool:
        """Whether it is what was expected, as far as two looks at a live value can agree."""
        return self.error is not None and self.error <= _NEAR


def candidates(registers: Sequence[int], expected: Decimal | None = None) -> list[Candidate]:
    """Every reading of the first one, two and four registers; with ``expected`` the nearest first.

    A reading that two byte or word orders share is told once, in the more usual order.
    """
    found: dict[tuple[str, Decimal], Candidate] = {}
    for candidate in _readings(registers, expected):
        found.setdefault((candidate.type, candidate.value), candidate)
    if expected is None:
        return list(found.values())
    return sorted(found.values(), key=lambda one: (one.error, one.scale > 1, one.scale != 1, one.registers))


def _readings(registers: Sequence[int], expected: Decimal | None) -> Iterator[Candidate]:
    for size in (1, 2, 4):
        if size > len(registers):
            return
        for word_order in ("big", "little") if size > 1 else ("big",):
            for byte_order in ("big", "little"):
                data = _bytes(registers[:size], word_order, byte_order)
                for kind, raw in _raw(data):
                    scale, error = _fit(raw, expected)
                    yield Candidate(
                        type=kind,
                        registers=size,
                        word_order=word_order,
                        byte_order=byte_order,
                        scale=scale,
                        value=raw * scale,
                        error=error,
                    )


def _bytes(registers: Sequence[int], word_order: str, byte_order: str) -> bytes:
    words = registers if word_order == "big" else registers[::-1]
    return struct.pack(f"{'>' if byte_order == 'big' else '<'}{len(words)}H", *words)


def _raw(data: bytes) -> Iterator[tuple[str, Decimal]]:
    """What the bytes are as each type of their length; floats that are none, and digits beyond 9, are left out."""
    for kind, (code, size) in _CODES.items():
        if 2 * size == len(data):
            (number,) = struct.unpack(f">{code}", data)
            if kind not in _FLOAT_DIGITS:
                yield kind, Decimal(number)
            elif math.isfinite(number):
                yield kind, _shortest(number, code, _FLOAT_DIGITS[kind])
    digits = data.hex()
    if digits.isdecimal():
        yield _BCD[len(data) // 2], Decimal(int(digits))


def _shortest(number: float, code: str, most: int) -> Decimal:
    """The shortest decimal that is the same float."""
    texts = (f"{number:.{digits}g}" for digits in range(most - 3, most + 1))
    same = (text for text in texts if struct.pack(f">{code}", float(text)) == struct.pack(f">{code}", number))
    return Decimal(format(Decimal(next(same, repr(number))), "f"))


def _fit(raw: Decimal, expected: Decimal | None) -> tuple[Decimal, Decimal | None]:
    """The power of ten that brings a number nearest to the expected one, 1 where that is as near; the error left."""
    if expected is None:
        return Decimal(1), None
    with localcontext(prec=40):
        size = max(abs(expected), Decimal("1e-9"))
        scales = [Decimal(1).scaleb(power) for power in sorted(_POWERS, key=abs)]
        errors = [abs(raw * scale - expected) / size for scale in scales]
    best = min(range(len(scales)), key=errors.__getitem__)
    return scales[best], errors[best]
