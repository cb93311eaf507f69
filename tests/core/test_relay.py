from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import codec, strict_json
from gateway.core.relay import FAILURES, MAILBOX_STATES, RelayRule, due, rule_from_json, rule_to_json
from gateway.core.transaction import TERMINAL, State

RULES = st.builds(
    RelayRule,
    connection=st.text("abc", min_size=1, max_size=5),
    on=st.frozensets(st.sampled_from(State)),
    mailbox=st.none() | st.just("plc"),
    sequence=st.integers(0, 65535),
    write=st.dictionaries(st.text("abc", max_size=3), st.integers(0, 9) | st.just({"field": "errors.0.message"})),
)


@given(RULES)
def test_rule_survives_the_journal(rule: RelayRule) -> None:
    """A rule kept with a message is the same rule after a restart."""
    stored = strict_json.loads(codec.dumps(rule_to_json(rule)))
    assert isinstance(stored, dict)
    assert rule_from_json(stored) == rule


@given(st.lists(RULES, max_size=5), st.sampled_from(State))
def test_due(rules: list[RelayRule], state: State) -> None:
    """Exactly the rules that name the state, in the order of the YAML."""
    assert due(rules, state) == [rule for rule in rules if state in rule.on]


def test_words() -> None:
    """A mailbox publishes every end; `any_failure` is each end but the good one."""
    assert TERMINAL | {State.ESCALATED, State.PARKED} == MAILBOX_STATES
    assert TERMINAL - {State.COMPLETED} == FAILURES


def test_foreign_json_is_refused() -> None:
    """A row that is no rule is not bent into one."""
    with pytest.raises(TypeError):
        rule_from_json({"connection": "plc", "on": "completed", "mailbox": None, "sequence": 0, "write": {}})
