"""`make deep` keeps what it tried: rounds go on after an interruption, and count for the code that they were run on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.core.transaction import TRANSITIONS
from tests.deep import on_postgres, table
from tests.deep.ledger import ROOT, Ledger, Line, fingerprint
from tests.deep.promises import PROMISES, steps
from tests.deep.rounds import Round

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
    assert (
        f"| P4 | {P4.says} | 20 faults | 0 | < 0.15 | 20 in {_minutes(lines)} min | 0 | 200 | {lines[1].at[:10]} |"
        in page
    )
    assert "| P3 | it survives power loss | 0 cuts | 0 | not known | 0 in 0 min | 0 | 10,000 | never |" in page


def _minutes(lines: Sequence[Line]) -> int:
    return round(sum(line.seconds for line in lines) / 60)


def test_rounds_on_other_code_do_not_count(tmp_path: Path) -> None:
    """What was tried before the code changed is told apart, with its failures; a failure takes the bound away."""
    ledger = Ledger(tmp_path, "P4", P4.concerned)
    ledger.add(1, Round(10, []), 1.0)
    ledger.code = "another"
    ledger.add(2, Round(500, ["act 3: lost", "act 9: lost"]), 298.0)
    again = Ledger(tmp_path, "P4", P4.concerned)
    assert [line.seed for line in again.counted()] == [1]
    assert again.next_seed() == 3
    again.add(3, Round(10, ["act 7: lost"]), 1.0)
    table.write(tmp_path / "page.md", tmp_path, [P4])
    assert "| 20 faults | 1 | not known | 520 in 5 min | 3 |" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_what_was_seldom_reached_is_told(tmp_path: Path) -> None:
    """How many steps of the table were taken a hundred times, on this code and ever, and how often the others."""
    p8 = PROMISES["P8"]
    ledger = Ledger(tmp_path, "P8", p8.concerned)
    often = dict.fromkeys(p8.often, 60)
    ledger.add(1, Round(20, [], often), 1.0)
    ledger.add(2, Round(20, [], often | {"sending --declined": 19, "accepted --poison": 0}), 1.0)
    ledger.code = "another"
    ledger.add(3, Round(20, [], {"sending --declined": 20, "accepted --poison": 60}), 1.0)
    table.write(tmp_path / "page.md", tmp_path, [p8])
    count = len(TRANSITIONS)
    told = f"Of {count} steps, P8 has taken {count - 2} at least 100 times on this code and {count - 1} ever; "
    assert told + "less often ever: sending --declined (99).\n" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_a_round_of_the_simulation_counts_its_steps() -> None:
    """What a short simulation prints is read: every step it counts is one of the table's."""
    command = [sys.executable, "-m", "tests.simulation", "--first", "0", "--seeds", "1", "--hours", "0.1"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    reached = steps(said)
    assert reached["accepted --taken"] > 0
    assert reached.keys() <= set(PROMISES["P8"].often)


def test_an_altered_audit_on_postgres_is_found(tmp_path: Path) -> None:
    """A few alterations of each kind by the owner of the database; none goes unnoticed (P22)."""
    done = on_postgres.alter(1, tmp_path, 12)
    assert (done.n, done.failures) == (12, [])


def test_commits_that_are_cut_off_on_postgres_have_one_effect(tmp_path: Path) -> None:
    """Connections reset at a few commits, before or after they counted; each message goes its way once (P4)."""
    done = on_postgres.cut(1, tmp_path, 6)
    assert (done.n >= 6, done.failures) == (True, [])


def test_a_changed_file_is_other_code() -> None:
    """The fingerprint follows the files of its patterns, and every promise has some."""
    assert fingerprint(["gateway/edge/journal/*.py"]) != fingerprint(["gateway/edge/journal/*.sql"])
    for promise in PROMISES.values():
        assert promise.concerned
        assert fingerprint(promise.concerned) != fingerprint([])
