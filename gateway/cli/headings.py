"""The headings that a CSV file of assets may have, explained, and an empty file that has them all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from gateway.core import sheet
from gateway.core.profile import FieldSpec, FieldType, Profile
from gateway.core.sheet import Column

_SAID = {
    FieldType.TEXT: "text",
    FieldType.BM_UNIT: "a BM unit's id",
    FieldType.NUMBER: "a number",
    FieldType.MAGNITUDE: "a number, not negative",
    FieldType.DATE: "a date such as 2026-12-01",
    FieldType.GSP_GROUP: "a GSP group such as _H",
}


def explain(profile: Profile) -> list[dict[str, object]]:
    """One entry per heading, in the wire's order."""
    needed = {name for group in profile.asset.require_any for name in group}
    return [
        {
            "heading": column.heading,
            "needed": _needed(column, needed),
            "holds": " ".join(_holds(column, profile)),
        }
        for column in sheet.known_columns(profile)
    ]


def show(profile: Profile) -> None:
    """Print the headings for people."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("heading", "needed", "holds"):
        table.add_column(name, overflow="fold")
    for entry in explain(profile):
        table.add_row(*(str(value) for value in entry.values()))
    console = Console()
    console.print(table)
    console.print(_NOTES, markup=False, highlight=False)


_NOTES = """
One asset per line below the headings, at most one line per asset; columns in any order, and only those that you need.
Columns are separated by commas, semicolons or tabs. A decimal comma is understood where semicolons or tabs separate.
Further meter points: meterPoints[1].id and so on. Another unit goes into the heading: capacity.maxExportMw [kW].
Several words in one cell are separated by |. An empty cell leaves the member out. Save the file as 'CSV UTF-8'."""


def template(profile: Profile) -> bytes:
    """An empty file with all headings, in the form that spreadsheets open without questions."""
    text = io.StringIO()
    csv.writer(text).writerow([column.heading for column in sheet.known_columns(profile)])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _needed(column: Column, one_of: set[str]) -> str:
    plain = column.field.replace("[0]", "")
    if column.spec.required and not any(isinstance(part, int) for part in column.path):
        return "yes"
    if column.spec.required:
        return "with its entry"
    return "one of several" if plain in one_of or column.field.partition("[")[0] in one_of else ""


def _holds(column: Column, profile: Profile) -> Iterator[str]:
    spec: FieldSpec = column.spec
    if spec.words is not None:
        many = "some of " if spec.type is FieldType.WORDS else "one of "
        yield many + ", ".join(profile.enums[spec.words])
    else:
        yield _SAID.get(spec.type, spec.type.value)
    if spec.length is not None:
        yield f"up to {spec.length} characters"
    if spec.minimum is not None and spec.maximum is not None:
        yield f"from {spec.minimum:g} to {spec.maximum:g}"
    elif spec.maximum is not None:
        yield f"up to {spec.maximum:g}"
