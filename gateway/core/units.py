"""The units that plants count in, and how one becomes another: exact factors within one dimension."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

_DIMENSIONS: Mapping[str, Mapping[str, str]] = {
    "power": {"W": "1", "kW": "1e3", "MW": "1e6", "GW": "1e9"},
    "reactive power": {"var": "1", "kvar": "1e3", "Mvar": "1e6"},
    "apparent power": {"VA": "1", "kVA": "1e3", "MVA": "1e6"},
    "energy": {"Wh": "1", "kWh": "1e3", "MWh": "1e6", "GWh": "1e9"},
    "voltage": {"V": "1", "kV": "1e3"},
    "current": {"A": "1", "kA": "1e3"},
    "frequency": {"mHz": "1e-3", "Hz": "1"},
    "time": {"ms": "1e-3", "s": "1", "min": "60", "h": "3600"},
    "share": {"permille": "1", "%": "10"},
    "ramp": {"kW/min": "1", "kW/s": "60", "MW/min": "1e3", "MW/s": "6e4"},
}
UNITS: Mapping[str, tuple[str, Decimal]] = {
    unit: (dimension, Decimal(factor)) for dimension, units in _DIMENSIONS.items() for unit, factor in units.items()
}


def factor(raw: str, unit: str) -> Decimal:
    """What a number in ``raw`` is multiplied by to be one in ``unit``.

    Raises:
        ValueError: one is not known, they do not measure the same, or no exact number leads from one to the other.
    """
    for each in (raw, unit):
        if each not in UNITS:
            raise ValueError(f"unit {each!r} is not known; known are {', '.join(UNITS)}")
    (dimension, one), (other_dimension, other) = UNITS[raw], UNITS[unit]
    if dimension != other_dimension:
        raise ValueError(f"{raw} measures {dimension} and {unit} {other_dimension}")
    found = one / other
    if Fraction(found) != Fraction(one) / Fraction(other):
        raise ValueError(f"no exact number leads from {raw} to {unit}")
    return found.normalize()
