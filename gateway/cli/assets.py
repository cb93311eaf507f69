"""`smp-gateway assets`: what exists at the SMP as far as we know, and the adoption of what was made long ago."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.app import open_reader
from gateway.cli.configured import ConfigPath, StateFolder, fail, load
from gateway.cli.operations import AsJson, print_json, with_gateway_or_journal
from gateway.core import adoption, codec
from gateway.core.asset_control import ADOPT, AdoptOrder, OldAsset
from gateway.core.printable import printable
from gateway.core.record import AssetFilter
from gateway.errors import GatewayError

_TOLD = 20  # faults of a file that are printed

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Participant = Annotated[str, typer.Option("--participant", help="Whose assets they are.")]


@app.command("list")
def list_assets(
    path: ConfigPath,
    state: StateFolder = None,
    *,
    participant: Annotated[str | None, typer.Option(help="Only this participant's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, by name.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List assets and units: whether they are there, their ids at the SMP, and how we know."""
    try:
        with open_reader(load(path, state).journal) as reader:
            found = reader.assets(AssetFilter(participant=participant, limit=limit))
    except GatewayError as error:
        raise fail(error) from None
    if as_json:
        members = ("environment", "participant", "kind", "name", "there", "origin", "smp_id", "gsp_group", "note")
        typer.echo(codec.dumps([{name: getattr(each, name) for name in members} for each in found]).decode())
        return
    if not found:
        typer.echo("no asset or unit is known")
    for each in found:
        whose = f"{each.environment}/{each.participant}"
        known = f"{each.origin} {each.smp_id or '-'} {each.gsp_group or ''}".rstrip() if each.there else "not there"
        typer.echo(printable(f"{whose:<24} {each.kind:<6} {each.name:<32} {known}"))
        if each.note:
            typer.echo(printable(f"{'':<31} {each.note}"))


@app.command()
def adopt(
    path: ConfigPath,
    file: Annotated[Path, typer.Argument(help="CSV: name, and where known the SMP's id and the GSP group.")],
    participant: Participant,
    state: StateFolder = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Tell of assets that were made before this gateway, so that units can align them; all of the file, or nothing.

    The same file again changes nothing. Units that waited for these assets go on at once, where a gateway runs.

    Exit codes: 0 done; 1 a line of the file is wrong, nothing was kept; 2 wrong usage or an unreadable file; 3 the
    gateway or its journal cannot be reached.
    """
    configuration = load(path, state)
    member = configuration.participants.get(participant)
    if member is None:
        known = ", ".join(sorted(configuration.participants))
        raise typer.BadParameter(f"there is no participant {participant}; known: {known}", param_hint="--participant")
    told, faults = adoption.read(_text(file))
    if faults:
        raise _wrong(file, faults)
    order = AdoptOrder.model_validate(
        {
            "environment": member.environment,
            "source": printable(file.name)[:255],
            "assets": [
                OldAsset(line=each.line, name=each.name, smp_id=each.smp_id, gsp_group=each.gsp_group) for each in told
            ],
        }
    )
    adopted = with_gateway_or_journal(configuration, lambda control: control.ask(ADOPT, order, participant=participant))
    if as_json:
        print_json(adopted)
    if adopted.faults:
        raise _wrong(file, [(each.line, each.detail) for each in adopted.faults])
    if not as_json:
        moved = f"; {len(adopted.moved)} waiting units moved" if adopted.moved else ""
        typer.echo(f"{adopted.new} assets adopted, {adopted.known} were known{moved}")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        typer.echo(f"smp-gateway: {file} cannot be read: {error.strerror or error}", err=True)
    except UnicodeDecodeError:
        typer.echo(f"smp-gateway: {file} is not UTF-8 text", err=True)
    raise typer.Exit(2)


def _wrong(file: Path, faults: list[tuple[int, str]] | tuple[tuple[int, str], ...]) -> typer.Exit:
    for line, said in faults[:_TOLD]:
        typer.echo(printable(f"{file}:{line}: {said}"), err=True)
    more = f" ({len(faults) - _TOLD} more)" if len(faults) > _TOLD else ""
    typer.echo(f"{len(faults)} lines are wrong{more}; nothing was kept", err=True)
    return typer.Exit(1)
