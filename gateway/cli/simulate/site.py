"""`smp-gateway simulate site`: one configured site, and on the screen what it asks for and is told."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.modbus.simulator import ModbusScada
from gateway.cli.configured import ConfigPath, StateFolder, load
from gateway.cli.simulate import plan
from gateway.cli.simulate.partner import address, told_to_end
from gateway.cli.simulate.plan import Pause, Show, Step
from gateway.cli.simulate.plants import simulated
from gateway.cli.simulate.story import EXPECTED, Act, Asked, Plant, Result, Storyteller
from gateway.core.mailbox import STATE_CODES
from gateway.core.point import Access
from gateway.errors import ConfigError
from gateway.settings.configuration import Configuration, SiteConfig

if TYPE_CHECKING:
    from gateway.cli.simulate.depot import PracticeDepot

_WORDS = {code: state for state, code in STATE_CODES.items()}


def site(  # noqa: PLR0917 -- typer makes each an option, given by name
    path: ConfigPath,
    name: Annotated[str, typer.Argument(metavar="SITE", help="The site, as its YAML names it.")],
    listen: Annotated[
        str, typer.Option(help="Address and port of the PLC, or of a site on MQTT the practice broker.")
    ] = "127.0.0.1:5020",
    state: StateFolder = None,
    memory: Annotated[Path | None, typer.Option(help="Keep the PLC's registers in this file.")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="Raise so many requests, and end after the last.")] = None,
    story: Annotated[Path | None, typer.Option(help="Raise what this YAML file says, and end after that.")] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Show again what `points SITE --watch --json` recorded, and end after that.")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.001, help="So many times as fast as it was recorded.")] = 1.0,
    *,
    join: Annotated[
        bool, typer.Option("--join", help="Over MQTT: use the broker that the YAML names instead of an own one.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Run the plant of one site (over MQTT with its broker); a line for each request raised, acknowledged and answered.

    A site that calls the gateway (role: server) is simulated as the program that calls; it calls where the YAML says
    that the gateway listens. A site inside TLS gets practice certificates for both sides where there are none yet.
    Without --requests, --story and --replay each line typed raises a request: new, again, typo, or nothing for the
    next in turn.
    Ends on SIGINT or SIGTERM. Exit codes: 0 done, 1 a result was not the one to expect, 2 it could not be done.
    """
    host, port = address(listen)
    configuration = load(path, state)
    found = configuration.sites.get(name)
    if found is None:
        raise typer.BadParameter(f"the configuration has no site {name}", param_hint="SITE")
    if sum(each is not None for each in (requests, story, replay)) > 1:
        raise typer.BadParameter("a number, a story or a recording, only one of them", param_hint="--requests")
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # it dumps frames when a master goes away
    try:
        steps = plan.typed() if requests is None else plan.counted(requests)
        if story is not None:
            steps = plan.told(plan.read_story(story, environ=os.environ))
        elif replay is not None:
            shown = {name for name, spec in found.points.items() if spec.access is Access.READ}
            steps = plan.told(tuple(plan.read_recording(replay, shown, speed)))
        simulated_site = _simulated(configuration, found, (host, port), memory, join=join)
        plant = _Plant(found.site, *simulated_site, _json_line if as_json else _plain_line)
        ends = not (story is None and requests is None and replay is None)
        as_expected = asyncio.run(plant.run(steps, ends=ends))
    except (ConfigError, ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except RuntimeError as error:  # what pymodbus raises when it cannot listen
        typer.echo(f"{listen}: {error}", err=True)
        raise typer.Exit(2) from None
    if not as_expected:
        raise typer.Exit(1)


class _Plant:
    """One PLC and its story: requests are raised as fast as they are acknowledged, results are read beside that."""

    def __init__(
        self, site: str, plant: Plant | PracticeDepot, teller: Storyteller | PracticeDepot, tell: Callable[..., None]
    ) -> None:
        self._plant, self._teller = plant, teller
        self._site = site
        self._tell = tell
        self._asked: dict[int, Asked] = {}
        self._open: set[int] = set()
        self._told = asyncio.Event()  # set whenever a result came
        self._as_expected = True

    async def run(self, steps: AsyncIterator[Step], *, ends: bool) -> bool:
        """Ask until told to end, or, where the story ends, until its last result; True when all were as expected."""
        ended = told_to_end()
        async with self._plant:
            said = "calling" if isinstance(self._plant, ModbusScada) else "listening"
            self._say(said, host=self._plant.host, port=self._plant.port)
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen(), name="results")
                asking = group.create_task(self._ask(steps, then=ended.set if ends else None), name="requests")
                await ended.wait()
                asking.cancel()
                listening.cancel()
        self._say("ended", unanswered=sorted(self._open))
        return self._as_expected

    async def _ask(self, steps: AsyncIterator[Step], *, then: Callable[[], None] | None) -> None:
        async for step in steps:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                continue
            try:
                if isinstance(step, Show):
                    await self._teller.show(step.values)
                    self._say("shown", **{name: str(value) for name, value in step.values.items()})
                    continue
                asked = await (self._teller.ask(step) if isinstance(step, Act) else self._teller.ask_for(step))
            except ValueError as error:
                self._as_expected = False
                self._say("impossible", reason=str(error))
                continue
            self._asked[asked.sequence] = asked
            self._open.add(asked.sequence)
            self._say("raised", sequence=asked.sequence, act=asked.act or "own values", name=asked.name)
            await self._plant.acknowledged(asked.sequence)
            self._say("acknowledged", sequence=asked.sequence)
        while then is not None and self._open:
            self._told.clear()
            await self._told.wait()
        if then is not None:
            then()

    async def _listen(self) -> None:
        while True:
            self._read(await self._plant.next_result())
            self._told.set()

    def _read(self, result: Result) -> None:
        asked = self._asked.get(result.for_sequence)
        state = _WORDS.get(result.state)
        expected = EXPECTED.get(asked.act) if asked is not None and asked.act is not None else None
        self._as_expected &= expected in {None, state}
        self._open.discard(result.for_sequence)
        self._say(
            "result",
            sequence=result.for_sequence,
            state=state or result.state,
            errors=result.error_count,
            text=result.text,
            result_seq=result.result_seq,
        )

    def _say(self, event: str, **fields: object) -> None:
        self._tell(event, site=self._site, **fields)


def _simulated(
    configuration: Configuration, site: SiteConfig, listen: tuple[str, int], memory: Path | None, *, join: bool
) -> tuple[Plant | PracticeDepot, Storyteller | PracticeDepot]:
    """The plant behind the first mailbox of a site, and who asks for it; or, without one, a depot that publishes."""
    if not site.mailboxes:
        from gateway.cli.simulate.depot import PracticeDepot  # noqa: PLC0415 - most plants need no MQTT

        depot = PracticeDepot(site, *listen, first=time.time_ns() // 1_000_000, join=join)
        return depot, depot
    plant = simulated(site, listen, memory, state=configuration.state, environ=os.environ)
    return plant, Storyteller(site, plant)


def _json_line(event: str, **fields: object) -> None:
    typer.echo(json.dumps({"event": event, "at": time.time_ns() // 1000, **fields}))


def _plain_line(event: str, **fields: object) -> None:
    told = "  ".join(f"{name} {value}" for name, value in fields.items() if name != "site" and value not in ("", []))
    typer.echo(f"{event:<13} {told}")
