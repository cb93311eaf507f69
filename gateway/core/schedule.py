"""When a message is made by the clock: every so often, or at certain times of the day where the plant is.

Rules
-----
* A period counts from 1970-01-01T00:00Z: ``15m`` means the full quarters of an hour, whenever the gateway began.
* A time that the clocks skip comes as much later as they skip (01:30 becomes 02:30); one that comes twice is taken the
  first time. A day has every other time once, whether it has 23, 24 or 25 hours.
* An instant is made once. Of those that passed while nobody was there, the last one is made late, and no other. The
  first start makes none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_SECOND = 1_000_000
_EVERY_DAY = frozenset(range(7))
_DAYS = 9  # a week and a day on either side hold an instant of every schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """Each multiple of ``period_us`` since 1970."""

    period_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Daily:
    """These times of the day in ``zone``, on these days of the week (0 is Monday)."""

    times: tuple[time, ...]
    zone: tzinfo
    days: frozenset[int] = _EVERY_DAY


Schedule = Every | Daily


def last(schedule: Schedule, now: int) -> int:
    """The newest instant that is not after ``now`` (µs UTC)."""
    if isinstance(schedule, Every):
        return now - now % schedule.period_us
    return max(instant for instant in _around(schedule, now) if instant <= now)


def following(schedule: Schedule, now: int) -> int:
    """The first instant after ``now`` (µs UTC)."""
    if isinstance(schedule, Every):
        return now - now % schedule.period_us + schedule.period_us
    return min(instant for instant in _around(schedule, now) if instant > now)


def text_of(instant: int) -> str:
    """An instant as people and journals write it."""
    return datetime.fromtimestamp(instant // _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def intake_key(instant: int) -> str:
    """Name the message of this instant."""
    return f"at:{text_of(instant)}"


def _around(schedule: Daily, now: int) -> Iterator[int]:
    today = datetime.fromtimestamp(now // _SECOND, schedule.zone).date()
    for day in (today + timedelta(days=number) for number in range(-_DAYS, _DAYS + 1)):
        if day.weekday() in schedule.days:
            yield from (_instant(day, each, schedule.zone) for each in schedule.times)


def _instant(day: date, when: time, zone: tzinfo) -> int:
    # fold 0 is the first of two, and reads a skipped time by the offset before the change (PEP 495)
    moment = datetime.combine(day, when, tzinfo=zone).astimezone(UTC)
    return int(moment.timestamp()) * _SECOND
