"""Callbacks that belong to nothing: told once when they stay so, shown meanwhile, and told when they are matched."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, field

from gateway.flow.signals import Signals
from gateway.flow.unmatched import PATIENCE_US, UnmatchedWatch
from gateway.telemetry import Telemetry
from tests.flow.virtual import VirtualClock, run


@dataclass
class Lost:
    """When each unmatched callback of exstor came; the one question that the watch asks of a journal."""

    came: list[int] = field(default_factory=list)
    asked: int = 0

    async def unmatched(self, until: int) -> dict[str, int]:
        self.asked += 1
        count = sum(at <= until for at in self.came)
        return {"exstor": count} if count else {}


def test_a_callback_that_stays_unmatched_is_an_alarm_until_it_is_matched() -> None:
    """Quiet for five minutes, then told once and shown; matched: told once and shown no more; no idle looking."""

    async def story() -> tuple[str, int]:
        journal, signals, log = Lost(), Signals(), io.StringIO()
        clock = VirtualClock()
        watch = UnmatchedWatch(
            journal,  # type: ignore[arg-type]  # the one method that it uses
            signals=signals,
            clock=clock,
            telemetry=Telemetry(stream=log),
        )
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(3600)
        looks = journal.asked
        journal.came.append(clock.now())
        signals.unmatched.set()
        await asyncio.sleep(PATIENCE_US / 1_000_000 - 1)
        assert watch.degraded == ()
        await asyncio.sleep(10)
        assert "".join(watch.degraded).startswith("participant exstor: 1 callbacks belong to nothing")
        await asyncio.sleep(1000)
        journal.came.clear()
        await asyncio.sleep(400)
        assert watch.degraded == ()
        task.cancel()
        return log.getvalue(), looks

    log, looks = run(story())
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["callbacks_unmatched", "callbacks_matched"]
    assert looks == 1


def test_a_dismissal_ends_the_alarm_at_once_and_keeps_an_eye_on_what_came_since() -> None:
    """Two come four minutes apart; the first is dismissed as soon as it is told; the second is told in its own time."""

    async def story() -> tuple[str, list[int]]:
        journal, signals, log, clock = Lost(), Signals(), io.StringIO(), VirtualClock()
        watch = UnmatchedWatch(
            journal,  # type: ignore[arg-type]  # the one method that it uses
            signals=signals,
            clock=clock,
            telemetry=Telemetry(stream=log),
        )
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(1)
        for wait in (240.0, 62.0):
            journal.came.append(clock.now())
            signals.unmatched.set()
            await asyncio.sleep(wait)
        shown = [len(watch.degraded)]
        del journal.came[0]
        signals.dismissed.set()
        for wait in (0.1, 301):
            await asyncio.sleep(wait)
            shown.append(len(watch.degraded))
        task.cancel()
        return log.getvalue(), shown

    log, shown = run(story())
    assert shown == [1, 0, 1]
    names = [json.loads(line)["event"] for line in log.splitlines()]
    assert names == ["callbacks_unmatched", "callbacks_matched", "callbacks_unmatched"]
