"""Each way in which a site may use Modbus, all the way to the SMP and back, through what networks and plants do."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.modbus.simulator import BoundModbusSite, ModbusScada, ModbusSite, payload_of
from gateway.cli.simulate.plants import simulated
from gateway.cli.simulate.story import Act, Storyteller
from gateway.core.mailbox import state_code
from gateway.core.point import Value
from gateway.core.transaction import State
from tests.adapters.fault_proxy import FaultProxy
from tests.ports import free_ports
from tests.system.rig import Running, World, holds, world

SITE, MPAN = "itchen-bess", "2000000000200"
TLS = "transport: tls, ca: file:pki/itchen-ca.pem, certificate: file:pki/itchen.pem, key: file:pki/itchen.key, "
CLIENT = "host: 127.0.0.1, port: {port}, poll: 20ms, timeout: 500ms"
SERVER = 'role: server, listen: "127.0.0.1:{port}", allow: [127.0.0.1/32], poll: 20ms, silence: 1s'
STANDARD = "{connection: plc, base: 1000, results: 1200}"
BOUND = """
    connection: plc
    request: asked
    payload: [name, mpan, limit]
    acknowledge: taken
    result: result
    result_for: result_for
    result_sequence: result_seq
    result_acknowledge: read
    text: text"""
ROLES = """
  asked:      {connection: plc, address: "holding:2000", type: uint16}
  read:       {connection: plc, address: "holding:2001", type: uint32, word_order: little}
  taken:      {connection: plc, address: "holding:2100", type: uint16, access: write}
  result:     {connection: plc, address: "holding:2101", type: uint16, access: write}
  result_for: {connection: plc, address: "holding:2102", type: uint16, access: write}
  result_seq: {connection: plc, address: "holding:2103", type: uint32, access: write}
  text:       {connection: plc, address: "holding:2105", type: string, length: 16, access: write}"""
YAML = """\
site: itchen-bess
participant: exstor
connections:
  plc: {{protocol: modbus, {link}}}
points:
  name:  {{connection: plc, address: "holding:1006", type: string, length: 16}}
  mpan:  {{connection: plc, address: "holding:1022", type: string, length: 7}}
  limit: {{connection: plc, address: "holding:1029", type: int16, scale: 0.1, unit: MW, range: [0, 60]}}
  state: {{connection: plc, address: "holding:1400", type: uint16, access: write}}{roles}
mailboxes:
  plc: {box}
messages:
  battery:
    kind: assets
    when: {{mailbox: plc, kind: 1}}
    assets:
      - assetName: {{point: name}}
        technology: Battery
        meterPoints: [{{type: MPAN, id: {{point: mpan}}, direction: Import}}]
        connection: {{gspGroup: _H}}
        capacity: {{maxExportMw: {{point: limit}}}}
        startDate: 2026-12-01
relay:
  - {{on: [completed], write: {{state: 2}}}}
  - {{on: [any_failure], write: {{state: 3}}}}
"""
WAYS = {
    "tls": (TLS + CLIENT, STANDARD),
    "rtu": (f"transport: rtu-over-tcp, {CLIENT}", STANDARD),
    "bound": (CLIENT, BOUND),
    "server": (SERVER, STANDARD),
    "server-tls": (TLS + SERVER, STANDARD),
}


@dataclass
class Site:
    """The site of one way, behind a proxy that stands on its side of the network."""

    here: World
    plant: ModbusSite | BoundModbusSite | ModbusScada
    proxy: FaultProxy

    async def ask(self, name: str, mpan: str = MPAN) -> int:
        values: dict[str, Value] = {"name": name, "mpan": mpan, "limit": Decimal("12.5")}
        if isinstance(self.plant, BoundModbusSite):
            return await self.plant.request(1, values)
        link = self.here.configuration.sites[SITE].connections["plc"].config
        return await self.plant.request(1, payload_of(link, self.plant.mailbox, values))

    def state(self, point: str = "state", address: int = 1400) -> int:
        """What was written into a point of the site, by the relay where no other is named."""
        if isinstance(self.plant, ModbusScada):
            return int(str(self.plant.shows(point)))
        site = self.plant.site if isinstance(self.plant, BoundModbusSite) else self.plant
        return site.registers(address)[0]

    async def restart(self) -> None:
        """The plant's program ends and comes back with its registers; a SCADA connects anew."""
        if isinstance(self.plant, ModbusScada):
            self.proxy.reset()
        else:
            site = self.plant.site if isinstance(self.plant, BoundModbusSite) else self.plant
            await site.stop()
            await site.start()


@asynccontextmanager
async def site(folder: Path, way: str, edit: Callable[[str], str] = str) -> AsyncIterator[Site]:
    link, box = WAYS[way]
    ours, theirs = free_ports(2)
    async with world(folder) as here:
        yaml = YAML.format(link=link.format(port=ours), box=box, roles=ROLES if box == BOUND else "")
        (here.folder / "sites" / f"{SITE}.yaml").write_text(edit(yaml), "utf-8")
        here.reload()
        plant = simulated(
            here.configuration.sites[SITE], ("127.0.0.1", theirs), None, state=here.state, environ=here.environ
        )
        assert isinstance(plant, ModbusSite | BoundModbusSite | ModbusScada)
        proxy = FaultProxy("127.0.0.1", ours if isinstance(plant, ModbusScada) else theirs)
        if isinstance(plant, ModbusScada):
            await proxy.open()
            plant.port = proxy.port
        else:
            proxy.port = ours
            await proxy.open()
        async with plant:
            try:
                yield Site(here, plant, proxy)
            finally:
                await proxy.close()


async def completed(site: Site, running: Running, sequence: int, count: int) -> None:
    result = await site.plant.result(sequence)
    assert (result.for_sequence, result.state) == (sequence, state_code(State.COMPLETED)), result
    await running.reaches(SITE, State.COMPLETED, number=count - 1)


@pytest.mark.parametrize("way", WAYS)
async def test_request_verdict_and_read_back_whatever_happens(tmp_path: Path, way: str) -> None:
    """Cut in mid-frame, frozen, restarted on both sides: each request is one asset, and each result is read once."""
    async with site(tmp_path, way) as here:
        async with here.here.gateway() as running:
            await completed(here, running, await here.ask("ITCHEN 1"), 1)
            await holds(lambda: here.state() == 2)
            for number, budget in ((2, 7), (3, 250)):
                here.proxy.cut_after(budget)
                await completed(here, running, await here.ask(f"ITCHEN {number}"), number)
            here.proxy.freeze()
            lost = len(here.here.events("site_lost", site=SITE))
            await holds(lambda: len(here.here.events("site_lost", site=SITE)) > lost)
            asked = asyncio.create_task(here.ask("ITCHEN 4"))
            here.proxy.reset()
            here.proxy.thaw()
            await completed(here, running, await asked, 4)
            await here.restart()
            sequence = await here.ask("ITCHEN 5")
            await here.plant.acknowledged(sequence)
        async with here.here.gateway() as running:
            await completed(here, running, sequence, 5)
            refused = await here.ask("ITCHEN 6", mpan="2000000000207")
            result = await here.plant.result(refused)
            assert result.state == state_code(State.REFUSED)
            assert "meterPoints[0].id" in result.text
            await running.relayed()
            await holds(lambda: here.state() == 3)
            assert len(await running.messages(SITE)) == 6
    assert here.here.effects() == [f"ITCHEN {number}" for number in range(1, 6)]


async def test_a_plant_that_stands_still_inside_tls_costs_no_other_site(tmp_path: Path) -> None:
    """A handshake that nobody answers is a lost link; another site's request goes through meanwhile."""
    async with site(tmp_path, "tls") as here:
        here.proxy.freeze()
        async with here.here.gateway():
            await here.here.plants["hams-bess"].result(await here.here.ask("hams-bess", "HAMS 1"))
            await holds(lambda: here.here.events("site_lost", site=SITE))


async def test_an_array_of_the_plant_becomes_as_many_assets(tmp_path: Path) -> None:
    """The example's eight inverters, of which the plant says that all are in service: one message, eight assets."""
    name = "humber-inverters"
    (port,) = free_ports(1)
    async with world(tmp_path) as here:
        shutil.copy(here.folder / "examples" / f"{name}.yaml", here.folder / "sites")
        here.reload(HUMBER_PPC_HOST="127.0.0.1", HUMBER_PPC_PORT=str(port))
        config = here.configuration.sites[name]
        plant = simulated(config, ("127.0.0.1", port), None, state=here.state, environ=here.environ)
        async with plant, here.gateway() as running:
            told = await Storyteller(config, plant).tell(Act.NEW)
            assert told.as_expected, told
            message = await running.reaches(name, State.COMPLETED)
            assert message.rows == 8
    assert here.effects() == [f"HUMBER {number}" for number in range(1, 9)]
