"""A kill run: traffic, kill -9 of the gateway at random moments, restart, drain, and the three records at the end."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gateway.core.transaction import State
from tests.crash.checker import Violation, check
from tests.crash.processes import Child
from tests.crash.records import JournalRecord, read_journal, read_ledger, states
from tests.crash.world import REPOSITORY, World, world

# Events of the gateway's log that a kill may not bring about.
_ALARMS = frozenset(
    {
        "site_faulted",
        "handler_faulted",
        "journal_broken",
        "journal_full",
        "mailbox_alarmed",
        "message_conflicted",
        "callback_conflicted",
        "enquiries_refused",
        "messages_stuck",
        "participant_held",
        "endpoint_held",
        "relay_refused",
    }
)


class Moment(StrEnum):
    """Where in the conversation the gateway is killed."""

    TRAFFIC = "in full traffic"
    OUTAGE = "while the SMP is stopped"
    VERDICTS = "while results come back"
    RECOVERY = "soon after a start"


# How many calls of a kind the busiest thread surely makes in traffic, the writer's and the event loop's.
_CALLS = (("pwrite64", 1500), ("fdatasync", 40), ("write", 500), ("ftruncate", 3))
_MOMENTS = tuple(Moment)  # each in its turn, so that a short run has them all


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a run was like, and what it broke."""

    seed: int
    kills: Counter[Moment] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)  # at which system calls it was killed
    in_flight: Counter[State] = field(default_factory=Counter)
    unsent: set[tuple[str, int]] = field(default_factory=set)  # requests acknowledged and not sent at a kill
    drained: bool = False
    exit_codes: list[int] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)  # of the plants: evidence, no verdict
    violations: list[Violation] = field(default_factory=list)
    messages: Mapping[State, int] = field(default_factory=dict)
    resends: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        kills = ", ".join(f"{count} {moment}" for moment, count in self.kills.items())
        flight = ", ".join(f"{count} {state}" for state, count in sorted(self.in_flight.items()))
        ends = ", ".join(f"{count} {state}" for state, count in sorted(self.messages.items()))
        return (
            f"seed {self.seed}: {self.kills.total()} kills ({kills}); in flight at the kills: {flight or 'nothing'}, "
            f"{len(self.unsent)} different requests acknowledged and unsent; "
            f"{sum(self.messages.values())} messages ({ends}); "
            f"{self.resends} resends; {len(self.violations)} violations; {self.seconds:.0f} s"
        )


async def kill_run(folder: Path, *, seed: int, kills: int, source: Path = REPOSITORY, quiet_s: float = 45.0) -> Outcome:
    """Kill the gateway so often, let everything drain, and compare; ``quiet_s`` of silence ends the draining.

    The silence is longer than any pause that the product makes on the way out of a doubt.
    """
    began = time.monotonic()
    outcome, dice = Outcome(seed=seed), random.Random(seed)
    async with world(folder, source=source, dice=dice) as here:
        here.begin()
        for number in range(kills):
            await _live_and_die(here, _MOMENTS[number % len(_MOMENTS)], dice, outcome)
        await _finish(here, outcome, quiet_s)
    outcome.seconds = time.monotonic() - began
    return outcome


async def call_run(folder: Path, *, seed: int, kills: int, quiet_s: float = 45.0) -> Outcome:
    """The same, and after the first each kill is at a system call: the n-th of its kind that a thread makes (P2).

    Needs strace.

    Raises:
        RuntimeError: a life did not come to its call.
    """
    began = time.monotonic()
    outcome, dice = Outcome(seed=seed), random.Random(seed)
    async with world(folder, dice=dice) as here:
        here.begin()
        await _live_and_die(here, Moment.TRAFFIC, dice, outcome)
        for _ in range(kills):
            await _die_at_a_call(here, dice, outcome)
        await _finish(here, outcome, quiet_s)
    outcome.seconds = time.monotonic() - began
    return outcome


async def _finish(here: World, outcome: Outcome, quiet_s: float) -> None:
    """Let everything drain in a life that nobody ends, and compare what everybody says."""
    async with here.running() as gateway:
        here.stop_asking()
        outcome.drained = await here.drain(quiet_s=quiet_s)
        gateway.signal(signal.SIGTERM)
        outcome.exit_codes = [await gateway.ended(), *await here.end()]
    plants = [plant.record() for plant in here.plants.values()]
    ledger, journal = read_ledger(here.ledger), read_journal(here.journal)
    outcome.alarms = alarms(here.gateways)
    outcome.noise = [line for plant in here.plants.values() for line in plant.noise]
    outcome.violations = check(plants, ledger, journal)
    outcome.messages = Counter(message.state for message in journal.messages)
    outcome.resends = _resends(journal)


def alarms(gateways: Sequence[Child]) -> list[str]:
    """Lines of the gateways' logs that no kill may bring about: alarms, and whatever is no event at all."""
    found = []
    for gateway in gateways:
        for line in gateway.lines:
            try:
                event = json.loads(line)["event"]
            except (ValueError, KeyError, TypeError):
                event = None
            cut = event is None and line is gateway.lines[-1] and line.startswith("{")  # its last line, cut by the kill
            if (event is None and not cut) or event in _ALARMS:
                found.append(line)
    return found


async def _live_and_die(here: World, moment: Moment, dice: random.Random, outcome: Outcome) -> None:
    """One life of the gateway, from its start to its kill."""
    smp = here.smp
    if smp is None:
        raise RuntimeError("the world has no SMP")
    async with here.running() as gateway:
        match moment:
            case Moment.TRAFFIC:
                await _acknowledge(here, dice.randint(4, 24))
                await asyncio.sleep(dice.uniform(0.0, 0.06))
            case Moment.OUTAGE:
                await _acknowledge(here, dice.randint(2, 8))
                smp.signal(signal.SIGSTOP)
                await _acknowledge(here, dice.randint(9, 18))
                await asyncio.sleep(dice.uniform(0.0, 0.06))
            case Moment.VERDICTS:
                await _read(here, dice.randint(3, 24))
                await asyncio.sleep(dice.uniform(0.0, 0.2))
            case Moment.RECOVERY:
                await gateway.until("journal_opened")
                await asyncio.sleep(dice.uniform(0.0, 0.5))
        gateway.signal(signal.SIGKILL)
        await gateway.ended()
    outcome.kills[moment] += 1
    _count(here, outcome)
    smp.signal(signal.SIGCONT)


async def _die_at_a_call(here: World, dice: random.Random, outcome: Outcome) -> None:
    """One life of the gateway under strace, which kills it on the way into a call."""
    call, most = dice.choice(_CALLS)
    number = dice.randint(1, most)
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
    async with here.running(under=("strace", "-f", "-qq", "-I2", "-o", "/dev/null", *inject)) as gateway:
        died = await here.until(lambda: gateway.process.returncode is not None, quiet_s=30.0)
        gateway.signal(signal.SIGTERM)  # so strace takes what it runs along, which SIGKILL would not
        code = await gateway.ended()
    if not died or code != -signal.SIGKILL:
        raise RuntimeError(
            f"call {number} of {call} killed nobody (exit code {code}): " + "\n".join(gateway.lines[-5:])
        )
    outcome.calls[call] += 1
    _count(here, outcome)


async def _acknowledge(here: World, more: int) -> None:
    """Wait until so many more requests were acknowledged."""
    goal = here.acknowledged + more
    await _until(here, lambda: here.acknowledged >= goal)


async def _read(here: World, more: int) -> None:
    """Wait until the plants have read so many more results of what went to the SMP."""
    goal = here.answered + more
    await _until(here, lambda: here.answered >= goal)


async def _until(here: World, holds: Callable[[], bool]) -> None:
    if not await here.until(holds, quiet_s=30.0):
        raise TimeoutError("the plants hear nothing any more:\n" + "\n".join(here.gateways[-1].lines[-20:]))


def _count(here: World, outcome: Outcome) -> None:
    """Count what was under way; nobody writes the journal now."""
    told = {(plant.site, sequence) for plant in here.plants.values() for sequence in plant.acknowledged}
    for request, state in states(here.journal).items():
        if state in {State.ACCEPTED, State.SENDING, State.AWAITING, State.IN_DOUBT}:
            outcome.in_flight[state] += 1
        if state is State.ACCEPTED and request in told:
            outcome.unsent.add(request)


def _resends(journal: JournalRecord) -> int:
    """Attempts after the first, by the journal; each is a POST that may have arrived."""
    return sum(len(each.committed) - 1 for message in journal.messages for each in message.submissions)
