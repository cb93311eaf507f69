"""`smp-gateway commission`: all message flows in order, each with what must come of it, against the simulated SMP."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gateway.cli.commission.rehearsal import rehearsal
from gateway.cli.commission.scenario import SCENARIO_FILE, Step, read_scenario
from gateway.cli.commission.trial import Result, attempt
from gateway.cli.configured import ConfigPath, fail, load
from gateway.cli.run import new_event_loop
from gateway.core.printable import printable
from gateway.errors import ConfigError, GatewayError
from gateway.settings.configuration import Configuration
from gateway.settings.example import example_configuration


class Against(StrEnum):
    """The other side of the test."""

    SIMULATOR = "simulator"


def commission(
    path: ConfigPath,
    *,
    against: Annotated[Against, typer.Option(help="The simulated SMP, with the participant's own wire profile.")],
    participant: Annotated[str | None, typer.Option(help="Whose flows; default: the first of the files.")] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="The steps; default: commissioning.yaml of the example configuration.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Keep journal, log and ledger here; default: nothing is kept.")
    ] = None,
    limit: Annotated[float, typer.Option(min=0.1, help="Seconds that a step may take.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON document.")] = False,
) -> None:
    """Try every message flow in order: login, assets, a unit, status, callbacks genuine, forged and replayed.

    The real gateway runs with this configuration against a simulated SMP on loopback; no site is connected, and keys
    and passwords are made for the occasion. Exit code 0: every step passed; 1: a step failed, or the configuration or
    the scenario is wrong; 2: a file cannot be read; 3: the gateway could not start.
    """
    with ExitStack() as stack:
        folder = state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smp-gateway-commission-")))
        folder.mkdir(parents=True, exist_ok=True)
        configuration = load(path, folder.resolve())
        who = _participant(configuration, participant)
        steps = _steps(scenario or example_configuration() / SCENARIO_FILE)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            try:
                results = runner.run(_run(configuration, who, steps, limit_s=limit))
            except (GatewayError, OSError) as error:
                raise fail(error) from None
    if as_json:
        typer.echo(json.dumps(_document(who, against, results), indent=2, ensure_ascii=False))
    else:
        Console().print(_table(results), _verdict(who, against, results), highlight=False)
    raise typer.Exit(0 if all(result.passed for result in results) else 1)


async def _run(configuration: Configuration, who: str, steps: Sequence[Step], *, limit_s: float) -> list[Result]:
    named = {f"step-{number}": step for number, step in enumerate(steps, start=1)}
    messages = {name: step.message(name) for name, step in named.items() if step.expect is not None}
    async with rehearsal(configuration, who, messages) as stage:
        return [await attempt(stage, step, name, limit_s=limit_s) for name, step in named.items()]


def _participant(configuration: Configuration, wanted: str | None) -> str:
    known = sorted(configuration.participants)
    if wanted is not None and wanted not in known:
        raise typer.BadParameter(f"there is no {wanted}; there are {', '.join(known)}", param_hint="--participant")
    if not known:
        raise typer.BadParameter("the configuration has no participant", param_hint="PATH")
    return wanted or known[0]


def _steps(path: Path) -> tuple[Step, ...]:
    try:
        return read_scenario(path, run=time.strftime("%Y%m%d-%H%M%S", time.gmtime()), environ=os.environ)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"smp-gateway: {path}: {error.strerror}", err=True)
        raise typer.Exit(2) from None


def _table(results: Sequence[Result]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for heading in ("", "step", "result", "what happened"):
        table.add_column(heading, overflow="fold")
    for number, result in enumerate(results, start=1):
        word = "[green]pass[/]" if result.passed else "[bold red]FAIL[/]"
        said = [printable(result.happened), *(f"wrong: {printable(failure)}" for failure in result.failures)]
        table.add_row(str(number), result.name, word, "\n".join(said))
    return table


def _verdict(who: str, against: Against, results: Sequence[Result]) -> str:
    failed = sum(not result.passed for result in results)
    return f"{who}: {len(results) - failed} steps passed, {failed} failed, against the {against}"


def _document(who: str, against: Against, results: Sequence[Result]) -> dict[str, object]:
    return {
        "participant": who,
        "against": against,
        "passed": all(result.passed for result in results),
        "steps": [
            {
                "name": result.name,
                "passed": result.passed,
                "happened": result.happened,
                "failures": list(result.failures),
                "messageId": result.message_id,
                "transactionId": result.transaction_id,
            }
            for result in results
        ],
    }
