"""A further kind's JSON Schema: exact numbers, nothing fetched, every mistake of its own told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.core.further_kind import FurtherKind


def kind(schema: dict[str, Any]) -> FurtherKind:
    return FurtherKind.model_validate(
        {"path": "/x", "action": "declare", "payload": "x", "deduplicated": True, "schema": schema}
    )


TENTHS = kind({"properties": {"mw": {"type": "number", "multipleOf": 0.1, "maximum": 60.5}, "n": {"type": "integer"}}})


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"mw": Decimal("0.3")}, []),
        ({"mw": Decimal("60.5")}, []),
        ({"mw": Decimal("0.35")}, [("mw", "multipleOf")]),
        ({"mw": Decimal("60.6")}, [("mw", "maximum")]),
        ({"mw": Decimal("1e300")}, [("mw", "maximum")]),
        ({"mw": Decimal("Infinity")}, [("mw", "type")]),
        ({"mw": True}, [("mw", "type")]),
        ({"n": Decimal("3.0")}, []),
        ({"n": Decimal("3.5")}, [("n", "type")]),
        ({"n": True}, [("n", "type")]),
        ({"mw": "1"}, [("mw", "type")]),
        ({"mw": {"a": 1}, "n": "x"}, [("mw", "type"), ("n", "type")]),
    ],
)
def test_numbers_are_judged_exactly(content: object, found: list[tuple[str, str]]) -> None:
    """0.3 is three tenths: binary fractions would refuse it."""
    assert [(problem.field, problem.code) for problem in TENTHS.problems(content)] == found


SCALARS = st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text()


@given(st.recursive(SCALARS, st.lists, max_leaves=5))
def test_any_content_is_judged(content: object) -> None:
    """Whatever a site sends, nothing is raised."""
    TENTHS.problems({"mw": content, "n": content})
    TENTHS.problems(content)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "nothing"}, "not a JSON Schema"),
        ({"properties": 7}, "not a JSON Schema"),
        ({"$ref": "https://elsewhere.example/schema"}, "leads outside"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "leads outside"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: dict[str, Any], words: str) -> None:
    """Found when the profile is loaded, not when the first message comes."""
    with pytest.raises(ValidationError, match=words):
        kind(schema)
