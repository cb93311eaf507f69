"""Plants that are down, slow, frozen, forgetful or contrary: their trouble stays theirs, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.modbus.client import ModbusSession
from adapters.modbus.simulator import Access, ModbusSite
from gateway.core.mailbox import HOST_BLOCK, Role, state_code
from gateway.core.transaction import State
from tests.system.rig import Running, World, holds, world

RESULTS = 1200
RESULT_SEQ = RESULTS + HOST_BLOCK[Role.RESULT_SEQ]
ACK_SEQ = RESULTS + HOST_BLOCK[Role.ACKNOWLEDGE]
HEARTBEAT = RESULTS + HOST_BLOCK[Role.HEARTBEAT]


def writes(plant: ModbusSite, address: int) -> list[int]:
    """What was written to this register, in order."""
    found = [a for a in plant.log if a.values is not None and a.touches(range(address, address + 1))]
    return [a.values[address - a.address] for a in found if a.values is not None]


async def others_go_on(here: World, name: str = "SIDE") -> None:
    """The two other plants have a whole conversation each."""
    for site in ("solent-bess", "trent-chp"):
        sequence = await here.ask(site, f"{name} {site}")
        result = await here.plants[site].result(sequence)
        assert result.state == state_code(State.COMPLETED)


async def completes(here: World, site: str, name: str) -> int:
    """The plant has a whole conversation; returns RESULT_SEQ."""
    sequence = await here.ask(site, name)
    result = await here.plants[site].result(sequence)
    assert (result.state, result.for_sequence) == (state_code(State.COMPLETED), sequence)
    return result.result_seq


async def degraded(running: Running, site: str) -> None:
    """`/readyz` is 200 and names the site."""
    status, body = await running.ready()
    assert (status, body["status"]) == (200, "degraded")
    assert any(site in line for line in body["degraded"])


async def test_a_plant_that_is_down_at_the_start_delays_nobody(tmp_path: Path) -> None:
    """The others converse while it is away; it is told as degraded, and converses once it is there."""
    async with world(tmp_path) as here:
        await here.plants["hams-bess"].stop()
        async with here.gateway() as running:
            await others_go_on(here)
            await degraded(running, "hams-bess")
            await here.plants["hams-bess"].start()
            await completes(here, "hams-bess", "HAMS 1")
    assert len(here.events("site_lost", site="hams-bess")) == 1


async def test_a_frozen_plant_delays_nobody(tmp_path: Path) -> None:
    """It keeps its connection and answers nothing: the others converse; thawed, its request goes through."""
    async with world(tmp_path) as here, here.gateway():
        await holds(lambda: here.events("site_connected", site="hams-bess"))
        here.plants["hams-bess"].freeze()
        await here.ask("hams-bess", "HAMS 1")
        await others_go_on(here)
        here.plants["hams-bess"].thaw()
        assert (await here.plants["hams-bess"].result(1)).state == state_code(State.COMPLETED)


async def test_a_plant_that_answers_exceptions_delays_nobody(tmp_path: Path) -> None:
    """Every request is answered with an exception: told, and the others converse; healed, it converses."""
    async with world(tmp_path) as here, here.gateway():
        here.plants["hams-bess"].refuse(0, 9999, code=4)
        await here.ask("hams-bess", "HAMS 1")
        await others_go_on(here)
        here.plants["hams-bess"].heal()
        assert (await here.plants["hams-bess"].result(1)).state == state_code(State.COMPLETED)
    assert not here.events("site_faulted")


async def test_a_plant_that_refuses_the_heartbeat_is_served(tmp_path: Path) -> None:
    """The heartbeat's register refuses writes: told once, no fault, and its requests go on to the SMP."""
    async with world(tmp_path) as here, here.gateway() as running:
        plant = here.plants["hams-bess"]
        plant.refuse(HEARTBEAT, 1, reads=False)
        for number in range(3):
            await plant.acknowledged(await here.ask("hams-bess", f"HAMS {number}"))
            await running.reaches("hams-bess", State.COMPLETED, number=number)
        await holds(lambda: here.events("heartbeat_failed", site="hams-bess"))
        plant.heal()
        await holds(lambda: here.events("heartbeat_recovered", site="hams-bess"))
        await completes(here, "hams-bess", "HAMS 3")
    assert len(here.events("heartbeat_failed", site="hams-bess")) == 1
    assert not here.events("site_faulted")


async def test_a_plant_that_refuses_the_result_is_told_of_and_goes_on(tmp_path: Path) -> None:
    """RESULT_SEQ refuses the write for good: an alarm once, no fault; later results get through, nobody waits."""
    async with world(tmp_path) as here, here.gateway() as running:
        plant = here.plants["hams-bess"]
        plant.refuse(RESULT_SEQ, 1, reads=False)
        await here.ask("hams-bess", "HAMS 1")
        await holds(lambda: here.events("relay_refused", site="hams-bess"))
        await others_go_on(here)
        message = await running.reaches("hams-bess", State.COMPLETED)
        plant.heal()
        await completes(here, "hams-bess", "HAMS 2")
        (relay,) = here.story(message.id).relays
    assert (relay.state, len(here.events("relay_refused"))) == ("rejected", 1)
    assert not here.events("site_faulted")


async def test_a_plant_that_loses_its_memory_gets_its_next_result(tmp_path: Path) -> None:
    """All registers fall to zero while the connection stays: the next request is new, and its result is delivered."""
    async with world(tmp_path) as here, here.gateway() as running:
        plant = here.plants["hams-bess"]
        await completes(here, "hams-bess", "HAMS 1")
        await completes(here, "hams-bess", "HAMS 2")
        await running.relayed()  # a register lost between a write and its read-back would be written again
        plant.forget()
        await holds(lambda: here.events("mailbox_alarmed", site="hams-bess"))
        await completes(here, "hams-bess", "HAMS 3")
        messages = await running.messages("hams-bess")
    assert [m.intake_key for m in messages] == ["plc:1.1", "plc:1.2", "plc:2.1"]
    assert len(here.events("site_connected", site="hams-bess")) == 1
    assert len(here.events("mailbox_alarmed", site="hams-bess")) == 1


async def test_an_unexpected_fault_stays_in_its_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter raises what nobody foresaw, at every read of one site: told once, the others converse."""
    real = ModbusSession.read

    async def read(self: ModbusSession) -> object:
        if self._poller._labels["site"] == "hams-bess":
            raise ZeroDivisionError("planted")
        return await real(self)

    monkeypatch.setattr(ModbusSession, "read", read)
    async with world(tmp_path) as here, here.gateway() as running:
        await holds(lambda: here.events("site_faulted", site="hams-bess"))
        await others_go_on(here)
        await degraded(running, "hams-bess")
    (fault,) = here.events("site_faulted")
    assert "ZeroDivisionError" in fault["error"]


async def test_a_verdict_outlives_the_plants_outage(tmp_path: Path) -> None:
    """The plant goes away after its acknowledgement: the verdict waits, and is delivered once when it is back."""
    async with world(tmp_path) as here, here.gateway() as running:
        plant = here.plants["hams-bess"]
        here.smp.faults.hold_callbacks()
        sequence = await here.ask("hams-bess", "HAMS 1")
        await plant.acknowledged(sequence)
        await plant.stop()
        here.smp.faults.release_callbacks()
        message = await running.reaches("hams-bess", State.COMPLETED)
        await others_go_on(here)
        assert here.story(message.id).relays[0].state == "pending"
        await plant.start()
        assert (await plant.result(sequence)).state == state_code(State.COMPLETED)
        await running.relayed()
    assert writes(plant, RESULT_SEQ) == [1]


async def test_a_result_written_again_after_a_crash_has_its_number(tmp_path: Path) -> None:
    """The gateway ends between the write and its read-back: the repeat carries the same RESULT_SEQ."""
    async with world(tmp_path) as here:
        plant = here.plants["hams-bess"]

        def freeze_at_read_back(access: Access) -> None:
            if plant.role(Role.RESULT_SEQ) and access.values is None:
                plant.on_access = None
                plant.freeze()

        plant.on_access = freeze_at_read_back
        async with here.gateway() as running:
            await here.ask("hams-bess", "HAMS 1")
            await holds(lambda: plant.role(Role.RESULT_SEQ))
            await running.reaches("hams-bess", State.COMPLETED)
        plant.thaw()
        async with here.gateway() as running:
            await running.relayed()
            await plant.result(1)
    assert len(writes(plant, RESULT_SEQ)) >= 2
    assert set(writes(plant, RESULT_SEQ)) == {1}


async def test_the_next_result_waits_for_the_last_ones_consumption(tmp_path: Path) -> None:
    """Two verdicts are there, the plant has read none: the first stands until RESULT_ACK_SEQ, then comes the second."""
    async with world(tmp_path) as here, here.gateway() as running:
        plant = here.plants["hams-bess"]
        await here.ask("hams-bess", "HAMS 1")
        await here.ask("hams-bess", "HAMS 2")
        await running.reaches("hams-bess", State.COMPLETED, number=1)
        await holds(lambda: plant.role(Role.RESULT_SEQ) == 1)
        await others_go_on(here)
        assert plant.showing().for_sequence == 1
        assert (await plant.result(1)).result_seq == 1
        assert (await plant.result(2)).result_seq == 2
    assert writes(plant, RESULT_SEQ) == [1, 2]


# ------------------------------------------------------------ requests that cannot become messages
@pytest.mark.parametrize(
    ("kind", "length", "crc", "code"),
    [(1, 25, 7, "bad_crc"), (9, 25, None, "unknown_kind"), (1, 5, None, "payload_too_short")],
)
async def test_a_request_that_is_no_message_is_refused_and_acknowledged(
    tmp_path: Path, kind: int, length: int, crc: int | None, code: str
) -> None:
    """A bad CRC for three polls, an unknown kind, a payload too short: REFUSED on disk, acknowledged, told; then on."""
    async with world(tmp_path) as here, here.gateway() as running:
        plant = here.plants["hams-bess"]
        sequence = await plant.request(kind, [0x4141] * length, crc=crc)
        await plant.acknowledged(sequence)
        result = await plant.result(sequence)
        message = await running.reaches("hams-bess", State.REFUSED)
        await completes(here, "hams-bess", "HAMS 1")
    assert result.state == state_code(State.REFUSED)
    assert result.text
    assert code in {problem.code for problem in message.problems}
    assert here.effects() == ["HAMS 1"]


async def test_a_reused_sequence_is_alarmed_and_not_acknowledged(tmp_path: Path) -> None:
    """The same sequence with other content after a restart: an alarm, no acknowledgement, nothing sent."""
    async with world(tmp_path) as here:
        plant = here.plants["hams-bess"]
        async with here.gateway() as running:
            await completes(here, "hams-bess", "HAMS 1")
            await running.relayed()
        await here.ask("hams-bess", "HAMS OTHER", sequence=1)
        plant.log.clear()
        async with here.gateway() as running:
            await holds(lambda: here.events("mailbox_alarmed", site="hams-bess"))
            await others_go_on(here)
            assert len(await running.messages("hams-bess")) == 1
    assert writes(plant, ACK_SEQ) == []
    (alarm,) = here.events("mailbox_alarmed")
    assert alarm["code"] == "sequence_reused"


# ------------------------------------------------------------ change triggers
async def test_a_change_makes_one_message_and_its_verdict_comes_back(tmp_path: Path) -> None:
    """The baseline fires nothing, a change makes one message, its verdict is written; a restart fires nothing again."""
    async with world(tmp_path) as here:
        plant = here.plants["solent-bess"]
        plant.set_registers(1400, [3])
        async with here.gateway() as running:
            await completes(here, "solent-bess", "SOLENT 1")  # the baseline was read long before this is over
            plant.set_registers(1410, [0])
            plant.set_registers(1400, [4])
            message = await running.reaches("solent-bess", State.COMPLETED, message="extension")
            await holds(lambda: plant.registers(1410) == [2])
            await running.relayed()
        async with here.gateway() as running:
            await completes(here, "solent-bess", "SOLENT 2")
            extensions = [m for m in await running.messages("solent-bess") if m.lane.message == "extension"]
    assert [m.id for m in extensions] == [message.id]
    assert here.effects() == ["SOLENT 1", "SOLENT BESS EXTENSION", "SOLENT 2"]


async def test_a_change_while_the_gateway_is_away_is_seen_at_its_return(tmp_path: Path) -> None:
    """The reference is the last committed message's: a change during a restart makes its one message."""
    async with world(tmp_path) as here:
        plant = here.plants["solent-bess"]
        plant.set_registers(1400, [3])
        async with here.gateway():
            await completes(here, "solent-bess", "SOLENT 1")
        plant.set_registers(1400, [4])
        async with here.gateway() as running:
            await running.reaches("solent-bess", State.COMPLETED, message="extension")
    assert here.effects() == ["SOLENT 1", "SOLENT BESS EXTENSION"]
