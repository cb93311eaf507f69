"""Units over the real SMP simulator and real plants: set off by a verdict, waiting, refused, and back at the site."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gateway.app import open_control
from gateway.core.asset_control import ADOPT, AdoptOrder, OldAsset
from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from tests.system.rig import World, holds, world

UNIT_STATE = 1300


def unit_state(here: World) -> int:
    """What the plant holds in the register that the unit's relay writes."""
    return here.plants["hams-bess"].registers(UNIT_STATE, 1)[0]


def edited(old: str, new: str) -> Callable[[str], str]:
    """Edit the site that has the unit, and no other."""

    def edit(text: str) -> str:
        if "hams-1:" not in text:
            return text
        assert old in text
        return text.replace(old, new)

    return edit


async def test_a_battery_sets_off_its_unit_and_the_plant_reads_its_end(tmp_path: Path) -> None:
    """One request of the plant: the asset is created, then the unit with it aligned; each told in its own place."""
    async with world(tmp_path, units=True) as here, here.gateway() as running:
        sequence = await here.ask("hams-bess", "HAMS 1")
        result = await here.plants["hams-bess"].result(sequence)
        assert result.state == state_code(State.COMPLETED)
        unit = await running.reaches("hams-bess", State.COMPLETED, message="hams-1")
        await running.relayed()
        assert here.effects() == ["HAMS 1", "HAMS-1"]
        assert unit.created[0].ref == "HAMS-1"
        assert unit_state(here) == 2
        assert here.plants["hams-bess"].showing().result_seq == result.result_seq  # the block answers its requests only
        (body,) = here.story(unit.id).submissions
        assert b'"alignedAssets":["HAMS 1"]' in body.body


async def test_a_refused_battery_sets_off_nothing(tmp_path: Path) -> None:
    """Only a completed battery makes a unit; the other ends make none."""
    async with world(tmp_path, units=True) as here, here.gateway() as running:
        sequence = await here.ask("hams-bess", "HAMS 1", mpan="2000000000201")
        assert (await here.plants["hams-bess"].result(sequence)).state == state_code(State.REFUSED)
        sequence = await here.ask("hams-bess", "HAMS 2")
        await here.plants["hams-bess"].result(sequence)
        await running.reaches("hams-bess", State.COMPLETED, message="hams-1")
        assert [each.lane.message for each in await running.messages("hams-bess")] == ["battery", "battery", "hams-1"]


async def test_a_unit_of_two_sites_waits_for_the_other_one(tmp_path: Path) -> None:
    """WAITING is told to the plant; the verdict of the other site's asset sends the unit at once."""
    sites = edited("aligned: [battery]", "aligned: [battery, solent-bess/battery]")
    async with world(tmp_path, units=True, sites=sites) as here, here.gateway() as running:
        await here.ask("hams-bess", "HAMS 1")
        await running.reaches("hams-bess", State.WAITING, message="hams-1")
        await holds(lambda: unit_state(here) == 1)
        await here.ask("solent-bess", "SOLENT 1")
        unit = await running.reaches("hams-bess", State.COMPLETED, message="hams-1")
        assert b'"alignedAssets":["HAMS 1","SOLENT 1"]' in here.story(unit.id).submissions[0].body
        assert here.effects() == ["HAMS 1", "SOLENT 1", "HAMS-1"]


async def test_a_failed_asset_refuses_the_unit_and_the_plant_reads_why(tmp_path: Path) -> None:
    """dependency_failed with the asset and its reason, in the plant's own registers."""
    sites = edited("aligned: [battery]", "aligned: [battery, solent-bess/battery]")
    async with world(tmp_path, units=True, sites=sites) as here, here.gateway() as running:
        await here.ask("hams-bess", "HAMS 1")
        await running.reaches("hams-bess", State.WAITING, message="hams-1")
        sequence = await here.ask("solent-bess", "SOLENT 1", mpan="2000000000211")
        await here.plants["solent-bess"].result(sequence)
        unit = await running.reaches("hams-bess", State.REFUSED, message="hams-1")
        await running.relayed()
        (problem,) = unit.problems
        assert (problem.code, problem.ref) == ("dependency_failed", "SOLENT 1")
        assert "check digit" in problem.message
        assert unit_state(here) == 3
        assert here.effects() == ["HAMS 1"]


async def test_a_unit_waits_over_a_restart(tmp_path: Path) -> None:
    """What it waits for may come in the next life of the gateway."""
    sites = edited("aligned: [battery]", "aligned: [battery, solent-bess/battery]")
    async with world(tmp_path, units=True, sites=sites) as here:
        async with here.gateway() as running:
            await here.ask("hams-bess", "HAMS 1")
            await running.reaches("hams-bess", State.WAITING, message="hams-1")
        async with here.gateway() as running:
            await here.ask("solent-bess", "SOLENT 1")
            await running.reaches("hams-bess", State.COMPLETED, message="hams-1")


async def test_a_unit_that_was_not_made_yet_is_made_in_the_next_life(tmp_path: Path) -> None:
    """The gateway ends between the battery's verdict and its unit: the next one makes the unit, and only once."""
    point = '  limit: {connection: meter, address: "holding:1500", type: uint16}\n'
    meter = '  meter: {protocol: modbus, host: 127.0.0.1, port: "${SOLENT_BESS_PORT}", unit: 1, plain: a test}\n'

    def sites(text: str) -> str:
        if "hams-1:" not in text:
            return text
        text = text.replace("connections:\n", f"connections:\n{meter}").replace("points:", f"points:\n{point}#", 1)
        return text.replace("maxExportMw: 50", "maxExportMw: {point: limit}")

    async with world(tmp_path, units=True, sites=sites) as here:
        await here.plants["solent-bess"].stop()  # the unit takes a value from there, so it cannot be made yet
        async with here.gateway() as running:
            await here.ask("hams-bess", "HAMS 1")
            await running.reaches("hams-bess", State.COMPLETED, message="battery")
        await here.plants["solent-bess"].start()
        here.plants["solent-bess"].set_registers(1500, [20])
        async with here.gateway() as running:
            unit = await running.reaches("hams-bess", State.COMPLETED, message="hams-1")
        async with here.gateway() as running:
            assert [each.lane.message for each in await running.messages("hams-bess")] == ["battery", "hams-1"]
        assert b'"maxExportMw":20' in here.story(unit.id).submissions[0].body
        assert here.effects() == ["HAMS 1", "HAMS-1"]


async def test_a_unit_of_an_adopted_asset(tmp_path: Path) -> None:
    """It waits for what was created long ago by another gateway, and is sent at once when operators tell of that."""
    sites = edited("aligned: [battery]", "aligned: [battery, {existing: OLD 1}]")
    async with world(tmp_path, units=True, sites=sites) as here:
        async with here.gateway():
            sequence = await here.ask("solent-bess", "OLD 1")
            await here.plants["solent-bess"].result(sequence)
        for path in here.configuration.control.parent.glob("journal.db*"):
            path.unlink()
        async with here.gateway() as running, open_control(here.configuration) as control:
            await here.ask("hams-bess", "HAMS 1")
            await running.reaches("hams-bess", State.WAITING, message="hams-1")
            order = AdoptOrder(environment="test", source="fleet.csv", assets=(OldAsset(line=2, name="OLD 1"),))
            adopted = await control.ask(ADOPT, order, participant="exstor")
            assert (adopted.new, len(adopted.moved)) == (1, 1)
            unit = await running.reaches("hams-bess", State.COMPLETED, message="hams-1")
        assert b'"alignedAssets":["HAMS 1","OLD 1"]' in here.story(unit.id).submissions[0].body


async def test_a_name_that_another_site_is_creating_is_refused(tmp_path: Path) -> None:
    """Two plants ask for the same name at once: the second is told whose it is, and the first is not disturbed."""
    async with world(tmp_path, processing_delay_s=0.4) as here, here.gateway() as running:
        await here.ask("hams-bess", "SHARED")
        await running.reaches("hams-bess", State.AWAITING)
        sequence = await here.ask("solent-bess", "SHARED")
        result = await here.plants["solent-bess"].result(sequence)
        assert result.state == state_code(State.REFUSED)
        refused = await running.reaches("solent-bess", State.REFUSED)
        assert [each.code for each in refused.problems] == ["name_taken"]
        await running.reaches("hams-bess", State.COMPLETED)
        assert here.effects() == ["SHARED"]


async def test_a_unit_by_mailbox_kind_answers_in_the_result_block(tmp_path: Path) -> None:
    """Asked for by a request of its own, the unit aligns the last battery, and the block answers it."""
    sites = edited("when: {completed: battery}", "when: {mailbox: plc, kind: 2}")
    async with world(tmp_path, units=True, sites=sites) as here, here.gateway() as running:
        first = await here.ask("hams-bess", "HAMS 1")
        await here.plants["hams-bess"].result(first)
        second = await here.ask("hams-bess", "-", kind=2)
        result = await here.plants["hams-bess"].result(second)
        assert (result.state, result.for_sequence) == (state_code(State.COMPLETED), second)
        unit = await running.reaches("hams-bess", State.COMPLETED, message="hams-1")
        assert b'"alignedAssets":["HAMS 1"]' in here.story(unit.id).submissions[0].body
