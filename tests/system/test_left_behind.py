"""A participant moves to another environment with messages under way: nothing crosses, and people end what stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.modbus.simulator import ModbusSite
from gateway.app import open_control, open_control_or_journal
from gateway.core.acts import Act
from gateway.core.control import ACT, STATUS, Nothing
from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from gateway.errors import ControlRefused
from gateway.telemetry import Telemetry
from tests.system.front import Answer
from tests.system.rig import World, holds, world
from tests.system.test_callbacks import SLOW_POLLS
from tests.system.test_operator import not_deduplicated, order, status_fails


def move_to_test(here: World) -> None:
    """Serve exflex in the test environment from the next start on."""
    path = here.folder / "participants" / "exflex.yaml"
    path.write_text(path.read_text("utf-8").replace("environment: live", "environment: test"), "utf-8")
    here.reload()


async def told_in_the_end(plant: ModbusSite, state: State) -> None:
    """Take results until this one comes; that people have to decide may be told before it."""
    while (await plant.next_result()).state != state_code(state):
        continue


async def test_what_was_left_behind_is_ended_by_people(tmp_path: Path) -> None:
    """One message owes its verdict, one was never sent: resolved and refused, the plant told, and all is well again."""
    async with world(tmp_path, live=["exflex"], timings=SLOW_POLLS) as here:
        plant = here.plants["trent-chp"]
        here.smps["live"].faults.hold_callbacks()
        async with here.gateway() as running:
            await here.ask("trent-chp", "TRENT 1")
            first = await running.reaches("trent-chp", State.AWAITING)
            await here.fronts["live"].close()
            await plant.acknowledged(await here.ask("trent-chp", "TRENT 2"))
            second = await running.reaches("trent-chp", State.ACCEPTED, number=1)
        move_to_test(here)
        async with here.gateway() as running, open_control(here.configuration) as control:
            await holds(lambda: here.events("messages_stuck", participant="exflex", why="left"))
            told = [line for line in (await control.ask(STATUS, Nothing())).degraded if "left behind" in line]
            with pytest.raises(ControlRefused, match="possible now: refuse"):
                await control.ask(ACT, order(Act.RESOLVE_FAILED), message=second.id)
            resolved = await control.ask(ACT, order(Act.RESOLVE_COMPLETED), message=first.id)
            await told_in_the_end(plant, State.COMPLETED)
            refused = await control.ask(ACT, order(Act.REFUSE), message=second.id)
            await told_in_the_end(plant, State.REFUSED)
            await holds(lambda: here.events("messages_freed", participant="exflex", why="left"))
            await here.ask("trent-chp", "TRENT 3")
            await running.reaches("trent-chp", State.COMPLETED, number=2)
    assert [line.startswith("participant exflex: 2 messages left behind in environment live") for line in told] == [
        True
    ]
    assert (resolved.before, resolved.state) == (State.AWAITING, State.COMPLETED)
    assert (refused.before, refused.state) == (State.ACCEPTED, State.REFUSED)
    assert here.effects("test") == ["TRENT 3"]
    assert here.effects("live") == ["TRENT 1"]


async def test_an_escalated_message_never_goes_to_another_environment(tmp_path: Path) -> None:
    """Escalated in live, then its participant is moved: sending it again is refused, and test never sees it."""
    timings = {"doubt_deadline": "100ms", "poll_first": "30ms", "poll_longest": "30ms"}
    async with world(tmp_path, live=["exflex"], timings=timings, profile=not_deduplicated) as here:
        here.fronts["live"].intercept = status_fails
        here.fronts["live"].plan("/assets", Answer(forward=False, cut=True))
        async with here.gateway() as running:
            await here.ask("trent-chp", "TRENT 1")
            message = await running.reaches("trent-chp", State.ESCALATED)
        move_to_test(here)
        async with here.gateway() as running, open_control(here.configuration) as control:
            await holds(lambda: len(here.events("login_succeeded", participant="exflex")) == 2)
            with pytest.raises(ControlRefused) as refused:
                await control.ask(ACT, order(Act.RESEND), message=message.id)
            now = await running.gateway.journal.message(message.id)
    assert refused.value.code == "left_behind"
    assert now is not None
    assert now.state is State.ESCALATED
    assert not here.fronts["test"].requests("/assets")


async def test_what_was_not_sent_is_withdrawn_without_a_gateway(tmp_path: Path) -> None:
    """The SMP is away and the gateway stopped: a message that nobody wants any more is refused, and never sent."""
    async with world(tmp_path) as here:
        async with here.gateway() as running:
            await holds(lambda: len(here.events("login_succeeded")) == 2)
            await here.front.close()
            await here.plants["hams-bess"].acknowledged(await here.ask("hams-bess", "HAMS 1"))
            await here.plants["hams-bess"].acknowledged(await here.ask("hams-bess", "HAMS 2"))
            message = await running.reaches("hams-bess", State.ACCEPTED, State.IN_DOUBT, number=1)
        async with open_control_or_journal(here.configuration, Telemetry(stream=here.log)) as control:
            acted = await control.ask(ACT, order(Act.REFUSE), message=message.id)
        await here.front.open()
        async with here.gateway() as running:
            await told_in_the_end(here.plants["hams-bess"], State.REFUSED)
            await running.reaches("hams-bess", State.COMPLETED)
    assert (acted.before, acted.state) == (State.ACCEPTED, State.REFUSED)
    assert here.effects() == ["HAMS 1"]
