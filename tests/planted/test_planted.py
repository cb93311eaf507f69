"""The tests can fail (promise P10): a fault planted in a copy of the product turns the test red that it must."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planted.faults import Fault, chosen, faults, fits, judged

AT_ONCE = 6  # of them all, chosen by the commit; `python -m tests.planted` tries every one


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_each_patch_fits_the_source(fault: Fault) -> None:
    """A patch that does not fit any more would plant nothing: make it anew."""
    assert fits(fault) == ""


@pytest.mark.parametrize("fault", chosen(AT_ONCE), ids=lambda fault: fault.name)
def test_a_planted_fault_is_seen(tmp_path: Path, fault: Fault) -> None:
    """Pins that the suite sees this mistake, by the very test that its patch names."""
    red, said = judged(fault, tmp_path)
    assert red, f"{fault.promise}, {fault.what}: {fault.test} is not red\n{said}"
