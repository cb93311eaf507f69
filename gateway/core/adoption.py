"""A participant's list of assets made long ago, from CSV: every row is judged before anything is kept.

Columns: ``name``, then the SMP's id and the GSP group, which may both be left out. A first row of headings may name
them in another order. Lines count from 1, as editors show them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence

from gateway.core.record import Adoption
from gateway.core.reference_data import GSP_GROUPS

MOST = 50_000  # rows of one file, so that an order stays well within what the control API takes
_LONGEST = 100  # characters of a name (domain.md section 3)
_LONGEST_ID = 255
_COLUMNS = ("name", "smp_id", "gsp_group")
_HEADINGS: Mapping[str, str] = {
    "name": "name",
    "assetname": "name",
    "asset": "name",
    "smpid": "smp_id",
    "id": "smp_id",
    "gspgroup": "gsp_group",
    "group": "gsp_group",
}

Fault = tuple[int, str]  # line, sentence


def read(text: str) -> tuple[tuple[Adoption, ...], tuple[Fault, ...]]:
    """Read a file's text: its assets and everything that is wrong with it; with faults nothing of it may be kept."""
    reader = csv.reader(text.removeprefix("\ufeff").splitlines(keepends=True), strict=True, skipinitialspace=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        rows.extend((reader.line_num, [cell.strip() for cell in row]) for row in reader if "".join(row).strip())
    except csv.Error as error:
        return (), ((reader.line_num, f"this is not CSV: {error}"),)
    columns, faults = _columns(rows)
    body = rows[1:] if columns is not None else rows
    if not body and not faults:
        faults = ((1, "the file names no asset"),)
    if len(body) > MOST:
        faults = ((body[MOST][0], f"{len(body)} assets; at most {MOST} in one file"),)
    if faults:
        return (), faults
    found = [_adoption(line, cells, columns or _COLUMNS) for line, cells in body]
    wrong = [*(each for each in found if not isinstance(each, Adoption)), *_twice(found)]
    return tuple(each for each in found if isinstance(each, Adoption)), tuple(sorted(wrong))


def _columns(rows: Sequence[tuple[int, list[str]]]) -> tuple[Sequence[str] | None, tuple[Fault, ...]]:
    """What the first row heads, or None where it is an asset already."""
    line, cells = rows[0] if rows else (1, [])
    keys = ["".join(filter(str.isalnum, cell)).lower() for cell in cells]
    if "name" not in {_HEADINGS.get(key) for key in keys}:
        return None, ()
    unknown = [cell for cell, key in zip(cells, keys, strict=True) if key not in _HEADINGS]
    named = [_HEADINGS.get(key, "") for key in keys]
    if unknown:
        return named, ((line, f"there is no column {unknown[0]!r:.60}; known: {', '.join(_COLUMNS)}"),)
    if len(set(named)) != len(named):
        return named, ((line, "two columns head the same"),)
    return named, ()


def _adoption(line: int, cells: Sequence[str], columns: Sequence[str]) -> Adoption | Fault:
    if len(cells) > len(columns):
        return line, f"{len(cells)} columns, at most {len(columns)} are known; a name with a comma stands in quotes"
    values = {column: cell for column, cell in zip(columns, cells, strict=False) if cell}
    name, smp_id, group = values.get("name", ""), values.get("smp_id"), values.get("gsp_group")
    if not name:
        return line, "the name is missing"
    for what, value, longest in (("name", name, _LONGEST), ("SMP id", smp_id or "", _LONGEST_ID)):
        if len(value) > longest:
            return line, f"the {what} has {len(value)} characters, at most {longest} are allowed"
        if not value.isprintable():
            return line, f"the {what} holds characters that cannot be printed"
    if group is not None and group not in GSP_GROUPS:
        return line, f"{group!r:.40} is not a GSP group; known: {', '.join(sorted(GSP_GROUPS))}"
    return Adoption(line=line, name=name, smp_id=smp_id, gsp_group=group)


def _twice(found: Sequence[Adoption | Fault]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for each in found:
        if isinstance(each, Adoption) and first.setdefault(each.name, each.line) != each.line:
            yield each.line, f"{each.name!r} stands in line {first[each.name]} already"
