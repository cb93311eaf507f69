"""modbus-serial as plant and as SCADA of the whole gateway: from its request to the SMP and back into registers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from adapters.modbus.simulator import payload_of
from gateway.core.mailbox import Role, crc32, state_code
from gateway.core.point import Value
from gateway.core.transaction import State
from tests.peers.modbus_peers import Process, serial_plant
from tests.ports import free_ports
from tests.system.rig import World, holds, until, world
from tests.system.test_modbus_ways import CLIENT, MPAN, SERVER, SITE, STANDARD, YAML

COMPLETED = state_code(State.COMPLETED)


@asynccontextmanager
async def site(folder: Path, link: str, *, processing_s: float = 0.0, box: str = STANDARD) -> AsyncIterator[World]:
    async with world(folder, processing_delay_s=processing_s) as here:
        yaml = YAML.format(link=link, box=box, roles="")
        (here.folder / "sites" / f"{SITE}.yaml").write_text(yaml, "utf-8")
        here.reload()
        yield here


def payload(here: World, name: str, mpan: str = MPAN) -> list[int]:
    config = here.configuration.sites[SITE]
    values: dict[str, Value] = {"name": name, "mpan": mpan, "limit": Decimal("12.5")}
    return payload_of(config.connections["plc"].config, config.mailboxes["plc"], values)


async def listens(port: int) -> None:
    """Wait until somebody takes connections there."""

    async def probe() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await until(probe)


async def test_a_plant_by_other_people_gets_its_verdicts(modbus_serial: str, tmp_path: Path) -> None:
    """Killed with its request on the way, and stopped for a while: each request is one asset, its result read back."""
    async with (
        serial_plant(modbus_serial) as plant,
        site(tmp_path, CLIENT.format(port=plant.port)) as here,
        here.gateway() as running,
    ):
        await plant.ask(1, payload(here, "ITCHEN 1"))
        await plant.shows(Role.RESULT_SEQ, 1)
        assert plant.registers[1203] == COMPLETED
        await plant.put(1005, [1])
        await plant.ask(2, payload(here, "ITCHEN 2"))
        await plant.shows(Role.ACKNOWLEDGE, 2)
        await plant.kill()
        await running.reaches(SITE, State.COMPLETED, number=1)
        await plant.put(1005, [1])  # the block that it raised was written with 0 there
        await plant.start()
        await plant.shows(Role.RESULT_SEQ, 2)
        await plant.put(1005, [2])
        plant.freeze()
        lost = len(here.events("site_lost", site=SITE))
        await holds(lambda: len(here.events("site_lost", site=SITE)) > lost)
        plant.go_on()
        await plant.ask(3, payload(here, "ITCHEN 3"))
        await plant.put(1005, [2])
        await plant.shows(Role.RESULT_SEQ, 3)
        assert plant.registers[1203] == COMPLETED
        await running.relayed()
        assert len(await running.messages(SITE)) == 3
    assert here.effects() == ["ITCHEN 1", "ITCHEN 2", "ITCHEN 3"]


async def test_a_scada_by_other_people_is_served_and_answered(modbus_serial: str, tmp_path: Path) -> None:
    """Killed once it has raised, and the gateway restarted: the next of its kind finds acknowledgement and verdict."""
    (port,) = free_ports(1)
    async with site(tmp_path, SERVER.format(port=port), processing_s=0.5) as here:  # so that it dies before the verdict
        cells = payload(here, "ITCHEN 1")
        crc = crc32([1, 1, len(cells), *cells])
        block = [1, len(cells), crc >> 16, crc & 0xFFFF, 0, *cells]
        task = {"port": port, "base": 1000, "results": 1200, "block": block, "sequence": 1}
        async with here.gateway() as running:
            await listens(port)
            killed = await Process.run(modbus_serial, "modbus_master.js", task)
            try:
                assert (await killed.event())["event"] == "raised"
            finally:
                await killed.kill()
            await running.reaches(SITE, State.COMPLETED)
        async with here.gateway() as running:
            await listens(port)
            scada = await Process.run(modbus_serial, "modbus_master.js", task)
            try:
                events = [await scada.event() for _ in range(4)]
            finally:
                await scada.kill()
            assert [said["event"] for said in events] == ["raised", "acknowledged", "result", "consumed"]
            registers = events[2]["registers"]
            assert isinstance(registers, list)
            assert registers[2:4] == [1, COMPLETED]
            assert len(await running.messages(SITE)) == 1
    assert here.effects() == ["ITCHEN 1"]


PAGED = STANDARD.replace("}", ", detail: 1, pages: 1300}")
EMPTY, CHECK_DIGIT = 36, 31  # error_numbers of the profile
WRONG = "2000000000207"


async def test_a_plant_by_other_people_turns_the_pages(modbus_serial: str, tmp_path: Path) -> None:
    """It writes the page into its own register and finds that page, also when it was restarted in between."""
    async with (
        asyncio.timeout(60),
        serial_plant(modbus_serial) as plant,
        site(tmp_path, CLIENT.format(port=plant.port), box=PAGED) as here,
        here.gateway(),
    ):
        await plant.ask(1, payload(here, "", WRONG))
        await plant.shows(Role.RESULT_SEQ, 1)
        seen = {}
        for page in (2, 1):
            await plant.put(1300, [page])
            await plant.holds(1258, page)
            seen[page] = [plant.registers[address] for address in (1238, 1239, 1257)]
            await plant.kill()
            await plant.start()
        assert seen == {1: [0, EMPTY, 2], 2: [0, CHECK_DIGIT, 2]}


async def test_a_scada_by_other_people_turns_the_pages(modbus_serial: str, tmp_path: Path) -> None:
    """Each error on a page of its own, in our register map."""
    (port,) = free_ports(1)
    async with asyncio.timeout(60), site(tmp_path, SERVER.format(port=port), box=PAGED) as here, here.gateway():
        cells = payload(here, "", WRONG)
        crc = crc32([1, 1, len(cells), *cells])
        block = [1, len(cells), crc >> 16, crc & 0xFFFF, 0, *cells]
        task = {"port": port, "base": 1000, "results": 1200, "block": block, "sequence": 1, "pages": 1300, "detail": 1}
        await listens(port)
        scada = await Process.run(modbus_serial, "modbus_master.js", task)
        try:
            events = [await scada.event() for _ in range(4)]
        finally:
            await scada.kill()
        assert events[-1]["event"] == "pages", events
        shown = events[-1]["pages"]
        assert isinstance(shown, list)
        assert [[*page[:2], *page[-2:]] for page in shown] == [[0, EMPTY, 2, 1], [0, CHECK_DIGIT, 2, 2]]
