"""Messages that an edge or the clock sets off: made once each, also across restarts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.core.transaction import State
from tests.system.rig import Running, holds, world
from tests.system.test_clock import HOUR, SECOND, Clock
from tests.system.test_sites import completes

SITE = "solent-bess"
READ = 1400


def when(trigger: str) -> Callable[[str], str]:
    """Let this set off the extension of the example's site, which takes a register's value along."""
    return lambda text: (
        text.replace("{changes: extension_commissioned}", trigger)
        .replace("energyMwh: 20}", "energyMwh: {point: extension_commissioned}}")
        .replace("description: counts up when ready", "range: [0, 60]")
    )


async def keys(running: Running) -> list[str]:
    return [m.intake_key for m in await running.messages(SITE) if m.lane.message == "extension"]


async def test_an_edge_makes_one_message_each_time(tmp_path: Path) -> None:
    """On at the start is no edge; off and on again is one, and so is one that came while the gateway was away."""
    async with world(tmp_path, sites=when("{edge: extension_commissioned}")) as here:
        plant = here.plants[SITE]
        plant.set_registers(READ, [5])
        async with here.gateway() as running:
            await completes(here, SITE, "SOLENT 1")  # the baseline was read long before this is over
            plant.set_registers(READ, [0])
            await completes(here, SITE, "SOLENT 2")  # and so was the falling edge
            assert await keys(running) == []
            plant.set_registers(READ, [6])
            message = await running.reaches(SITE, State.COMPLETED, message="extension")
            assert b'"energyMwh":6' in message.content
            plant.set_registers(READ, [0])
            await completes(here, SITE, "SOLENT 3")
        plant.set_registers(READ, [7])
        async with here.gateway() as running:
            await running.reaches(SITE, State.FAILED, number=1, message="extension")  # the name exists
            assert await keys(running) == ["change:1", "change:2"]


async def test_a_period_makes_a_message_of_each_instant(tmp_path: Path) -> None:
    """The first start makes none for what passed; then each instant makes one, named by it, with what was read."""
    async with world(tmp_path, sites=when("{every: 1s}")) as here:
        here.plants[SITE].set_registers(READ, [9])
        async with here.gateway() as running:
            await running.reaches(SITE, *State, number=2, message="extension")
            made = await keys(running)
        instants = [datetime.fromisoformat(key.removeprefix("at:")) for key in made]
        assert instants == sorted(set(instants))
        assert instants[1] - instants[0] >= timedelta(seconds=1)
        async with here.gateway() as running:
            first = (await running.messages(SITE))[0]
    assert b'"energyMwh":9' in first.content


async def test_a_time_of_day_is_made_late_once(tmp_path: Path) -> None:
    """Down over three mornings: the last one is made at the return, in local time, and never again."""
    clock = Clock()
    now = datetime.fromtimestamp(clock.now() // SECOND, UTC)
    past = now.astimezone(ZoneInfo("Europe/London")) - timedelta(minutes=2)
    async with world(tmp_path, sites=when(f"{{at: {past:%H:%M}}}"), smp_clock=clock.now) as here:
        async with here.gateway(clock) as running:
            await completes(here, SITE, "SOLENT 1")
            assert await keys(running) == []
        clock.ahead += 72 * HOUR
        key = ""
        for _ in range(2):
            async with here.gateway(clock) as running:
                await running.reaches(SITE, *State, message="extension")
                await holds(lambda: here.events("site_connected", site=SITE))
                (key,) = await keys(running)
    due = (past + timedelta(days=3)).replace(second=0, microsecond=0).astimezone(UTC)
    assert key == f"at:{due:%Y-%m-%dT%H:%M:%SZ}"
