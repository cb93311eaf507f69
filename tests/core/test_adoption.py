"""Files of assets made long ago: what is read, and every way in which a row can be wrong."""

from __future__ import annotations

import pytest

from gateway.core.adoption import read
from gateway.core.record import Adoption


def test_a_list_of_names_is_enough() -> None:
    """No headings, ids and groups where they are known, empty lines and spaces around values ignored."""
    told, faults = read('OLD 1\n\n OLD 2 , SMP-7 , _H \n"OLD, 3"\n')
    assert faults == ()
    assert told == (
        Adoption(line=1, name="OLD 1"),
        Adoption(line=3, name="OLD 2", smp_id="SMP-7", gsp_group="_H"),
        Adoption(line=4, name="OLD, 3"),
    )


def test_headings_may_name_the_columns_in_another_order() -> None:
    """However they are spelt, and with the mark that spreadsheets put before a file."""
    told, faults = read("\ufeffGSP Group,Asset Name,SMP-ID\n_B,OLD 1,SMP-7\n")
    assert (told, faults) == ((Adoption(line=2, name="OLD 1", smp_id="SMP-7", gsp_group="_B"),), ())


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "the file names no asset"),
        ("name\n", 1, "the file names no asset"),
        ("name,colour\nA,red\n", 1, "there is no column 'colour'; known: name, smp_id, gsp_group"),
        ("name,asset name\nA,B\n", 1, "two columns head the same"),
        ("A\n,SMP-1\n", 2, "the name is missing"),
        ("A\nA\n", 2, "'A' stands in line 1 already"),
        ("A,,_Z\n", 1, "'_Z' is not a GSP group; known: _A, _B, _C, _D, _E, _F, _G, _H, _J, _K, _L, _M, _N, _P"),
        (f"{'x' * 101}\n", 1, "the name has 101 characters, at most 100 are allowed"),
        ("A\tB\n", 1, "the name holds characters that cannot be printed"),
        ("A,1,_H,more\n", 1, "4 columns, at most 3 are known; a name with a comma stands in quotes"),
        ('"A\n', 1, "this is not CSV: unexpected end of data"),
    ],
)
def test_each_mistake_is_told_with_its_line(text: str, line: int, said: str) -> None:
    """The line as editors count it, and a sentence."""
    assert read(text)[1] == ((line, said),)


def test_all_mistakes_at_once() -> None:
    """No row hides another's mistake."""
    assert [line for line, _ in read("A\n,1\nB,,_Z\nA\n")[1]] == [2, 3, 4]
