from __future__ import annotations

import pytest

from gateway.settings.configuration import run_site_tests
from tests.settings.folder import Folder

TESTS = "sites/hams-bess.test.yaml"


def _told(folder: Folder) -> list[str]:
    _, problems = run_site_tests(folder.load(), environ={})
    return [str(problem).replace(f"{folder.path}/", "") for problem in problems]


def test_the_examples_tests_pass(folder: Folder) -> None:
    """Pins that they are found beside the site's file, counted, and right."""
    assert run_site_tests(folder.load(), environ={}) == (2, [])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("capacity: {maxExportMw: 12.5", "capacity: {maxExportMw: 13", "capacity.maxExportMw: expected 13, found 12.5"),
        ("direction: Import", "direction: Export", "meterPoints.0.direction: expected 'Export', found 'Import'"),
        ("- assetName: HAMS BESS PCS 1", "- assetNam: X", "assets.0.assetNam: the message has no such member"),
        ("[mpan_check_digit]", "[duplicate]", "tests.1.refused: it is refused for mpan_check_digit"),
        (
            "message: battery",
            "message: batery",
            "tests.0.message: there is no message 'batery'; did you mean 'battery'?",
        ),
        ("{asset_name:", "{asset_nam:", "given.asset_nam: there is no point 'asset_nam'; did you mean 'asset_name'?"),
        ("site: hams-bess", "site: hams", "site: there is no site 'hams'; did you mean 'hams-bess'?"),
        ("refused: [mpan_check_digit]", "name: b", "tests.1"),
    ],
)
def test_what_a_test_meets_is_told_where_it_stands(folder: Folder, old: str, new: str, said: str) -> None:
    """Pins the sentence for each way in which a test fails, or is wrong itself."""
    folder.edit(TESTS, old, new)
    told = _told(folder)
    assert said in told[0]
    assert told[0].startswith(f"{TESTS}:")


def test_a_site_that_changes_fails_its_test(folder: Folder) -> None:
    """Pins what they are for: an edit of the site that changes its messages is noticed, and a refusal says why."""
    folder.edit("sites/hams-bess.yaml", "maxExportMw: {point: export_limit}", "maxExportMw: {expr: export_limit * 2}")
    (told,) = _told(folder)
    assert told.endswith("capacity.maxExportMw: expected 12.5, found 25.0")
    folder.edit("sites/hams-bess.yaml", "range: [0, 60]}", "range: [0, 60], max_age: 1s}")
    folder.edit(TESTS, "export_limit: 12.5, ", "")
    assert "it is refused: " in _told(folder)[0]
