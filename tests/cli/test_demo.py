"""`smp-gateway demo --once` as a newcomer runs it: every protocol, both roles, nothing lost."""

from __future__ import annotations

from pathlib import Path

from tests.crash.processes import child, python
from tests.crash.world import REPOSITORY


async def test_the_demo_tells_every_plant_what_it_has_to_be_told(tmp_path: Path) -> None:
    """Pins the exit code and the last sentence, and that plants of each protocol and an EMS that calls us took part."""
    async with child(python(REPOSITORY, "demo", "--once", "--state", str(tmp_path))) as demo:
        assert await demo.ended() == 0
    shown = " ".join(" ".join(demo.lines).split())
    for said in ("plants (Modbus)", "plants (OPC UA)", "plants (MQTT)", "EMS (OPC UA) cowes-bess calls the gateway"):
        assert said in shown
    assert "18 requests of 6 sites: none lost" in shown
