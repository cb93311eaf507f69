"""Writing into a plant: what holds a write back, what refuses it, and that nothing passes by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from adapters.modbus.simulator import ModbusSite
from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from tests.system.rig import holds, until, world
from tests.system.test_reload import edit, polls, reloaded, site
from tests.system.test_sites import completes

SITE = "solent-bess"
STATE, REMOTE, BEAT, LIFE = 1410, 1450, 1451, 1452
POINTS = """
  remote: {connection: plc, address: "holding:1450", type: uint16}
  plc_beat: {connection: plc, address: "holding:1451", type: uint16}
  our_beat: {connection: plc, address: "holding:1452", type: uint16, access: write}
"""


def guarded(head: str = "", state: str = "") -> Callable[[str], str]:
    """Add these members to the site, and to the point that its relays write."""

    def change(text: str) -> str:
        if f"site: {SITE}\n" not in text:
            return text
        text = text.replace("\npoints:\n", f"\n{head}\npoints:{POINTS}", 1)
        return text.replace("range: [0, 9], access: write}", f"range: [0, 9], access: write{state}}}", 1)

    return change


def writes(plant: ModbusSite) -> int:
    return sum(each.values is not None for each in plant.log)


async def watched(plant: ModbusSite) -> None:
    """Wait until a whole poll was made from now on, so that whatever it sets off has had its chance."""
    seen = polls(plant)
    await holds(lambda: polls(plant) > seen + 2)


async def test_an_interlock_holds_the_write_back_until_it_lets_it(tmp_path: Path) -> None:
    """The verdict waits at the gateway, told once and shown; the plant goes remote, and it is written."""
    sites = guarded(state=", interlock: {point: remote}")
    async with world(tmp_path, sites=sites) as here, here.gateway() as running:
        plant = here.plants[SITE]
        sequence = await here.ask(SITE, "SOLENT 1")
        await running.reaches(SITE, State.COMPLETED)
        await holds(lambda: here.events("writes_held", site=SITE))
        await watched(plant)
        assert plant.registers(STATE) == [0]
        degraded = (await running.ready())[1]["degraded"]
        assert [line for line in degraded if "smp_state: its interlock remote does not let it" in line]
        plant.set_registers(REMOTE, [1])
        await holds(lambda: plant.registers(STATE) == [2])
        assert (await plant.result(sequence)).state == state_code(State.COMPLETED)
        await running.relayed()
        assert not [line for line in (await running.ready())[1]["degraded"] if "interlock" in line]
    assert len(here.events("writes_held", site=SITE)) == 1


async def test_a_kill_switch_stops_every_write_and_loses_nothing(tmp_path: Path) -> None:
    """Written into the YAML under way: no acknowledgement, no heartbeat, no result; switched back, all of it comes."""
    async with world(tmp_path) as here, here.gateway() as running:
        plant = here.plants[SITE]
        await completes(here, SITE, "SOLENT 1")
        await running.relayed()
        path = site(here, SITE)
        await reloaded(here, running, lambda: edit(path, {"\npoints:\n": "\nkill_switch: true\npoints:\n"}))
        await watched(plant)
        plant.log.clear()
        sequence = await here.ask(SITE, "SOLENT 2")
        await running.reaches(SITE, State.COMPLETED, number=1)  # a request is still read, and sent
        await watched(plant)
        assert writes(plant) == 0
        assert [
            line for line in (await running.ready())[1]["degraded"] if line == f"site {SITE}: the kill switch is on"
        ]
        await reloaded(here, running, lambda: edit(path, {"kill_switch: true\n": ""}))
        assert (await plant.result(sequence)).state == state_code(State.COMPLETED)
        await running.relayed()
        assert len(await running.messages(SITE)) == 2
    assert len(here.events("site_connected", site=SITE)) == 1


async def test_a_dry_run_tells_of_every_write_and_makes_none(tmp_path: Path) -> None:
    """The message goes to the SMP; the plant's registers stay as they were, and the evidence says why."""
    async with world(tmp_path, sites=guarded("dry_run: true")) as here, here.gateway() as running:
        plant = here.plants[SITE]
        await here.ask(SITE, "SOLENT 1")
        message = await running.reaches(SITE, State.COMPLETED)
        await running.relayed()
        await watched(plant)
        assert writes(plant) == 0
        assert len(await running.messages(SITE)) == 1
    told = [str(each["write"]) for each in here.events("write_rehearsed", site=SITE)]
    assert [each for each in told if "smp_state" in each and "2" in each]
    assert {relay.problem for relay in here.story(message.id).relays} <= {
        "smp_state: dry run: nothing was written",
        "plc: dry run: nothing was written",
        None,
    }
    assert not [relay for relay in here.story(message.id).relays if relay.state == "delivered"]


async def test_nothing_is_written_while_the_plants_program_stands_still(tmp_path: Path) -> None:
    """Its heartbeat moves: our own is counted up and the verdict written; it stops: nothing is written any more."""
    head = "heartbeat: {read: plc_beat, within: 2s, write: our_beat}"
    async with world(tmp_path, sites=guarded(head)) as here, here.gateway() as running:
        plant = here.plants[SITE]
        await here.ask(SITE, "SOLENT 1")
        await running.reaches(SITE, State.COMPLETED)
        await watched(plant)
        assert (plant.registers(STATE), plant.registers(LIFE)) == ([0], [0])

        def beats() -> bool:
            plant.set_registers(BEAT, [(plant.registers(BEAT)[0] + 1) % 65536])
            return plant.registers(STATE) == [2] and plant.registers(LIFE) != [0]

        await holds(beats)

        async def stands_still() -> bool:
            return any("plc_beat did not move" in line for line in (await running.ready())[1]["degraded"])

        await until(stands_still)
        await watched(plant)
        plant.log.clear()
        await watched(plant)
        assert writes(plant) == 0


async def test_a_step_too_far_is_refused_for_good(tmp_path: Path) -> None:
    """Refused, never clamped: the register keeps its value, the alarm and the evidence say why, others go on."""
    sites = guarded(state=", step: 1, feedback: remote")
    async with world(tmp_path, sites=sites) as here, here.gateway() as running:
        plant = here.plants[SITE]
        plant.set_registers(REMOTE, [9])
        sequence = await here.ask(SITE, "SOLENT 1")
        assert (await plant.result(sequence)).state == state_code(State.COMPLETED)
        await running.relayed()
        assert plant.registers(STATE) == [0]
        message = await running.reaches(SITE, State.COMPLETED)
    problems = [relay.problem for relay in here.story(message.id).relays if relay.problem is not None]
    assert "smp_state: 2 is more than 1 away from 9" in problems
    assert here.events("relay_refused", site=SITE)
