from __future__ import annotations

import os
import secrets
from pathlib import Path

from gateway.core.transaction import State
from tests.crash.kills import Moment, kill_run

KILLS = 20


async def test_nothing_is_lost_or_doubled_by_twenty_kills(tmp_path: Path) -> None:
    """Pins promise P1: real processes, kill -9 at random moments, three records compared outside of the gateway."""
    seed = int(os.environ.get("CRASH_SEED") or secrets.randbelow(1_000_000))
    outcome = await kill_run(tmp_path, seed=seed, kills=KILLS)
    print(f"\n{outcome}")  # noqa: T201 - the run's own record, shown by `pytest -s` and with every failure
    assert not outcome.violations, f"{outcome}\n" + "\n".join(map(str, outcome.violations))
    assert not outcome.alarms, f"{outcome}\n" + "\n".join(outcome.alarms)
    assert outcome.drained, str(outcome)
    assert outcome.exit_codes == [0] * 5, str(outcome)
    assert outcome.kills.total() == KILLS
    assert outcome.kills.keys() == set(Moment)
    assert len(outcome.unsent) >= 20, str(outcome)
    assert outcome.in_flight[State.SENDING] + outcome.in_flight[State.IN_DOUBT], str(outcome)
    assert {State.COMPLETED, State.FAILED, State.REFUSED} == set(outcome.messages), str(outcome)
