"""Topic filters against the examples of the specification, and against each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.topics import check_filter, check_topic, matches, overlap

LEVELS = st.sampled_from(["a", "b", ""])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = (
    st.tuples(st.lists(st.sampled_from(["a", "b", "", "+"]), max_size=4), st.sampled_from(["#", "a", "+", ""]))
    .map(lambda parts: "/".join([*parts[0], parts[1]]))
    .filter(bool)
)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "sport", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/uptime", False),
        ("+/monitor", "$SYS/monitor", False),
    ],
)
def test_the_examples_of_the_specification(pattern: str, topic: str, *, expected: bool) -> None:
    """MQTT 5.0 sections 4.7.1 and 4.7.2."""
    assert matches(pattern, topic) is expected


@given(FILTERS, FILTERS, TOPICS)
def test_what_matches_both_means_that_they_overlap(one: str, other: str, topic: str) -> None:
    """No ambiguous pair of topics gets past the configuration."""
    if matches(one, topic) and matches(other, topic):
        assert overlap(one, other)
    assert overlap(one, other) == overlap(other, one)


@given(FILTERS, FILTERS)
def test_filters_that_overlap_have_a_topic_in_common(one: str, other: str) -> None:
    """And no pair is refused without a reason."""
    levels = ["a", "b", "", "c"]
    topics = [a for a in levels if a]
    topics += [f"{a}/{b}" for a in levels for b in levels]
    topics += [f"{t}/{c}" for t in list(topics) for c in levels]
    topics += [f"{t}/{c}" for t in list(topics) if t.count("/") == 2 for c in levels]
    topics += [f"{t}/{c}" for t in list(topics) if t.count("/") == 3 for c in levels]
    if overlap(one, other):
        assert any(matches(one, topic) and matches(other, topic) for topic in topics)


@pytest.mark.parametrize("bad", ["", "a/#/b", "a#", "a+/b", "$share/group/a", "$SYS/#", "a\0b"])
def test_filters_that_are_none(bad: str) -> None:
    """Told when the YAML is read, not by the broker at night."""
    with pytest.raises(ValueError, match=r"topic|stands|begin"):
        check_filter(bad)


@pytest.mark.parametrize("bad", ["", "a/+", "#", "$SYS/a"])
def test_topics_that_cannot_be_published_to(bad: str) -> None:
    """Wildcards are for reading."""
    with pytest.raises(ValueError, match=r"topic|wildcards"):
        check_topic(bad)
