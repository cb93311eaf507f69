"""`smp-gateway participants`: how their accounts at the SMP are, and the release of one that is held."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError

from gateway.cli.configured import ConfigPath, StateFolder, load
from gateway.cli.operations import AsJson, explain, print_json, with_gateway
from gateway.core.control import PARTICIPANTS, RELEASE, Nothing, ReleaseOrder
from gateway.core.printable import printable

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command("list")
def list_participants(path: ConfigPath, state: StateFolder = None, *, as_json: AsJson = False) -> None:
    """List the participants of the running gateway, and what keeps it from sending for each.

    Exit codes: 0 done; 2 wrong usage; 3 no gateway runs on this configuration.
    """
    found = with_gateway(load(path, state), lambda control: control.ask(PARTICIPANTS, Nothing()))
    if as_json:
        print_json(found)
        return
    for each in found.participants:
        word = "held" if each.held is not None else "logged in" if each.logged_in else "not logged in"
        typer.echo(f"{each.participant:<24} {each.environment:<5} {word}")
        for line in each.degraded:
            typer.echo(f"  {printable(line)}")


@app.command()
def release(
    path: ConfigPath,
    participant: Annotated[str, typer.Argument(help="The participant's name.")],
    reason: Annotated[str, typer.Option("--reason", help="What was mended; it is kept with your user's name.")],
    state: StateFolder = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Let a held participant log in again at once, after you mended what it is held for.

    Exit codes: 0 done, the login is being tried; 1 it is not held; 2 wrong usage, or no such participant; 3 no gateway
    runs on this configuration.
    """
    try:
        order = ReleaseOrder(reason=reason)
    except ValidationError as error:
        raise explain(error) from None
    released = with_gateway(load(path, state), lambda control: control.ask(RELEASE, order, participant=participant))
    if as_json:
        print_json(released)
    else:
        typer.echo(printable(f"{released.participant} tries to log in again; it was held: {released.held}"))
