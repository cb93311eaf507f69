from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.core.point import number_reading
from tests.settings.folder import Folder

LIMIT = "type: int16, scale: 0.1, unit: MW, range: [0, 60]}\n  import"


@pytest.mark.parametrize(
    ("members", "raw", "value"),
    [
        ("raw_unit: kW, unit: MW, range: [0, 60]", 12345, "12.345"),
        ("raw_unit: kW, unit: MW, scale: 10", 1234, "12.340"),
        ("sign: import, scale: 0.1, unit: MW, range: [-60, 60]", 125, "-12.5"),
        ("sign: import, raw_unit: kW, unit: MW, offset: 500", 1500, "-2.000"),
        ("bits: [0, 3]", 0xA5, "5"),
        ("enum: {0: stopped, 5: Battery}", 5, "Battery"),
    ],
)
def test_what_a_raw_number_becomes(folder: Folder, members: str, raw: int, value: str) -> None:
    """Pins how scale, unit, sign, bits and words of the YAML go together, digit by digit."""
    folder.edit("sites/hams-bess.yaml", LIMIT, f"type: int16, {members}}}\n  import")
    spec = folder.load().sites["hams-bess"].points["export_limit"]
    assert str(number_reading(spec, Decimal(raw), 1).value) == value
