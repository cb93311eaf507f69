"""A site that asks for pages, in both roles and the whole way: all errors and all ids reach it, also after restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.modbus.simulator import BoundModbusSite, ModbusScada, ModbusSite, Page
from gateway.core.mailbox import Role, state_code
from gateway.core.message import Message
from gateway.core.result_block import NO_ROW
from gateway.core.transaction import State
from tests.system.rig import Running, holds
from tests.system.test_modbus_ways import SITE, STANDARD, Site, site

TWIN = """\
      - assetName: ITCHEN TWIN
        technology: Battery
        meterPoints: [{type: MPAN, id: "1100000000008", direction: Import}]
        connection: {gspGroup: _H}
        capacity: {maxExportMw: 1}
        startDate: 2026-12-01
relay:
"""


def paged(yaml: str) -> str:
    """The site's YAML with pages of one error each, and a second asset in its message."""
    return yaml.replace(STANDARD, STANDARD.replace("}", ", detail: 1, pages: 1300}")).replace("relay:\n", TWIN)


async def pages(here: Site) -> list[Page]:
    """Every page that there is, the last one first."""
    plant = here.plant
    assert not isinstance(plant, BoundModbusSite)
    count = (await plant.page(9)).pages
    return [await plant.page(number) for number in range(count, 0, -1)]


def ids(found: list[Page]) -> list[tuple[str, int]]:
    return [(page.smp_id, page.smp_row) for page in reversed(found)]


def created(message: Message) -> list[tuple[str, int]]:
    rows = {"ITCHEN 1": 0, "ITCHEN TWIN": 1}
    return [(each.smp_id, rows[each.ref]) for each in message.created]


@pytest.mark.parametrize("way", ["rtu", "server"])
async def test_every_error_and_every_id_reaches_the_site(tmp_path: Path, way: str) -> None:
    """Of a success both ids, again after a restart of gateway and plant; of a refusal each error with its row."""
    async with asyncio.timeout(120), site(tmp_path, way, paged) as here:
        async with here.here.gateway() as running:
            sequence = await here.ask("ITCHEN 1")
            assert (await here.plant.result(sequence)).state == state_code(State.COMPLETED)
            done = await running.reaches(SITE, State.COMPLETED)
            assert len(done.created) == 2
            assert ids(await pages(here)) == created(done)
        await here.restart()
        async with here.here.gateway() as running:
            await connected_again(here, running)
            assert ids(await pages(here)) == created(done)
            sequence = await here.ask("", mpan="2000000000207")
            assert (await here.plant.result(sequence)).state == state_code(State.REFUSED)
            refused = await running.reaches(SITE, State.REFUSED, number=1)
            assert len(refused.problems) > 1
            found = await pages(here)
            numbers = here.here.configuration.environments["test"].profile.error_numbers
            wanted = [((problem.row, numbers[problem.code]),) for problem in refused.problems]
            assert [page.errors for page in reversed(found)] == wanted
            assert {page.smp_row for page in found} == {NO_ROW}


def interlocked(yaml: str) -> str:
    """Pages, and a relay that waits for the plant's permission."""
    line = '  state: {connection: plc, address: "holding:1400", type: uint16, access: write'
    assert line in yaml
    permit = '  permit: {connection: plc, address: "holding:1500", type: uint16}\n'
    return paged(yaml).replace(line, f"{permit}{line}, interlock: {{point: permit, is: 1}}")


async def test_a_relay_that_is_held_back_holds_back_no_page(tmp_path: Path) -> None:
    """What waits for an interlock waits alone: the result that the plant has read is paged meanwhile."""
    async with asyncio.timeout(120), site(tmp_path, "rtu", interlocked) as here, here.here.gateway() as running:
        assert isinstance(here.plant, ModbusSite)
        await here.plant.result(await here.ask("ITCHEN 1"))
        await holds(lambda: here.here.events("writes_held", site=SITE))
        assert ids(await pages(here)) == created(await running.reaches(SITE, State.COMPLETED))
        assert here.state() == 0
        here.plant.set_registers(1500, [1])
        await holds(lambda: here.state() == 2)


async def connected_again(here: Site, running: Running) -> None:
    """Let a SCADA say something new, so that what it reads is of this gateway's life."""
    if isinstance(here.plant, ModbusScada):
        assert (await here.plant.page(7)).pages == 2
        assert here.plant.role(Role.RESULT_SEQ) == 1
        assert len(await running.messages(SITE)) == 1
