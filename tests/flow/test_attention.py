"""What waits for people is told once when it begins and once when it ends, and shown meanwhile."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, field
from types import SimpleNamespace

from gateway.core.attention import Unfinished
from gateway.core.message import Lane
from gateway.core.profile import Profile
from gateway.core.sharing import Owner
from gateway.core.transaction import State
from gateway.flow.attention import AttentionWatch
from gateway.flow.signals import Signals
from gateway.telemetry import Telemetry
from tests.flow.virtual import VirtualClock, run

HAMS = Lane(environment="test", participant="exstor", site="hams-bess", message="battery")
LIVE = Lane(environment="live", participant="exstor", site="hams-bess", message="battery")


@dataclass
class Journal:
    """The one question that the watch asks: messages that are not over, and when each awaited verdict was due."""

    messages: dict[tuple[Lane, State], int] = field(default_factory=dict)
    awaiting_since: list[int] = field(default_factory=list)

    async def unfinished(self, since: dict[str, int]) -> Unfinished:
        late = sum(at <= since["test"] for at in self.awaiting_since)
        overdue: dict[Owner, int] = {("test", "exstor"): late} if late else {}
        return Unfinished(messages=dict(self.messages), overdue=overdue)


def story(
    profile: Profile, journal: Journal, *acts: tuple[float, str], served: bool = True
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Let pass the seconds of each act and then do it; which events there were, and what was shown before each act."""

    async def told() -> tuple[list[tuple[str, ...]], list[str]]:
        signals, log, shown = Signals(), io.StringIO(), []
        account = SimpleNamespace(identity=SimpleNamespace(environment="test", participant="exstor"), profile=profile)
        watch = AttentionWatch(
            journal,  # type: ignore[arg-type]  # the one method that it uses
            {"exstor": account} if served else {},  # type: ignore[dict-item]  # who it is, and the profile's patience
            configured={"exstor": account},  # type: ignore[dict-item]
            signals=signals,
            clock=VirtualClock(),
            telemetry=Telemetry(stream=log),
        )
        task = asyncio.create_task(watch.run())
        for seconds, act in acts:
            await asyncio.sleep(seconds)
            shown.append("; ".join(watch.degraded))
            match act:
                case "decide":
                    journal.messages.clear()
                    signals.attention.set()
                case "await":
                    journal.awaiting_since.append(VirtualClock().now())
                case "verdict":
                    journal.awaiting_since.clear()
        task.cancel()
        lines = [json.loads(line) for line in log.getvalue().splitlines()]
        return [(line["event"], line["why"], line["level"]) for line in lines], shown

    return run(told())


def test_an_escalated_message_is_an_alarm_until_somebody_decides(profile: Profile) -> None:
    """Shown at once with the command that lists it, told once however often it is looked at, and gone at once."""
    journal = Journal({(HAMS, State.ESCALATED): 2, (HAMS, State.ACCEPTED): 5})
    events, shown = story(profile, journal, (1, ""), (600, "decide"), (0.1, ""))
    assert events == [("messages_stuck", "escalated", "error"), ("messages_freed", "escalated", "info")]
    assert shown[0] == shown[1]
    assert shown[0].startswith("participant exstor: 2 messages escalated")
    assert "messages list --in escalated" in shown[0]
    assert shown[2] == ""


def test_a_verdict_past_its_deadline_is_an_alarm_until_it_comes(profile: Profile) -> None:
    """Quiet for the profile's five minutes, then told within half a minute, though nothing happened."""
    events, shown = story(profile, Journal(), (0, "await"), (299, ""), (32, "verdict"), (31, ""))
    assert shown[1] == ""
    assert shown[2].startswith("participant exstor: 1 verdicts past their deadline")
    assert shown[3] == ""
    assert [name for name, *_ in events] == ["messages_stuck", "messages_freed"]


def test_what_a_move_to_another_environment_left_behind_is_shown(profile: Profile) -> None:
    """Nobody sends it or asks about it any more: whatever its state, it is told with its environment."""
    events, shown = story(profile, Journal({(LIVE, State.ACCEPTED): 1, (LIVE, State.AWAITING): 2}), (1, ""))
    assert events == [("messages_stuck", "left", "error")]
    assert shown[0].startswith("participant exstor: 3 messages left behind in environment live")


def test_what_another_gateway_serves_is_not_told_here(profile: Profile) -> None:
    """Two gateways on one database: a participant of the other one has left nothing behind, and waits there."""
    messages = {(HAMS, State.AWAITING): 3, (HAMS, State.ESCALATED): 1}
    events, shown = story(profile, Journal(messages), (1, ""), (60, ""), served=False)
    assert (events, shown) == ([], ["", ""])
