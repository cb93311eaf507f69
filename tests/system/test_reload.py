"""Files that change under a running gateway: only what they say otherwise is touched, and nothing wrong gets in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.modbus.simulator import ModbusSite
from gateway.core.mailbox import SITE_BLOCK, Role, state_code
from gateway.core.transaction import State
from tests.system.commands import smp_gateway
from tests.system.rig import Running, World, holds, until, world
from tests.system.test_sites import HEARTBEAT, completes

SEQUENCE = 1000 + SITE_BLOCK[Role.REQUEST_SEQ]


@dataclass
class Gate(Mapping[str, str]):
    """An environment in which whoever reads one variable waits at a gate, as on a slow disk."""

    variables: Mapping[str, str]
    name: str
    reached: threading.Event
    opened: threading.Event

    def __getitem__(self, name: str) -> str:
        if name == self.name:
            self.reached.set()
            self.opened.wait(30)
        return self.variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)


def site(here: World, name: str) -> Path:
    return here.folder / "sites" / f"{name}.yaml"


def edit(path: Path, changes: Mapping[str, str]) -> None:
    """Exchange the file for an edited one, in one step."""
    text = path.read_text("utf-8")
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    fresh = path.with_suffix(".new")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)


def polls(plant: ModbusSite) -> int:
    """How often the plant's whole picture was looked at: each look ends with the request's number alone."""
    return sum((each.address, each.count, each.values) == (SEQUENCE, 1, None) for each in plant.log)


async def reloaded(here: World, running: Running, change: Callable[[], object]) -> dict[str, object]:
    """Make one change, ask for a reload, and wait until it is told of; the watch may have been faster."""
    before = len(here.events("configuration_reloaded"))
    change()
    running.gateway.renew()
    await holds(lambda: len(here.events("configuration_reloaded")) > before)
    return here.events("configuration_reloaded")[-1]


async def test_a_new_site_comes_while_no_other_misses_a_poll(tmp_path: Path) -> None:
    """The record of the plants: polled while the files are read, over the connection they had, in unbroken cycles."""
    async with world(tmp_path) as here:
        new, aside = site(here, "trent-chp"), tmp_path / "aside"
        new.rename(aside)
        here.reload()
        gate = Gate(here.environ, "TRENT_CHP_HOST", threading.Event(), threading.Event())
        here.environ = gate
        async with here.gateway() as running:
            plants = [here.plants["hams-bess"], here.plants["solent-bess"]]
            await holds(lambda: all(polls(plant) for plant in plants))
            for plant in plants:
                plant.log.clear()
            aside.rename(new)
            running.gateway.renew()
            try:
                await holds(gate.reached.is_set)
                at = [polls(plant) for plant in plants]
                await holds(lambda: all(polls(plant) > n + 5 for plant, n in zip(plants, at, strict=True)))
            finally:
                gate.opened.set()
            await holds(lambda: here.events("configuration_reloaded"))
            here.reload()
            await completes(here, "trent-chp", "TRENT 1")
            cycles = [unbroken(plant) for plant in plants]
        assert cycles == [True, True]
        (told,) = here.events("configuration_reloaded")
        assert (told["added"], told["changed"], told["removed"]) == (["trent-chp"], [], [])
        assert len(here.events("site_connected")) == 3
        assert not here.events("site_lost")


def unbroken(plant: ModbusSite) -> bool:
    """Whether the polls of a plant are one cycle over and over again, begun once and never begun anew."""
    reads = [(each.function, each.address, each.count) for each in plant.log if each.values is None]
    reads = [read for read in reads if read[1:] != (HEARTBEAT, 1)]  # our heartbeat is read back beside the polls
    reads = reads[reads.index((3, SEQUENCE, 1)) + 1 :]  # from the end of the cycle under way at the start
    length = reads.index((3, SEQUENCE, 1)) + 1
    return all(read == reads[place % length] for place, read in enumerate(reads))


async def test_a_file_that_is_put_there_is_noticed(tmp_path: Path) -> None:
    """Without any signal, by watching the folder of the sites."""
    async with world(tmp_path) as here:
        new, aside = site(here, "trent-chp"), tmp_path / "aside"
        new.rename(aside)
        here.reload()
        async with here.gateway():

            async def exchanged() -> bool:  # the watch begins in a thread: put it there until it has begun
                new.write_bytes(aside.read_bytes())
                await asyncio.sleep(0.2)
                return bool(here.events("configuration_reloaded"))

            await until(exchanged)
            here.reload()
            await completes(here, "trent-chp", "TRENT 1")


async def test_a_bad_file_keeps_what_ran(tmp_path: Path) -> None:
    """Told once with its place, shown by /readyz and a metric, and over when it is mended; nobody is disturbed."""
    async with world(tmp_path) as here, here.gateway() as running:
        await completes(here, "hams-bess", "HAMS 1")
        edit(site(here, "hams-bess"), {"export_limit: {connection: plc": "export_limit: {connection: plx"})
        for _ in range(2):
            running.gateway.renew()
            await holds(lambda: here.events("configuration_refused"))
        status, body = await running.ready()
        assert (status, body["status"]) == (200, "degraded")
        (line,) = [line for line in body["degraded"] if line.startswith("configuration: ")]
        assert "sites/hams-bess.yaml:" in line
        assert "there is no connection 'plx'; did you mean 'plc'?" in line
        assert "smp_gateway_configuration_current 0.0" in (await running.get("/metrics"))[1]
        await completes(here, "hams-bess", "HAMS 2")
        await reloaded(here, running, lambda: edit(site(here, "hams-bess"), {"connection: plx": "connection: plc"}))
        assert "smp_gateway_configuration_current 1.0" in (await running.get("/metrics"))[1]
        assert not [line for line in (await running.ready())[1]["degraded"] if "configuration" in line]
        await completes(here, "hams-bess", "HAMS 3")
    assert len(here.events("configuration_refused")) == 1
    assert len(here.events("site_connected", site="hams-bess")) == 1


async def test_a_message_under_way_keeps_the_rules_of_its_acceptance(tmp_path: Path) -> None:
    """The relay is edited between acceptance and verdict: the old message writes the old value, the next the new."""
    async with world(tmp_path) as here, here.gateway() as running:
        plant = here.plants["solent-bess"]
        here.smp.faults.hold_callbacks()
        sequence = await here.ask("solent-bess", "SOLENT 1")
        first = await running.reaches("solent-bess", State.AWAITING)
        edits = {
            "[completed], write: {smp_state: 2": "[completed], write: {smp_state: 7",
            "energyMwh: 40": "energyMwh: 44",
        }
        told = await reloaded(here, running, lambda: edit(site(here, "solent-bess"), edits))
        assert told["changed"] == ["solent-bess"]
        here.smp.faults.release_callbacks()
        assert (await plant.result(sequence)).state == state_code(State.COMPLETED)
        await holds(lambda: plant.registers(1410) == [2])
        await completes(here, "solent-bess", "SOLENT 2")
        await holds(lambda: plant.registers(1410) == [7])
        second = await running.reaches("solent-bess", State.COMPLETED, number=1)
    assert (b'"energyMwh":40' in first.content, b'"energyMwh":44' in second.content) == (True, True)
    assert len(here.events("site_connected", site="solent-bess")) == 1


async def test_a_changed_connection_is_made_anew_and_the_others_stay(tmp_path: Path) -> None:
    """Another poll interval: this plant is connected again, and its next request is known; nobody else notices."""
    async with world(tmp_path) as here, here.gateway() as running:
        await completes(here, "hams-bess", "HAMS 1")
        edits = {"poll: ${POLL:-250ms}": "poll: 30ms"}
        await reloaded(here, running, lambda: edit(site(here, "hams-bess"), edits))
        await completes(here, "hams-bess", "HAMS 2")
        assert [m.intake_key for m in await running.messages("hams-bess")] == ["plc:1.1", "plc:1.2"]
    assert len(here.events("site_connected", site="hams-bess")) == 2
    assert len(here.events("site_connected")) == 4
    assert not here.events("site_lost")


async def test_a_removed_site_goes_when_what_it_asked_for_is_over(tmp_path: Path) -> None:
    """It gets the verdict it waits for, its new request is not acknowledged, and then it is polled no more."""
    async with world(tmp_path) as here, here.gateway() as running:
        plant, path = here.plants["trent-chp"], site(here, "trent-chp")
        here.smp.faults.hold_callbacks()
        sequence = await here.ask("trent-chp", "TRENT 1")
        await running.reaches("trent-chp", State.AWAITING)
        told = await reloaded(here, running, lambda: path.rename(tmp_path / "aside"))
        assert told["removed"] == ["trent-chp"]
        assert [line for line in (await running.ready())[1]["degraded"] if "trent-chp: being removed" in line]
        late = await here.ask("trent-chp", "TRENT 2")
        seen = polls(plant)
        await holds(lambda: polls(plant) > seen + 2)
        here.smp.faults.release_callbacks()
        assert (await plant.result(sequence)).state == state_code(State.COMPLETED)
        await holds(lambda: here.events("site_retired", site="trent-chp"))
        assert plant.role(Role.ACKNOWLEDGE) == sequence != late
        assert len(await running.messages("trent-chp")) == 1
        await reloaded(here, running, lambda: (tmp_path / "aside").rename(path))  # and its request is taken in
        assert (await plant.result(late)).state == state_code(State.COMPLETED)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("gateway.yaml", "${HEALTH_LISTEN:-127.0.0.1:9100}", "127.0.0.1:1", "health has changed in gateway.yaml"),
        ("gateway.yaml", "rate_limit: 50/s", "rate_limit: 51/s", "smp.test has changed in gateway.yaml (rate_limit"),
        ("sites/hams-bess.yaml", "participant: exstor", "participant: exflex", "site hams-bess belongs to participant"),
    ],
)
async def test_what_only_a_restart_can_do_is_said(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    """Nothing of such a change is applied, and the sentence says what to do."""
    async with world(tmp_path) as here, here.gateway() as running:
        edit(here.folder / file, {old: new})
        site(here, "trent-chp").rename(tmp_path / "aside")
        running.gateway.renew()
        await holds(lambda: here.events("configuration_refused"))
        (refused,) = here.events("configuration_refused")
        assert refused["reasons"][0].startswith(said)
        await completes(here, "trent-chp", "TRENT 1")


async def test_what_is_owed_to_a_site_that_is_gone_is_told(tmp_path: Path) -> None:
    """Its file went while no gateway ran: status and check say what waits, until the file is there again."""
    async with world(tmp_path, processing_delay_s=0.5) as here:
        plant = here.plants["trent-chp"]
        async with here.gateway() as running:
            await here.ask("trent-chp", "TRENT 1")
            await running.reaches("trent-chp", State.AWAITING)
            await plant.stop()
            await running.reaches("trent-chp", State.COMPLETED)
        gone = site(here, "trent-chp").rename(tmp_path / "aside")
        here.reload()
        said = "1 result and 0 open messages of site trent-chp, which is configured no more"
        async with here.gateway() as running:
            assert said in (await running.ready())[1]["degraded"]
            where = (str(here.folder / "gateway.yaml"), "--state", str(here.state))
            code, told, _ = await smp_gateway("check", *where, environ=here.environ)
            assert (code, f"warning: {said}" in told) == (0, True)
            await reloaded(here, running, lambda: gone.rename(site(here, "trent-chp")))
            assert said not in (await running.ready())[1]["degraded"]
            await plant.start()
            await running.relayed()
