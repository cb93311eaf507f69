"""`smp-gateway demo`: a simulated SMP, simulated plants and the real gateway in one terminal, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from gateway.app import Gateway, gateway
from gateway.cli.configured import fail
from gateway.cli.demo import screen
from gateway.cli.demo.surroundings import Surroundings, surroundings
from gateway.cli.run import new_event_loop
from gateway.cli.simulate.depot import Depot, EmsCarrier, MqttCarrier
from gateway.cli.simulate.story import Act, Storyteller, Teller, Told
from gateway.core.record import Depth, MessageFilter
from gateway.core.transaction import TERMINAL
from gateway.errors import ConfigError, GatewayError
from gateway.settings.example import example_configuration
from gateway.telemetry import Telemetry

_FRAME_S = 0.25
_ONCE_LIMIT_S = 60.0  # a demo that takes longer has lost something
_PROTOCOLS = {"modbus": "Modbus", "opcua": "OPC UA"}
_PAUSE_S = (1.0, 4.0)  # between two requests of one plant, when the demo goes on


def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="Three requests per site, a summary, and an exit code.")] = False,
    state: Annotated[Path | None, typer.Option("--state", help="Keep state here; default: a fresh folder.")] = None,
) -> None:
    """Watch whole conversations: plants raise requests, the SMP calls back, results are read back at the plants."""
    with contextlib.ExitStack() as stack:
        folder = state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smp-gateway-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            try:
                good = runner.run(_demo(folder.resolve(), once=once, kept=state is not None))
            except ConfigError as error:
                for problem in error.problems:
                    typer.echo(str(problem), err=True)
                raise typer.Exit(1) from None
            except GatewayError as error:
                raise fail(error) from None
    if not good:
        raise typer.Exit(1)


async def _demo(state: Path, *, once: bool, kept: bool) -> bool:
    """Run the demo; True when every plant was told what it had to be told."""
    console = Console()
    with (state / "gateway.log").open("a", encoding="utf-8") as log:
        async with (
            surroundings(example_configuration(), state) as around,
            gateway(around.configuration, environ=around.environ, telemetry=Telemetry(stream=log)) as running,
            contextlib.AsyncExitStack() as stack,
        ):
            sites, first = around.configuration.sites, time.time_ns() // 1_000_000
            tellers: list[Teller] = [Storyteller(sites[name], plant) for name, plant in around.plants.items()]
            clients = [(sites[name], MqttCarrier(sites[name], client)) for name, client in around.depots.items()]
            tellers += [Depot(site, client, first=first) for site, client in clients]
            for name, ems in around.callers.items():
                carrier = EmsCarrier(sites[name], await stack.enter_async_context(ems))
                tellers.append(Depot(sites[name], carrier, first=first))
            async with _shown(running, _heading(around, state, kept=kept), console):
                if not once:
                    await _tell_on(tellers)
                    return True
                told = await _tell_once(tellers)
                await _ended(running)
            messages = await running.journal.history(MessageFilter(limit=100))
    good, sentence = screen.verdict(told, len(tellers), messages)
    console.print(screen.results(told), screen.latencies(messages), sentence)
    return good


@asynccontextmanager
async def _shown(running: Gateway, heading: str, console: Console) -> AsyncIterator[None]:
    """Keep the table of messages on the screen while the body runs."""
    with Live(console=console, auto_refresh=False) as live:

        async def refresh() -> None:
            messages = await running.journal.history(MessageFilter(limit=20))
            live.update(screen.picture(messages, heading, console.width), refresh=True)

        async def keep_fresh() -> None:
            while True:
                await refresh()
                await asyncio.sleep(_FRAME_S)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(keep_fresh(), name="demo screen")
            yield
            task.cancel()
        await refresh()


async def _tell_once(tellers: Sequence[Teller]) -> list[Told]:
    """Each plant asks for each act once, all plants at the same time; what did not come in time is missing."""
    told: list[Told] = []

    async def tell(teller: Teller) -> None:
        told.extend([await teller.tell(act) for act in Act])

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ONCE_LIMIT_S), asyncio.TaskGroup() as group:
            for teller in tellers:
                group.create_task(tell(teller), name="demo plant")
    return told


async def _tell_on(tellers: Sequence[Teller]) -> None:
    """Let the plants ask on until Ctrl-C."""
    dice = random.Random()  # noqa: S311 - a demo's pace, no secret
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)

    async def tell(teller: Teller) -> None:
        for act in itertools.cycle(Act):
            await teller.tell(act)
            await asyncio.sleep(dice.uniform(*_PAUSE_S))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tell(teller), name="demo plant") for teller in tellers]
        await ended.wait()
        for task in tasks:
            task.cancel()


async def _ended(running: Gateway) -> None:
    """Wait for the ends that no plant waits for: of units, and of the last read-back in the journal."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ONCE_LIMIT_S):
            while _unfinished(await running.journal.depth()):  # noqa: ASYNC110 - the journal tells nobody that it is
                await asyncio.sleep(_FRAME_S)


def _unfinished(depth: Depth) -> bool:
    return bool(depth.relays or any(count for state, count in depth.messages.items() if state not in TERMINAL))


def _heading(around: Surroundings, state: Path, *, kept: bool) -> str:
    plants = "\n".join(f"{line:<16} {sites}" for line, sites in _plants(around).items())
    note = "" if kept else "   (removed at the end; --state DIR keeps it)"
    depots = f"plants (MQTT)    {', '.join(around.depots)} over a broker :{around.broker.port}"
    callers = ", ".join(f"{name} calls the gateway :{ems.port}" for name, ems in around.callers.items())
    return (
        f"SMP (simulated)  {around.smp.base_url}\n{plants}\n{depots}\n"
        f"EMS (OPC UA)     {callers}\njournal and log  {state}{note}\n"
    )


def _plants(around: Surroundings) -> dict[str, str]:
    """The plants of each protocol that has ports of its own."""
    found: dict[str, list[str]] = {}
    for name, plant in around.plants.items():
        site = around.configuration.sites[name]
        protocols = {site.connections[box.connection].protocol for box in site.mailboxes.values()}
        found.setdefault(f"plants ({_PROTOCOLS[protocols.pop()]})", []).append(f"{name} :{plant.port}")
    return {line: ", ".join(plants) for line, plants in found.items()}
