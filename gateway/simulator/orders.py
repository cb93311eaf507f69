"""Orders to a running simulated SMP, as the command line, a scenario and the control API state them alike.

``faults``: a probability from 0 to 1 for each fault, a duration such as ``200ms`` for each wait. ``outage``: ``for`` a
duration, ``answer: refused`` (no connection) or ``answer: 503``. ``rotate-key``: ``overlap`` is how long the old key
stays in the published set. ``expire-tokens``: every token is forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeAlias

from gateway.simulator.faults import Fault, Wait
from gateway.simulator.wire import seconds

LONGEST_S = 7 * 24 * 3600.0  # of any duration here: a slip of the keyboard must not silence the SMP for good
OVERLAP_S = 300.0  # the clock tolerance of the profile: what was signed before that is stale anyhow


class BadOrder(ValueError):
    """Everything that is wrong with an order, a sentence each."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class Away(StrEnum):
    """What becomes of requests during an outage."""

    REFUSED = "refused"
    UNAVAILABLE = "503"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Set these faults; others stay."""

    settings: Mapping[Fault | Wait, float]
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginOutage:
    """Be away for so long; another one takes the place of the one under way, and 0 ends it."""

    for_s: float
    away: Away = Away.REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKey:
    """Sign callbacks with a new key from now on."""

    overlap_s: float = OVERLAP_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireTokens:
    """Forget every token."""


Order: TypeAlias = Change | BeginOutage | RotateKey | ExpireTokens


def read_faults(tree: object) -> Change:
    """Read settings of faults and waits.

    Raises:
        BadOrder: names or values that do not exist, all at once.
    """
    settings: dict[Fault | Wait, float] = {}
    problems: list[str] = []
    for name, value in _members(tree, "faults").items():
        try:
            settings.update([_setting(name, value)])
        except BadOrder as bad:
            problems += bad.problems
    if problems:
        raise BadOrder(*problems)
    return Change(settings=settings)


def read_outage(tree: object) -> BeginOutage:
    """Read an outage.

    Raises:
        BadOrder: as :func:`read_faults`.
    """
    members = _members(tree, "outage", "for", "answer")
    if "for" not in members:
        raise BadOrder("outage.for is missing: how long, such as 30s")
    answer = str(members.get("answer", Away.REFUSED))
    if answer not in {str(away) for away in Away}:
        raise BadOrder(f"outage.answer: {answer!r} is neither refused nor 503")
    return BeginOutage(for_s=read_duration("outage.for", members["for"]), away=Away(answer))


def read_rotation(tree: object) -> RotateKey:
    """Read a key rotation; ``true`` or nothing takes the default overlap.

    Raises:
        BadOrder: as :func:`read_faults`.
    """
    if tree is True:
        return RotateKey()
    members = _members(tree, "rotate-key", "overlap")
    return RotateKey(overlap_s=read_duration("rotate-key.overlap", members["overlap"])) if members else RotateKey()


def read_expiry(tree: object) -> ExpireTokens:
    """Read the order to forget all tokens: ``true``, or no members.

    Raises:
        BadOrder: it is anything else.
    """
    if tree is not True and _members(tree, "expire-tokens"):
        raise BadOrder("expire-tokens takes no members")
    return ExpireTokens()


READERS: Mapping[str, Callable[[object], Order]] = {
    "faults": read_faults,
    "outage": read_outage,
    "rotate-key": read_rotation,
    "expire-tokens": read_expiry,
}


def read_seed(value: object) -> int:
    """Read a seed.

    Raises:
        BadOrder: it is no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadOrder(f"seed: {value!r} is no whole number")
    return value


def read_duration(name: str, value: object) -> float:
    """Read a duration in seconds; ``name`` says what it is of.

    Raises:
        BadOrder: it is none, or longer than :data:`LONGEST_S`.
    """
    try:
        length = seconds(value) if isinstance(value, str) else math.nan
    except ValueError:
        length = math.nan
    if not 0.0 <= length <= LONGEST_S:
        raise BadOrder(f"{name}: {value!r} is no duration such as 200ms, 5s or 2min, of at most 7 days")
    return length


def nearest(name: str, known: list[str]) -> str:
    """What to say of a name that does not exist."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


def _setting(name: str, value: object) -> tuple[Fault | Wait, float]:
    if name in {str(wait) for wait in Wait}:
        return Wait(name), read_duration(name, value)
    if name in {str(fault) for fault in Fault}:
        return Fault(name), _probability(name, value)
    raise BadOrder(f"there is no fault {name!r}: {nearest(name, [*map(str, Fault), *map(str, Wait)])}")


def _probability(name: str, value: object) -> float:
    try:
        chance = (
            float(value) if isinstance(value, int | float | Decimal | str) and not isinstance(value, bool) else math.nan
        )
    except (ValueError, OverflowError):
        chance = math.nan
    if not 0.0 <= chance <= 1.0:
        raise BadOrder(f"{name}: {value!r} is no probability from 0 to 1")
    return chance


def _members(tree: object, what: str, *known: str) -> Mapping[str, object]:
    """The members of an object; nothing is an empty one; where names are ``known``, no other is taken."""
    if tree is None:
        return {}
    if not isinstance(tree, Mapping) or not all(isinstance(name, str) for name in tree):
        raise BadOrder(f"{what}: names and values are needed, not {tree!r:.60}")
    unknown = sorted(tree.keys() - set(known)) if known else []
    if unknown:
        raise BadOrder(*(f"{what}: there is no {name!r}: {nearest(name, list(known))}" for name in unknown))
    return tree
