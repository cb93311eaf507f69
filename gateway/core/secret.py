"""Where a secret is kept, as YAML names it: ``file:PATH``, ``env:NAME`` or ``credential:NAME``; never the value.

Models of settings and of the adapters share this form. Who reads it, and where relative paths begin, is decided by the
composition root (``ports.Resources.secret``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

_REFERENCE = re.compile(r"(file|env|credential):(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A secret reference as written: its source word, and its name within that source."""

    source: str
    name: str

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"


def reference(value: object) -> Reference:
    """Read a reference to a secret; whatever else stands there is not repeated, since it may be the secret.

    Raises:
        ValueError: it is no reference.
    """
    if isinstance(value, Reference):
        return value
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            "expected a reference to where it is kept (file:PATH, env:NAME or credential:NAME), never the value itself"
        )
    source, where = match[1], match[2]
    if source == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", where):
        raise ValueError("env: needs the name of an environment variable")
    if source == "credential" and ("/" in where or where in {".", ".."}):
        raise ValueError("credential: needs the name of a systemd credential, not a path")
    return Reference(source=source, name=where)


SecretReference = Annotated[
    Reference,
    PlainValidator(reference),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": "^(file|env|credential):.+$"}),
]
