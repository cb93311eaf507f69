"""What operators do with a running gateway over its control socket."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.app import open_control
from gateway.core.control import STATUS, Nothing
from tests.system.rig import world


async def test_the_status_says_what_is_degraded(tmp_path: Path) -> None:
    """With the SMP away the gateway answers on its socket: degraded, by whom and since when."""
    async with (
        world(tmp_path, smp_up=False) as here,
        here.gateway() as running,
        open_control(here.configuration) as control,
    ):
        while (found := await control.ask(STATUS, Nothing())).status == "ready":
            await running.ready()
    assert found.status == "degraded"
    assert found.process == os.getpid()
    assert "SMP test: not reachable" in found.degraded
