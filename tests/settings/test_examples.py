"""The site files to begin from are right, and are read by the same code as everybody's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import adapters.modbus
from gateway.core.request_plan import overloads
from gateway.settings.configuration import run_site_tests
from gateway.settings.example import example_configuration
from gateway.settings.site_tests import ENDING
from tests.settings.folder import Folder

FILES = sorted(
    path.name for path in (example_configuration() / "examples").glob("*.yaml") if not path.name.endswith(ENDING)
)


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_right_as_it_stands(folder: Folder, name: str) -> None:
    """Nothing is wrong with it, nothing is warned of, and its periods can be met."""
    before = len(folder.told())
    shutil.copy(folder.path / "examples" / name, folder.path / "sites" / name)
    assert folder.told()[before:] == []
    site = folder.load().sites[Path(name).stem]
    tell = adapters.modbus.spec.plan
    assert tell is not None
    told = {key: tell(link.config) for key, link in site.connections.items() if link.protocol == "modbus"}
    plans = {key: plan for key, plan in told.items() if plan is not None}
    assert all(plan.requests for plan in plans.values())
    assert not list(overloads(plans))


def test_the_tests_beside_the_examples_pass(folder: Folder) -> None:
    """Each tests what its site was meant to do, and is run like everybody's."""
    tests = sorted((folder.path / "examples").glob(f"*{ENDING}"))
    for test in tests:
        for file in (test, test.with_name(test.name.removesuffix(ENDING) + ".yaml")):
            shutil.copy(file, folder.path / "sites" / file.name)
    count, problems = run_site_tests(folder.load(), environ={})
    assert problems == []
    assert count >= 2 + 2 * len(tests) > 2


def test_a_slower_line_is_told_of_before_it_is_late(folder: Folder) -> None:
    """Four units that share a line of 300 baud: each fits alone, together they do not."""
    name = "mersey-gateway.yaml"
    shutil.copy(folder.path / "examples" / name, folder.path / "sites" / name)
    text = (folder.path / "sites" / name).read_text("utf-8").replace("baud: 19200, poll: 2s", "baud: 300, poll: 3s")
    (folder.path / "sites" / name).write_text(text, "utf-8")
    site = folder.load().sites["mersey-gateway"]
    tell = adapters.modbus.spec.plan
    assert tell is not None
    told = {key: tell(link.config) for key, link in site.connections.items()}
    (said,) = overloads({key: plan for key, plan in told.items() if plan is not None})
    assert said.startswith("gen-1, gen-2, gen-3, gen-4: the periods cannot be met: together they ask for ")
    assert said.endswith(" of the time of 10.30.4.2:4001")
