"""`smp-gateway points` and `decode`: what people see of a plant, beside a running gateway and without one."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from gateway.app import open_control
from gateway.core.control import POINTS, Nothing
from gateway.errors import ControlRefused
from tests.system.commands import smp_gateway
from tests.system.rig import World, holds, world

SITE = "hams-bess"


def arguments(here: World, command: str, *more: str) -> tuple[str, ...]:
    return (command, str(here.folder / "gateway.yaml"), *more, "--state", str(here.state))


async def test_points_shows_every_point(tmp_path: Path) -> None:
    """As the gateway read them, a line each, also in a terminal of eighty columns; the same for programs."""
    async with world(tmp_path) as here, here.gateway():
        await holds(lambda: here.events("site_connected", site="solent-bess"))
        code, out, _ = await smp_gateway(*arguments(here, "points", "solent-bess"), environ=here.environ)
        shown = await smp_gateway(*arguments(here, "points", "solent-bess", "--json"), environ=here.environ)
    assert code == 0
    line = next(line for line in out.splitlines() if "extension_commissioned" in line)
    assert line.split()[1:3] == ["0", "good"]
    found = {one["point"]: one for one in json.loads(shown[1])["points"]}
    assert list(found) == list(here.configuration.sites["solent-bess"].points)
    read = found["extension_commissioned"]
    assert (read["value"], read["quality"], read["connected"]) == ("0", "good", True)


async def test_points_of_a_site_that_is_away_say_so(tmp_path: Path) -> None:
    """What was read before stays to be seen; a site that nobody configured is named."""
    async with world(tmp_path) as here, here.gateway(), open_control(here.configuration) as control:
        await holds(lambda: here.events("site_connected", site=SITE))
        await here.plants[SITE].stop()
        await holds(lambda: here.events("site_lost", site=SITE))
        found = await control.ask(POINTS, Nothing(), site=SITE)
        with pytest.raises(ControlRefused, match="no site hams-bes runs here"):
            await control.ask(POINTS, Nothing(), site="hams-bes")
    assert found.points
    assert not any(one.connected for one in found.points)


async def test_points_needs_a_running_gateway(tmp_path: Path) -> None:
    """Exit code 3, and no traceback."""
    async with world(tmp_path) as here:
        code, _, err = await smp_gateway(*arguments(here, "points", SITE), environ=here.environ)
    assert code == 3
    assert "no gateway runs here" in err


async def test_decode_finds_what_the_display_shows(tmp_path: Path) -> None:
    """A float with its words swapped, read live from the PLC without a gateway; the line to write is the first one."""
    async with world(tmp_path) as here:
        high, low = struct.unpack(">2H", struct.pack(">f", 12.5))
        here.plants[SITE].set_registers(3000, [low, high])
        live = arguments(here, "decode", SITE, "holding:3000", "--expect", "12.5")
        code, out, _ = await smp_gateway(*live, environ={**here.environ, "COLUMNS": "160"})
        shown = await smp_gateway(*live, "--json", environ=here.environ)
    assert code == 0
    first = next(line for line in out.splitlines() if "exact" in line)
    assert 'address: "holding:3000", type: float32, word_order: little' in first
    document = json.loads(shown[1])
    assert document["registers"] == [low, high]
    assert document["readings"][0]["value"] == "12.5"


async def test_decode_says_what_it_cannot_read(tmp_path: Path) -> None:
    """No register, a device that is not there: whose mistake it is, by the exit code."""
    async with world(tmp_path) as here:
        register = await smp_gateway(*arguments(here, "decode", SITE, "coil:1"), environ=here.environ)
        await here.plants[SITE].stop()
        away = await smp_gateway(*arguments(here, "decode", SITE, "holding:1"), environ=here.environ)
    assert (register[0], away[0]) == (2, 3)
    assert "coil:1" in register[2]
    assert "Traceback" not in register[2] + away[2]
