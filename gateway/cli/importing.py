"""`smp-gateway import`: the assets of a CSV file, checked as a whole before anything is sent, then taken in batches.

What was taken is on the gateway's disk; the same command again goes on where it ended, or says that all is there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.app import open_reader
from gateway.cli import headings
from gateway.cli.configured import StateFolder, load
from gateway.cli.fleet_file import Batch, Findings, FleetFile
from gateway.cli.import_results import write_results
from gateway.cli.operations import AsJson, with_gateway, with_gateway_or_journal
from gateway.core import codec, imports
from gateway.core.asset_control import IMPORT, TAKE_BATCH, BatchOrder, BatchStanding
from gateway.core.control import Nothing
from gateway.core.message import ASSETS
from gateway.core.printable import printable
from gateway.core.record import AssetFilter
from gateway.core.sheet import SheetError
from gateway.core.transaction import TERMINAL, State
from gateway.errors import GatewayError
from gateway.ports import Control
from gateway.settings.configuration import Configuration

_FAULTS_PRINTED = 50
_LINES_PRINTED = 20
_ALL = 1 << 40  # assets: no limit
_LOOK_S = 0.5  # between two looks at an import that is waited for
_ON_ITS_WAY = frozenset(State) - (TERMINAL - {State.COMPLETED})
_STUCK = frozenset({State.ESCALATED, State.PARKED})
_STOPPED = 130  # by Ctrl-C, as shells count it


class Encoding(StrEnum):
    """How the file's characters are written."""

    UTF8 = "utf-8"
    CP1252 = "cp1252"


def importing(  # noqa: PLR0917 -- typer makes each an option, given by name
    file: Annotated[Path, typer.Argument(help="The CSV file, or the word 'headings' to have them explained.")],
    participant: Annotated[str | None, typer.Option(help="Whose assets they are.")] = None,
    gateway: Annotated[Path, typer.Option(help="The gateway.yaml.")] = Path("config/gateway.yaml"),
    state: StateFolder = None,
    encoding: Annotated[Encoding, typer.Option(help="How the file's characters are written.")] = Encoding.UTF8,
    results: Annotated[
        Path | None, typer.Option(help="With --wait: where the verdicts go; default: fleet.results.csv for fleet.csv.")
    ] = None,
    template: Annotated[Path | None, typer.Option(help="With 'headings': write an empty file that has them.")] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Only check the file.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the verdicts, and write them row by row.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create the assets of a CSV file: one line each, under headings such as assetName or capacity.maxExportMw.

    The whole file is checked first; with a single mistake nothing is sent. Then it is taken in batches of 1000 rows.
    Running it again is safe: an interrupted import goes on, a finished one says so, and nothing is sent twice. Without
    a running gateway the batches are stored, and sent when one starts.

    Exit codes: 0 everything taken (with --wait: and completed); 1 the file has mistakes, a batch was refused or has
    failed, or (with --wait) not everything was completed; 2 wrong usage or an unreadable file; 3 the gateway did not
    take it: run the same again; 130 stopped by Ctrl-C: run the same again.
    """
    configuration = load(gateway, state)
    if str(file) == "headings":
        _headings(configuration, participant, template, as_json=as_json)
        return
    tenant = configuration.participants.get(participant or "")
    if tenant is None:
        known = ", ".join(configuration.participants)
        raise typer.BadParameter(f"name one of {known}", param_hint="--participant")
    profile = configuration.environments[tenant.environment].profile
    try:
        fleet = FleetFile.open(file, encoding, profile)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from None
    with _bars(quiet=as_json) as bars:
        checked = bars.add_task("checking", total=None)
        findings = fleet.check(lambda rows: bars.advance(checked, rows))
        bars.update(checked, total=findings.rows)
    if findings.count:
        _show_faults(file, findings, as_json=as_json)
        raise typer.Exit(1)
    work = _Work(configuration, fleet, tenant.participant, findings)
    if not check:
        _carry_out(work, wait=wait, results=results, as_json=as_json)
    _report(work, check=check, as_json=as_json)
    if set(work.states) - ({State.COMPLETED} if wait else _ON_ITS_WAY):
        raise typer.Exit(1)


@dataclass(slots=True)
class _Work:
    """One import under way."""

    configuration: Configuration
    fleet: FleetFile
    participant: str
    findings: Findings
    there: int = 0
    taken: int = 0
    batches: dict[int, BatchStanding] = field(default_factory=dict)
    known: AbstractSet[str] = frozenset()
    again: list[int] = field(default_factory=list)  # the lines of assets that were there before this import

    @property
    def import_id(self) -> str:
        return imports.import_id(self.fleet.sha256, self.participant, imports.batch_rows(self.fleet.profile))

    @property
    def states(self) -> dict[State, int]:
        """How many rows are in batches of each state."""
        counts: dict[State, int] = {}
        for each in self.batches.values():
            counts[each.state] = counts.get(each.state, 0) + each.rows
        return counts

    async def look(self, control: Control) -> None:
        """Learn which batches are there, and in which state."""
        found = await control.ask(
            IMPORT,
            Nothing(),
            participant=self.participant,
            import_id=self.import_id,
            batches=str(self.findings.batches),
        )
        self.batches = {each.batch: each for each in found.batches}


def _carry_out(work: _Work, *, wait: bool, results: Path | None, as_json: bool) -> None:
    target = results or work.fleet.path.with_suffix(".results.csv")
    if wait and (target.is_dir() or not target.parent.is_dir()):
        raise _unwritable(target, "it is a folder" if target.is_dir() else "its folder is not there")

    work.known = _known(work)

    async def send(control: Control) -> None:
        with _bars(quiet=as_json) as bars:
            await _send(control, work, bars)
            if wait:
                await _await_verdicts(control, work, bars)
                try:
                    await write_results(control, work.fleet, work.participant, work.import_id, target)
                except OSError as error:
                    raise _unwritable(target, f"{error.strerror}; all rows are taken") from None

    try:
        (with_gateway if wait else with_gateway_or_journal)(work.configuration, send)
    except KeyboardInterrupt:
        known = f"stopped: at least {work.there + work.taken} of {work.findings.rows} rows are taken"
        typer.echo(f"{known}, and none is lost: run the same command again to go on", err=True)
        raise typer.Exit(_STOPPED) from None


def _unwritable(target: Path, why: str) -> typer.BadParameter:
    return typer.BadParameter(f"{target} cannot be written: {why}", param_hint="--results")


def _known(work: _Work) -> AbstractSet[str]:
    """The names of the participant's assets that exist at the SMP as far as we know."""
    environment = work.configuration.participants[work.participant].environment
    which = AssetFilter(environment=environment, participant=work.participant, kind=ASSETS, limit=_ALL)
    try:
        with open_reader(work.configuration.journal) as reader:
            return frozenset(each.name for each in reader.assets(which) if each.there)
    except GatewayError:  # nothing was ever stored, or whoever takes the batches says what is wrong
        return frozenset()


async def _send(control: Control, work: _Work, bars: Progress) -> None:
    """Hand over what is not there yet, in order; the next batch is read while one is on its way."""
    await work.look(control)
    bar = bars.add_task("taking", total=work.findings.rows)
    work.there = sum(each.rows for each in work.batches.values())
    bars.advance(bar, work.there)
    batches = (batch for batch in work.fleet.batches() if batch.number not in work.batches)
    following = await asyncio.to_thread(_next_order, batches, work.fleet)
    while following is not None:
        batch, order = following
        taking = control.ask(
            TAKE_BATCH,
            order,
            participant=work.participant,
            import_id=work.import_id,
            batch=str(batch.number),
        )
        taken, following = await asyncio.gather(taking, asyncio.to_thread(_next_order, batches, work.fleet))
        work.batches[batch.number] = taken
        work.taken += len(batch.lines)
        work.again += _again(batch, work)
        bars.advance(bar, len(batch.lines))


def _again(batch: Batch, work: _Work) -> Iterator[int]:
    ref = work.fleet.profile.asset.ref
    for line, asset in zip(batch.lines, batch.assets, strict=True):
        if isinstance(asset, dict) and asset.get(ref) in work.known:
            yield line


def _next_order(batches: Iterator[Batch], fleet: FleetFile) -> tuple[Batch, BatchOrder] | None:
    try:
        batch = next(batches, None)
    except SheetError:
        raise _changed() from None
    if batch is None:
        return None
    if not fleet.unchanged():
        raise _changed()
    return batch, BatchOrder(
        content=codec.dumps(batch.assets).decode(),
        file=printable(fleet.path.name)[:255],
        sha256=fleet.sha256,
        first_line=batch.lines[0],
        last_line=batch.lines[-1],
    )


def _changed() -> typer.BadParameter:
    return typer.BadParameter("the file was changed while it was read: run the command again", param_hint="FILE")


async def _await_verdicts(control: Control, work: _Work, bars: Progress) -> None:
    """Look until every batch has ended, or waits for an operator."""
    bar = bars.add_task("verdicts", total=work.findings.rows)
    while True:
        await work.look(control)
        done = sum(each.rows for each in work.batches.values() if each.state in TERMINAL | _STUCK)
        bars.update(bar, completed=done)
        if done == work.findings.rows:
            return
        await asyncio.sleep(_LOOK_S)


def _headings(configuration: Configuration, participant: str | None, template: Path | None, *, as_json: bool) -> None:
    tenant = configuration.participants.get(participant or "")
    names: Sequence[str] = [tenant.environment] if tenant is not None else list(configuration.environments)
    profile = configuration.environments[names[0]].profile
    if template is not None:
        try:
            with template.open("xb") as stream:
                stream.write(headings.template(profile))
        except OSError as error:
            raise typer.BadParameter(f"{template}: {error.strerror}", param_hint="--template") from None
        typer.echo(f"wrote {template}")
    elif as_json:
        typer.echo(json.dumps(headings.explain(profile)))
    else:
        headings.show(profile)


def _show_faults(file: Path, findings: Findings, *, as_json: bool) -> None:
    if as_json:
        shown = [{"line": each.line, "heading": each.heading, "message": each.message} for each in findings.faults]
        typer.echo(json.dumps({"mistakes": findings.count, "shown": shown}))
        return
    for each in findings.faults[:_FAULTS_PRINTED]:
        typer.echo(printable(f"{file}: {each}"), err=True)
    more = findings.count - min(findings.count, _FAULTS_PRINTED)
    tail = f", of which {more} are not shown" if more else ""
    typer.echo(f"{findings.count} mistakes{tail}; nothing was sent", err=True)


def _report(work: _Work, *, check: bool, as_json: bool) -> None:
    states = {state.value: rows for state, rows in work.states.items()}
    if as_json:
        told = {"import": work.import_id, "rows": work.findings.rows, "batches": work.findings.batches}
        sent = {"taken": work.taken, "there": work.there, "again": work.again, "states": states}
        typer.echo(json.dumps(told if check else told | sent))
        return
    rows = f"{work.findings.rows} rows in {work.findings.batches} batches"
    if check:
        typer.echo(f"{rows}: no mistakes")
        return
    before = f", {work.there} were there already" if work.there else ""
    typer.echo(f"import {work.import_id}: {rows}, {work.taken} taken now{before}")
    if work.again:
        lines = ", ".join(map(str, work.again[:_LINES_PRINTED])) + (", ..." if work.again[_LINES_PRINTED:] else "")
        typer.echo(
            f"{len(work.again)} of them exist at the SMP already, which may refuse them as duplicates: line {lines}"
        )
    typer.echo("now: " + ", ".join(f"{rows} {state}" for state, rows in states.items()))
    if set(work.states) & _STUCK:
        typer.echo("what is escalated or parked waits for you: `smp-gateway messages list` and `messages resolve`")


def _bars(*, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet or not Console(stderr=True).is_terminal,
    )
