from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.schedule import Daily, Every, Schedule, following, intake_key, last, text_of

LONDON = ZoneInfo("Europe/London")
SECOND = 1_000_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


def daily(*times: str, days: tuple[int, ...] = tuple(range(7))) -> Daily:
    return Daily(times=tuple(time.fromisoformat(each) for each in times), zone=LONDON, days=frozenset(days))


@pytest.mark.parametrize(
    ("schedule", "now", "before", "after"),
    [
        (Every(period_us=900 * SECOND), "2026-11-25T10:14:59Z", "2026-11-25T10:00:00Z", "2026-11-25T10:15:00Z"),
        (Every(period_us=900 * SECOND), "2026-11-25T10:15:00Z", "2026-11-25T10:15:00Z", "2026-11-25T10:30:00Z"),
        (daily("06:30"), "2026-11-25T06:29:59Z", "2026-11-24T06:30:00Z", "2026-11-25T06:30:00Z"),
        (daily("06:30"), "2026-11-25T06:30:00Z", "2026-11-25T06:30:00Z", "2026-11-26T06:30:00Z"),
        (daily("06:30"), "2026-07-25T05:30:00Z", "2026-07-25T05:30:00Z", "2026-07-26T05:30:00Z"),  # summer time
        (daily("06:30", "18:00"), "2026-11-25T12:00:00Z", "2026-11-25T06:30:00Z", "2026-11-25T18:00:00Z"),
        (daily("06:30", days=(0,)), "2026-11-25T12:00:00Z", "2026-11-23T06:30:00Z", "2026-11-30T06:30:00Z"),
        # 2026-03-29: the clocks skip from 01:00 to 02:00, and 01:30 comes as 02:30 summer time
        (daily("01:30"), "2026-03-29T01:00:00Z", "2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z"),
        (daily("01:30"), "2026-03-29T12:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"),
        # 2026-10-25: 01:30 comes twice, at 00:30Z and 01:30Z, and the first one counts
        (daily("01:30"), "2026-10-25T00:29:59Z", "2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z"),
        (daily("01:30"), "2026-10-25T01:45:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
    ],
)
def test_last_and_following(schedule: Schedule, now: str, before: str, after: str) -> None:
    """Pins both neighbours of a moment, row by row, the days of the clock change among them."""
    assert (last(schedule, at(now)), following(schedule, at(now))) == (at(before), at(after))


@given(
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    schedule=st.one_of(
        st.integers(1, 40 * 86400).map(lambda s: Every(period_us=s * SECOND)),
        st.builds(
            lambda times, days: Daily(times=tuple(times), zone=LONDON, days=frozenset(days)),
            st.lists(st.times().map(lambda t: t.replace(second=0, microsecond=0)), min_size=1, max_size=3),
            st.sets(st.integers(0, 6), min_size=1),
        ),
    ),
)
def test_instants_follow_each_other_without_a_gap(now: datetime, schedule: Schedule) -> None:
    """Pins that what follows is the last one once it has come, and that nothing lies between."""
    moment = int(now.timestamp() * SECOND)
    before, after = last(schedule, moment), following(schedule, moment)
    assert before <= moment < after
    assert last(schedule, after) == after
    assert last(schedule, after - 1) == before
    assert following(schedule, before) == after


def test_the_texts_of_instants_sort_as_the_instants_do() -> None:
    """Pins the form that the journal compares, and the key that a message of this instant has for ever."""
    assert text_of(at("2026-11-25T06:30:00Z")) == "2026-11-25T06:30:00Z"
    assert intake_key(at("2026-11-25T06:30:00Z")) == "at:2026-11-25T06:30:00Z"
