"""Safe writes over OPC UA and MQTT: the one door through which a site is written to knows no protocol."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from gateway.core.transaction import State
from tests.system.rig import Running, World, holds, until, world
from tests.system.test_mqtt import REQUEST, depot, request
from tests.system.test_opcua import plant, values
from tests.system.test_reload import edit, reloaded
from tests.system.test_reload import site as file_of

SCADA, DEPOT = "wight-bess", "soar-ev"


def scada(head: str = "", point: str = "") -> Callable[[str], str]:
    """Add these members to the OPC UA site, and to a point that a relay writes."""
    points = f"""
  remote: {{connection: scada, node: "ns=2;s=BESS.Remote", range: [0, 1]}}
  smp_state: {{connection: scada, node: "ns=2;s=BESS.SmpState", range: [0, 9], access: write{point}}}
"""

    def change(text: str) -> str:
        if f"site: {SCADA}\n" not in text:
            return text
        text = text.replace("\npoints:", f"\n{head}\npoints:{points}#", 1)
        return text.replace("\nrelay:\n", "\nrelay:\n  - {on: [completed], write: {smp_state: 2}}\n")

    return change


def charging(head: str = "", point: str = "") -> Callable[[str], str]:
    """The same for the depot on MQTT."""

    def change(text: str) -> str:
        if f"site: {DEPOT}\n" not in text:
            return text
        remote = "  remote: {connection: mqtt, topic: soar/remote, type: number}\n"
        text = text.replace("\npoints:", f"\n{head}\npoints:", 1)
        text = text.replace("  smp_state: {", f"{remote}  smp_state: {{", 1)
        before, state, rest = text.partition("topic: soar/smp/state, type: text, access: write, retain: true")
        return f"{before}{state}{point}{rest}"

    return change


async def asked(here: World, running: Running) -> None:
    """Have the OPC UA site ask for an asset, and the SMP make it."""
    await plant(here).set_value("energy", Decimal("57.5"))
    await plant(here).request(1, values("WIGHT 1"))
    await running.reaches(SCADA, State.COMPLETED)


async def test_an_interlock_holds_a_node_back(tmp_path: Path) -> None:
    """The verdict waits, told once, until the SCADA goes remote; then it is written and read back."""
    sites = scada(point=", interlock: {point: remote}")
    async with world(tmp_path, opcua=True, sites=sites) as here, here.gateway() as running:
        await asked(here, running)
        await holds(lambda: here.events("writes_held", site=SCADA))
        assert plant(here).raw("smp_state") == 0
        await plant(here).set_value("remote", Decimal(1))
        await holds(lambda: plant(here).raw("smp_state") == 2)
        await running.relayed()
    assert len(here.events("writes_held", site=SCADA)) == 1


async def test_a_kill_switch_stops_every_node(tmp_path: Path) -> None:
    """No acknowledgement, no heartbeat, no result; switched back, all of it comes."""
    async with world(tmp_path, opcua=True, sites=scada("kill_switch: true")) as here, here.gateway() as running:
        await asked(here, running)
        await holds(lambda: here.events("writes_held", site=SCADA))
        ours = {"acknowledged", "heartbeat", "smp_state", "result"}
        assert [name for name, _ in plant(here).log if name in ours] == []
        await reloaded(here, running, lambda: edit(file_of(here, SCADA), {"kill_switch: true\n": "\n"}))
        await running.relayed()
    assert plant(here).raw("smp_state") == 2
    assert here.effects() == ["WIGHT 1"]


async def test_an_interlock_holds_a_topic_back(tmp_path: Path) -> None:
    """The depot's state topic, and what comes behind it in order, says nothing until the depot is remote."""
    async with depot(tmp_path, sites=charging(point=", interlock: {point: remote}")) as (site, running):
        await site.publish(REQUEST, request("A-1", "BAY 1"))
        await running.reaches(DEPOT, State.COMPLETED)
        await holds(lambda: running.world.events("writes_held", site=DEPOT))
        assert site.heard("soar/smp/state") == site.heard("soar/smp/result/A-1") == []
        await site.publish("soar/remote", "1")
        await site.hears("soar/smp/result/A-1")
        await site.hears("soar/smp/state", lambda heard: heard.payload == b"registered")
        await running.relayed()


async def test_a_dry_run_publishes_nothing(tmp_path: Path) -> None:
    """The asset is made; neither result nor state is published, and each write is told of."""
    async with depot(tmp_path, sites=charging("dry_run: true")) as (site, running):
        await site.publish(REQUEST, request("A-1", "BAY 1"))
        await running.reaches(DEPOT, State.COMPLETED)
        await running.relayed()

        async def rehearsed() -> bool:
            told = [str(each["write"]) for each in running.world.events("write_rehearsed", site=DEPOT)]
            return any("smp_state" in each for each in told) and any("soar/smp/result/A-1" in each for each in told)

        await until(rehearsed)
        await site.publish("soar/last", "heard by whoever listens to all of it")
        await site.hears("soar/last")
        assert site.heard("soar/smp/state") == site.heard("soar/smp/result/A-1") == []
    assert running.world.effects() == ["BAY 1"]
