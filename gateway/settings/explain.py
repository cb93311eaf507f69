"""From pydantic's errors to sentences for the engineer who wrote the file, each at its line and column."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import ConfigProblem
from gateway.settings.document import Document, Path, dotted
from gateway.settings.part import Part
from gateway.settings.quantities import among, shown

Model = TypeVar("Model", bound=BaseModel)


def validate(
    model: type[Model], tree: object, document: Document, path: Path = (), *, beside: type[Part] | None = None
) -> tuple[Model | None, list[ConfigProblem]]:
    """Read a part of a file as a model; without one there is at least one problem, here or in the document already.

    ``beside`` is a model whose members stand in the same mapping and were taken out before.
    """
    try:
        return model.model_validate(tree), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, problems_of(details, document, path, model=model, beside=beside)


def problems_of(
    details: list[ErrorDetails],
    document: Document,
    path: Path,
    *,
    model: type[BaseModel],
    beside: type[Part] | None,
) -> list[ConfigProblem]:
    """Say each error once, and none where the document itself is at fault already."""
    blamed = {problem.path for problem in document.problems}
    found: dict[tuple[Path, str], ConfigProblem] = {}
    for detail in details:
        at = _existing(document, (*path, *detail["loc"]), missing=detail["type"] == "missing")
        if any(dotted(at[:length]) in blamed for length in range(1, len(at) + 1)):
            continue
        unknown = detail["type"] == "extra_forbidden"
        message = _unknown(detail, model, beside) if unknown else _sentence(detail)
        key = unknown or "[key]" in detail["loc"]
        found.setdefault((at, message), document.problem(at, message, key=key))
    return list(found.values())


def _existing(document: Document, loc: Path, *, missing: bool) -> Path:
    """The way in the file: pydantic also counts the branches of a union, which the file does not have."""
    path: Path = ()
    for part in loc[:-1] if missing else loc:
        if (*path, part) in document.values:
            path = (*path, part)
    return (*path, loc[-1]) if missing else path


def _unknown(detail: ErrorDetails, model: type[BaseModel], beside: type[Part] | None) -> str:
    """Name a member that is not built yet, or suggest the one that was meant."""
    name = str(detail["loc"][-1])
    owner = _owner(model, detail["loc"][:-1])
    known = {field.alias or key for key, field in owner.model_fields.items()}
    unbuilt: dict[str, str] = {}
    for part in (owner, beside if owner is model else None):
        if part is not None and issubclass(part, Part):
            unbuilt.update(part.unbuilt)
            known.update(part.model_fields)
    return unbuilt.get(name) or f"there is no such member{among(name, known)}"


def _owner(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model of the mapping at ``loc``."""
    owner = model
    for part in loc:
        field = next((f for key, f in owner.model_fields.items() if part in {key, f.alias}), None)
        if field is not None:
            owner = next(_models(field.annotation), owner)
    return owner


def _models(annotation: object) -> Any:  # noqa: ANN401 -- a generator over whatever typing.get_args holds
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _sentence(detail: ErrorDetails) -> str:
    say = _SENTENCES.get(detail["type"])
    return say(detail["input"], detail.get("ctx", {})) if say else _plainly(detail["msg"])


def _plainly(message: str) -> str:
    """Whatever a vendor's adapter says, without pydantic's own prefix."""
    text = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text[:1].lower() + text[1:]


def _choice(value: object, context: Mapping[str, Any]) -> str:
    expected = str(context.get("expected", ""))
    choices = re.findall(r"'([^']*)'", expected)
    listed = ", ".join(choices) or expected
    likely = among(value, choices)
    return f"{shown(value)} is not one of {listed}{likely if 'did you mean' in likely else ''}"


def _expected(what: str) -> Callable[[object, Mapping[str, Any]], str]:
    return lambda value, _: f"expected {what}, found {shown(value)}"


def _bound(words: str, name: str) -> Callable[[object, Mapping[str, Any]], str]:
    return lambda value, context: f"{shown(value)} is {words} {context[name]}"


def _length(words: str, name: str) -> Callable[[object, Mapping[str, Any]], str]:
    return lambda _, context: f"needs {words} {context[name]} of them"


_WHOLE = _expected("a whole number")
_NUMBER = _expected("a number")
_BOOLEAN = _expected("true or false")
_SENTENCES: Mapping[str, Callable[[object, Mapping[str, Any]], str]] = {
    "missing": lambda _, __: "is missing",
    "value_error": lambda _, context: str(context["error"]),
    "literal_error": _choice,
    "enum": _choice,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "string_type": _expected("text"),
    # a mapping is never shown, nor what stands in its place: it may be a secret
    "dict_type": lambda _, __: "expected 'name: value' members here",
    "model_type": lambda _, __: "expected 'name: value' members here",
    "model_attributes_type": lambda _, __: "expected 'name: value' members here",
    "list_type": lambda _, __: "expected a list, such as [a, b]",
    "tuple_type": lambda _, __: "expected a list, such as [a, b]",
    "greater_than": _bound("not more than", "gt"),
    "greater_than_equal": _bound("less than", "ge"),
    "less_than": _bound("not less than", "lt"),
    "less_than_equal": _bound("more than", "le"),
    "too_short": _length("at least", "min_length"),
    "too_long": _length("at most", "max_length"),
    "string_too_short": lambda _, __: "must not be empty",
    "string_too_long": lambda _, context: f"must not be longer than {context['max_length']} characters",
    "string_pattern_mismatch": lambda value, context: f"{shown(value)} does not have the form {context['pattern']}",
}
