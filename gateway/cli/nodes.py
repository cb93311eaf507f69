"""`smp-gateway nodes`: which gateways share the journal, and which of them serves whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer

from gateway.app import NodeRow, Nodes, open_reader
from gateway.cli.configured import ConfigPath, StateFolder, fail, load
from gateway.cli.operations import AsJson
from gateway.core import codec
from gateway.core.printable import printable
from gateway.errors import GatewayError
from gateway.settings.configuration import Configuration

_SILENT_S = 3.0  # a gateway that lives is seen every second


def nodes(path: ConfigPath, state: StateFolder = None, *, as_json: AsJson = False) -> None:
    """List the gateways that share the journal, the participants and sites that each serves, and those nobody serves.

    Reads the journal, from any machine, whether or not a gateway runs on it.

    Exit codes: 0 done; 1 the journal is a file, which is never shared; 2 wrong usage; 3 it cannot be read.
    """
    configuration = load(path, state)
    if isinstance(configuration.journal, Path):
        typer.echo(
            "smp-gateway: the journal is a file, so one gateway serves everybody; a database is shared", err=True
        )
        raise typer.Exit(1)
    try:
        with open_reader(configuration.journal) as reader:
            found = reader.nodes()
    except GatewayError as error:
        raise fail(error) from None
    if as_json:
        typer.echo(codec.dumps(asdict(found)).decode())
    else:
        _print(found, configuration)


def _print(found: Nodes, configuration: Configuration) -> None:
    sites: dict[str, list[str]] = {}
    for name, site in configuration.sites.items():
        sites.setdefault(site.participant, []).append(name)
    for node in found.nodes:
        typer.echo(printable(f"node {node.id} on {node.host}, process {node.process}, {_standing(node, found.at)}"))
        _print_participants(node.serves, sites)
    if found.unserved:
        typer.echo("nobody just now")
        _print_participants(found.unserved, sites)
    if not found.nodes and not found.unserved:
        typer.echo("no gateway has used this journal with others yet")


def _standing(node: NodeRow, at: int) -> str:
    since = datetime.fromtimestamp(node.started_at / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    silent_s = (at - node.seen_at) / 1_000_000
    words = [f"since {since}"]
    if silent_s > _SILENT_S:
        words.append(f"not seen for {silent_s:.0f} s")
    if node.leaving:
        words.append("handing over")
    return ", ".join(words)


def _print_participants(owners: Iterable[tuple[str, str]], sites: Mapping[str, list[str]]) -> None:
    for environment, participant in owners:
        here = ", ".join(sorted(sites.get(participant, ()))) or "no site"
        typer.echo(printable(f"  {environment}/{participant:<20} {here}"))
