"""Clocks that step, disagree or change to summer time, and verdicts that come while nobody was at home."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.core.message import Hop
from gateway.core.record import Disposition
from gateway.core.transaction import State
from gateway.flow import account
from tests.system.rig import holds, world

SECOND = 1_000_000
HOUR = 3600 * SECOND


@dataclass
class Clock:
    """The machine's clock, moved by ``ahead`` µs."""

    ahead: int = 0

    def now(self) -> int:
        return time.time_ns() // 1000 + self.ahead

    def set(self, moment: str) -> None:
        """Show this moment now."""
        wanted = datetime.fromisoformat(moment).replace(tzinfo=UTC)
        self.ahead = round(wanted.timestamp() * SECOND) - time.time_ns() // 1000


async def test_a_gateway_that_was_down_for_an_hour_gets_its_verdict_by_poll(tmp_path: Path) -> None:
    """The SMP sends the same bytes again: stale, refused, kept, and reason to ask at once, hours before the poll."""
    clock = Clock()
    async with world(
        tmp_path, timings={"poll_first": "3h", "poll_longest": "3h"}, smp_clock=clock.now, token_life_s=100_000
    ) as here:
        here.smp.faults.hold_callbacks()
        async with here.gateway(clock) as running:
            sequence = await here.ask("hams-bess", "HAMS 1")
            message = await running.reaches("hams-bess", State.AWAITING)
        await holds(here.smp.ledger.due)
        clock.ahead += HOUR
        here.smp.faults.release_callbacks()
        async with here.gateway(clock) as running:
            await running.reaches("hams-bess", State.COMPLETED)
            await here.plants["hams-bess"].result(sequence)
        story = here.story(message.id)
    stale = [row for row in story.callbacks if row.disposition is Disposition.QUARANTINED]
    assert [row.note for row in stale] == ["clock"]
    assert not [row for row in story.callbacks if row.disposition is Disposition.APPLIED]
    assert len(here.front.requests("/transactions/status")) == 1
    assert here.effects() == ["HAMS 1"]


@pytest.mark.parametrize("step_s", [-600, 3600])
async def test_a_stepped_clock_stops_signing_until_it_is_right_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    """Messages wait in ACCEPTED, `/readyz` says why, and it goes on by itself: nothing lost, doubled or held."""
    monkeypatch.setattr(account, "PROBE_S", 0.1)
    clock = Clock()
    async with world(tmp_path) as here, here.gateway(clock) as running:
        await here.ask("hams-bess", "HAMS 0")
        await running.reaches("hams-bess", State.COMPLETED)
        clock.ahead = step_s * SECOND
        for number in (1, 2):
            await here.plants["hams-bess"].acknowledged(await here.ask("hams-bess", f"HAMS {number}"))
        await here.plants["trent-chp"].acknowledged(await here.ask("trent-chp", "TRENT 1"))
        await holds(lambda: here.events("clock_skewed"))
        await running.reaches("hams-bess", State.ACCEPTED, number=1)
        status, body = await running.ready()
        where = "ahead of" if step_s > 0 else "behind"
        assert status == 200 or step_s < 0  # behind the newest row of the journal is not ready at all
        assert any(f"s {where} the SMP's; nothing is signed, messages wait" in line for line in body["degraded"])
        clock.ahead = 0
        await running.reaches("hams-bess", State.COMPLETED, number=2)
        await running.reaches("trent-chp", State.COMPLETED)
        _, body = await running.ready()
        assert not any("clock" in line for line in body["degraded"])
    assert sorted(here.effects()) == ["HAMS 0", "HAMS 1", "HAMS 2", "TRENT 1"]
    assert not here.events("participant_held")
    assert here.events("clock_agreed")


@pytest.mark.parametrize("step_s", [-600, 3600])
async def test_a_step_under_way_loses_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: int) -> None:
    """AWAITING when the clock steps: the callback then looks stale or too early, is kept, and the poll finds out."""
    monkeypatch.setattr(account, "PROBE_S", 0.1)
    clock = Clock()
    async with world(tmp_path) as here, here.gateway(clock) as running:
        here.smp.faults.hold_callbacks()
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.AWAITING)
        clock.ahead = step_s * SECOND
        here.smp.faults.release_callbacks()
        await holds(lambda: here.events("callback_received", disposition="quarantined"))
        clock.ahead = 0
        ended = await running.reaches("hams-bess", State.COMPLETED)
    assert ended.id == message.id
    assert here.effects() == ["HAMS 1"]
    assert len(here.front.requests("/assets")) == 1


@pytest.mark.parametrize("change", ["2026-03-29T01:00:00", "2026-10-25T01:00:00"])
async def test_the_days_on_which_london_changes_its_clocks_are_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Seconds before and after the change, on a machine in local time: conversations end, and no hop takes an hour."""
    monkeypatch.setenv("TZ", "Europe/London")
    time.tzset()
    clock = Clock()
    clock.set(change)
    clock.ahead -= 2 * SECOND
    try:
        async with world(tmp_path, smp_clock=clock.now) as here, here.gateway(clock) as running:
            moment = clock.now() + 2 * SECOND
            await here.ask("hams-bess", "HAMS 0")
            await running.reaches("hams-bess", State.COMPLETED)
            await holds(lambda: clock.now() > moment)
            await here.ask("hams-bess", "HAMS 1")
            await running.reaches("hams-bess", State.COMPLETED, number=1)
            messages = await running.messages("hams-bess")
            status, _ = await running.ready()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert status == 200
    assert messages[0].accepted_at < moment < messages[1].accepted_at
    for message in messages:
        assert message.hops[Hop.SETTLED] - message.hops[Hop.SEEN] < 60 * SECOND
    assert not here.events("clock_skewed")
    assert here.effects() == ["HAMS 0", "HAMS 1"]
