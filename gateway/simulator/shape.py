"""Whether a payload has the shape that the wire profile describes: members, types, lengths, words, limits.

The walk is the simulator's own; it knows the profile's member types and nothing of the gateway's validation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from jsonschema import Draft202012Validator

from gateway.simulator.wire import Item, Tree, Wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One thing wrong; ``row`` counts items from 0 and is None for the payload as a whole."""

    row: int | None = None
    ref: str | None = None
    field: str | None = None
    code: str
    message: str


def parse(body: bytes) -> Any:  # noqa: ANN401 -- JSON is anything until its shape was checked
    """Read JSON, refusing what a careful server refuses: other encodings, repeated members, NaN, endless nesting.

    Raises:
        ValueError: it is not such JSON.
    """
    try:
        return json.loads(
            body.decode("utf-8"), parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_no_repetition
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def submission_flaws(document: object, item: Item, wire: Wire) -> list[Flaw]:
    """All that is wrong with the shape of a submission of this kind."""
    names = wire.submission
    rows_name = item.payload
    if not isinstance(document, dict):
        return [Flaw(code="MALFORMED", message="not a JSON object")]
    flaws = [
        Flaw(field=name, code="UNKNOWN_MEMBER", message="no such member")
        for name in document.keys() - {names["message_id"], names["action"], rows_name}
    ]
    identifier = document.get(names["message_id"])
    if not isinstance(identifier, str) or not 0 < len(identifier) <= 100:
        flaws.append(Flaw(field=names["message_id"], code="MISSING", message="must be a text of 1 to 100 characters"))
    if document.get(names["action"]) != item.action:
        flaws.append(Flaw(field=names["action"], code="UNKNOWN_ACTION", message=f"must be {item.action}"))
    if item.schema is not None:
        return flaws + list(_schema_flaws(document.get(rows_name), rows_name, item.schema))
    return flaws + _rows_flaws(document.get(rows_name), rows_name, item, wire)


def rows(document: Mapping[str, Any], item: Item, wire: Wire) -> list[dict[str, Any]]:
    """The assets, or the unit, of a submission without flaws."""
    if item is wire.asset:
        return list(document[item.payload])
    return [document[item.payload]]


def value_at(row: Mapping[str, Any], dotted: str) -> object:
    """The member at a dotted path, or None."""
    value: object = row
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _rows_flaws(found: object, name: str, item: Item, wire: Wire) -> list[Flaw]:
    items = found if item is wire.asset else [found]
    if not isinstance(items, list) or not items:
        return [Flaw(field=name, code="MISSING", message="must be a list of at least one")]
    if len(items) > wire.assets_per_submission:
        return [Flaw(field=name, code="TOO_MANY", message=f"{len(items)}, at most {wire.assets_per_submission}")]
    return [flaw for index, row in enumerate(items) for flaw in _row_flaws(index, row, item, wire)]


def _row_flaws(index: int, row: object, item: Item, wire: Wire) -> Iterator[Flaw]:
    ref = row.get(item.ref) if isinstance(row, dict) else None
    ref = ref if isinstance(ref, str) else None
    for field, code, message in _group(row, item.members, wire, ""):
        yield Flaw(row=index, ref=ref, field=field, code=code, message=message)
    if isinstance(row, dict):
        for choice in item.require_any:
            if all(value_at(row, name) in (None, []) for name in choice):
                yield Flaw(row=index, ref=ref, field=choice[0], code="MISSING", message=f"one of {', '.join(choice)}")


def _schema_flaws(content: object, name: str, schema: Tree) -> Iterator[Flaw]:
    """What a further kind's JSON Schema says, judged with binary fractions, as most servers would."""
    plain = json.loads(json.dumps(content, default=float))
    for fault in Draft202012Validator(schema).iter_errors(plain):
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault.absolute_path)
        yield Flaw(field=name + "".join(steps), code=str(fault.validator).upper(), message=fault.message)


Found = Iterator[tuple[str, str, str]]  # field, code, message


def _group(value: object, members: Tree, wire: Wire, at: str) -> Found:
    if not isinstance(value, dict):
        yield at.removesuffix("."), "TYPE", "must be an object"
        return
    known = {spec.get("name", name): spec for name, spec in members.items()}
    for name in value.keys() - known.keys():
        yield f"{at}{name}", "UNKNOWN_MEMBER", "no such member"
    for name, spec in known.items():
        if name not in value:
            if spec.get("required"):
                yield f"{at}{name}", "MISSING", "is required"
        elif value[name] is None:
            if not spec.get("nullable"):
                yield f"{at}{name}", "TYPE", "must not be null"
        else:
            yield from _member(value[name], spec, wire, f"{at}{name}")


def _member(value: object, spec: Tree, wire: Wire, at: str) -> Found:
    kind = spec["type"]
    if kind == "group":
        yield from _group(value, spec["members"], wire, f"{at}.")
    elif kind in ("meter_points", "words", "names"):
        yield from _list(value, spec, wire, at)
    else:
        fault = SCALARS[kind](value, spec, wire)
        if fault is not None:
            yield (at, *fault)


def _list(value: object, spec: Tree, wire: Wire, at: str) -> Found:
    most = spec.get("at_most", wire.aligned_per_unit)
    if not isinstance(value, list) or not spec.get("at_least", 0) <= len(value) <= most:
        yield at, "TYPE", f"must be a list of {spec.get('at_least', 0)} to {most}"
        return
    for index, element in enumerate(value):
        if spec["type"] == "meter_points":
            yield from _group(element, spec["members"], wire, f"{at}[{index}].")
        else:
            fault = SCALARS["word" if spec["type"] == "words" else "text"](element, spec, wire)
            if fault is not None:
                yield (f"{at}[{index}]", *fault)


Fault = tuple[str, str] | None


def _text(value: object, spec: Tree, _wire: Wire) -> Fault:
    longest = spec.get("length", 100)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        return "TYPE", f"must be a text of 1 to {longest} characters"
    return None


def _word(value: object, spec: Tree, wire: Wire) -> Fault:
    words = wire.enums[spec["words"]]
    return None if value in words else ("UNKNOWN_WORD", f"must be one of {', '.join(words)}")


def _number(value: object, spec: Tree, _wire: Wire) -> Fault:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return "TYPE", "must be a number"
    low, high = spec.get("minimum"), spec.get("maximum")
    if (low is not None and value < low) or (high is not None and value > high):
        return "OUT_OF_RANGE", f"must be in {low}..{high}"
    return None


def _magnitude(value: object, spec: Tree, wire: Wire) -> Fault:
    return _number(value, {"minimum": 0, **spec}, wire)


def _date(value: object, _spec: Tree, _wire: Wire) -> Fault:
    try:
        good = isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        good = False
    return None if good else ("TYPE", "must be a date such as 2026-12-01")


SCALARS: dict[str, Callable[[object, Tree, Wire], Fault]] = {
    "text": _text,
    "word": _word,
    "number": _number,
    "magnitude": _magnitude,
    "date": _date,
    "bm_unit": _text,
    "gsp_group": _text,
}


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _no_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members
