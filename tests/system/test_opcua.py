"""A plant that speaks OPC UA, all the way: request, verdict, result nodes, with the real gateway and simulated SMP."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from adapters.opcua.simulator import OpcuaSite
from gateway.core.mailbox import state_code
from gateway.core.message import Hop
from gateway.core.point import Value
from gateway.core.transaction import State
from tests.adapters.fault_proxy import fault_proxy
from tests.system.rig import World, holds, world

SITE = "wight-bess"
MPAN = "2000000000200"


def values(name: str, mpan: str = MPAN) -> Mapping[str, Value]:
    return {"asset_name": name, "mpan": mpan, "export_limit": Decimal("12.5"), "import_limit": Decimal(10)}


def plant(here: World) -> OpcuaSite:
    return here.scadas[SITE]


async def test_a_request_becomes_an_asset_and_the_scada_reads_it(tmp_path: Path) -> None:
    """Every hop is on record, the numbers are exact, and the nodes tell the end; a refusal tells its reason."""
    async with world(tmp_path, opcua=True) as here, here.gateway() as running:
        await plant(here).set_value("energy", Decimal("57.5"))
        sequence = await plant(here).request(1, values("WIGHT 1"))
        result = await plant(here).result(sequence)
        message = await running.reaches(SITE, State.COMPLETED)
        refused = await plant(here).result(await plant(here).request(1, values("WIGHT 2", "2000000000007")))
        await running.relayed()
        (message, _) = await running.messages(SITE)
        body = here.story(message.id).submissions[0].body
    assert (result.state, result.for_sequence, result.error_count) == (state_code(State.COMPLETED), sequence, 0)
    assert (refused.state, refused.error_count) == (state_code(State.REFUSED), 1)
    assert refused.text.startswith("row 0 meterPoints[0].id: check digit of 2000000000007 must be ")
    assert here.effects() == ["WIGHT 1"]
    assert b'"capacity":{"maxExportMw":12.5,"maxImportMw":10,"energyMwh":57.5}' in body
    assert set(message.hops) == set(Hop)
    assert plant(here).raw("heartbeat") != 0


async def test_what_is_stale_or_bad_refuses_the_message_and_says_so(tmp_path: Path) -> None:
    """The server itself says that its value is uncertain: no asset is made of it, and the SCADA reads why."""
    async with world(tmp_path, opcua=True) as here, here.gateway():
        await plant(here).set_raw("energy", 50.0, status=0x40900000)  # UncertainLastUsableValue
        result = await plant(here).result(await plant(here).request(1, values("WIGHT 1")))
    assert result.state == state_code(State.REFUSED)
    assert result.text.startswith("row 0 capacity.energyMwh: point energy: the server's status")
    assert here.effects() == []


async def test_a_site_that_was_away_gets_its_results_in_order_one_at_a_time(tmp_path: Path) -> None:
    """The link is cut after the acknowledgement; three verdicts wait, and each is shown when the last was read."""
    async with world(tmp_path, opcua=True, processing_delay_s=0.3) as here, here.gateway() as running:
        sequences = [await plant(here).request(1, values(f"WIGHT {number}")) for number in (1, 2, 3)]
        await plant(here).acknowledged(sequences[-1])
        await plant(here).stop()
        for number in range(3):
            await running.reaches(SITE, State.COMPLETED, number=number)
        await plant(here).start()
        results = [await plant(here).next_result() for _ in sequences]
        await running.relayed()
    assert [result.for_sequence for result in results] == sequences
    assert [result.result_seq for result in results] == [1, 2, 3]
    assert here.effects() == ["WIGHT 1", "WIGHT 2", "WIGHT 3"]


async def test_a_restarted_gateway_repeats_nothing(tmp_path: Path) -> None:
    """Acknowledged before the restart, told after it: one message, one effect."""
    async with world(tmp_path, opcua=True, processing_delay_s=0.3) as here:
        async with here.gateway():
            sequence = await plant(here).request(1, values("WIGHT 1"))
            await plant(here).acknowledged(sequence)
        async with here.gateway() as running:
            result = await plant(here).result(sequence)
            await running.relayed()
            messages = await running.messages(SITE)
    assert result.state == state_code(State.COMPLETED)
    assert len(messages) == 1
    assert here.effects() == ["WIGHT 1"]


async def test_a_frozen_scada_delays_nobody(tmp_path: Path) -> None:
    """Half-open towards one site: the others' requests go through, and the trouble is shown."""
    async with world(tmp_path, opcua=True) as here, fault_proxy("127.0.0.1", plant(here).port) as proxy:
        proxy.freeze()
        here.reload(WIGHT_BESS_PORT=str(proxy.port))
        async with here.gateway() as running:
            await here.plants["hams-bess"].result(await here.ask("hams-bess", "HAMS 1"))
            await holds(lambda: here.events("site_lost", site=SITE))
            _, body = await running.ready()
    assert any(line.startswith(f"site {SITE}, scada: not connected") for line in body["degraded"])
