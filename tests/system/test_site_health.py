"""What a site sees of us: its own points say how the gateway and the SMP are, in the client's role and the server's."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.health import WORDS
from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from tests.system.front import Answer
from tests.system.rig import holds
from tests.system.test_modbus_ways import SITE, completed, site

FIRST = 1500
HEALTH = f"health: {{{', '.join(f'{word}: our_{word}' for word in WORDS)}}}\nconnections:\n"
POINTS = "points:\n" + "".join(
    f'  our_{word}: {{connection: plc, address: "holding:{FIRST + place}", type: uint16, access: write}}\n'
    for place, word in enumerate(WORDS)
)


def watched(yaml: str) -> str:
    return yaml.replace("connections:\n", HEALTH, 1).replace("points:\n", POINTS, 1)


@pytest.mark.parametrize("way", ["tls", "server"])
async def test_a_site_sees_how_we_are(tmp_path: Path, way: str) -> None:
    """Pins each number: with the SMP there, after a verdict, and while the SMP is away with a message waiting."""
    async with site(tmp_path, way, watched) as here, here.here.gateway() as running:

        def shown() -> dict[str, int]:
            return {word: here.state(f"our_{word}", FIRST + place) for place, word in enumerate(WORDS)}

        well = {"gateway": 1, "smp": 1, "held": 0, "clock": 1, "waiting": 0}
        await holds(lambda: shown() == {**well, "verdict": 0})
        await completed(here, running, await here.ask("ITCHEN 1"), 1)
        done = state_code(State.COMPLETED)
        await holds(lambda: shown() == {**well, "verdict": done})
        await here.here.front.close()
        await here.ask("ITCHEN 2")
        await holds(lambda: shown() == {**well, "smp": 0, "waiting": 1, "verdict": done})
        await here.here.front.open()
        await running.reaches(SITE, State.COMPLETED, number=1)
        await holds(lambda: shown() == {**well, "verdict": done})
        assert not here.here.events("heartbeat_failed", site=SITE)
        assert not here.here.events("point_written", point="our_smp")


async def test_a_participant_that_is_held_is_seen(tmp_path: Path) -> None:
    """Pins that the plant's own people see that nothing is sent for them, without asking anybody."""
    async with site(tmp_path, "server", watched) as here, here.here.gateway() as running:
        await holds(lambda: here.state("our_held", FIRST + 2) == 0 and here.state("our_gateway", FIRST) == 1)
        here.here.front.intercept = lambda seen: Answer(status=403) if seen.path == "/assets" else None
        await here.ask("ITCHEN 1")
        await holds(lambda: here.state("our_held", FIRST + 2) == 1)
        await running.reaches(SITE, State.ACCEPTED)
