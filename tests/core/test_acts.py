"""Which decisions a message allows, and what the site is told of them."""

from __future__ import annotations

import pytest

from gateway.core.acts import Act, Decision, possible
from gateway.core.message import Problem
from gateway.core.transaction import State

EXITS = {
    State.ACCEPTED: (Act.REFUSE,),
    State.WAITING: (Act.REFUSE,),
    State.PARKED: (Act.RETRY, Act.REFUSE),
    State.ESCALATED: (Act.RESEND, Act.RESOLVE_COMPLETED, Act.RESOLVE_FAILED),
}


@pytest.mark.parametrize("state", State)
def test_only_what_is_stuck_or_not_sent_is_for_people(state: State) -> None:
    """PARKED and ESCALATED have their exits, what was not sent can be withdrawn, every other state has none."""
    assert possible(state) == EXITS.get(state, ())


@pytest.mark.parametrize("act", Act)
def test_the_site_is_told_the_reason_of_what_ends_badly(act: Act) -> None:
    """A refusal and a failure by hand bring a problem with the reason; the other acts bring none."""
    problems = Decision(act=act, actor="operator:alice", reason="wrong feeder").problems
    told = {
        Act.REFUSE: Problem(code="operator_refused", message="refused by an operator: wrong feeder"),
        Act.RESOLVE_FAILED: Problem(code="operator_failed", message="declared failed by an operator: wrong feeder"),
    }
    assert problems == ((told[act],) if act in told else ())
