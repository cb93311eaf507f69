"""node-opcua, an OPC UA stack by other people, as the plant: asked, killed, stopped and cut in the middle."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.opcua.config import OpcuaConnection
from adapters.opcua.simulator import OpcuaSite
from gateway.core.mailbox import Role
from gateway.core.point import Quality
from gateway.errors import LinkLost, PointRejected
from gateway.ports import Committed, PointWrite, RoleWrite
from tests.adapters.fault_proxy import fault_proxy
from tests.adapters.opcua.rig import KINDS, MAILBOX, Rig, connection, reading, request
from tests.peers.opcua_plant import NodeOpcuaPlant, node_opcua_plant


@asynccontextmanager
async def rigged(plant: NodeOpcuaPlant) -> AsyncIterator[Rig]:
    plain = OpcuaConnection(endpoint="opc.tcp://127.0.0.1:4840", security="None")
    unused = OpcuaSite(connection(plain, {"plc": MAILBOX}), kinds=KINDS)  # never started: the peer is the plant
    async with asyncio.timeout(120), fault_proxy("127.0.0.1", plant.port) as proxy:
        yield Rig(unused, proxy)


async def read_on(rig: Rig) -> None:
    async with rig.adapter().connect() as session:
        while True:
            await session.read()


@pytest.fixture
async def plant(node: str, tmp_path: Path) -> AsyncIterator[NodeOpcuaPlant]:
    async with node_opcua_plant(node, tmp_path) as made:
        yield made


async def ask(plant: NodeOpcuaPlant, sequence: int) -> None:
    """Raise a request as a PLC would: payload first, the number last."""
    crc = zlib.crc32(bytes([0, sequence, 0, 1, 0, 2]) + b"\x01\xf4" + b"AB")
    await plant.put(export_limit=500, serial="AB", m_kind=1, m_length=2, m_crc=crc, m_request=sequence)


async def test_request_result_and_types_with_an_independent_server(plant: NodeOpcuaPlant) -> None:
    """The payload is exact, every write has the node's own type, RESULT_SEQUENCE comes last."""
    async with rigged(plant) as rig, rig.adapter().connect() as session:
        await ask(plant, 1)
        asked = await request(session)
        assert (asked.sequence, asked.fault, asked.snapshot["export_limit"].value) == (1, None, Decimal("50.0"))
        await session.confirm(asked.receipt, Committed())
        await plant.holds("m_acknowledge", 1)
        roles = ((Role.RESULT_FOR, 1), (Role.STATE, 3), (Role.TEXT, "row 0 id: check digit"), (Role.RESULT_SEQ, 1))
        await session.write([RoleWrite(mailbox="plc", role=role, value=value) for role, value in roles])
        await plant.holds("m_result_sequence", 1)
        await session.write([PointWrite(point="setpoint", value=Decimal("0.1"))])
        with pytest.raises(PointRejected, match="does not fit"):
            await session.write([PointWrite(point="smp_state", value=Decimal(70000))])
    assert [plant.values[n] for n in ("m_result_for", "m_result", "m_text")] == [1, 3, "row 0 id: check digit"]


async def test_a_killed_server_that_comes_back_loses_nothing(plant: NodeOpcuaPlant) -> None:
    """Killed with an unconfirmed request: a lost link, and the next session tells it again."""
    async with rigged(plant) as rig:
        async with rig.adapter().connect() as session:
            await ask(plant, 1)
            await request(session)
            await plant.kill()
            with pytest.raises(LinkLost):
                await request(session)
        await plant.start()
        async with rig.adapter().connect() as session:
            asked = await request(session)
            await session.confirm(asked.receipt, Committed())
            await plant.holds("m_acknowledge", 1)
            await plant.put(level=7)
            assert (await reading(session, "level")).value == 7


async def test_a_stopped_server_is_noticed_and_found_again(plant: NodeOpcuaPlant) -> None:
    """SIGSTOP keeps the connection open; the watchdog on silence ends the session; SIGCONT, and it is whole again."""
    async with rigged(plant) as rig:
        rig.silence = "1s"
        async with rig.adapter().connect() as session:
            await session.read()
            plant.freeze()
            with pytest.raises(LinkLost):
                await request(session)
        plant.go_on()
        await ask(plant, 1)
        async with rig.adapter().connect() as session:
            assert (await request(session)).sequence == 1


async def test_a_cut_in_mid_frame_loses_nothing(plant: NodeOpcuaPlant) -> None:
    """Cut at several places of the conversation; in the end the request is there, whole, once."""
    async with rigged(plant) as rig:
        await ask(plant, 1)
        for budget in (3, 100, 700, 2000):
            rig.proxy.cut_after(budget)
            with pytest.raises(LinkLost):
                await read_on(rig)
        async with rig.adapter().connect() as session:
            asked = await request(session)
            assert (asked.sequence, asked.fault) == (1, None)
            await session.confirm(asked.receipt, Committed())
        await plant.holds("m_acknowledge", 1)


async def test_a_node_that_is_not_there_costs_only_itself(plant: NodeOpcuaPlant) -> None:
    """The others are told as ever."""
    async with rigged(plant) as rig:
        rig.extra = {"nowhere": "ns=2;s=Plant.nowhere"}
        async with rig.adapter().connect() as session:
            found = await reading(session, "nowhere")
            assert (found.quality, found.fault) == (Quality.BAD, "node_unknown")
            await plant.put(level=7)
            assert (await reading(session, "level")).value == 7
