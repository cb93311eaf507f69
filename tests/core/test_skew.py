"""How far our clock is from the SMP's: whole seconds on the wire are no disagreement."""

from __future__ import annotations

import pytest

from gateway.core.skew import may_sign, skew

S = 1_000_000
NOON = 1_795_000_000 * S


@pytest.mark.parametrize(
    ("date_s", "expected_s"),
    [(0, 0), (-0.7, 0), (2, 0), (1, 0), (-1, 0), (-3.5, 2.5), (5, -3), (-3600, 3599), (600, -598)],
)
def test_only_what_sending_and_answering_do_not_explain_counts(date_s: float, expected_s: float) -> None:
    """Sent at noon, answered two seconds later: a `Date` from a second before to two after agrees."""
    found = skew(sent_at=NOON, answered_at=NOON + 2 * S, date_at=NOON + round(date_s * S))
    assert found == expected_s * S


@pytest.mark.parametrize(("skew_s", "allowed"), [(150, True), (-150, True), (151, False), (-151, False)])
def test_signing_stops_beyond_half_the_tolerance(skew_s: int, *, allowed: bool) -> None:
    """±300 s is what smp-v1's SMP forgives."""
    assert may_sign(skew_s * S, 300 * S) is allowed
