"""Whose an orphan callback may be: only what fits exactly one doubt is worth a hint."""

from __future__ import annotations

import pytest

from gateway.core.message import ASSETS, UNIT, Created, Problem
from gateway.core.suggestion import choose, names_of
from gateway.core.transaction import Event
from gateway.core.verdict import Verdict

DOUBTS = {"s1": {"A", "B"}, "s2": {"C"}, "s3": {"D", "E"}}


def success(*names: str) -> Verdict:
    return Verdict(event=Event.SUCCESS, created=tuple(Created(ref=name, smp_id=f"id {name}") for name in names))


def failure(*names: str) -> Verdict:
    problems = tuple(Problem(code="BAD", message="-", ref=name) for name in names)
    return Verdict(event=Event.FAILURE, problems=problems)


@pytest.mark.parametrize(
    ("verdict", "chosen"),
    [
        (success("B", "A"), "s1"),
        (success("A"), None),
        (success("A", "B", "C"), None),
        (success(), None),
        (failure("E"), "s3"),
        (failure("A", "C"), None),
        (failure(), None),
    ],
)
def test_a_verdict_fits_by_its_names(verdict: Verdict, chosen: str | None) -> None:
    """A success names all rows, a failure some; without names nothing is known."""
    assert choose(verdict, DOUBTS) == chosen


def test_what_fits_two_is_shown_beside_neither() -> None:
    """The same name in doubt twice: a guess would be as good as the other."""
    assert choose(success("C"), {**DOUBTS, "s4": {"C"}}) is None


def test_names_come_from_the_content_as_it_was_accepted() -> None:
    """Rows of assets, the one unit, and nothing from what cannot be read or is of another kind."""
    assert names_of(ASSETS, b'{"assets":[{"assetName":"A"},{"assetName":"B"}]}') == ("A", "B")
    assert names_of(UNIT, b'{"unit":{"unitName":"U"}}') == ("U",)
    assert names_of("availability", b'{"assets":[{"assetName":"A"}]}') == names_of(ASSETS, b"{") == ()
