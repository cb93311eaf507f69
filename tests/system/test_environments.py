"""Test and live side by side: two SMPs, two sets of keys, nothing crosses."""

from __future__ import annotations

from pathlib import Path

from gateway.core.transaction import State
from tests.system.rig import holds, world
from tests.system.test_callbacks import REFUSED, SLOW_POLLS, sign, verdict


async def test_each_participant_speaks_to_its_own_smp(tmp_path: Path) -> None:
    """Exstor in test, exflex in live: each asset exists at its own SMP only."""
    async with world(tmp_path, live=["exflex"]) as here, here.gateway() as running:
        await here.ask("hams-bess", "HAMS 1")
        await here.ask("trent-chp", "TRENT 1")
        for site in ("hams-bess", "trent-chp"):
            await running.reaches(site, State.COMPLETED)
    assert here.effects("test") == ["HAMS 1"]
    assert here.effects("live") == ["TRENT 1"]
    assert {seen.participant for seen in here.fronts["test"].requests("/assets")} == {"exstor"}
    assert {seen.participant for seen in here.fronts["live"].requests("/assets")} == {"exflex"}


async def test_one_environments_outage_is_not_the_others(tmp_path: Path) -> None:
    """The test SMP is away: live conversations go on, and `/readyz` names only test."""
    async with world(tmp_path, live=["exflex"]) as here, here.gateway() as running:
        await holds(lambda: len(here.events("login_succeeded")) == 2)
        await here.fronts["test"].close()
        await here.plants["hams-bess"].acknowledged(await here.ask("hams-bess", "HAMS 1"))
        await holds(lambda: here.events("smp_unavailable", environment="test"))
        await here.ask("trent-chp", "TRENT 1")
        await running.reaches("trent-chp", State.COMPLETED)
        _, body = await running.ready()
    assert any(line.startswith("SMP test: unavailable, not reachable") for line in body["degraded"])
    assert not any(line.startswith("SMP live") for line in body["degraded"])


async def test_a_key_of_one_environment_verifies_nothing_of_the_other(tmp_path: Path) -> None:
    """A callback for a participant of live, signed with test's key: 401; with live's own key: 200."""
    async with world(tmp_path, live=["exflex"], timings=SLOW_POLLS) as here, here.gateway() as running:
        here.smps["live"].faults.hold_callbacks()
        await here.ask("trent-chp", "TRENT 1")
        message = await running.reaches("trent-chp", State.AWAITING)
        body = verdict(message)
        aud = here.environ["PUBLIC_URL"] + "/smp/v1/callbacks/exflex"
        assert await running.call_back("exflex", body, sign(here, body, environment="test", aud=aud)) == REFUSED
        assert (await running.call_back("exflex", body, sign(here, body, environment="live", aud=aud)))[0] == 200
        await running.reaches("trent-chp", State.COMPLETED)
