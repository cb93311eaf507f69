"""`smp-gateway sites`: how they are, and the operator's kill switch: hold one, so that nothing is written to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import ValidationError

from gateway.cli.configured import ConfigPath, StateFolder, load
from gateway.cli.operations import AsJson, explain, print_json, with_gateway, with_gateway_or_journal
from gateway.core.control import (
    HOLD_SITE,
    RELEASE_SITE,
    SITES,
    HoldOrder,
    Nothing,
    Operation,
    SiteHeld,
    SiteStanding,
)
from gateway.core.printable import printable

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Site = Annotated[str, typer.Argument(help="The site, as its YAML names it.")]


@app.command("list")
def list_sites(path: ConfigPath, state: StateFolder = None, *, as_json: AsJson = False) -> None:
    """List the sites of the running gateway: which connections are up, whether they are held, and what does not work.

    Exit codes: 0 done; 2 wrong usage; 3 no gateway runs on this configuration.
    """
    found = with_gateway(load(path, state), lambda control: control.ask(SITES, Nothing()))
    if as_json:
        print_json(found)
        return
    for each in found.sites:
        links = ", ".join(
            f"{link.connection} {'up' if link.connected else 'DOWN'} ({link.protocol})" for link in each.connections
        )
        typer.echo(printable(f"{each.site:<24} {each.environment}/{each.participant:<24} {_word(each):<8} {links}"))
        for line in each.degraded:
            typer.echo(f"  {printable(line)}")


@app.command()
def hold(
    path: ConfigPath,
    site: Site,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept with your user's name.")],
    state: StateFolder = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Let nothing be written to a site from now on, also after a restart: no result, acknowledgement or heartbeat.

    It is still read, and what it asks for is stored and sent. Also works when no gateway runs.
    Exit codes: 0 done; 1 it is held already; 2 wrong usage, or no such site; 3 the gateway does not answer.
    """
    _change(path, state, HOLD_SITE, site, reason, as_json=as_json)


@app.command()
def release(
    path: ConfigPath,
    site: Site,
    reason: Annotated[str, typer.Option("--reason", help="What is well again; it is kept with your user's name.")],
    state: StateFolder = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Let a held site be written to again: first everything that waited, in its order.

    Exit codes: 0 done; 1 it is not held; 2 wrong usage, or no such site; 3 the gateway does not answer.
    """
    _change(path, state, RELEASE_SITE, site, reason, as_json=as_json)


def _change(
    path: ConfigPath,
    state: StateFolder,
    operation: Operation[HoldOrder, SiteHeld],
    site: str,
    reason: str,
    *,
    as_json: bool,
) -> None:
    try:
        order = HoldOrder(reason=reason)
    except ValidationError as error:
        raise explain(error) from None
    found = with_gateway_or_journal(load(path, state), lambda control: control.ask(operation, order, site=site))
    if as_json:
        print_json(found)
    elif found.held:
        typer.echo(printable(f"{found.site} is held: nothing is written to it until `sites release`"))
    else:
        typer.echo(printable(f"{found.site} is written to again; it was held by {found.before}"))


def _word(each: SiteStanding) -> str:
    if each.held is None:
        return "waits" if each.writing is not None else ""
    since = datetime.fromtimestamp((each.held_at or 0) // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return f"HELD since {since} by {each.held}"
