"""A fault run: one gateway that lives throughout, an SMP that does everything wrong, and what is left to compare."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.transaction import State
from gateway.simulator import Fault, Ledger
from tests.crash.checker import Violation, check
from tests.crash.kills import alarms
from tests.crash.records import JournalRecord, read_journal, read_ledger
from tests.crash.world import world

# How likely each fault is, for each submission, status call or callback. Together about every second message meets one.
CHANCES: Mapping[Fault, float] = {
    Fault.LOSE_REQUEST: 0.03,
    Fault.FAIL_BEFORE: 0.03,
    Fault.UNAVAILABLE: 0.02,
    Fault.BUSY: 0.02,
    Fault.EXPIRE_TOKENS: 0.02,
    Fault.LOSE_REPLY: 0.04,
    Fault.CUT_REPLY: 0.03,
    Fault.FAIL_AFTER: 0.03,
    Fault.FAIL_STATUS: 0.2,
    Fault.CALLBACK_EARLY: 0.05,
    Fault.CALLBACK_LATE: 0.05,
    Fault.CALLBACK_TWICE: 0.1,
    Fault.CALLBACK_NEVER: 0.04,
    Fault.CALLBACK_CONTRADICT: 0.04,
    Fault.CALLBACK_FORGE_KEY: 0.05,
    Fault.CALLBACK_FORGE_BODY: 0.05,
    Fault.CALLBACK_FORGE_AUD: 0.05,
    Fault.CALLBACK_REORDER: 0.05,
}
# What an SMP that contradicts itself, or forgets a fresh token twice in a row, rightly sets off.
_DESERVED = frozenset({"callback_conflicted", "participant_held", "enquiries_refused"})


@dataclass(slots=True, kw_only=True)
class FaultOutcome:
    """What a run was like, and what it broke; ``doubts`` counts submissions that were ever in doubt."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    messages: Mapping[State, int] = field(default_factory=dict)
    doubts: int = 0
    drained: bool = False
    exit_codes: list[int] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {state}" for state, count in sorted(self.messages.items()))
        faults = ", ".join(f"{count} {fault}" for fault, count in sorted(self.faults.items()))
        return (
            f"seed {self.seed}: {sum(self.messages.values())} messages ({ends}); {self.doubts} doubts; "
            f"{self.faults.total()} faults ({faults}); {len(self.violations)} violations; {self.seconds:.0f} s"
        )


async def fault_run(folder: Path, *, seed: int, messages: int, quiet_s: float = 60.0) -> FaultOutcome:
    """Let the plants ask so often, drain, and compare; ``quiet_s`` of silence ends the draining.

    The silence is longer than any pause that the product makes on the way out of a doubt.
    """
    began, outcome = time.monotonic(), FaultOutcome(seed=seed)
    options = [f"--fault={fault}={chance}" for fault, chance in CHANCES.items()]
    async with world(
        folder,
        dice=random.Random(seed),
        answer_delay="0s",
        misbehaving=("--seed", str(seed), "--fault=jitter=40ms", *options),
    ) as here:
        async with here.running() as gateway:
            here.begin()
            await here.until(lambda: here.acknowledged >= messages, quiet_s=quiet_s)
            here.stop_asking()
            outcome.drained = await here.drain(quiet_s=quiet_s)
            gateway.signal(signal.SIGTERM)
            outcome.exit_codes = [await gateway.ended(), *await here.end()]
        plants = [plant.record() for plant in here.plants.values()]
        ledger, journal = read_ledger(here.ledger), read_journal(here.journal)
        outcome.faults = Counter(str(each.fault) for each in Ledger.read_mischief(here.ledger))
    outcome.alarms = [line for line in alarms(here.gateways) if not any(f'"{name}"' in line for name in _DESERVED)]
    outcome.violations = check(plants, ledger, journal)
    outcome.messages = Counter(message.state for message in journal.messages)
    outcome.doubts = _doubts(journal)
    outcome.seconds = time.monotonic() - began
    return outcome


def _doubts(journal: JournalRecord) -> int:
    return sum(any(row.to_state is State.IN_DOUBT for row in message.audit) for message in journal.messages)
