"""`make deep` keeps what it tried: rounds go on after an interruption, and count for the code that they were run on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.deep import table
from tests.deep.ledger import ROOT, Ledger, fingerprint
from tests.deep.promises import PROMISES

_COMMAND = [sys.executable, "-m", "tests.deep", "--promise", "P4", "--ledger"]
P4 = PROMISES["P4"]


def test_a_run_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    """Killed in its second round, it has kept the first; the next run goes on with another seed, and tells both."""
    folder = tmp_path / "assurance"
    command = [*_COMMAND, str(folder), "--minutes"]
    with subprocess.Popen([*command, "60"], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline().startswith("P4 seed 1: 10 faults, 0 failures")
        os.killpg(run.pid, signal.SIGKILL)
    with (folder / "P4.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"promise": "P4", "at"')  # a line that a crash has cut
    done = subprocess.run([*command, "0"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "P4 seed 2: 10 faults, 0 failures" in done.stdout
    assert "20 of 200 so far" in done.stdout
    lines = list(Ledger(folder, "P4", P4.concerned).lines())
    assert [(line.seed, line.n, line.failures) for line in lines] == [(1, 10, ()), (2, 10, ())]
    page = (tmp_path / "assurance.md").read_text(encoding="utf-8")
    assert f"| P4 | {P4.says} | 20 faults | 0 | < 0.15 | 200 | {lines[1].at[:10]} |" in page
    assert "| P3 | it survives power loss | 0 cuts | 0 | not known | 10,000 | never |" in page


def test_rounds_on_other_code_do_not_count(tmp_path: Path) -> None:
    """What was tried before the code changed stays in the ledger only; a failure takes the bound away."""
    ledger = Ledger(tmp_path, "P4", P4.concerned)
    ledger.add(1, 10, [], 1.0)
    ledger.code = "another"
    ledger.add(2, 500, [], 1.0)
    again = Ledger(tmp_path, "P4", P4.concerned)
    assert [line.seed for line in again.counted()] == [1]
    assert again.next_seed() == 3
    again.add(3, 10, ["act 7: lost"], 1.0)
    table.write(tmp_path / "page.md", tmp_path, [P4])
    assert "| 20 faults | 1 | not known |" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_a_changed_file_is_other_code() -> None:
    """The fingerprint follows the files of its patterns, and every promise has some."""
    assert fingerprint(["gateway/edge/journal/*.py"]) != fingerprint(["gateway/edge/journal/*.sql"])
    for promise in PROMISES.values():
        assert promise.concerned
        assert fingerprint(promise.concerned) != fingerprint([])
