from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import reference_data
from gateway.core.profile import Profile

# domain.md section 4: distributor, group, a valid synthetic MPAN.
DISTRIBUTORS = """
10 _A 1000000000100 | 11 _B 1100000000114 | 12 _C 1200000000128 | 13 _D 1300000000131 | 14 _E 1400000000145
15 _F 1500000000159 | 16 _G 1600000000162 | 17 _P 1700000000176 | 18 _N 1800000000180 | 19 _J 1900000000193
20 _H 2000000000200 | 21 _K 2100000000214 | 22 _L 2200000000228 | 23 _M 2300000000231
"""
ROWS = [row.split() for line in DISTRIBUTORS.strip().splitlines() for row in line.split("|")]


@pytest.mark.parametrize(("distributor", "group", "mpan"), ROWS)
def test_distributors(distributor: str, group: str, mpan: str) -> None:
    """Each distributor's example MPAN is valid and lies in its group."""
    assert mpan.startswith(distributor)
    assert reference_data.is_mpan(mpan)
    assert reference_data.gsp_group_of_mpan(mpan) == group


def test_groups() -> None:
    """Fourteen groups, none called _I or _O; independent networks lie anywhere."""
    assert len(ROWS) == len(reference_data.GSP_GROUPS) == 14
    assert not reference_data.GSP_GROUPS & {"_I", "_O"}
    assert reference_data.gsp_group_of_mpan("2400000000000") is None


@pytest.mark.parametrize("mpan", ["1234567890126", "2000000000015"])
def test_valid_mpans(mpan: str) -> None:
    """Published examples."""
    assert reference_data.is_mpan(mpan)


@given(st.sampled_from([row[2] for row in ROWS]), st.integers(1, 9))
def test_wrong_check_digit(mpan: str, step: int) -> None:
    """Any other last digit is wrong."""
    assert not reference_data.is_mpan(mpan[:12] + str((int(mpan[12]) + step) % 10))


@pytest.mark.parametrize(
    "text", ["", "200000000020", "20000000002000", "200000000020X", "\uff12000000000200", "2000000000200\n"]
)
def test_not_an_mpan(text: str) -> None:
    """13 ASCII digits and nothing else."""
    assert not reference_data.is_mpan(text)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("10YGB----------A", True),
        ("10YGB----------B", False),
        ("10YGB---------A", False),
        ("10ygb----------a", False),
        ("10YGB----------A\n", False),
    ],
)
def test_eic(text: str, good: bool) -> None:  # noqa: FBT001 - a column of the table
    """The check character of an Energy Identification Code."""
    assert reference_data.is_eic(text) is good


@pytest.mark.parametrize(
    ("text", "good"),
    [("T_VKNGW-3", True), ("V__HEXAMP1", False), ("2_EXMPL001", True), ("VKNGW-3", False), ("T_ABCDEFGHIJ", False)],
)
def test_bm_unit(text: str, good: bool) -> None:  # noqa: FBT001 - a column of the table
    """An Elexon prefix and at most 11 characters; the National Grid id is another."""
    assert reference_data.is_bm_unit(text) is good


def test_service_codes(profile: Profile) -> None:
    """The profile's services are the reference data's."""
    assert set(profile.enums["service"]) == reference_data.SERVICE_CODES
