"""When the gateway may write into a site's system, and what it never writes (assurance.md section 4).

Rules
-----
* Only points with ``access: write`` and a mailbox's own registers. Type, range and step are checked: what does not fit
  is refused for good, never clamped.
* What may change again holds a write back until it has: the kill switch, a dead heartbeat of the site, an interlock, a
  rate. A verdict never expires, so it is written then. Relays of a connection keep their order, so what is held back
  holds back the relays after it, a mailbox's next result too: a plant never reads of a later end before an earlier one.
* A condition is believed only as long as its point is good, not stale, and its connection is up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from gateway.core.point import Access, PointSpec, Quality, Reading, Snapshot, Value

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A point of the site and what it must show; with ``true`` a number counts as on when it is not 0."""

    point: str
    value: Value = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a point's writes must keep to, beside its range.

    ``step`` is the largest change from the value that ``feedback`` shows; at least ``spacing_us`` lie between writes.
    """

    step: Decimal | None = None
    feedback: str | None = None
    spacing_us: int = 0
    interlock: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A point that the site's own program changes within ``within_us``, and one in which it finds ours."""

    read: str | None = None
    within_us: int = 0
    write: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """What a site's file says about writing. With ``dry_run`` every write is told of and none is made."""

    dry_run: bool = False
    killed: bool = False
    kill: Condition | None = None
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    limits: Mapping[str, Limits] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """Why a write is not made; ``until`` (µs UTC) is when a rate lets it pass, ``final`` that nothing ever will."""

    reason: str
    final: bool = False
    until: int | None = None


def silence(safety: Safety, snapshot: Snapshot, beat_at: int | None, now: int) -> str | None:
    """Why nothing at all may be written to the site now, or None; ``beat_at`` is when the site's heartbeat last moved.

    The kill switch is on also while its point cannot be believed.
    """
    if safety.killed:
        return "the kill switch is on"
    if safety.kill is not None:
        doubt = _doubt(snapshot.get(safety.kill.point))
        if doubt is not None:
            return f"the kill switch {safety.kill.point} cannot be read: {doubt}"
        if _holds(safety.kill, snapshot[safety.kill.point]):
            return f"the kill switch {safety.kill.point} is on"
    beat = safety.heartbeat
    if beat.read is not None and (beat_at is None or now - beat_at > beat.within_us):
        return f"the site's heartbeat {beat.read} did not move for {beat.within_us / _SECOND:g} s"
    return None


def objection(
    spec: PointSpec | None, limits: Limits, value: Value | None, snapshot: Snapshot, *, written_at: int | None, now: int
) -> Objection | None:
    """Why this value may not be written to this point now, or None; ``written_at`` is when it was written last.

    Without a value it is a method that is called, which knows its own types.

    What will never pass comes before what may pass later.
    """
    if spec is None:
        return Objection(reason="is not a point of this site", final=True)
    found = [*_of_value(spec, limits, value, snapshot), *_of_moment(limits, snapshot, written_at, now)]
    return min(found, key=lambda each: not each.final, default=None)


def _of_value(spec: PointSpec, limits: Limits, value: Value | None, snapshot: Snapshot) -> Iterator[Objection]:
    """What is wrong with the value, whenever it is written."""
    if spec.access is not Access.WRITE:
        yield Objection(reason="is not declared with access: write", final=True)
    number = value if isinstance(value, Decimal) else None
    if number is not None and _outside(spec, number):
        yield Objection(reason=f"{number} is outside {spec.minimum}..{spec.maximum}", final=True)
    if limits.step is None or limits.feedback is None or value is None:
        return
    found = snapshot.get(limits.feedback)
    doubt = _doubt(found)
    if number is None or not number.is_finite():
        yield Objection(reason="has a step limit, and this is no number", final=True)
    elif doubt is not None or found is None or not isinstance(found.value, Decimal):
        yield Objection(reason=f"its feedback {limits.feedback} cannot be read: {doubt or 'no number'}")
    elif abs(number - found.value) > limits.step:
        yield Objection(reason=f"{number} is more than {limits.step} away from {found.value}", final=True)


def _of_moment(limits: Limits, snapshot: Snapshot, written_at: int | None, now: int) -> Iterator[Objection]:
    """What keeps any value from being written now."""
    if limits.interlock is not None and (said := _locked(limits.interlock, snapshot)) is not None:
        yield Objection(reason=said)
    if written_at is not None and now < written_at + limits.spacing_us:
        yield Objection(reason="was written too short a time ago", until=written_at + limits.spacing_us)


def _locked(interlock: Condition, snapshot: Snapshot) -> str | None:
    found = snapshot.get(interlock.point)
    doubt = _doubt(found)
    if doubt is not None or found is None:
        return f"its interlock {interlock.point} cannot be read: {doubt}"
    return None if _holds(interlock, found) else f"its interlock {interlock.point} does not let it"


def _doubt(reading: Reading | None) -> str | None:
    """Why a reading cannot be believed, or None."""
    if reading is None:
        return "it was not read"
    if reading.quality is Quality.GOOD and reading.value is not None:
        return None
    return reading.detail or reading.fault or reading.quality.value


def _holds(condition: Condition, reading: Reading) -> bool:
    if isinstance(condition.value, bool) and not isinstance(reading.value, str | None):
        return bool(reading.value) is condition.value
    return reading.value == condition.value


def _outside(spec: PointSpec, value: Decimal) -> bool:
    low, high = spec.minimum, spec.maximum
    return not value.is_finite() or (low is not None and value < low) or (high is not None and value > high)
