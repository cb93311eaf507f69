"""The kill test can fail: each planted fault turns a short run red, for the reason that it should (promise P10)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.crash.checker import Kind
from tests.crash.kills import kill_run
from tests.crash.world import REPOSITORY

PLANTED = Path(__file__).parent / "planted"
KILLS = 3
QUIET_S = 8.0  # what is lost never comes: no need to wait for it as long as a healthy run would


def spoilt(folder: Path, fault: str) -> Path:
    """A copy of the product with this fault in it; the working tree is never touched."""
    source = folder / "source"
    for part in ("gateway", "adapters", "config"):
        shutil.copytree(REPOSITORY / part, source / part, ignore=shutil.ignore_patterns("__pycache__", "state"))
    patch = PLANTED / f"{fault}.patch"
    command = ["git", "apply", "-C1", "--recount", str(patch)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{patch.name} does not fit the source any more, make it anew:\n{done.stderr}"
    return source


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("commit-behind-post", Kind.UNCOMMITTED), ("acknowledged-before-commit", Kind.LOST)],
)
async def test_a_planted_fault_is_found(tmp_path: Path, fault: str, kind: Kind) -> None:
    """Pins that the judge sees this fault through real processes and sockets, in three kills."""
    (tmp_path / "run").mkdir()
    outcome = await kill_run(tmp_path / "run", seed=1, kills=KILLS, source=spoilt(tmp_path, fault), quiet_s=QUIET_S)
    found = [violation for violation in outcome.violations if violation.kind is kind]
    print(f"\n{fault}: {len(found)} times {kind.name}; {outcome}")  # noqa: T201 - what was measured, for `pytest -s`
    assert found, str(outcome)
