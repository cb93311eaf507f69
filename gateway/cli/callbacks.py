"""`smp-gateway callbacks`: every signed callback that is kept, other types, quarantined and unmatched ones too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.app import KeptCallback, open_reader
from gateway.cli.configured import ConfigPath, StateFolder, fail, load
from gateway.core import codec
from gateway.core.printable import printable
from gateway.core.record import CallbackFilter, Disposition
from gateway.errors import GatewayError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs instead of text.")]


class Kept(StrEnum):
    """What became of a callback that is kept."""

    APPLIED = "applied"
    REPEATED = "repeated"
    CONFLICT = "conflict"
    ORPHAN = "orphan"
    OTHER = "other"
    QUARANTINED = "quarantined"


@app.command("list")
def list_callbacks(
    path: ConfigPath,
    state_folder: StateFolder = None,
    *,
    participant: Annotated[str | None, typer.Option(help="Only this participant's.")] = None,
    became: Annotated[Kept | None, typer.Option("--as", help="Only those of which this became.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List callbacks, newest first. An orphan belongs to nothing that is known; other is another message type."""
    disposition = None if became is None else Disposition(became)
    found = _read(path, state_folder, CallbackFilter(participant=participant, disposition=disposition, limit=limit))
    if as_json:
        typer.echo(codec.dumps([_document(each) for each in found]).decode())
        return
    if not found:
        typer.echo("no such callback")
        return
    typer.echo(f"{'received (UTC)':<20} {'jti':<36} {'environment/participant':<24} {'became':<12} transaction, note")
    for each in found:
        row = each.row
        what = " ".join(part for part in (row.transaction_id or "-", row.note) if part)
        home = f"{each.environment}/{each.participant}"
        jti = printable(row.jti)[:36]
        typer.echo(f"{_time(row.received_at):<20} {jti:<36} {home:<24} {row.disposition:<12} {printable(what)}")


@app.command()
def show(
    path: ConfigPath,
    jti: Annotated[str, typer.Argument(metavar="JTI", help="The callback's jti, or its beginning.")],
    state_folder: StateFolder = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show one callback: the bytes that were signed, and the signature. Ends with 2 when it is not exactly one."""
    found = _read(path, state_folder, CallbackFilter(jti=jti, limit=2))
    if len(found) != 1:
        many = "more than one callback begins" if found else "no callback begins"
        typer.echo(f"{many} with {printable(jti)}; `callbacks list` shows them", err=True)
        raise typer.Exit(2)
    (one,) = found
    if as_json:
        typer.echo(codec.dumps(_document(one)).decode())
        return
    row = one.row
    typer.echo(f"{printable(row.jti)}  {one.environment}/{one.participant}  {row.disposition}")
    typer.echo(f"received  {_time(row.received_at)} UTC, signed by a key of {printable(row.issuer)}")
    for name, value in (("note", row.note), ("transaction", row.transaction_id), ("signature", row.signature)):
        if value:
            typer.echo(f"{name:<9} {printable(value)}")
    typer.echo(f"body      {printable(row.body.decode('utf-8', 'backslashreplace'))}")


def _read(path: Path, state: Path | None, which: CallbackFilter) -> Sequence[KeptCallback]:
    try:
        with open_reader(load(path, state).journal) as reader:
            return reader.callbacks(which)
    except GatewayError as error:
        raise fail(error) from None


def _document(one: KeptCallback) -> dict[str, object]:
    row = one.row
    return {
        "environment": one.environment,
        "participant": one.participant,
        "issuer": row.issuer,
        "jti": row.jti,
        "receivedAt": row.received_at,
        "became": row.disposition,
        "note": row.note,
        "transactionId": row.transaction_id,
        "body": row.body.decode("utf-8", "backslashreplace"),
        "signature": row.signature,
    }


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
