"""The operator's kill switch: hold a site from the command line, and nothing is written to it until it is released."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.app import open_control, open_control_or_journal
from gateway.core.control import HOLD_SITE, RELEASE_SITE, SITES, HoldOrder, Nothing
from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from gateway.errors import ControlRefused
from gateway.telemetry import Telemetry
from tests.system.commands import smp_gateway
from tests.system.rig import world
from tests.system.test_operator import ME
from tests.system.test_sites import completes
from tests.system.test_writes import watched, writes

SITE = "solent-bess"


async def test_a_held_site_is_written_nothing_until_it_is_released(tmp_path: Path) -> None:
    """Over a restart too: its request is stored and sent, and acknowledgement and result come with the release."""
    async with world(tmp_path) as here:
        where = (str(here.folder / "gateway.yaml"), "--state", str(here.state))
        plant = here.plants[SITE]
        async with here.gateway() as running:
            await completes(here, SITE, "SOLENT 1")
            await running.relayed()
            code, said, _ = await smp_gateway(
                "sites", "hold", where[0], SITE, *where[1:], "--reason", "fitters in the yard", environ=here.environ
            )
            assert code == 0, said
            await watched(plant)
            plant.log.clear()
            sequence = await here.ask(SITE, "SOLENT 2")
            await running.reaches(SITE, State.COMPLETED, number=1)
            await watched(plant)
            assert writes(plant) == 0
            degraded = (await running.ready())[1]["degraded"]
            assert f"site {SITE}: held by {ME}: fitters in the yard" in degraded
        async with here.gateway() as running, open_control(here.configuration) as control:
            await watched(plant)
            assert writes(plant) == 0
            sites = {each.site: each for each in (await control.ask(SITES, Nothing())).sites}
            assert (sites[SITE].held, sites["hams-bess"].held) == (f"{ME}: fitters in the yard", None)
            await completes(here, "hams-bess", "HAMS 1")
            with pytest.raises(ControlRefused, match="is held already, by"):
                await control.ask(HOLD_SITE, HoldOrder(reason="me too"), site=SITE)
            await control.ask(RELEASE_SITE, HoldOrder(reason="yard is empty"), site=SITE)
            assert (await plant.result(sequence)).state == state_code(State.COMPLETED)
            await running.relayed()
            with pytest.raises(ControlRefused, match="is not held"):
                await control.ask(RELEASE_SITE, HoldOrder(reason="yard is empty"), site=SITE)
        _, told, _ = await smp_gateway("participants", "audit", *where, "--json", environ=here.environ)
    kept = [(row["event"], row["actor"], row["detail"]) for row in json.loads(told)]
    assert kept == [
        ("site_released", ME, f"{SITE}: yard is empty"),
        ("site_held", ME, f"{SITE}: fitters in the yard"),
    ]


async def test_a_site_is_held_before_the_gateway_runs(tmp_path: Path) -> None:
    """The journal is enough: the gateway that starts then writes nothing to it; a site that nobody knows is told."""
    async with world(tmp_path) as here:
        async with here.gateway():
            pass
        async with open_control_or_journal(here.configuration, Telemetry(console=False)) as control:
            await control.ask(HOLD_SITE, HoldOrder(reason="not before the test"), site=SITE)
            with pytest.raises(ControlRefused, match="no site nowhere runs here"):
                await control.ask(HOLD_SITE, HoldOrder(reason="not before the test"), site="nowhere")
        async with here.gateway() as running:
            plant = here.plants[SITE]
            await here.ask(SITE, "SOLENT 1")
            await running.reaches(SITE, State.COMPLETED)
            await watched(plant)
            assert writes(plant) == 0
