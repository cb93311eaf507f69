"""From the lines of a CSV file to assets in our own member names; what cannot be read is a fault with line and column.

Rules
-----
* A heading is the dotted name of a member of the wire profile's asset: ``capacity.maxExportMw``, ``meterPoints[0].id``.
  Behind a number's name may stand the unit that the file uses instead: ``capacity.maxExportMw [kW]``.
* Columns are separated by commas, semicolons or tabs; the heading line shows which. A decimal comma is read only where
  commas do not separate columns, and a thousands separator never.
* An empty cell is an absent member. Space around a cell is no part of it; nothing else is corrected.
* Lines count from 1 as an editor shows them; a row that spans several lines is named by its first.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from gateway.core.profile import FieldSpec, FieldType, Profile

DELIMITERS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)  # how some spreadsheets begin a file
_HEADING = re.compile(r"(?P<path>[^\[\]]+(?:\[[0-9]{1,3}\][^\[\]]*)?)(?:\s*\[(?P<unit>[A-Za-z]+)\])?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_COMMA_NUMBER = re.compile(r"[+-]?[0-9]{1,30},[0-9]{1,30}")
_NUMBERS = frozenset({FieldType.NUMBER, FieldType.MAGNITUDE})
_LISTS = frozenset({FieldType.WORDS, FieldType.NAMES})
LIST_SEPARATOR = "|"
_SHOWN = 60

# The end of a number's name says its unit; a file may use a smaller one.
UNITS: Mapping[str, Mapping[str, Decimal]] = {
    "Mwh": {"MWh": Decimal(1), "kWh": Decimal("0.001"), "Wh": Decimal("0.000001")},
    "Mw": {"MW": Decimal(1), "kW": Decimal("0.001"), "W": Decimal("0.000001")},
    "Kv": {"kV": Decimal(1), "V": Decimal("0.001")},
}

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with a file: in which line, and under which heading where one cell is meant."""

    line: int
    heading: str | None = None
    message: str

    def __str__(self) -> str:
        return f"line {self.line}{f', {self.heading}' if self.heading else ''}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One member that a column can fill; ``factor`` turns the file's unit into the member's."""

    heading: str
    path: Path
    spec: FieldSpec
    factor: Decimal | None = None

    @property
    def field(self) -> str:
        """The member's name as a problem gives it."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)[1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One asset of the file, as far as it could be read."""

    line: int
    asset: Mapping[str, object]
    faults: tuple[Fault, ...] = ()


def known_columns(profile: Profile) -> tuple[Column, ...]:
    """Every member that a column can fill, in the wire's order; of lists of groups the first entry."""
    return tuple(_flatten(profile.asset.members, "", ()))


class Sheet:
    """A file whose headings were understood; iterate over it once.

    ``columns`` are its headings in their order.
    """

    def __init__(self, cells: Iterator[tuple[int, list[str]]], columns: tuple[Column, ...], delimiter: str) -> None:
        self.columns = columns
        self.delimiter = delimiter
        self._cells = cells

    def __iter__(self) -> Iterator[Row]:
        comma = self.delimiter != ","
        for line, cells in self._cells:
            if any(cell.strip() for cell in cells):
                yield _row(line, cells, self.columns, comma=comma)


def read(lines: Iterator[str], profile: Profile) -> Sheet | tuple[Fault, ...]:
    """Understand the headings of a file, or say everything that is wrong with them.

    The lines keep their ends. Reading the rows raises what ``lines`` raises.

    Raises:
        SheetError: the heading line, or later a row, cannot be split into cells; nothing after it can be read.
    """
    number, first = 1, next(lines, "")
    announced = _SEPARATOR_LINE.fullmatch(first.strip())
    if announced is not None:
        number, first = 2, next(lines, "")
    if not first.strip():
        return (Fault(line=number, message="there is no heading line"),)
    known = {column.heading: column for column in known_columns(profile)}
    delimiter = announced[1] if announced is not None else _delimiter(first, known)
    cells = _split(first, lines, delimiter, number)
    line, headings = next(cells)
    columns, faults = _understand(line, headings, known)
    return tuple(faults) if faults else Sheet(cells, tuple(columns), delimiter)


# ---------------------------------------------------------------- headings
def _flatten(members: Mapping[str, FieldSpec], prefix: str, path: Path) -> Iterator[Column]:
    for name, spec in members.items():
        if spec.type is FieldType.GROUP:
            yield from _flatten(spec.members, f"{prefix}{name}.", (*path, name))
        elif spec.type is FieldType.METER_POINTS:
            yield from _flatten(spec.members, f"{prefix}{name}[0].", (*path, name, 0))
        else:
            yield Column(heading=prefix + name, path=(*path, name), spec=spec)


def _delimiter(line: str, known: Mapping[str, Column]) -> str:
    """What separates the headings: whatever makes the most of them known, or else the most of them."""

    def rank(delimiter: str) -> tuple[int, int]:
        names = [name.strip().strip('"') for name in line.strip().split(delimiter)]
        return sum(_resolve(name, known) is not None for name in names), len(names)

    return max(DELIMITERS, key=rank)


def _understand(line: int, headings: Sequence[str], known: Mapping[str, Column]) -> tuple[list[Column], list[Fault]]:
    columns: list[Column] = []
    faults: list[Fault] = []
    seen: dict[Path, str] = {}
    for place, raw in enumerate(headings, 1):
        heading = raw.strip()
        column = _resolve(heading, known)
        if column is None:
            shown = heading[:_SHOWN] or f"column {place}"
            faults.append(Fault(line=line, heading=shown, message=_unknown(heading, known)))
        elif column.path in seen:
            faults.append(Fault(line=line, heading=heading, message=f"is the same column as {seen[column.path]!r}"))
        else:
            seen[column.path] = heading
            columns.append(column)
    return columns, faults


def _resolve(heading: str, known: Mapping[str, Column]) -> Column | None:
    if heading in known:
        return known[heading]
    match = _HEADING.fullmatch(heading)
    if match is None:
        return None
    path, unit = match["path"].strip(), match["unit"]
    place = re.search(r"\[([0-9]+)\]", path)
    base = known.get(re.sub(r"\[[0-9]+\]", "[0]", path, count=1) if place else path)
    if base is None or (place is None and path not in known):
        return None
    index = int(place[1]) if place else 0
    filled = tuple(index if isinstance(part, int) else part for part in base.path)
    factor = None if unit is None else _units_of(base).get(unit)
    if unit is not None and factor is None:
        return None
    return Column(heading=heading, path=filled, spec=base.spec, factor=factor)


def _units_of(column: Column) -> Mapping[str, Decimal]:
    """The units in which a file may give this number."""
    if column.spec.type not in _NUMBERS:
        return {}
    name = str(column.path[-1])
    return next((units for suffix, units in UNITS.items() if name.endswith(suffix)), {})


def _unknown(heading: str, known: Mapping[str, Column]) -> str:
    """Why a heading is not understood, with the one that was probably meant."""
    if not heading:
        return "has no heading"
    base, _, unit = heading.partition(" [")
    if base.strip() in known and unit:
        units = _units_of(known[base.strip()])
        return f"has a unit that is not known here; known: {', '.join(units)}" if units else "has no unit"
    folded = heading.casefold()
    leaves = [name for name in known if name.rpartition(".")[2].casefold() == folded or name.casefold() == folded]
    close = leaves or difflib.get_close_matches(heading, known, n=1, cutoff=0.6)
    return f"is no member of an asset; did you mean {close[0]}?" if close else "is no member of an asset"


# ---------------------------------------------------------------- rows
def _split(first: str, lines: Iterator[str], delimiter: str, number: int) -> Iterator[tuple[int, list[str]]]:
    """The cells of every row, headings first, each with the number of its first line.

    Raises:
        SheetError: a quotation that never ends, or a cell longer than the library takes.
    """

    def again() -> Iterator[str]:
        yield first
        yield from lines

    reader = csv.reader(again(), delimiter=delimiter, strict=True)
    while True:
        begins = number + reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SheetError(Fault(line=begins, message=f"cannot be split into cells: {error}")) from None
        yield begins, cells


class SheetError(Exception):
    """A line after which nothing can be read; carries its fault and never leaves the import."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(str(fault))


def _row(line: int, cells: Sequence[str], columns: Sequence[Column], *, comma: bool) -> Row:
    asset: dict[str, object] = {}
    faults: list[Fault] = []
    if len(cells) != len(columns):
        said = f"has {len(cells)} cells, the heading line {len(columns)}"
        return Row(line=line, asset=asset, faults=(Fault(line=line, message=said),))
    for column, cell in zip(columns, cells, strict=True):
        text = cell.strip()
        if not text:
            continue
        try:
            value = _value(text, column, comma=comma)
            _place(asset, column.path, value)
        except ValueError as error:
            faults.append(Fault(line=line, heading=column.heading, message=str(error)))
    return Row(line=line, asset=asset, faults=tuple(faults))


def _value(text: str, column: Column, *, comma: bool) -> object:
    """What a cell means.

    Raises:
        ValueError: it is no number where one belongs.
    """
    if column.spec.type in _LISTS:
        return [part.strip() for part in text.split(LIST_SEPARATOR)]
    if column.spec.type not in _NUMBERS:
        return text
    plain = text.replace(",", ".") if comma and _COMMA_NUMBER.fullmatch(text) else text
    if not _NUMBER.fullmatch(plain):
        raise ValueError(_no_number(text, column))
    number = Decimal(plain)
    return number if column.factor is None else number * column.factor


def _no_number(text: str, column: Column) -> str:
    said = f"{text[:_SHOWN]!r} is not a number"
    if _COMMA_NUMBER.fullmatch(text):
        return f"{said}: write a decimal point, or separate the columns by semicolons"
    units = _units_of(column)
    if units and text.rstrip("".join(units)).strip() != text:
        return f"{said}: leave the unit out; another than {next(iter(units))} goes into the heading, as in [kW]"
    return f"{said} such as 12.5"


def _place(asset: dict[str, object], path: Path, value: object) -> None:
    """Put a value where it belongs in an asset; the entries of a list come in order.

    Raises:
        ValueError: an entry of a list has none before it.
    """
    here: object = asset
    for part, following in pairwise(path):
        fresh: Callable[[], object] = list if isinstance(following, int) else dict
        if isinstance(part, int) and isinstance(here, list):
            if part > len(here):
                raise ValueError(f"entry {part} is given, but not entry {part - 1}")
            if part == len(here):
                here.append(fresh())
            here = here[part]
        elif isinstance(part, str) and isinstance(here, dict):
            if part not in here:
                here[part] = fresh()
            here = here[part]
    if isinstance(here, dict):
        here[path[-1]] = value
