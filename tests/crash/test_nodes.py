"""Two gateways on one PostgreSQL, in traffic, struck again and again: P1, P6 and P11 across gateways."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from gateway.core.transaction import State
from tests.crash.nodes import Stroke, node_run
from tests.postgres import postgres_server

STROKES = 8


@pytest.mark.timeout(600)  # where everything else runs too, twelve starts of a process take their time
async def test_two_gateways_survive_whatever_happens_to_them(tmp_path: Path) -> None:
    """Kills, pauses, stops and a killed database: nothing lost, doubled or reordered, and nothing written too late."""
    seed = int(os.environ.get("CRASH_SEED") or secrets.randbelow(1_000_000))
    with postgres_server() as server:
        outcome = await node_run(tmp_path, server, seed=seed, strokes=STROKES)
    print(f"\n{outcome}")  # noqa: T201 - the run's own record, shown by `pytest -s` and with every failure
    assert not outcome.violations, f"{outcome}\n" + "\n".join(map(str, outcome.violations))
    assert not outcome.alarms, f"{outcome}\n" + "\n".join(outcome.alarms)
    assert outcome.drained, str(outcome)
    assert outcome.late == outcome.late_writes == 0, str(outcome)
    assert outcome.strokes == dict.fromkeys(Stroke, STROKES // len(Stroke))
    assert outcome.handed_over > STROKES
    assert outcome.told, str(outcome)
    assert {State.COMPLETED, State.FAILED, State.REFUSED} == set(outcome.messages), str(outcome)
