from __future__ import annotations

import itertools
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.message import Lane, Problem, message_id

LANE = Lane(environment="test", participant="exstor", site="hams-bess", message="battery")
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)


def test_message_id_is_stable() -> None:
    """The id of a request is the same today and after any restart; a change here would double effects."""
    assert message_id(LANE, "plc:1.7") == message_id(LANE, "plc:1.7")
    owner = uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_DNS, "smp-gateway.message"), "exstor|test")
    assert message_id(LANE, "plc:1.7") == str(uuid.uuid5(owner, "hams-bess|battery|plc:1.7"))


def test_message_ids_differ() -> None:
    """Environment, participant, site, message name and key each make another id."""
    lanes = [Lane(environment=e, participant=p, site=s, message=m) for e, p, s, m in itertools.product("ab", repeat=4)]
    ids = [message_id(lane, key) for lane in lanes for key in ("plc:1.7", "plc:1.8", "plc:2.7")]
    assert len(set(ids)) == len(ids)


@given(NAMES, NAMES, NAMES, NAMES)
def test_lane_text_round_trip(environment: str, participant: str, site: str, message: str) -> None:
    """A lane reads back what it wrote."""
    lane = Lane(environment=environment, participant=participant, site=site, message=message)
    assert Lane.parse(str(lane)) == lane


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(row=17, field="meterPoints[0].id", code="c", message="wrong"), "row 17 meterPoints[0].id: wrong"),
        (Problem(field="unitName", code="c", message="wrong"), "unitName: wrong"),
        (Problem(code="c", message="wrong"), "wrong"),
    ],
)
def test_problem_text(problem: Problem, text: str) -> None:
    """The form that a site's operator reads in the mailbox's text."""
    assert str(problem) == text
