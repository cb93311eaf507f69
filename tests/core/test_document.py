"""Picking from a site's own JSON, and the ids that a site may choose."""

from __future__ import annotations

from decimal import Decimal

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import strict_json
from gateway.core.document import ROWS_MAX, JsonPath, Missing, caller_id
from gateway.errors import StrictJsonError


def test_numbers_come_out_exactly_as_they_were_written() -> None:
    """A value of JSON never passes through a float."""
    document = strict_json.loads(b'{"power": {"kw": 0.30, "n": 7}, "on": true, "name": "CHP"}')
    assert str(JsonPath("power.kw").value(document)) == "0.30"
    assert JsonPath("power.n").value(document) == Decimal(7)
    assert JsonPath("on").value(document) is True
    assert JsonPath("name").value(document) == "CHP"


def test_filters_compare_decimals() -> None:
    """JMESPath's comparisons know the numbers of the strict parser."""
    document = strict_json.loads(b'{"chargers": [{"kw": 7.4, "id": "a"}, {"kw": 22.1, "id": "b"}]}')
    assert JsonPath("chargers[?kw > `10`].id").value(document) == ["b"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("none", "not_available"),
        ("list", "not_a_value"),
        ("object", "not_a_value"),
        ("length(number)", "not_available"),
    ],
)
def test_what_is_not_one_value_says_so(path: str, code: str) -> None:
    """Absent, null, nested and ill-fitting are told apart, and none of them raises."""
    document = {"list": [[1]], "object": {"a": 1}, "number": 1, "none": None}
    found = JsonPath(path).value(document)
    assert isinstance(found, Missing)
    assert found.code == code
    assert path in found.detail


def test_rows_are_a_list_of_a_bounded_length() -> None:
    """An empty list asks for nothing, and a very long one costs nothing."""
    assert JsonPath("a").rows({"a": [1, 2]}) == [1, 2]
    documents: list[object] = [{"a": {}}, {"a": []}, {}, [], {"a": [0] * (ROWS_MAX + 1)}]
    for bad in documents:
        assert isinstance(JsonPath("a").rows(bad), Missing)


def test_an_expression_that_is_none_names_itself() -> None:
    """So that the YAML's author finds it."""
    with pytest.raises(ValueError, match=r"'a\[' is not JMESPath"):
        JsonPath("a[")


@given(
    st.binary(max_size=200), st.sampled_from(["a", "a.b[0]", "max(@)", "a[?b > `1`]", "sort_by(@, &a)", "*.a", "[]"])
)
def test_no_document_makes_picking_raise(data: bytes, path: str) -> None:
    """Whatever a site sends ends as a value or as a reason."""
    try:
        document = strict_json.loads(data)
    except StrictJsonError:
        document = data.decode("latin-1")
    JsonPath(path).value(document)
    JsonPath(path).rows(document)


@pytest.mark.parametrize("good", ["A-1", "7f3c:2", "é", "x" * 128])
def test_an_id_is_kept_as_it_is(good: str) -> None:
    """Any text that can end a topic."""
    assert caller_id(good) == good


def test_a_whole_number_is_an_id() -> None:
    """Counters are ids as well."""
    assert caller_id(42) == "42"


@pytest.mark.parametrize(
    "bad", ["", "a/b", "a+", "#", "a b", "a\x00", "x" * 129, True, None, Decimal("1.5"), ["a"], "\u202e"]
)
def test_what_cannot_end_a_topic_is_no_id(bad: object) -> None:
    """Results are published on a topic that ends with the id; it must stay one level, and visible."""
    assert caller_id(bad) is None


DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(DOCUMENTS, st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
def test_names_are_walked_as_jmespath_would(document: object, names: list[str]) -> None:
    """What is nearly every path goes without the library's interpreter, and finds the same."""
    assert JsonPath(".".join(names)).find(document) == jmespath.search(".".join(names), document)
