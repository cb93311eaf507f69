from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import division
from gateway.core.division import Fate, Part
from gateway.core.message import Created, Problem


def part(message: str, first: int, after: int, offset: int, *names: str, fate: Fate | None = None) -> Part:
    return Part(message_id=message, rows=range(first, after), offset=offset, names=names, fate=fate)


def bad(row: int | None, ref: str | None = None) -> Problem:
    return Problem(row=row, ref=ref, code="INVALID_MPAN", message="check digit")


A, B = part("a", 0, 2, 0, "a0", "a1"), part("b", 5, 8, 2, "b5", "b6", "b7")


def pieces(parts: Mapping[str, Sequence[Part]]) -> dict[str, list[tuple[range, int, Fate | None]]]:
    return {ident: [(each.rows, each.offset, each.fate) for each in found] for ident, found in parts.items()}


def test_unsent_rows_are_those_of_no_part_that_stands() -> None:
    """Parts that go again do not count; whatever else is in a submission does, in whatever order the parts come."""
    assert division.unsent(5, []) == (range(5),)
    assert division.unsent(5, [part("a", 3, 5, 0), part("a", 0, 1, 0)]) == (range(1, 3),)
    assert division.unsent(5, [part("a", 0, 5, 0)]) == ()
    assert division.unsent(5, [part("a", 0, 5, 0, fate=Fate.AGAIN), part("a", 1, 2, 0)]) == (range(1), range(2, 5))
    assert division.unsent(2, [part("a", 0, 2, 0, fate=Fate.FAILED)]) == ()


def test_errors_are_told_in_the_messages_own_rows() -> None:
    """Row 4 of the submission is row 7 of the message it belongs to; a row of another's is not shown."""
    problems = [bad(1), bad(4), bad(None)]
    assert [p.row for p in division.own_problems(problems, [B], size=5)] == [7, None]
    assert [p.row for p in division.own_problems(problems, [A], size=5)] == [1, None]


def test_a_row_that_does_not_exist_is_not_lost() -> None:
    """It is shown as it came where rows count alike, else to everybody without its number."""
    assert [p.row for p in division.own_problems([bad(99)], [part("a", 0, 2, 0)], size=2)] == [99]
    assert [p.row for p in division.own_problems([bad(99)], [part("a", 1000, 1002, 0)], size=2)] == [None]
    assert [p.row for p in division.own_problems([bad(99)], [B], size=5)] == [None]


def test_an_error_that_tells_only_a_name_is_given_its_row() -> None:
    """The name finds the row in a merged submission; an unknown name stays without one."""
    found = division.located([bad(None, "b6"), bad(None, "b9"), bad(0, "b6")], [A, B])
    assert [p.row for p in found] == [3, None, 0]


def test_created_assets_go_to_their_owner() -> None:
    """By name where messages are merged; alone a message gets everything, whatever the SMP calls it."""
    created = [Created(ref="a1", smp_id="1"), Created(ref="b5", smp_id="2")]
    assert division.own_created(created, [B], merged=True) == (created[1],)
    assert division.own_created(created, [B], merged=False) == tuple(created)


def test_innocent_messages_go_again() -> None:
    """An error of one merged message ends that message only."""
    spared = division.refused([A, B], [bad(0)], {"a": False, "b": False})
    assert pieces(spared) == {"b": [(range(5, 8), 2, Fate.AGAIN)]}


def test_salvage_cuts_out_the_named_rows() -> None:
    """The rows beside the bad one go again, the bad one stays with the refusal, and offsets stay true."""
    spared = division.refused([A, B], [bad(3)], {"a": False, "b": True})
    assert pieces(spared) == {
        "a": [(range(2), 0, Fate.AGAIN)],
        "b": [(range(5, 6), 2, Fate.AGAIN), (range(6, 7), 3, None), (range(7, 8), 4, Fate.AGAIN)],
    }
    assert [each.names for each in spared["b"]] == [("b5",), ("b6",), ("b7",)]


@pytest.mark.parametrize("rows", [(None,), (99,), ()])
def test_without_a_row_one_message_ends_and_several_are_set_apart(rows: Sequence[int | None]) -> None:
    """Nobody is salvaged by an error that names no row of the submission; merged messages each go alone."""
    problems = [bad(row) for row in rows]
    assert division.refused([A], problems, {"a": True}) == {}
    spared = division.refused([A, B], problems, {"a": True, "b": False})
    assert {ident: found[0].fate for ident, found in spared.items()} == {"a": Fate.ALONE, "b": Fate.ALONE}


def test_nothing_is_salvaged_when_every_row_is_bad() -> None:
    """All rows named: the message has ended."""
    assert division.refused([A], [bad(0), bad(1)], {"a": True}) == {}


def test_a_partial_success_is_told_to_each_by_what_was_created() -> None:
    """All, some or none of a message's names: completed, partial, failed."""
    created = [Created(ref=name, smp_id=name) for name in ("a0", "a1", "b5")]
    ends = division.partly([A, B, part("c", 0, 1, 5, "c0")], created, ["a", "b", "c"])
    assert {ident: found[0].fate for ident, found in ends.items()} == {
        "a": Fate.COMPLETED,
        "b": Fate.PARTIAL,
        "c": Fate.FAILED,
    }


@st.composite
def submissions(draw: st.DrawFn) -> tuple[list[Part], dict[str, bool], list[Problem]]:
    counts = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    parts, offset = [], 0
    for number, count in enumerate(counts):
        names = [f"{number}.{row}" for row in range(count)]
        parts.append(part(str(number), 3, 3 + count, offset, *names))
        offset += count
    rows = draw(st.lists(st.none() | st.integers(0, offset + 2), max_size=6))
    return parts, {each.message_id: draw(st.booleans()) for each in parts}, [bad(row) for row in rows]


@given(submissions())
def test_a_refusal_ends_rows_or_sets_messages_apart(case: tuple[list[Part], dict[str, bool], list[Problem]]) -> None:
    """Pieces cover exactly the rows of their message, no named row goes again, and it cannot go on for ever."""
    parts, salvaging, problems = case
    spared = division.refused(parts, problems, salvaging)
    named = {problem.row for problem in problems}
    again = 0
    for own in parts:
        found = spared.get(own.message_id, ())
        if found:
            assert [row for each in found for row in each.rows] == list(own.rows)
            assert [place for each in found for place in each.places] == list(own.places)
        sent_again = [place for each in found if each.fate is not None for place in each.places]
        assert not named & set(sent_again)
        again += len(sent_again)
    apart = all(each.fate is Fate.ALONE for found in spared.values() for each in found)
    assert again < sum(len(each.rows) for each in parts) or (apart and len(parts) > 1)
