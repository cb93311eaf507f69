"""`smp-gateway status`: how the running gateway is."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from gateway.cli.configured import ConfigPath, StateFolder, load
from gateway.cli.operations import AsJson, print_json, with_gateway
from gateway.core.control import STATUS, GatewayStatus, Nothing
from gateway.core.printable import printable


def status(path: ConfigPath, state: StateFolder = None, *, as_json: AsJson = False) -> None:
    """Say how the running gateway is, and what does not work.

    Exit codes: 0 ready or degraded; 1 not ready; 2 wrong usage; 3 no gateway runs on this configuration.
    """
    found = with_gateway(load(path, state), lambda control: control.ask(STATUS, Nothing()))
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found.status == "not ready":
        raise typer.Exit(1)


def _print(found: GatewayStatus) -> None:
    since = datetime.fromtimestamp(found.started_at / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    typer.echo(f"{found.status}: version {found.version}, process {found.process}, since {since}")
    for line in (*found.reasons, *found.degraded):
        typer.echo(f"  {printable(line)}")
