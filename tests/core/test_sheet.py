"""From CSV text to assets: headings, units, decimal commas, lines of faults; and whatever the text, no exception."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import sheet
from gateway.core.profile import Profile
from gateway.core.sheet import Fault, Row, Sheet, SheetError

NO_NUMBER = "line 2, capacity.maxExportMw: '{}' is not a number"


def rows(text: str, profile: Profile) -> list[Row]:
    opened = sheet.read(iter(text.splitlines(keepends=True)), profile)
    assert isinstance(opened, Sheet), opened
    return list(opened)


def faults(text: str, profile: Profile) -> list[str]:
    opened = sheet.read(iter(text.splitlines(keepends=True)), profile)
    found = opened if not isinstance(opened, Sheet) else [fault for row in opened for fault in row.faults]
    return [str(fault) for fault in found]


def test_a_row_becomes_an_asset_with_exact_numbers(profile: Profile) -> None:
    """Dotted names nest, meter points become a list, an empty cell leaves its member out."""
    text = (
        "assetName,meterPoints[0].type,meterPoints[0].id,meterPoints[1].id,capacity.maxExportMw,location.postcode\n"
        "A,MPAN, 2000000000200 ,2000000000210,0.10,\n"
    )
    (row,) = rows(text, profile)
    assert row.faults == ()
    assert row.asset == {
        "assetName": "A",
        "meterPoints": [{"type": "MPAN", "id": "2000000000200"}, {"id": "2000000000210"}],
        "capacity": {"maxExportMw": Decimal("0.10")},
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_heading_line_shows_what_separates(profile: Profile, delimiter: str, end: str) -> None:
    """Commas, semicolons and tabs, with either end of line, quoted or not."""
    text = end.join([delimiter.join(["assetName", '"technology"', "owner"]), delimiter.join(['"A ""1"""', "CHP", "B"])])
    (row,) = rows(text, profile)
    assert row.asset == {"assetName": 'A "1"', "technology": "CHP", "owner": "B"}


def test_a_spreadsheets_own_first_line_is_obeyed(profile: Profile) -> None:
    """`sep=;` says what separates, and the lines count on."""
    (row,) = rows("sep=;\nassetName;owner\n\nA;B\n", profile)
    assert (row.line, row.asset) == (4, {"assetName": "A", "owner": "B"})


@pytest.mark.parametrize(
    ("heading", "cell", "value"),
    [
        ("capacity.maxExportMw [kW]", "3.68", "0.00368"),
        ("capacity.maxExportMw [MW]", "3.68", "3.68"),
        ("capacity.energyMwh [kWh]", "13.5", "0.0135"),
        ("connection.voltageKv [V]", "400", "0.4"),
    ],
)
def test_a_unit_in_the_heading_is_converted_exactly(profile: Profile, heading: str, cell: str, value: str) -> None:
    """Kilowatts, kilowatt-hours and volts become what the member holds, without a rounding."""
    (row,) = rows(f"{heading}\n{cell}\n", profile)
    group, _, name = heading.partition(" ")[0].partition(".")
    assert row.asset == {group: {name: Decimal(value)}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: there is no heading line"),
        ("assetNam\nA\n", "line 1, assetNam: is no member of an asset; did you mean assetName?"),
        ("maxExportMw\n1\n", "line 1, maxExportMw: is no member of an asset; did you mean capacity.maxExportMw?"),
        ("assetName,,owner\n", "line 1, column 2: has no heading"),
        ("owner,owner\n", "line 1, owner: is the same column as 'owner'"),
        (
            "capacity.maxExportMw [hp]\n1\n",
            "line 1, capacity.maxExportMw [hp]: has a unit that is not known here; known: MW, kW, W",
        ),
        ("assetName [kW]\nA\n", "line 1, assetName [kW]: has no unit"),
        ("assetName,owner\nA\n", "line 2: has 1 cells, the heading line 2"),
        (
            'assetName,capacity.maxExportMw\nA,"12,5"\n',
            f"{NO_NUMBER.format('12,5')}: write a decimal point, or separate the columns by semicolons",
        ),
        (
            "capacity.maxExportMw\n12.5 MW\n",
            f"{NO_NUMBER.format('12.5 MW')}: leave the unit out; another than MW goes into the heading, as in [kW]",
        ),
        (
            "assetName;capacity.maxExportMw\nA;1.234,5\n",
            f"{NO_NUMBER.format('1.234,5')} such as 12.5",
        ),
        (
            "meterPoints[1].id\n2000000000200\n",
            "line 2, meterPoints[1].id: entry 1 is given, but not entry 0",
        ),
    ],
)
def test_what_is_wrong_is_named_by_line_and_heading(profile: Profile, text: str, said: str) -> None:
    """Each mistake in one sentence, with what to do where that is known."""
    assert faults(text, profile) == [said]


def test_a_decimal_comma_is_read_where_it_separates_nothing(profile: Profile) -> None:
    """With semicolons 12,5 is twelve and a half."""
    (row,) = rows("assetName;capacity.maxExportMw\nA;12,5\n", profile)
    assert row.asset["capacity"] == {"maxExportMw": Decimal("12.5")}


def test_lines_are_those_of_an_editor(profile: Profile) -> None:
    """A cell with line breaks and empty lines move the count as they do in an editor."""
    found = rows('assetName,owner\nA,"two\nlines"\n\nB,C\n', profile)
    assert [(row.line, row.asset["owner"]) for row in found] == [(2, "two\nlines"), (5, "C")]


def test_a_quotation_that_never_ends_is_named_where_it_begins(profile: Profile) -> None:
    """Everything after it is unreadable; the fault is at its first line."""
    with pytest.raises(SheetError) as error:
        rows('assetName,owner\nA,B\nC,"D\nE,F\n', profile)
    assert error.value.fault.line == 3


def test_every_known_heading_is_understood(profile: Profile) -> None:
    """A file whose heading line is the template has no fault, and its columns are the template's."""
    known = [column.heading for column in sheet.known_columns(profile)]
    opened = sheet.read(iter([",".join(known) + "\n"]), profile)
    assert isinstance(opened, Sheet)
    assert [column.heading for column in opened.columns] == known
    assert {"assetName", "capacity.maxExportMw", "meterPoints[0].id"} <= set(known)


cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)


@given(
    table=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5),
    delimiter=st.sampled_from([",", ";", "\t"]),
)
def test_texts_survive_whatever_they_hold(
    profile: Profile, table: Sequence[tuple[str, str, str]], delimiter: str
) -> None:
    """What a CSV writer wrote is read back, apart from the space around it; empty cells are absent members."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    names = ("assetName", "externalRef", "owner")
    writer.writerow(names)
    writer.writerows(table)
    lines = io.StringIO(out.getvalue(), newline="")
    opened = sheet.read(iter(lines), profile)
    assert isinstance(opened, Sheet)
    wanted = [{name: cell.strip() for name, cell in zip(names, row, strict=True) if cell.strip()} for row in table]
    assert [row.asset for row in opened] == [asset for asset in wanted if asset]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_is_rows_or_faults(profile: Profile, text: str) -> None:
    """Nothing but a SheetError is ever raised, and every fault has a line of the text."""
    most = text.count("\n") + text.count("\r") + 2
    try:
        opened = sheet.read(iter(text.splitlines(keepends=True)), profile)
        found: list[Fault] = [*opened] if not isinstance(opened, Sheet) else [f for row in opened for f in row.faults]
    except SheetError as error:
        found = [error.fault]
    assert all(1 <= fault.line <= len(text.splitlines()) + most for fault in found)
