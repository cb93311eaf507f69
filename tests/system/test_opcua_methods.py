"""A SCADA that speaks by events and is told by methods, all the way: with the real gateway and simulated SMP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

from asyncua import ua

from adapters.opcua.simulator import OpcuaSite
from gateway.core.point import Value
from gateway.core.transaction import State
from tests.system.rig import Running, World, holds, world
from tests.system.test_opcua import SITE, plant, values

READY: Mapping[str, Value] = {"export": Decimal("12.5"), "import": Decimal(10)}


def edited(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


async def ready(here: World, running: Running) -> OpcuaSite:
    """A battery that is registered, so that a unit can be made of it."""
    await plant(here).result(await plant(here).request(1, values("WIGHT 1")))
    await running.reaches(SITE, State.COMPLETED)
    return plant(here)


async def test_an_event_makes_a_unit_and_a_method_is_told_its_end(tmp_path: Path) -> None:
    """Numbers as the event had them, one effect, and one call with the relay's number, the state and no error."""
    async with world(tmp_path, opcua=True) as here, here.gateway() as running:
        scada = await ready(here, running)
        await scada.program.happens("wight-1", READY)
        message = await running.reaches(SITE, State.COMPLETED, number=1)
        ((point, (number, state, error)),) = await scada.program.called()
        await running.relayed()
        body = here.story(message.id).submissions[0].body
    assert (point, state, error) == ("unit_told", "completed", "")
    assert isinstance(number, int)
    assert b'"unitName":"WIGHT-1"' in body
    assert b'"maxExportMw":12.5,"maxImportMw":10' in body
    assert here.events("method_called", site=SITE)[0]["point"] == "unit_told"


async def test_what_an_event_lacks_refuses_its_message_and_the_method_is_told_why(tmp_path: Path) -> None:
    """Nothing is invented, and the SCADA hears which field it was."""
    async with world(tmp_path, opcua=True) as here, here.gateway() as running:
        scada = await ready(here, running)
        await scada.program.happens("wight-1", {"export": Decimal("12.5")})
        ((_, (_, state, error)),) = await scada.program.called()
        await running.reaches(SITE, State.REFUSED, number=1)
    assert state == "refused"
    assert "import" in str(error)


async def test_a_method_that_refuses_is_told_of_and_not_called_again(tmp_path: Path) -> None:
    """The status it answers counts: the relay ends as refused, with the server's own word."""
    async with world(tmp_path, opcua=True) as here, here.gateway() as running:
        scada = await ready(here, running)
        scada.program.status = ua.StatusCodes.BadInvalidState
        await scada.program.happens("wight-1", READY)
        await running.reaches(SITE, State.COMPLETED, number=1)
        await holds(lambda: here.events("relay_refused", site=SITE))
        assert len(scada.program.calls) == 1
    assert "BadInvalidState" in str(here.events("relay_refused", site=SITE)[0]["reason"])


async def test_a_call_waits_for_its_interlock(tmp_path: Path) -> None:
    """A method is a write like any other: nothing is called until the plant lets it."""
    locked = edited('UnitTold", access: write}', 'UnitTold", access: write, interlock: {point: energy, is: 57.5}}')
    async with world(tmp_path, opcua=True, sites=locked) as here, here.gateway() as running:
        scada = await ready(here, running)
        await scada.program.happens("wight-1", READY)
        await running.reaches(SITE, State.COMPLETED, number=1)
        await holds(lambda: here.events("writes_held", site=SITE))
        assert scada.program.calls == []
        await scada.set_value("energy", Decimal("57.5"))
        await scada.program.called()
        await running.relayed()


async def test_a_killed_site_is_not_called_until_its_switch_is_off(tmp_path: Path) -> None:
    """The kill switch holds back a call; the verdict does not expire."""
    killed = edited("description: 30 MW", "kill_switch: {point: energy, is: 1}\ndescription: 30 MW")
    async with world(tmp_path, opcua=True, sites=killed) as here, here.gateway() as running:
        scada = await ready(here, running)
        await scada.set_value("energy", Decimal(1))
        await scada.program.happens("wight-1", READY)
        await running.reaches(SITE, State.COMPLETED, number=1)
        await holds(lambda: here.events("writes_held", site=SITE))
        assert scada.program.calls == []
        await scada.set_value("energy", Decimal(2))
        await scada.program.called()


async def test_in_a_dry_run_nothing_is_called(tmp_path: Path) -> None:
    """The call is told of, and not made."""
    async with world(tmp_path, opcua=True) as here:
        async with here.gateway() as running:
            await ready(here, running)
        path = here.folder / "sites" / f"{SITE}.yaml"
        dry = path.read_text("utf-8").replace("participant: exstor\n", "participant: exstor\ndry_run: true\n")
        path.write_text(dry)
        here.reload()
        async with here.gateway() as running:
            scada = plant(here)
            await holds(lambda: len(here.events("site_connected", site=SITE)) >= 2)
            await scada.program.happens("wight-1", READY)
            await running.reaches(SITE, State.COMPLETED, number=1)
            await holds(lambda: here.events("relay_refused", site=SITE))
            assert scada.program.calls == []
    assert any("unit_told" in str(told["write"]) for told in here.events("write_rehearsed", site=SITE))


async def test_a_call_that_was_never_answered_is_made_again_with_the_same_number(tmp_path: Path) -> None:
    """The link dies between the verdict and the call: after the reconnect the method hears of it once."""
    async with world(tmp_path, opcua=True, processing_delay_s=0.3) as here, here.gateway() as running:
        scada = await ready(here, running)
        await scada.program.happens("wight-1", READY)
        await holds(lambda: len(here.events("message_accepted", site=SITE)) == 2)
        await scada.stop()
        await running.reaches(SITE, State.COMPLETED, number=1)
        await scada.start()
        ((_, (_, state, _)),) = await scada.program.called()
        await running.relayed()
    assert state == "completed"
