"""How YAML names nodes, and the fields of events: the text forms of the standard; no I/O."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

# OPC 10000-6, 5.3.1.10: the text form of a NodeId; `nsu=` names the namespace, whose number a restart may change.
_NODE = re.compile(r"(?:ns=([0-9]{1,5});|nsu=([^;]+);)?([isgb])=(.+)", re.DOTALL)
_NAMESPACES = 0x10000
# The names on the way to a field: with the number of their namespace, or one name with its URI.
_QUALIFIED = re.compile(r"(?:([0-9]{1,5}):)?([^:/\s][^:/]{0,511})")
_QUALIFIED_BY_URI = re.compile(r"nsu=([^;]+);([^:/\s][^:/]{0,511})")
_STEPS = 8
_NUMBERS = 0x100000000
_TEXT_LENGTH = 4096  # OPC 10000-3, 8.2.4

Identifier = int | str | uuid.UUID | bytes


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A node: its namespace as an index or a URI, and its identifier as a number, text, GUID or bytes."""

    namespace: int | str
    identifier: Identifier
    written: str

    def __str__(self) -> str:
        return self.written


def parse_node(value: object) -> NodeAddress:
    """Read a NodeId in its text form.

    Raises:
        ValueError: another shape, or an identifier that its kind does not allow.
    """
    if isinstance(value, NodeAddress):
        return value
    match = _NODE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not isinstance(value, str):
        raise ValueError(f"{value!r} is not a node; write ns=2;s=NAME, ns=2;i=NUMBER or nsu=URI;s=NAME")
    index, uri, kind, text = match.groups()
    if index is not None and int(index) >= _NAMESPACES:
        raise ValueError(f"namespace {index} is outside 0..{_NAMESPACES - 1}")
    return NodeAddress(uri or int(index or 0), _IDENTIFIERS[kind](text), value)


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text, re.ASCII) or int(text[:12]) >= _NUMBERS:
        raise ValueError(f"i={text} is not a number in 0..{_NUMBERS - 1}")
    return int(text)


def _text(text: str) -> str:
    if len(text) > _TEXT_LENGTH or not text.isprintable():
        raise ValueError(f"s= takes at most {_TEXT_LENGTH} printable characters")
    return text


def _guid(text: str) -> uuid.UUID:
    if not re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", text):
        raise ValueError(f"g={text} is not a GUID, such as g=09087e75-8e5e-499b-954f-f2a9603db28a")
    return uuid.UUID(text)


def _opaque(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError(f"b={text} is not base64") from None


_IDENTIFIERS: Mapping[str, Callable[[str], Identifier]] = {"i": _number, "s": _text, "g": _guid, "b": _opaque}


def parse_browse_path(value: object) -> tuple[tuple[int | str, str], ...]:
    """Read the way to a field below its event: names with their namespaces, ``/`` between them.

    Raises:
        ValueError: another shape.
    """
    if isinstance(value, tuple):
        return value
    if not isinstance(value, str):
        raise ValueError("expected a field of the event, such as Message or 2:ExportLimit")  # noqa: TRY004 - for pydantic
    by_uri = _QUALIFIED_BY_URI.fullmatch(value)
    if by_uri is not None:
        return ((by_uri[1], by_uri[2]),)
    steps = [_QUALIFIED.fullmatch(step) for step in value.split("/")]
    if None in steps or len(steps) > _STEPS:
        raise ValueError(f"{value!r} is no field; write NAME, 2:NAME, 2:NAME/NAME or nsu=URI;NAME")
    found = tuple((int(step[1] or 0), step[2]) for step in steps if step is not None)
    if any(index >= _NAMESPACES for index, _ in found):
        raise ValueError(f"{value!r}: a namespace is one of 0..{_NAMESPACES - 1}")
    return found


Node = Annotated[
    NodeAddress,
    PlainValidator(parse_node),
    PlainSerializer(str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^(ns=[0-9]{1,5};|nsu=[^;]+;)?[isgb]=.+$",
            "examples": ["ns=2;s=BESS.SoC", "nsu=urn:plant;i=1042"],
        }
    ),
]
BrowsePath = Annotated[
    tuple[tuple[int | str, str], ...],
    PlainValidator(parse_browse_path),
    WithJsonSchema({"type": "string", "examples": ["Message", "2:ExportLimit", "nsu=urn:plant;ExportLimit"]}),
]
