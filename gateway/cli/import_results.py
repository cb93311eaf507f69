"""What became of an import, row by row, as a CSV file beside the one that was imported."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from gateway.cli.fleet_file import Batch, FleetFile
from gateway.core.asset_control import IMPORT_BATCH, BatchReport
from gateway.core.control import Nothing
from gateway.core.transaction import State
from gateway.ports import Control

_HEADINGS = ("line", "name", "state", "smpId", "error")


async def write_results(control: Control, fleet: FleetFile, participant: str, import_id: str, target: Path) -> None:
    """Write one line per row, in the file's order; the file appears whole or not at all.

    Raises:
        ControlRefused: a batch is not there.
        OSError: the file cannot be written.
    """
    fresh = target.with_name(f".{target.name}.part")
    with fresh.open("wb") as stream:
        stream.write(b"\xef\xbb\xbf" + _line(*_HEADINGS))
        for batch in fleet.batches():
            report = await control.ask(
                IMPORT_BATCH, Nothing(), participant=participant, import_id=import_id, batch=str(batch.number)
            )
            for row in _rows(batch, report, fleet.profile.asset.ref):
                stream.write(_line(*row))
    fresh.replace(target)


def _rows(batch: Batch, report: BatchReport, ref: str) -> Iterator[tuple[object, ...]]:
    created = {each.ref: each.smp_id for each in report.created}
    errors: dict[int | None, list[str]] = defaultdict(list)
    for each in report.problems:
        errors[each.row].append(f"{each.field}: {each.message}" if each.field else each.message)
    for place, (line, asset) in enumerate(zip(batch.lines, batch.assets, strict=True)):
        name = str(asset.get(ref, "")) if isinstance(asset, dict) else ""
        own = errors[place] or ([] if name in created else errors[None])
        state = _state(report.state, there=name in created, wrong=bool(errors[place]))
        yield line, name, state, created.get(name, ""), "; ".join(own)


def _state(whole: State, *, there: bool, wrong: bool) -> State:
    """A row's own state: a batch that came through in part has rows that did and rows that did not."""
    if there:
        return State.COMPLETED
    return State.FAILED if whole is State.PARTIAL and wrong else whole


def _line(*cells: object) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([_harmless(str(cell)) for cell in cells])
    return text.getvalue().encode()


def _harmless(cell: str) -> str:
    """Let no text from outside be a formula to the spreadsheet that opens it."""
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@"} else cell
