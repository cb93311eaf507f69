"""A site whose EMS calls our own OPC UA server, all the way: Submit, verdict, result, with the real gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from asyncua import Client, ua

from adapters.opcua.listener import build
from gateway.core.transaction import State
from tests.adapters.opcua.server_rig import call, put, shows
from tests.ports import free_ports
from tests.system.rig import World, holds, until, world

SITE = "cowes-bess"
MPAN = "2000000000200"
YAML = """\
site: cowes-bess
participant: exstor
connections:
  ems: {protocol: opcua, role: server, listen: "127.0.0.1:PORT", security: None}
points:
  energy: {connection: ems, node: "ns=2;s=BESS.Energy", type: Double, unit: MWh, range: [0, 60]}
  smp_state: {connection: ems, node: "ns=2;s=BESS.SmpState", type: UInt16, access: write}
messages:
  battery:
    kind: assets
    when: {message: ems}
    assets:
      - assetName: {path: name}
        technology: Battery
        meterPoints: [{type: MPAN, id: {path: mpan}, direction: Import}]
        connection: {gspGroup: _H}
        capacity: {maxExportMw: {path: power}, energyMwh: {point: energy}}
        startDate: 2026-12-01
relay:
  - {on: [completed], write: {smp_state: 2}}
  - {on: [any_failure], write: {smp_state: 3}}
"""


@dataclass
class Ems:
    """The site's own program, with the library's client."""

    client: Client

    async def submit(self, caller: str, name: str, mpan: str = MPAN) -> ua.CallMethodResult:
        payload = json.dumps({"name": name, "mpan": mpan, "power": 12.5})
        return await call(self.client, caller, payload)

    async def result(self) -> tuple[int, str, str, str]:
        """Wait for the next result and take it: its sequence, the id, the state and the first error."""

        async def probe() -> bool:
            return await shows(self.client, "SMP.Result.Sequence") != await shows(self.client, "SMP.Result.Acknowledge")

        await until(probe)
        sequence, caller, state, text = [
            await shows(self.client, f"SMP.Result.{name}") for name in ("Sequence", "Id", "State", "Text")
        ]
        assert isinstance(sequence, int)
        await put(self.client, "SMP.Result.Acknowledge", sequence, ua.VariantType.UInt32)
        return sequence, str(caller), str(state), str(text)


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[tuple[World, Callable[[], Client]]]:
    """The world with this site in it, and what makes clients of its server."""
    await build("urn:test:first", "makes what all servers of this process share, which may take its time")
    (port,) = free_ports(1)
    async with world(folder, processing_delay_s=0.05) as here:
        (here.folder / "sites" / f"{SITE}.yaml").write_text(YAML.replace("PORT", str(port)), "utf-8")
        here.reload()
        yield here, lambda: Client(f"opc.tcp://127.0.0.1:{port}", timeout=10)


def called_at(made: Callable[[], Client]) -> int:
    """The port of its server."""
    port = made().server_url.port
    assert port is not None
    return port


@asynccontextmanager
async def called(here: World, made: Callable[[], Client], life: int = 1) -> AsyncIterator[Ems]:
    """Connect when the server listens, in the gateway's first life or another one."""
    await holds(lambda: len(here.events("site_connected", site=SITE)) >= life)
    async with made() as client:
        yield Ems(client)


async def test_a_submitted_message_becomes_an_asset(tmp_path: Path) -> None:
    """Answered after the commit, created with exact numbers, and told; a bad one is refused with its reasons."""
    async with site(tmp_path) as (here, made), here.gateway() as running, called(here, made) as ems:
        await put(ems.client, "BESS.Energy", 57.5, ua.VariantType.Double)
        answered = await ems.submit("A-1", "COWES 1")
        message = await running.reaches(SITE, State.COMPLETED)
        assert answered.OutputArguments[0].Value == message.id
        assert (await ems.result())[1:] == ("A-1", "completed", "")
        refused = await ems.submit("A-2", "COWES 2", mpan="2000000000007")
        assert refused.StatusCode.name == "BadInvalidArgument"
        assert "check digit" in refused.OutputArguments[2].Value
        _, caller, state, text = await ems.result()
        assert (caller, state) == ("A-2", "refused")
        assert "check digit" in text
        await running.relayed()
        assert await shows(ems.client, "BESS.SmpState") == 3
        body = here.story(message.id).submissions[0].body
    assert b'"maxExportMw":12.5' in body
    assert b'"energyMwh":57.5' in body
    assert here.effects() == ["COWES 1"]


async def test_an_id_is_one_message_however_often_it_comes(tmp_path: Path) -> None:
    """The same again answers what became of it; another content under the id is refused, and the first one stands."""
    async with site(tmp_path) as (here, made), here.gateway() as running, called(here, made) as ems:
        await put(ems.client, "BESS.Energy", 57.5, ua.VariantType.Double)
        first = await ems.submit("A-1", "COWES 1")
        await running.reaches(SITE, State.COMPLETED)
        again = await ems.submit("A-1", "COWES 1")
        other = await ems.submit("A-1", "COWES 2")
        assert [each.Value for each in again.OutputArguments] == [first.OutputArguments[0].Value, "completed", ""]
        assert other.StatusCode.name == "BadInvalidArgument"
        assert "used before with another content" in other.OutputArguments[2].Value
    assert here.effects() == ["COWES 1"]


async def test_a_site_that_was_away_gets_its_results_in_order(tmp_path: Path) -> None:
    """Three verdicts wait, the gateway restarts in between; each is shown when the last was taken, numbers rise."""
    async with site(tmp_path) as (here, made):
        async with here.gateway() as running:
            async with called(here, made) as ems:
                await put(ems.client, "BESS.Energy", 57.5, ua.VariantType.Double)
                for number in (1, 2, 3):
                    assert (await ems.submit(f"A-{number}", f"COWES {number}")).StatusCode.is_good()
            for number in range(3):
                await running.reaches(SITE, State.COMPLETED, number=number)
        async with here.gateway() as running, called(here, made, life=2) as ems:
            found = [await ems.result() for _ in range(3)]
            await running.relayed()
    assert [caller for _, caller, _, _ in found] == ["A-1", "A-2", "A-3"]
    assert [sequence for sequence, *_ in found] == sorted({sequence for sequence, *_ in found})
    assert here.effects() == ["COWES 1", "COWES 2", "COWES 3"]


async def test_a_taken_port_is_shown_and_costs_no_other_site(tmp_path: Path) -> None:
    """The operator reads which address it is; another site's request goes through."""
    async with site(tmp_path) as (here, made):
        port = int(made().server_url.port or 0)
        blocker = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
        async with here.gateway() as running, blocker:
            await here.plants["hams-bess"].result(await here.ask("hams-bess", "HAMS 1"))
            _, body = await running.ready()
    assert any(f"{SITE}, ems: not connected, cannot listen at 127.0.0.1:{port}" in line for line in body["degraded"])
