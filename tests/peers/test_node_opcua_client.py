"""node-opcua, an OPC UA stack by other people, as the site that calls our server: killed, stopped and cut off."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.core.message import Problem
from gateway.core.transaction import State
from gateway.ports import Committed, PointWrite, Refused, ResultWrite
from tests.adapters.fault_proxy import fault_proxy
from tests.adapters.opcua.server_rig import ServerRig, reading, serve, submitted
from tests.peers.opcua_ems import node_opcua_ems


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where node-opcua keeps the keys that it makes at its first start."""
    return tmp_path_factory.mktemp("node-opcua")


DONE = Committed(message_id="0b1e", state=State.ACCEPTED)


def result(number: int, caller: str) -> ResultWrite:
    found = {"id": caller, "message": "battery", "state": "completed", "errors": [], "results": []}
    return ResultWrite(to={"id": caller}, result=found, number=number)


async def test_submit_result_and_values_with_an_independent_client(node: str, keys: Path) -> None:
    """The whole way: values in and out, a call answered after its commit, a refusal with its reasons, a result."""
    rig = ServerRig()
    async with rig.listening() as session, node_opcua_ems(node, keys, rig.port) as ems:
        await ems.order({"write": ["Plant.soc", "Double", 55.5]})
        assert (await reading(session, "soc")).value == Decimal("55.5")
        await ems.order({"write": ["Plant.limit", "Float", 1]})
        assert (await ems.tells("wrote", node="Plant.limit"))["status"] in {"BadUserAccessDenied", "BadNotWritable"}
        await session.write([PointWrite(point="limit", value=Decimal("0.1"))])
        calling = asyncio.create_task(ems.submit("battery", "A-1", {"power": 12.5}))
        asked = await submitted(session)
        assert (asked.key, asked.document) == ("A-1", {"power": Decimal("12.5")})
        assert not calling.done()
        await session.confirm(asked.receipt, DONE)
        answered = await calling
        assert (answered["status"], answered["outputs"]) == ("Good", ["0b1e", "accepted", ""])
        calling = asyncio.create_task(ems.submit("chp", "A-2", []))
        problem = Problem(row=0, field="id", code="X", message="check digit")
        await session.confirm((await submitted(session)).receipt, Refused(problems=(problem,), message_id="7"))
        answered = await calling
        assert answered["status"] == "BadInvalidArgument"
        assert answered["outputs"] == ["7", "refused", "row 0 id: check digit"]
        await session.write([result(4, "A-1")])  # returns when it was acknowledged
        told = await ems.tells("result", sequence=4)
        assert (told["id"], told["state"]) == ("A-1", "completed")
        assert json.loads(str(told["json"]))["id"] == "A-1"


async def test_a_killed_client_gets_its_result_when_it_is_back(node: str, keys: Path) -> None:
    """Killed with a result in front of it and another behind: the new process takes both, in order."""
    rig = ServerRig()
    async with rig.listening() as session:
        async with node_opcua_ems(node, keys, rig.port) as ems:
            await ems.order({"hold": True})
            writing = asyncio.create_task(session.write([result(4, "A"), result(6, "B")]))
            await ems.tells("result", sequence=4)
        assert not writing.done()
        async with node_opcua_ems(node, keys, rig.port) as ems:
            await writing
            await ems.tells("result", sequence=6)
            assert [one["sequence"] for one in ems.said if one["event"] == "result"] == [4, 6]


async def test_a_stopped_client_takes_nothing_and_disturbs_nobody(node: str, keys: Path) -> None:
    """SIGSTOP with a result on its way: it waits; another client is served; SIGCONT, and it is taken."""
    rig = ServerRig()
    async with rig.listening() as session, node_opcua_ems(node, keys, rig.port) as ems:
        ems.freeze()
        writing = asyncio.create_task(session.write([result(4, "A")]))
        serving = asyncio.create_task(serve(session, DONE))
        async with node_opcua_ems(node, keys, rig.port) as other:
            await other.order({"hold": True})
            assert (await other.submit("battery", "B-1", {}))["status"] == "Good"
        ems.go_on()
        await writing
        serving.cancel()


async def test_a_restarted_listener_and_a_cut_in_mid_frame_lose_nothing(node: str, keys: Path) -> None:
    """What was not answered is submitted again under its id, to the next life of the listener, and taken once."""
    rig = ServerRig()
    async with (
        rig.listening() as session,
        fault_proxy("127.0.0.1", rig.port) as proxy,
        node_opcua_ems(node, keys, proxy.port) as ems,
    ):
        await ems.order({"call": ["battery", "A-1", "{}"]})
        first = await submitted(session)
        proxy.cut_after(40)  # in the middle of the answer, or of a notification before it
        await session.confirm(first.receipt, DONE)
    async with rig.listening() as session, node_opcua_ems(node, keys, rig.port) as ems:
        calling = asyncio.create_task(ems.submit("battery", "A-1", {}))
        again = await submitted(session)
        assert (again.key, again.raw) == (first.key, first.raw)
        await session.confirm(again.receipt, DONE)
        assert (await calling)["status"] == "Good"
