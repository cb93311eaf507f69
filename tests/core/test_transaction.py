from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.transaction import BLOCKING, TERMINAL, Event, State, advance, combine
from gateway.errors import TransitionRefused

# assurance.md section 1, written down a second time from its picture: state, then event>state.
TABLE = """
received:   invalid>refused  valid>accepted
accepted:   dependency_missing>waiting  not_after>expired  taken>sending  poison>parked
waiting:    dependencies_met>accepted  dependency_failed>refused  wait_limit>expired  not_after>expired
sending:    transaction>awaiting  declined>rejected  not_processed>accepted  unclear>in_doubt  restarted>in_doubt
sending:    success>completed  partial_success>partial  failure>failed
in_doubt:   found_pending>awaiting  resent>sending  doubt_deadline>escalated
in_doubt:   success>completed  partial_success>partial  failure>failed
awaiting:   success>completed  partial_success>partial  failure>failed  verdict_limit>escalated
escalated:  operator_resent>sending  operator_completed>completed  operator_failed>failed  found_pending>awaiting
escalated:  success>completed  partial_success>partial  failure>failed
parked:     operator_accepted>accepted  operator_refused>refused
accepted:   released>accepted  operator_refused>refused
waiting:    operator_refused>refused
sending:    released>accepted
in_doubt:   released>accepted
awaiting:   released>accepted
escalated:  released>accepted
"""
ALLOWED = {
    (State(line.split(":")[0]), Event(step.split(">")[0])): State(step.split(">")[1])
    for line in TABLE.strip().splitlines()
    for step in line.split(":")[1].split()
}
EVERY = list(itertools.product(State, Event))


@pytest.mark.parametrize(("state", "event"), EVERY)
def test_every_pair(state: State, event: Event) -> None:
    """Each allowed step leads where the table says; every other pair of state and event is refused."""
    if (state, event) in ALLOWED:
        assert advance(state, event) is ALLOWED[state, event]
    else:
        with pytest.raises(TransitionRefused):
            advance(state, event)


def test_terminal_states_end() -> None:
    """Exactly the states marked in the picture have no way out, and the first terminal state stands."""
    assert {state for state in State if not any(start is state for start, _ in ALLOWED)} == TERMINAL
    assert {state.value for state in TERMINAL} == {"refused", "rejected", "completed", "partial", "failed", "expired"}


def test_blocking_states() -> None:
    """Which states keep the next message of a lane back."""
    assert {state.value for state in BLOCKING} == {"waiting", "sending", "in_doubt", "escalated", "parked"}


def test_every_state_and_event_is_used() -> None:
    """A word that no step uses would be a promise without a meaning."""
    assert {event for _, event in ALLOWED} == set(Event)
    assert {start for start, _ in ALLOWED} | set(ALLOWED.values()) == set(State)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ("completed", "completed"),
        ("completed completed", "completed"),
        ("failed failed", "failed"),
        ("rejected failed", "failed"),
        ("completed failed", "partial"),
        ("partial failed", "partial"),
        ("completed rejected", "partial"),
        ("completed awaiting", "awaiting"),
        ("awaiting in_doubt", "in_doubt"),
        ("in_doubt escalated", "escalated"),
        ("sending accepted", "sending"),
        ("awaiting accepted", "accepted"),
        ("awaiting expired", "awaiting"),
        ("completed expired", "partial"),
        ("failed expired", "failed"),
        ("rejected expired", "failed"),
        ("expired expired", "expired"),
    ],
)
def test_combine(parts: str, whole: str) -> None:
    """A message with several submissions: the least settled part, else what the ends add up to."""
    assert combine(State(part) for part in parts.split()) == State(whole)


def test_combine_needs_parts() -> None:
    """Nothing adds up to nothing."""
    with pytest.raises(ValueError, match="without submissions"):
        combine([])


@given(st.lists(st.sampled_from(sorted(set(State) - {State.RECEIVED})), min_size=1))
def test_combine_ignores_order_and_is_terminal_last(parts: list[State]) -> None:
    """The whole is terminal exactly when every part is, in whatever order they come."""
    assert combine(parts) == combine(reversed(parts))
    assert (combine(parts) in TERMINAL) == (set(parts) <= TERMINAL)
