"""modbus-serial, a Modbus stack by other people, as the plant and as the SCADA: killed, stopped, cut in mid-frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import pytest

from adapters.modbus.simulator import ModbusSite
from gateway.core.mailbox import Role, crc32
from gateway.errors import LinkLost
from gateway.ports import Committed, PointWrite, RoleWrite, Session
from tests.adapters.fault_proxy import FaultProxy, fault_proxy
from tests.adapters.modbus.master import ServerRig
from tests.adapters.modbus.rig import MAILBOX, Rig, request
from tests.peers.modbus_peers import Process, SerialPlant, serial_plant
from tests.peers.test_mbpoll import holding

PAYLOAD = [500, 0, 0x4142, 0, 0, 0]


@pytest.fixture
async def plant(modbus_serial: str) -> AsyncIterator[SerialPlant]:
    async with serial_plant(modbus_serial) as made:
        yield made


@asynccontextmanager
async def rigged(plant: SerialPlant) -> AsyncIterator[tuple[Rig, FaultProxy]]:
    async with asyncio.timeout(60), fault_proxy("127.0.0.1", plant.port) as proxy:
        unused = ModbusSite(MAILBOX, port=proxy.port)  # never started: the peer is the plant
        yield Rig(unused, timeout="1s"), proxy


def roles(sequence: int, result_seq: int) -> list[RoleWrite]:
    values: dict[Role, int | str] = {
        Role.RESULT_FOR: sequence,
        Role.STATE: 2,
        Role.TEXT: "fine",
        Role.RESULT_SEQ: result_seq,
    }
    return [RoleWrite(mailbox="plc", role=role, value=value) for role, value in values.items()]


async def read_on(rig: Rig) -> None:
    async with rig.adapter().connect() as session:
        while True:
            await session.read()


async def test_request_acknowledgement_and_result_read_back(plant: SerialPlant) -> None:
    """The payload is exact, the acknowledgement and the result are in the plant's own registers."""
    async with rigged(plant) as (rig, _), rig.adapter().connect() as session:
        await plant.ask(1, PAYLOAD)
        asked = await request(session)
        assert (asked.sequence, asked.fault, asked.snapshot["export_limit"].value) == (1, None, Decimal("50.0"))
        assert (asked.snapshot["serial"].value, asked.snapshot["sensor"].value) == ("AB", Decimal(7))
        await session.confirm(asked.receipt, Committed())
        await session.write(roles(1, 1))
        await session.write([PointWrite(point="smp_state", value=Decimal(2))])
        await plant.shows(Role.ACKNOWLEDGE, 1)
        await plant.shows(Role.RESULT_SEQ, 1)
    assert [plant.registers[address] for address in (1202, 1203, 1206, 1300)] == [1, 2, 0x6669, 2]


async def test_a_killed_plant_that_comes_back_loses_nothing(plant: SerialPlant) -> None:
    """Killed with an unconfirmed request: a lost link, and the next session tells it again."""
    async with rigged(plant) as (rig, _):
        async with rig.adapter().connect() as session:
            await plant.ask(1, PAYLOAD)
            await request(session)
            await plant.kill()
            with pytest.raises(LinkLost):
                await request(session)
        await plant.start()
        async with rig.adapter().connect() as session:
            await session.confirm((await request(session)).receipt, Committed())
            await plant.shows(Role.ACKNOWLEDGE, 1)


async def test_a_stopped_plant_is_noticed_and_found_again(plant: SerialPlant) -> None:
    """SIGSTOP keeps the connection open; what it answers after SIGCONT goes to nobody."""
    async with rigged(plant) as (rig, _):
        async with rig.adapter().connect() as session:
            await session.read()
            plant.freeze()
            with pytest.raises(LinkLost, match="did not answer"):
                await request(session)
        plant.go_on()
        await plant.put(2000, [3])
        await plant.ask(1, PAYLOAD)
        async with rig.adapter().connect() as session:
            assert (await request(session)).snapshot["level"].value == Decimal(3)


async def test_a_cut_in_mid_frame_loses_nothing(plant: SerialPlant) -> None:
    """Cut at several places of the conversation; in the end the request is there, whole, once."""
    async with rigged(plant) as (rig, proxy):
        await plant.ask(1, PAYLOAD)
        for budget in (3, 12, 40, 200, 290):
            proxy.cut_after(budget)
            with pytest.raises(LinkLost):
                await read_on(rig)
        async with rig.adapter().connect() as session:
            asked = await request(session)
            assert (asked.sequence, asked.fault) == (1, None)
            await session.confirm(asked.receipt, Committed())
            await plant.shows(Role.ACKNOWLEDGE, 1)


@asynccontextmanager
async def scada(node: str, port: int, sequence: int) -> AsyncIterator[Process]:
    """A master that raises this request and waits for its result."""
    crc = crc32([sequence, 1, 1, 500])
    block = [1, 1, crc >> 16, crc & 0xFFFF, 0, 500]
    task = {"port": port, "base": 1000, "results": 1200, "block": block, "sequence": sequence}
    process = await Process.run(node, "modbus_master.js", task)
    try:
        yield process
    finally:
        await process.kill()


async def test_an_independent_scada_is_master_of_our_register_map(
    modbus_serial: str, peer: Callable[[str], str]
) -> None:
    """It raises, is acknowledged, reads its result and consumes it; mbpoll reads the same from the map."""
    adapter = ServerRig().adapter()
    async with (
        asyncio.timeout(60),
        adapter.connect() as session,
        scada(modbus_serial, adapter.port, 7) as master,
    ):
        await serve(session, 7, 1)
        events = [await master.event() for _ in range(4)]
        assert [said["event"] for said in events] == ["raised", "acknowledged", "result", "consumed"]
        assert events[2]["registers"] == [7, 1, 7, 2, 0, 0, 0x6669, 0x6E65, *[0] * 30]
        assert (await holding(peer("mbpoll"), adapter.port, 1200, 4)) == [7, 1, 7, 2]
        assert (await holding(peer("mbpoll"), adapter.port, 1005, 1)) == [1]


async def test_a_scada_that_is_killed_or_cut_gets_its_result_all_the_same(modbus_serial: str) -> None:
    """Nothing is lost with it: the next one of its kind finds acknowledgement and result."""
    adapter = ServerRig().adapter()
    async with (
        asyncio.timeout(60),
        adapter.connect() as session,
        fault_proxy("127.0.0.1", adapter.port) as proxy,
    ):
        async with scada(modbus_serial, adapter.port, 7) as killed:
            assert (await killed.event())["event"] == "raised"
        proxy.cut_after(15)  # in the second answer
        async with scada(modbus_serial, proxy.port, 7) as cut:
            assert (await cut.event()).get("event") != "raised"
        async with scada(modbus_serial, adapter.port, 7) as last:
            await serve(session, 7, 1)
            told = [(await last.event())["event"] for _ in range(4)]
            assert told == ["raised", "acknowledged", "result", "consumed"]


async def serve(session: Session, sequence: int, result_seq: int) -> None:
    """Take a request in and show its result, which ends when the master has read it."""
    while (asked := await request(session)).sequence != sequence:
        await session.confirm(asked.receipt, Committed())
    assert asked.snapshot["export_limit"].value == Decimal("50.0")
    await session.confirm(asked.receipt, Committed())
    await session.write([replace(step, mailbox="scada") for step in roles(sequence, result_seq)])
