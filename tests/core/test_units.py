from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.core.units import UNITS, factor


@pytest.mark.parametrize(
    ("raw", "unit", "expected"),
    [
        ("kW", "MW", "0.001"),
        ("GW", "MW", "1000"),
        ("h", "s", "3600"),
        ("kW/s", "MW/min", "0.06"),
        ("Wh", "MWh", "1e-6"),
    ],
)
def test_factor(raw: str, unit: str, expected: str) -> None:
    """Pins the exact factor."""
    assert factor(raw, unit) == Decimal(expected)


@pytest.mark.parametrize(("raw", "unit"), [("kW", "MWh"), ("kw", "MW"), ("MW", "furlong"), ("s", "h")])
def test_no_factor(raw: str, unit: str) -> None:
    """Pins that another dimension, an unknown word, and a factor that never ends are refused."""
    with pytest.raises(ValueError, match=r"measures|not known|no exact"):
        factor(raw, unit)


def test_there_and_back() -> None:
    """Pins that both ways cancel out, wherever both exist."""
    for one in UNITS:
        for other in UNITS:
            try:
                both = factor(one, other) * factor(other, one)
            except ValueError:
                continue
            assert both == 1
