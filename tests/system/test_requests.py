"""Messages that are made on request: asked for over the control API, once per key, from the site's readings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.app import open_control
from gateway.core.control import REQUEST, RequestOrder
from gateway.core.transaction import State
from gateway.errors import ControlRefused
from tests.system.rig import World, holds, world

SITE, MESSAGE = "solent-bess", "extension"
READ = 1400  # the register whose value the message carries


def on_request(text: str) -> str:
    """Let an operator ask for the extension, with what was read as its energy."""
    return (
        text.replace("{changes: extension_commissioned}", "{request: true}")
        .replace("energyMwh: 20}", "energyMwh: {point: extension_commissioned}}")
        .replace("description: counts up when ready", "range: [1, 60]")
    )


@asynccontextmanager
async def solent(folder: Path, value: int) -> AsyncIterator[World]:
    async with world(folder, sites=on_request) as here:
        here.plants[SITE].set_registers(READ, [value])
        yield here


async def test_a_message_is_made_once_per_key(tmp_path: Path) -> None:
    """Asked twice under one key, with other readings the second time: one message; under another key, another one."""
    async with solent(tmp_path, 20) as here, here.gateway() as running, open_control(here.configuration) as control:
        await holds(lambda: here.events("site_connected", site=SITE))
        first = await control.ask(REQUEST, RequestOrder(key="visit-1"), site=SITE, message=MESSAGE)
        await running.reaches(SITE, State.COMPLETED, message=MESSAGE)
        here.plants[SITE].set_registers(READ, [21])
        again = await control.ask(REQUEST, RequestOrder(key="visit-1"), site=SITE, message=MESSAGE)
        assert (first.existed, again.existed) == (False, True)
        assert (again.message, again.state) == (first.message, State.COMPLETED)
        other = await control.ask(REQUEST, RequestOrder(key="visit-2"), site=SITE, message=MESSAGE)
        assert (other.existed, other.message == first.message) == (False, False)
    assert here.effects() == ["SOLENT BESS EXTENSION"]


async def test_what_the_readings_do_not_allow_is_refused_with_the_reason(tmp_path: Path) -> None:
    """A register outside of its range: stored as refused, the site is told by its own relay, and nothing is sent."""
    async with solent(tmp_path, 0) as here, here.gateway(), open_control(here.configuration) as control:
        await holds(lambda: here.events("site_connected", site=SITE))
        answer = await control.ask(REQUEST, RequestOrder(key="visit-1"), site=SITE, message=MESSAGE)
        assert answer.state is State.REFUSED
        assert "extension_commissioned" in answer.problems[0]
        await holds(lambda: here.plants[SITE].registers(1410) == [3])
        assert here.smp.ledger.arrivals() == []


@pytest.mark.parametrize(
    ("site", "message", "said"),
    [
        ("nowhere", MESSAGE, "no site nowhere runs here"),
        (SITE, "battery", "no message battery on request; there is: extension"),
        ("hams-bess", "battery", "no message battery on request; there is: none"),
    ],
)
async def test_who_asks_for_what_is_not_there_is_told_what_is(
    tmp_path: Path, site: str, message: str, said: str
) -> None:
    """Only what says `when: {request: true}` is made on request."""
    async with solent(tmp_path, 20) as here, here.gateway(), open_control(here.configuration) as control:
        with pytest.raises(ControlRefused, match=said) as refused:
            await control.ask(REQUEST, RequestOrder(key="visit-1"), site=site, message=message)
    assert ("when: {request: true}" in refused.value.advice) == (site != "nowhere")
