"""Whose an orphan callback may be, judged by the names it speaks of: a hint for people, never an outcome.

Where the SMP echoes no submission id and a reply was lost, the verdict comes under a transaction id that nobody knows.
If its names fit exactly one submission in doubt, an operator is shown it beside that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from gateway.core import strict_json
from gateway.core.message import ASSETS, UNIT, Kind
from gateway.core.transaction import Event
from gateway.core.verdict import Verdict
from gateway.errors import StrictJsonError

_NAMED: Mapping[Kind, tuple[str, str]] = {ASSETS: ("assets", "assetName"), UNIT: ("unit", "unitName")}


def names_of(kind: Kind, content: bytes) -> tuple[str, ...]:
    """What a message creates, row by row; empty where that cannot be told."""
    member, name = _NAMED.get(kind, ("", ""))
    try:
        document = strict_json.loads(content, limit=len(content))
    except StrictJsonError:
        return ()
    found = document.get(member) if isinstance(document, dict) else None
    rows = found if isinstance(found, list) else [found]
    return tuple(str(row.get(name)) for row in rows if isinstance(row, dict))


def choose(verdict: Verdict, doubts: Mapping[str, AbstractSet[str]]) -> str | None:
    """The one submission (id -> its names) that a verdict may be about, or None where none or several fit.

    A success names every row, a failure those that were wrong.
    """
    fitting = [ident for ident, names in doubts.items() if _fits(verdict, names)]
    return fitting[0] if len(fitting) == 1 else None


def _fits(verdict: Verdict, names: AbstractSet[str]) -> bool:
    if verdict.event is Event.SUCCESS:
        return bool(names) and {each.ref for each in verdict.created} == names
    spoken = {each.ref for each in verdict.created} | {each.ref for each in verdict.problems if each.ref is not None}
    return bool(spoken) and spoken <= names
