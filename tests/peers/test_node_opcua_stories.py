"""The real gateway and node-opcua in both roles, killed, frozen and cut in mid-frame: each request has one effect."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gateway.core.transaction import State
from tests.adapters.fault_proxy import FaultProxy, fault_proxy
from tests.peers.opcua_ems import NodeOpcuaEms, node_opcua_ems
from tests.peers.opcua_plant import NodeOpcuaPlant, node_opcua_plant
from tests.system.rig import holds, world
from tests.system.test_opcua_server import MPAN, called_at, site

WIGHT, COWES = "wight-bess", "cowes-bess"
_POINT = re.compile(r'^  (\w+):( +\{connection: scada, node: )"[^"]+"', re.MULTILINE)
_TEXTS, _NUMBERS = {"asset_name", "mpan", "text"}, {"export_limit": 12.5, "import_limit": 10.0, "energy": 57.5}


def on_node_opcua(text: str) -> str:
    """Name the nodes as the independent server does, and let its silence be noticed soon."""
    quick = "publish: 100ms\n    silence: 2s\n    timeout: 2s\n"
    return re.sub(r"publish: \$\{POLL:-250ms\}[^\n]*\n", quick, _POINT.sub(r'  \1:\2"ns=2;s=Plant.\1"', text))


def nodes(text: str) -> dict[str, tuple[str, object, bool]]:
    """The server's nodes for the points of a site's file."""
    found: dict[str, tuple[str, object, bool]] = {}
    for line in text.splitlines():
        if match := _POINT.match(line):
            name = match[1]
            kind = "String" if name in _TEXTS else "Double" if name in _NUMBERS else "UInt16"
            found[name] = (kind, _NUMBERS.get(name, "" if kind == "String" else 0), "access: write" in line)
    return found


async def ask(plant: NodeOpcuaPlant, number: int) -> None:
    """Raise a request as a SCADA does: the payload first, the number last."""
    await plant.put(asset_name=f"WIGHT {number}", mpan=MPAN, **_NUMBERS, request=number)


async def takes_result(plant: NodeOpcuaPlant, number: int) -> None:
    """Wait for the result of this request, and say that it was read."""
    await plant.holds("result_seq", number)
    assert [plant.values[name] for name in ("result", "result_for", "errors")] == [2, number, 0]
    await plant.put(result_read=number)


async def test_an_independent_server_that_dies_freezes_and_is_cut_loses_nothing(node: str, tmp_path: Path) -> None:
    """Client role: acknowledged means made once; results come in order, one consumption at a time."""
    async with world(tmp_path, opcua=True, sites=on_node_opcua, processing_delay_s=0.3) as here:
        declared = nodes((here.folder / "sites" / f"{WIGHT}.yaml").read_text("utf-8"))
        async with (
            node_opcua_plant(node, tmp_path / "node-opcua", declared) as plant,
            fault_proxy("127.0.0.1", plant.port) as proxy,
        ):
            here.reload(WIGHT_BESS_PORT=str(proxy.port))
            async with here.gateway() as running:
                await ask(plant, 1)
                await takes_result(plant, 1)
                proxy.cut_after(30)
                await ask(plant, 2)
                await takes_result(plant, 2)
                await ask(plant, 3)
                await plant.holds("acknowledged", 3)
                plant.freeze()
                await running.reaches(WIGHT, State.COMPLETED, number=2)
                await holds(lambda: len(here.events("site_lost", site=WIGHT)) >= 2)
                plant.go_on()
                await takes_result(plant, 3)
                await ask(plant, 4)
                await plant.holds("acknowledged", 4)
                await plant.kill()
                await running.reaches(WIGHT, State.COMPLETED, number=3)
                await plant.start()
                await takes_result(plant, 4)
                await running.relayed()
                assert len(await running.messages(WIGHT)) == 4
    assert here.effects() == [f"WIGHT {number}" for number in (1, 2, 3, 4)]


def message(number: int) -> dict[str, object]:
    return {"name": f"COWES {number}", "mpan": MPAN, "power": 12.5}


async def submits(ems: NodeOpcuaEms, number: int) -> None:
    """Submit until the answer comes, as a careful program does."""
    assert (await ems.submit("battery", f"A-{number}", message(number)))["status"] == "Good"


async def cut_call(ems: NodeOpcuaEms, proxy: FaultProxy, number: int) -> None:
    """Submit, and cut the connection in the middle of the answer, or of a notification that goes before it."""
    proxy.cut_after(20)
    await ems.order({"call": ["battery", f"A-{number}", json.dumps(message(number))]})
    await holds(lambda: not proxy.cutting)


async def test_an_independent_client_that_dies_freezes_and_is_cut_loses_nothing(node: str, tmp_path: Path) -> None:
    """Server role, and the gateway restarted too: each id is one message, and its result waits for whoever comes."""
    keys = tmp_path / "keys"
    async with site(tmp_path / "world") as (here, made), fault_proxy("127.0.0.1", called_at(made)) as proxy:
        async with here.gateway() as running:
            await holds(lambda: here.events("site_connected", site=COWES))
            async with node_opcua_ems(node, keys, proxy.port) as ems:
                await ems.order({"write": ["BESS.Energy", "Double", 57.5]})
                await ems.tells("wrote", node="BESS.Energy")
                await submits(ems, 1)
                await ems.tells("result", id="A-1")
                await cut_call(ems, proxy, 2)
            async with node_opcua_ems(node, keys, proxy.port) as ems:  # the one before was killed
                await submits(ems, 2)
                await ems.tells("result", id="A-2")
                ems.freeze()
                await running.reaches(COWES, State.COMPLETED, number=1)
                ems.go_on()
                await ems.order({"hold": True})
                await submits(ems, 3)
                await running.reaches(COWES, State.COMPLETED, number=2)
        async with here.gateway() as running:
            await holds(lambda: len(here.events("site_connected", site=COWES)) >= 2)
            async with node_opcua_ems(node, keys, proxy.port) as ems:
                await ems.tells("result", id="A-3")
                await submits(ems, 3)
                await running.relayed()
                assert len(await running.messages(COWES)) == 3
    assert here.effects() == ["COWES 1", "COWES 2", "COWES 3"]
