"""Picking from a site's own JSON by JMESPath: what a message under a caller's id brings, and where its rows are.

The expressions are the vendor's (YAML), the documents a site's (strict JSON already, bounded in size and depth).
Picking never raises: what is not there, or is no single value, is a :class:`Missing` that says so.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from gateway.core.point import Value

# More rows than this are not looked at: they would cost seconds, and no wire profile takes so many at once.
ROWS_MAX = 10_000
_ID_LENGTH = 128
_NAMES = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_NOT_IN_AN_ID = frozenset("/+#")  # a result's topic ends with the id; these would make it another topic


@dataclass(frozen=True, slots=True)
class Missing:
    """Why nothing was picked: a bounded code and a sentence."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A compiled JMESPath expression.

    Raises:
        ValueError: the expression is not JMESPath.
    """

    text: str
    _compiled: ParsedResult = field(init=False, repr=False, compare=False)
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)  # of one that is names and dots only

    def __post_init__(self) -> None:
        try:
            compiled = jmespath.compile(self.text)
        except JMESPathError as error:
            reason = " ".join(str(error).split("\n", maxsplit=1)[0].split())
            raise ValueError(f"{self.text!r} is not JMESPath: {reason}") from error
        object.__setattr__(self, "_compiled", compiled)
        object.__setattr__(self, "_names", tuple(self.text.split(".")) if _NAMES.fullmatch(self.text) else ())

    def find(self, document: object) -> object:
        """Whatever is there; None also where the expression does not fit the document."""
        if self._names:  # nearly all are, and the library's interpreter takes ten times as long
            return _walked(document, self._names)
        try:
            return self._compiled.search(document)
        except (
            JMESPathError,
            ArithmeticError,
            TypeError,
            ValueError,
        ):  # its functions, fed with the unexpected
            return None

    def value(self, document: object) -> Value | list[Value] | Missing:
        """One value, or a list of them; numbers are Decimal."""
        found = self.find(document)
        if isinstance(found, list):
            values = [_scalar(item) for item in found]
            return [v for v in values if v is not None] if None not in values else self._not_a_value("a nested list")
        if isinstance(found, dict):
            return self._not_a_value("an object")
        value = _scalar(found)
        return Missing("not_available", f"the message has no {self.text}") if value is None else value

    def rows(self, document: object) -> Sequence[object] | Missing:
        """The elements of a list; an empty one is Missing as well, since a message without rows asks for nothing."""
        found = self.find(document)
        if not isinstance(found, list):
            return Missing("no_rows", f"{self.text} is not a list")
        if not found:
            return Missing("no_rows", f"{self.text} is empty")
        if len(found) > ROWS_MAX:
            return Missing("too_many", f"{self.text} has {len(found)} elements; {ROWS_MAX} are the most")
        return found

    def _not_a_value(self, what: str) -> Missing:
        return Missing("not_a_value", f"{self.text} is {what}, not a value")


def _walked(document: object, names: Sequence[str]) -> object:
    """The member below members of these names, as JMESPath has it: None where one is no object, or has none."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def caller_id(value: object) -> str | None:
    """Read an id of the site's own choice: a whole number or a text that can end a topic; None for anything else."""
    if isinstance(value, bool):
        return None
    text = str(value) if isinstance(value, int) else value
    if not isinstance(text, str) or not 0 < len(text) <= _ID_LENGTH:
        return None
    bad = any(c in _NOT_IN_AN_ID or c.isspace() or unicodedata.category(c).startswith("C") for c in text)
    return None if bad else text


def digest(raw: bytes) -> str:
    """Name bytes that came without an id."""
    return hashlib.sha256(raw).hexdigest()[:32]


def _scalar(value: object) -> Value | None:
    match value:
        case bool() | str() | Decimal():
            return value
        case int():
            return Decimal(value)
        case _:
            return None
