"""`smp-gateway participants`: how their accounts at the SMP are, the release of one that is held, and who did that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import ValidationError

from gateway.app import ParticipantAudit, open_reader
from gateway.cli.configured import ConfigPath, StateFolder, fail, load
from gateway.cli.operations import AsJson, explain, print_json, with_gateway
from gateway.core import codec
from gateway.core.control import PARTICIPANTS, RELEASE, Nothing, ReleaseOrder
from gateway.core.printable import printable
from gateway.errors import GatewayError

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
        word = word if each.served else "served by another gateway"
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


@app.command()
def audit(
    path: ConfigPath,
    participant: Annotated[str | None, typer.Option(help="Only this participant's.")] = None,
    state: StateFolder = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what was done for participants as a whole: who released one, when and why.

    Reads the journal, whether or not a gateway runs. Exit codes: 0 done; 2 wrong usage, or no journal.
    """
    try:
        with open_reader(load(path, state).journal) as reader:
            found = reader.participant_audit(participant, limit)
    except GatewayError as error:
        raise fail(error) from None
    if as_json:
        typer.echo(codec.dumps([_document(each) for each in found]).decode())
    elif not found:
        typer.echo("nothing was done")
    for each in () if as_json else found:
        when = datetime.fromtimestamp(each.row.at // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        home = f"{each.environment}/{each.participant}"
        typer.echo(printable(f"{when}  {home:<24} {each.row.event:<22} {each.row.actor}: {each.row.detail}"))


def _document(each: ParticipantAudit) -> dict[str, object]:
    return {
        "at": each.row.at,
        "environment": each.environment,
        "participant": each.participant,
        "event": each.row.event,
        "actor": each.row.actor,
        "detail": each.row.detail,
    }
