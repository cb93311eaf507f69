from __future__ import annotations

import os
import secrets
from pathlib import Path

from gateway.core.transaction import State
from tests.crash.faults import CHANCES, fault_run

MESSAGES = 500


async def test_ledger_and_journal_agree_whatever_the_smp_does(tmp_path: Path) -> None:
    """Pins P5, P6 and P7: every fault of the simulator mixed; nothing lost, doubled, reordered, forged or left open."""
    seed = int(os.environ.get("FAULT_SEED") or secrets.randbelow(1_000_000))
    outcome = await fault_run(tmp_path, seed=seed, messages=MESSAGES)
    print(f"\n{outcome}")  # noqa: T201 - the run's own record, shown by `pytest -s` and with every failure
    assert not outcome.violations, f"{outcome}\n" + "\n".join(map(str, outcome.violations))
    assert not outcome.alarms, f"{outcome}\n" + "\n".join(outcome.alarms)
    assert outcome.drained, str(outcome)
    assert outcome.exit_codes == [0] * 5, str(outcome)
    assert sum(outcome.messages.values()) >= MESSAGES, str(outcome)
    assert {State.COMPLETED, State.FAILED, State.REFUSED} == set(outcome.messages), str(outcome)
    assert set(outcome.faults) == set(CHANCES), str(outcome)
    assert outcome.doubts >= MESSAGES // 20, str(outcome)
