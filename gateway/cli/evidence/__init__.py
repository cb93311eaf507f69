"""`smp-gateway evidence`: one message's evidence as a file that anybody can check without us."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.app import open_control_or_journal, open_reader
from gateway.cli.configured import ConfigPath, StateFolder, fail, load
from gateway.cli.evidence import verifier
from gateway.core import evidence_file
from gateway.core.control import SEAL, Nothing
from gateway.core.evidence_file import Dossier
from gateway.core.printable import printable
from gateway.errors import ControlRefused, GatewayError
from gateway.settings.configuration import Configuration
from gateway.telemetry import Telemetry

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def export(
    path: ConfigPath,
    message_id: Annotated[str, typer.Argument(metavar="ID", help="The message's id, or its beginning.")],
    state: StateFolder = None,
    *,
    out: Annotated[Path | None, typer.Option(help="Where to; default: evidence-ID.json; '-' prints it.")] = None,
) -> None:
    """Write everything that proves what happened to one message: chain, checkpoints, exact bytes, signatures, keys.

    The participant's key signs the chain first, by the running gateway or, when none runs, here.

    Exit codes: 0 written; 2 no such message, or the file cannot be written; 3 the journal cannot be read.
    """
    configuration = load(path, state)
    dossier = _dossier(configuration, message_id)
    if (refusal := asyncio.run(_seal(configuration, dossier.participant))) is not None:
        typer.echo(printable(f"warning: not signed up to its end: {refusal}"), err=True)
    data = evidence_file.write(_dossier(configuration, dossier.message_id))
    target = out or Path(f"evidence-{dossier.message_id}.json")
    if target == Path("-"):
        sys.stdout.buffer.write(data)
        return
    try:
        with open(target, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(data)
    except OSError as error:
        typer.echo(f"smp-gateway: {target}: {error.strerror}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"wrote {target}; `smp-gateway evidence verify {target}` checks it")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="An evidence file.")],
    keys: Annotated[
        Path | None, typer.Option(help="A JWKS of the only keys to believe: the participant's, and the SMP's.")
    ] = None,
) -> None:
    """Check an evidence file, offline: nothing but the file (and the keys that you know) is looked at.

    Exit codes: 0 everything holds; 1 something does not; 2 there is no such file.
    """
    raise typer.Exit(verifier.main([str(file), *([] if keys is None else ["--keys", str(keys)])]))


@app.command("verifier")
def print_verifier() -> None:
    """Print the program that `verify` is, for who wants to check without us: Python and `cryptography` run it."""
    typer.echo(Path(verifier.__file__).read_text(encoding="utf-8"), nl=False)


def _dossier(configuration: Configuration, beginning: str) -> Dossier:
    try:
        with open_reader(configuration.journal) as reader:
            found = reader.named(beginning)
            dossier = reader.dossier(found[0]) if len(found) == 1 else None
    except GatewayError as error:
        raise fail(error) from None
    if dossier is None:
        many = f"several messages begin with {beginning}: {', '.join(found)}" if found else None
        typer.echo(printable(many or f"no message begins with {beginning}; `messages list` shows the ids"), err=True)
        raise typer.Exit(2)
    return dossier


async def _seal(configuration: Configuration, participant: str) -> str | None:
    """Have the chain signed up to now; why not, if not."""
    try:
        async with open_control_or_journal(configuration, Telemetry(console=True, level="error")) as control:
            await control.ask(SEAL, Nothing(), participant=participant)
    except ControlRefused as refused:
        return refused.detail
    except GatewayError as error:
        return str(error)
    return None
