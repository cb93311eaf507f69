"""`smp-gateway journal`: look at a whole journal and copy it, beside the running gateway; put a copy in its place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gateway.app import back_up, file_faults, open_reader, restore_journal, trusted_keys
from gateway.cli.configured import ConfigPath, StateFolder, fail, load
from gateway.core.printable import printable
from gateway.errors import GatewayError
from gateway.telemetry import Telemetry

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
_SERVERS = "on PostgreSQL this is the server's own business: pg_dump, or its continuous archiving"


@app.command()
def check(path: ConfigPath, state: StateFolder = None) -> None:
    """Check the whole journal: the file (SQLite), every participant's chain of evidence, and the bytes that it attests.

    Works beside a running gateway. Checkpoints must be signed by the keys of the configuration, or by earlier ones.

    Exit codes: 0 sound; 1 damaged or altered (each fault is printed); 3 there is no journal, or it cannot be read.
    """
    configuration = load(path, state)
    try:
        faults = list(file_faults(configuration.journal)) if isinstance(configuration.journal, Path) else []
        if not faults:
            with open_reader(configuration.journal) as reader:
                faults = reader.examine(trusted_keys(configuration))
    except GatewayError as error:
        raise fail(error) from None
    for fault in faults:
        typer.echo(printable(fault))
    if faults:
        raise typer.Exit(1)
    typer.echo("sound: the journal is whole, every chain is linked and signed, and what it attests is what is kept")


@app.command()
def backup(
    path: ConfigPath,
    target: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
    state: StateFolder = None,
) -> None:
    """Copy the journal as it is at one moment, beside the running gateway; the copy is checked before it is there.

    Exit codes: 0 written; 1 not possible on this journal; 3 there is no journal, it is damaged, or no room.
    """
    configuration = load(path, state)
    if not isinstance(configuration.journal, Path):
        typer.echo(f"smp-gateway: {_SERVERS}", err=True)
        raise typer.Exit(1)
    try:
        back_up(configuration.journal, target)
    except GatewayError as error:
        raise fail(error) from None
    typer.echo(f"wrote {target}")


@app.command()
def restore(
    path: ConfigPath,
    source: Annotated[Path, typer.Argument(help="The backup, as `journal backup` wrote it.", metavar="BACKUP")],
    state: StateFolder = None,
) -> None:
    """Put a backup in the place of the journal, while no gateway runs; the file that was there is kept beside it.

    The backup is checked first as `journal check` does. What it has as sent is asked for at the SMP when the gateway
    starts. What it has as not sent may have gone since: it is parked, and `messages retry` or `messages refuse` go on
    with it once somebody compared with the SMP. What came after the backup is not in it: plants whose mailbox is ahead
    of the journal alarm, and callbacks for unknown transactions are shown as unmatched.

    Exit codes: 0 restored; 1 not possible on this journal, or the backup is damaged or altered (each fault is printed);
    3 a gateway has the journal, or a file cannot be read or written.
    """
    configuration = load(path, state)
    if not isinstance(configuration.journal, Path):
        typer.echo(f"smp-gateway: {_SERVERS}", err=True)
        raise typer.Exit(1)
    try:
        faults = list(file_faults(source))
        if not faults:
            with open_reader(source) as reader:
                faults = reader.examine(trusted_keys(configuration))
        for fault in faults:
            typer.echo(printable(fault), err=True)
        if faults:
            raise typer.Exit(1)
        quiet = Telemetry(console=True, level="error")
        done = asyncio.run(restore_journal(configuration.journal, source, configuration, quiet))
    except GatewayError as error:
        raise fail(error) from None
    if done.aside is not None:
        typer.echo(f"the journal that was there is {done.aside} now")
    typer.echo(
        f"restored {configuration.journal}: {done.doubts} submissions are in doubt and will be asked for at the SMP, "
        f"{done.parked} messages may have gone since and are parked (`messages list --state parked`)"
    )
