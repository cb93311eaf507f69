"""The ledger of a simulated SMP in a terminal: what it was sent, what it made of it, and what went wrong on purpose."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gateway.simulator import Ledger
from gateway.simulator.record import Entry, Mischief
from gateway.simulator.smp import LEDGER_FILE

_WIDTH = 200


def show(state: Path, *, as_json: bool) -> None:
    """Print the ledger of this state folder, also beside a running simulator; exit code 2 when there is none."""
    path = state / LEDGER_FILE
    if not path.is_file():
        typer.echo(f"{path}: there is no ledger", err=True)
        raise typer.Exit(2)
    try:
        entries, faults = Ledger.read(path), Ledger.read_mischief(path)
    except sqlite3.Error as error:
        typer.echo(f"{path}: {error}", err=True)
        raise typer.Exit(2) from None
    if as_json:
        document = {"transactions": [asdict(each) for each in entries], "faults": [asdict(each) for each in faults]}
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    console = Console()
    console.width = max(console.width, _WIDTH)  # a narrow terminal breaks lines, which is better than ids in pieces
    console.print(_transactions(entries) if entries else "no transaction yet", highlight=False)
    if faults:
        console.print(_faults(faults))


def _transactions(entries: list[Entry]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for heading in (
        "transaction",
        "received",
        "participant",
        "submission",
        "arrivals",
        "status",
        "effects",
        "callback",
    ):
        table.add_column(heading, overflow="fold", justify="right" if heading in {"arrivals", "effects"} else "left")
    for entry in entries:
        received = datetime.fromtimestamp(entry.received_at / 1e6, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
        status = f"{entry.status} {entry.errors[0].get('code', '')}".strip() if entry.errors else str(entry.status)
        tries = f" ({len(entry.deliveries)} tries)" if len(entry.deliveries) > 1 else ""
        table.add_row(
            *(entry.transaction_id, received, entry.participant, entry.submission, str(entry.arrivals)),
            *(status, str(len(entry.effects)), f"{entry.callback or '-'}{tries}"),
        )
    return table


def _faults(faults: list[Mischief]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("fault on purpose")
    table.add_column("times", justify="right")
    table.add_column("answered by the host")
    for name, times in sorted(Counter(each.fault for each in faults).items()):
        answers = Counter(str(each.status) for each in faults if each.fault == name and each.status is not None)
        table.add_row(name, str(times), ", ".join(f"{status}: {count}" for status, count in sorted(answers.items())))
    return table
