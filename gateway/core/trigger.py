"""Change and edge triggers: when a point's value is news, judged against the value of the last committed message.

Rules (assurance.md, "Change triggers")
---------------------------------------
* Only good readings count: a bad or missing one is never a change, nor is the return to the old value after it.
* The reference lives in the journal and moves in the commit of the message it caused, so a restart repeats nothing.
* A number counts as changed once it is further than the point's deadband from the reference, however slowly it went.
* Without a reference the first good value is the baseline and fires nothing, unless the trigger says ``initial``.
* An edge's reference is whether its point is on; the direction that fires nothing moves it as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from gateway.core.mapping import ChangeTrigger, EdgeTrigger
from gateway.core.message import Reference
from gateway.core.point import Quality, Reading, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire:
    """Make the message, and commit this reference with it."""

    reference: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Store this reference; no message."""

    reference: Reference


def observe(
    trigger: ChangeTrigger, reference: Reference | None, reading: Reading, deadband: Decimal | None = None
) -> Fire | Baseline | None:
    """Judge one reading; None when it is no news, as is a number within the point's ``deadband`` of the last one."""
    if reading.point != trigger.point or reading.quality is not Quality.GOOD or reading.value is None:
        return None
    text = text_of(reading.value)
    if reference is None:
        return _first(text, initial=trigger.initial)
    if reference.value == text or (deadband is not None and _near(reference.value, reading.value, deadband)):
        return None
    return Fire(reference=Reference(value=text, counter=reference.counter + 1))


def observe_edge(trigger: EdgeTrigger, reference: Reference | None, reading: Reading) -> Fire | Baseline | None:
    """Judge one reading by whether it is on; None when it is no news."""
    if reading.point != trigger.point or reading.quality is not Quality.GOOD or isinstance(reading.value, str | None):
        return None
    is_on = bool(reading.value)
    if reference is None:
        return Baseline(reference=Reference(value=text_of(is_on), counter=0))
    if reference.value == text_of(is_on):
        return None
    # a value that is neither was stored by another trigger of this message: where it stood as an edge is not known
    known = reference.value in {text_of(True), text_of(False)}  # noqa: FBT003 - the texts of both
    if known and (trigger.rising if is_on else trigger.falling):
        return Fire(reference=Reference(value=text_of(is_on), counter=reference.counter + 1))
    return Baseline(reference=Reference(value=text_of(is_on), counter=reference.counter))


def intake_key(reference: Reference) -> str:
    """Name the message that a :class:`Fire` makes: the counter is committed with it, so no two share a key."""
    return f"change:{reference.counter}"


def text_of(value: Value) -> str:
    """One text per value, so that 0.10 and 0.1 (a scale was edited) are no change."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return _decimal_text(value)


def _near(last: str, value: Value, deadband: Decimal) -> bool:
    """Whether a number is no further from the last one than ``deadband``; what was no number is never near."""
    if not isinstance(value, Decimal):
        return False
    try:
        return abs(value - Decimal(last)) <= deadband
    except InvalidOperation:  # the point was a text when the last message was made
        return False


def _first(text: str, *, initial: bool) -> Fire | Baseline:
    if initial:
        return Fire(reference=Reference(value=text, counter=1))
    return Baseline(reference=Reference(value=text, counter=0))


def _decimal_text(value: Decimal) -> str:
    if not value:  # -0 is 0
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
