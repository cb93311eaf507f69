from __future__ import annotations

import pytest

from gateway.settings.difference import Difference, difference
from tests.settings.folder import Folder


def _after(folder: Folder, file: str, old: str, new: str) -> Difference:
    before = folder.load()
    folder.edit(file, old, new)
    return difference(before, folder.load())


def test_the_same_files_are_no_difference(folder: Folder) -> None:
    """Pins that everything that is read compares by what it says."""
    found = difference(folder.load(), folder.load())
    assert not found.any
    assert not found.obstacles


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("name: Example Storage Ltd", "name: Example Storage plc", False),
        ("name: Example Storage Ltd", "name: S\ncontacts: [{role: desk, email: desk@exstor.example}]", False),
        ("key_id: exstor-2026-11", "key_id: exstor-2027-11", True),
        ("username: exstor", "username: exstor2", True),
    ],
)
def test_what_of_a_participant_matters_to_what_runs(folder: Folder, old: str, new: str, *, differs: bool) -> None:
    """Pins that a login or a key does, and a name or a contact does not."""
    found = _after(folder, "participants/exstor.yaml", old, new)
    assert (found.participants, found.obstacles) == (("exstor",) if differs else (), ())


def test_a_participant_cannot_move_to_another_environment(folder: Folder) -> None:
    """Pins that keys, limiter and names of one environment never become those of another under way."""
    live = (folder.path / "gateway.yaml").read_text("utf-8").partition("  test:")[2].partition("\ncallbacks:")[0]
    folder.edit("gateway.yaml", "  test:", f"  live:{live}  test:")
    found = _after(folder, "participants/exflex.yaml", "environment: test", "environment: live")
    assert found.obstacles == ("participant exflex has moved from test to live; restart the gateway for that",)
