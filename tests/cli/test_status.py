"""`smp-gateway status`: exit codes and both forms of its answer."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.system.commands import smp_gateway
from tests.system.rig import world


async def test_without_a_gateway_it_says_where_none_runs(tmp_path: Path) -> None:
    """Exit code 3, the socket's path, and no traceback."""
    code, out, err = await smp_gateway("status", str(REPOSITORY / "config" / "gateway.yaml"), "--state", str(tmp_path))
    assert (code, out) == (3, "")
    assert f"no gateway runs here: {tmp_path / 'state' / 'control.sock'}" in err
    assert "Traceback" not in err


async def test_a_running_gateway_says_how_it_is(tmp_path: Path) -> None:
    """Exit code 0; a line for people with what is degraded below, and the same for programs."""
    async with world(tmp_path, smp_up=False) as here, here.gateway() as running:
        while (await running.ready())[1]["status"] == "ready":  # until the first login was tried
            continue
        arguments = ("status", str(here.folder / "gateway.yaml"), "--state", str(here.state))
        told = await smp_gateway(*arguments, environ=here.environ)
        for_programs = await smp_gateway(*arguments, "--json", environ=here.environ)
    first, *degraded = told[1].splitlines()
    assert (told[0], for_programs[0]) == (0, 0)
    assert first.startswith("degraded: version ")
    assert f"process {os.getpid()}" in first
    assert json.loads(for_programs[1])["degraded"] == [line.strip() for line in degraded]
