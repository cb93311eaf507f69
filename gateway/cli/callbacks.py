"""`smp-gateway callbacks`: every signed callback that is kept, other types, quarantined and unmatched ones too.

One that stays unmatched is an alarm, until somebody dismisses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from gateway.app import KeptCallback, open_reader
from gateway.cli.configured import ConfigPath, StateFolder, fail, load
from gateway.cli.operations import explain, print_json, with_gateway_or_journal
from gateway.core import codec
from gateway.core.control import DISMISS, DismissOrder
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
        told = None if row.dismissed is None else f"dismissed by {row.dismissed}"
        what = " ".join(part for part in (row.transaction_id or "-", row.note, told) if part)
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
    one = _find(path, state_folder, jti)
    if as_json:
        typer.echo(codec.dumps(_document(one)).decode())
        return
    row = one.row
    typer.echo(f"{printable(row.jti)}  {one.environment}/{one.participant}  {row.disposition}")
    typer.echo(f"received  {_time(row.received_at)} UTC, signed by a key of {printable(row.issuer)}")
    shown = {
        "note": row.note,
        "dismissed": row.dismissed,
        "transaction": row.transaction_id,
        "signature": row.signature,
    }
    for name, value in shown.items():
        if value:
            typer.echo(f"{name:<9} {printable(value)}")
    typer.echo(f"body      {printable(row.body.decode('utf-8', 'backslashreplace'))}")


@app.command()
def dismiss(
    path: ConfigPath,
    jti: Annotated[str, typer.Argument(metavar="JTI", help="The callback's jti, or its beginning.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept with your user's name.")],
    state_folder: StateFolder = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say that an orphan needs nobody's attention any more: `status` forgets it. Works without a running gateway too.

    It is kept, and still applied if its transaction turns up. Exit codes: 0 done; 1 it is no orphan, or dismissed
    already; 2 wrong usage, or not exactly one callback; 3 the gateway does not answer, or the journal cannot be used.
    """
    one = _find(path, state_folder, jti)
    try:
        order = DismissOrder(environment=one.environment, issuer=one.row.issuer, jti=one.row.jti, reason=reason)
    except ValidationError as error:
        raise explain(error) from None
    done = with_gateway_or_journal(
        load(path, state_folder), lambda control: control.ask(DISMISS, order, participant=one.participant)
    )
    if as_json:
        print_json(done)
    else:
        typer.echo(printable(f"{done.jti} is dismissed"))


def _find(path: Path, state: Path | None, jti: str) -> KeptCallback:
    """The one callback whose jti begins so; exits with 2 when it is not exactly one."""
    found = _read(path, state, CallbackFilter(jti=jti, limit=2))
    if len(found) != 1:
        many = "more than one callback begins" if found else "no callback begins"
        typer.echo(f"{many} with {printable(jti)}; `callbacks list` shows them", err=True)
        raise typer.Exit(2)
    return found[0]


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
        "dismissed": row.dismissed,
        "transactionId": row.transaction_id,
        "body": row.body.decode("utf-8", "backslashreplace"),
        "signature": row.signature,
    }


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
