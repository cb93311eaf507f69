"""A further kind of message: declared in the wire profile, judged by the JSON Schema that the profile brings.

Rules
-----
* The schema is JSON Schema 2020-12 and speaks the wire's own names: what it accepts is sent as it is.
* It is judged with Decimals, so that ``multipleOf: 0.1`` means what it says; nothing is fetched, `$ref` stays inside.
* The verdict comes later, by callback or status call, as for assets and units; or the answer itself is the verdict,
  in the form that the answer to a status call has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Context, Decimal, localcontext
from functools import cached_property
from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from pydantic import Field, field_validator
from referencing import Registry

from gateway.core.message import Problem
from gateway.core.wire_names import MemberName, Part, UrlPath

KindName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
_LARGEST_EXPONENT = 308  # as in strict_json: within the range of a double
_SHOWN = 200  # characters of the schema's sentence
_DIGITS = 1000  # of a quotient: numbers are within the range of a double and have at most 128 characters
_PROBLEMS = 100  # of one message; whoever has more is told so by the first ones


class FurtherKind(Part):
    """One further kind: where it goes, under which member its content stands, and what its content looks like.

    ``deduplicated`` says whether the SMP answers a repeated submission id of it without a second effect. ``verdict``
    says who gives the verdict, and ``verdict_statuses`` with which HTTP statuses where it is the answer.
    ``request_bytes`` is the largest body, within the limit of the whole profile.
    """

    path: UrlPath
    method: Literal["POST", "PUT"] = "POST"
    action: str
    payload: MemberName
    content: dict[str, Any] = Field(alias="schema")
    deduplicated: bool
    verdict: Literal["callback", "answer"] = "callback"
    verdict_statuses: tuple[int, ...] = Field(default=(200, 201), min_length=1)
    request_bytes: int | None = Field(default=None, gt=0)

    @field_validator("content")
    @classmethod
    def _is_a_schema(cls, value: dict[str, Any]) -> dict[str, Any]:
        exact = _exact(value)
        try:
            Draft202012Validator.check_schema(exact)
        except SchemaError as error:
            raise ValueError(f"not a JSON Schema: {error.json_path}: {error.message:.200}") from error
        for reference in _references(exact):
            if not reference.startswith("#"):
                raise ValueError(f"$ref {reference!r:.100} leads outside of the schema; write it as #/$defs/NAME")
        found: dict[str, Any] = exact
        return found

    @cached_property
    def _validator(self) -> Any:  # noqa: ANN401 -- jsonschema has no type for content that is any JSON
        return _EXACT(self.content, registry=Registry(), format_checker=_EXACT.FORMAT_CHECKER)

    def problems(self, content: object) -> tuple[Problem, ...]:
        """What the schema says against a content, in the wire's names; never raises, whatever the content is."""
        with localcontext(Context(prec=_DIGITS)):
            found = sorted(self._validator.iter_errors(content), key=lambda error: error.json_path)
        return tuple(_problem(error) for error in found[:_PROBLEMS])


def _problem(error: ValidationError) -> Problem:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    field = "".join(steps).removeprefix(".") or None
    return Problem(field=field, code=str(error.validator), message=f"{error.message:.{_SHOWN}}")


def _is_number(_checker: object, value: object) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite() and abs(value.adjusted()) <= _LARGEST_EXPONENT
    return isinstance(value, int) and not isinstance(value, bool)


def _is_integer(checker: object, value: object) -> bool:
    return _is_number(checker, value) and (isinstance(value, int) or value == Decimal(str(value)).to_integral_value())


_TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many({"number": _is_number, "integer": _is_integer})
_EXACT: Any = extend(Draft202012Validator, type_checker=_TYPES)  # type: ignore[no-untyped-call]


def _exact(node: Any) -> Any:  # noqa: ANN401 -- a schema is any JSON
    """The same schema with Decimals where YAML or JSON gave binary fractions."""
    if isinstance(node, float):
        return Decimal(str(node))
    if isinstance(node, Mapping):
        return {key: _exact(value) for key, value in node.items()}
    return [_exact(value) for value in node] if isinstance(node, list) else node


def _references(node: object) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in {"$ref", "$dynamicRef"} and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
