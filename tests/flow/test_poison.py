"""When a message is parked: three failures of the same way in a row, and not before."""

from __future__ import annotations

from gateway.flow.poison import Failures


def test_the_third_failure_of_the_same_way_is_the_last() -> None:
    """Growing pauses before the second and the third try; of other messages nothing is counted."""
    failures = Failures()
    assert [failures.note("m1", "does not sign") for _ in range(3)] == [0.5, 2.0, None]
    assert failures.note("m2", "does not sign") == 0.5


def test_another_way_or_a_success_begins_anew() -> None:
    """Only the same thing again and again is poison."""
    failures = Failures()
    ways = [failures.note("m1", way) for way in ("a", "a", "b", "b", "a")]
    failures.forget("m1")
    assert (ways, failures.note("m1", "a")) == ([0.5, 2.0, 0.5, 2.0, 0.5], 0.5)
