from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import codec, strict_json
from gateway.core.message import Lane, Message, Problem
from gateway.core.point import Value
from gateway.core.relay import FAILURES, MAILBOX_STATES, Relay, RelayRule, due, rule_from_json, rule_to_json
from gateway.core.relay_values import method_calls
from gateway.core.transaction import TERMINAL, State

RULES = st.builds(
    RelayRule,
    connection=st.text("abc", min_size=1, max_size=5),
    on=st.frozensets(st.sampled_from(State)),
    mailbox=st.none() | st.just("plc"),
    sequence=st.integers(0, 65535),
    call=st.dictionaries(
        st.text("abc", max_size=3),
        st.lists(st.integers(0, 9) | st.just({"field": "state", "default": "x"}), max_size=3).map(tuple),
        max_size=2,
    ),
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


def _message(**members: Any) -> Message:  # noqa: ANN401 - of a dataclass
    lane = Lane(environment="test", participant="exstor", site="wight-bess", message="battery")
    made = {"id": "m-1", "lane": lane, "kind": "assets", "intake_key": "id:A-17", "content": b"{}", "rows": 1}
    return Message(**{**made, "state": State.FAILED, "accepted_at": 1, "updated_at": 2, **members})


def _called(arguments: tuple[object, ...], message: Message) -> tuple[Value | None, ...]:
    rule = RelayRule(connection="scada", on=frozenset({State.FAILED}), call={"tell": arguments})
    relay = Relay(
        id=7, message_id="m-1", participant="exstor", site="wight-bess", event=State.FAILED, rule=rule, result_seq=None
    )
    ((point, given),) = method_calls(relay, message)
    assert point == "tell"
    return given


def test_a_method_is_handed_what_its_relay_names() -> None:
    """The caller's own id, a number that a repeat shares, the fields of the result, and constants as they are."""
    message = _message(problems=(Problem(code="bad", message="check digit", row=4),))
    fields = ("id", "messageId", "message", "number", "state", "errors.0.row", "errors.0.message")
    given = _called((*({"field": name} for name in fields), Decimal(3), "x", True), message)
    assert given == ("A-17", "m-1", "battery", Decimal(7), "failed", Decimal(4), "check digit", Decimal(3), "x", True)


def test_what_a_message_does_not_have_is_nothing_or_its_default() -> None:
    """An argument keeps its place: it is never left out, so that the next one would slip into it."""
    asked = ({"field": "errors.0.code"}, {"field": "errors.0.code", "default": "none"}, {"field": "id", "default": 0})
    assert _called(asked, _message(intake_key="plc:1.2")) == (None, "none", Decimal(0))
