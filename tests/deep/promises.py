"""The promises that can be tried for as long as somebody likes: what one round does, and which code it is about.

To add one: a function from a seed and an empty folder to a :class:`Round`, and a line in :data:`PROMISES`.
"""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.core.transaction import TRANSITIONS
from tests.crash.faults import fault_run
from tests.crash.kills import call_run, kill_run
from tests.crash.sweep import every_point, kill_at, lives
from tests.deep import on_postgres
from tests.deep.ledger import ROOT
from tests.deep.rounds import Round
from tests.edge.journal.test_failing import acts, fail_once
from tests.edge.journal.test_power import CUTS, lost, record
from tests.planted.faults import faults, judged

_JOURNAL = ("gateway/edge/journal/**/*", "gateway/core/*.py")
_EVIDENCE = ("gateway/edge/journal/**/*", "gateway/core/evidence*.py", "gateway/cli/evidence/*.py")
_ALL = ("gateway/**/*.py", "gateway/**/*.sql", "adapters/**/*.py", "config/profiles/*.yaml")
_CALLS = 4
_KILLS, _POINTS, _FAULTS, _TAMPERINGS = 8, 20, 10, 200
_MESSAGES, _HOURS = 200, 20
OFTEN = 100
_STEP = re.compile(r"^ *(\d+) (\w+ --\w+)-->$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One promise of the table: ``goal`` is the cumulative n to reach, ``unit`` what n counts.

    ``often`` names what rounds are to reach at least :data:`OFTEN` times in all, ``remark`` what was learnt from
    failures that the ledger has.
    """

    name: str
    says: str
    unit: str
    goal: int
    concerned: Sequence[str]
    run: Callable[[int, Path], Round]
    often: Sequence[str] = ()
    remark: str = ""


def _kill(seed: int, folder: Path) -> Round:
    """Kill the real process, and compare what the plants, the SMP and the journal say."""
    outcome = asyncio.run(kill_run(folder / "world", seed=seed, kills=_KILLS))
    failures = [*map(str, outcome.violations), *outcome.alarms]
    if not outcome.drained:
        failures.append(f"it did not drain: {outcome}")
    return Round(_KILLS, failures)


def _call(seed: int, folder: Path) -> Round:
    """Kill the real process on the way into a system call, in traffic, and compare what everybody says."""
    outcome = asyncio.run(call_run(folder / "world", seed=seed, kills=_CALLS))
    failures = [*map(str, outcome.violations), *outcome.alarms]
    if not outcome.drained:
        failures.append(f"it did not drain: {outcome}")
    return Round(_CALLS, failures)


def _sweep(seed: int, _folder: Path) -> Round:
    """The next points of one message's life, of every kind, round and round."""
    with lives() as here:
        everywhere = every_point(here)
        first = (seed - 1) * _POINTS
        chosen = [everywhere[(first + at) % len(everywhere)] for at in range(_POINTS)]
        return Round(_POINTS, [fault for point in chosen for fault in kill_at(here, point)])


def _cut(seed: int, folder: Path) -> Round:
    """Cut the power of a run, and of the same run without syncs, in which that must show."""
    failures: list[str] = []
    for name, synced in (("synced", True), ("careless", False)):
        here = folder / name
        here.mkdir()
        tape = asyncio.run(record(here, name, synced=synced))
        found = lost(tape, here, seed)
        if synced:
            failures += found
        elif not found:
            failures.append("the run without syncs lost nothing: the cuts show nothing")
    return Round(CUTS, failures)


def _fail(seed: int, folder: Path) -> Round:
    """Fail writes and syncs of the journal at random places."""
    dice, failures = random.Random(seed), []
    opening, everything = asyncio.run(acts(folder / "counted"))
    for number in range(_FAULTS):
        at = dice.randrange(opening + 1, everything)
        found = asyncio.run(fail_once(folder / str(number), at, dice.choice((1, 1000))))
        failures += [f"act {at}: {each}" for each in found]
    return Round(_FAULTS, failures)


def _mischief(seed: int, folder: Path) -> Round:
    """Let the simulated SMP do everything wrong, and compare its ledger with the journal."""
    outcome = asyncio.run(fault_run(folder, seed=seed, messages=_MESSAGES))
    failures = [*map(str, outcome.violations), *outcome.alarms, *([] if outcome.drained else ["not over"])]
    return Round(sum(outcome.messages.values()), failures)


def _simulate(seed: int, _folder: Path) -> Round:
    """Simulate hours on virtual time, each of a seed of its own."""
    first = (seed - 1) * _HOURS
    command = [sys.executable, "-m", "tests.simulation", "--first", str(first), "--seeds", str(_HOURS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    broken = [line for line in done.stdout.splitlines() if line.startswith("BROKEN")]
    return Round(_HOURS, broken or ([] if done.returncode == 0 else [done.stderr[-2000:]]), steps(done.stdout))


def steps(said: str) -> dict[str, int]:
    """How often the simulation says that it took each step."""
    return {step: int(count) for count, step in _STEP.findall(said)}


def _plant(seed: int, folder: Path) -> Round:
    """Plant the next fault, in turn, and want its test red."""
    everything = faults()
    fault = everything[(seed - 1) % len(everything)]
    red, said = judged(fault, folder)
    return Round(1, [] if red else [f"{fault.name}: {fault.test} is not red\n{said}"])


def _tamper(seed: int, _folder: Path) -> Round:
    """Alter journals and exported files, as many times as the suite does, with other examples."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}"]
    command += [str(ROOT / "tests" / "edge" / "journal" / "test_evidence.py"), "-k", "whatever"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Round(_TAMPERINGS, [] if done.returncode == 0 else [done.stdout[-2000:]])


PROMISES: dict[str, Promise] = {
    each.name: each
    for each in (
        Promise(
            name="P1",
            says="an accepted message survives process death",
            unit="kills",
            goal=1_000,
            concerned=_ALL,
            run=_kill,
        ),
        Promise(
            name="P2",
            says="no crash point is special",
            unit="points",
            goal=320,
            concerned=_JOURNAL,
            run=_sweep,
            remark="its 34 failures of 2026-11-25 were the judge's: a submission that the SMP had not processed was"
            " back in ACCEPTED, as it must be, and counted as lost. They were 17 points, met twice.",
        ),
        Promise(
            name="P2-gateway",
            says="no system call of the whole gateway in traffic is special: its n-th write, sync or truncation (P2)",
            unit="kills",
            goal=320,
            concerned=_ALL,
            run=_call,
        ),
        Promise(name="P3", says="it survives power loss", unit="cuts", goal=10_000, concerned=_JOURNAL, run=_cut),
        Promise(name="P4", says="I/O errors fail closed", unit="faults", goal=200, concerned=_JOURNAL, run=_fail),
        Promise(
            name="P5",
            says="one effect per submission, in order, every doubt resolved, whatever the network does (P5, P6, P7)",
            unit="messages",
            goal=100_000,
            concerned=_ALL,
            run=_mischief,
        ),
        Promise(
            name="P8",
            says="every interleaving that is reached is safe",
            unit="simulated hours",
            goal=100_000,
            concerned=_ALL,
            run=_simulate,
            often=tuple(sorted(f"{before} --{event}" for before, event in TRANSITIONS)),
        ),
        Promise(name="P10", says="the tests can fail", unit="planted faults", goal=30, concerned=_ALL, run=_plant),
        Promise(
            name="P11",
            says="two gateways on one PostgreSQL, killed, paused, stopped, and their database killed: nothing lost,"
            " doubled or reordered, and nothing written by one that was replaced (P1, P6, P11)",
            unit="strokes",
            goal=500,
            concerned=_ALL,
            run=on_postgres.strike,
        ),
        Promise(
            name="P22",
            says="the audit cannot be quietly altered",
            unit="alterations",
            goal=1_000,
            concerned=_EVIDENCE,
            run=_tamper,
        ),
        Promise(
            name="P4-postgres",
            says="a COMMIT whose answer is lost has its effect once (P4 on PostgreSQL)",
            unit="cuts",
            goal=200,
            concerned=_JOURNAL,
            run=on_postgres.cut,
        ),
        Promise(
            name="P22-postgres",
            says="the audit cannot be quietly altered, by the owner of the database either (P22 on PostgreSQL)",
            unit="alterations",
            goal=1_000,
            concerned=_EVIDENCE,
            run=on_postgres.alter,
            remark="the first run ended within its first round, which the ledger therefore lacks: an entry whose"
            " exhibits were no JSON any more ended the examination instead of being told. It is told now.",
        ),
    )
}
