"""The gate in front of the SMP: pauses that grow with outages and not with lanes, one rate for all, turns for all."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

from gateway.core.circuit import RAMP_END, Outcome
from gateway.core.turns import Errand, Urgency
from gateway.flow.gate import Gate, Permit
from tests.flow.virtual import Even, VirtualClock, run


def now() -> float:
    return asyncio.get_running_loop().time()


def errand(
    lane: str = "a", participant: str = "exstor", urgency: Urgency = Urgency.FRESH, endpoint: str = "assets"
) -> Errand:
    return Errand(participant=participant, lane=lane, urgency=urgency, endpoint=endpoint)


@dataclass
class Scene:
    """A gate, and everything that passed it: (lane, when)."""

    gate: Gate
    events: list[str]
    passed: list[tuple[str, float]] = field(default_factory=list)

    async def one(
        self, outcome: Outcome = Outcome.WORKED, *, retry_after_s: float | None = None, endpoint: str = "assets"
    ) -> float:
        """Pass once with this outcome; when that was."""
        permit = await self.gate.enter(errand(endpoint=endpoint))
        permit.settle(outcome, reason="so it is told", retry_after_s=retry_after_s)
        return now()

    async def pass_through(self, one: Errand, takes_s: float = 0.0, outcome: Outcome = Outcome.WORKED) -> None:
        permit = await self.gate.enter(one)
        self.passed.append((one.lane, now()))
        await asyncio.sleep(takes_s)
        permit.settle(outcome)

    @property
    def order(self) -> list[str]:
        return [lane for lane, _ in self.passed]


def a_gate(rate_per_s: float | None = None) -> Scene:
    events: list[str] = []

    def event(name: str, **_fields: object) -> None:
        events.append(name)

    return Scene(Gate("test", clock=VirtualClock(), entropy=Even(), event=event, rate_per_s=rate_per_s), events)


async def all_at_once(scene: Scene, count: int, outcome: Outcome) -> None:
    """So many requests under way together, which then end in the same way."""
    permits: list[Permit] = [await scene.gate.enter(errand(f"lane {number}")) for number in range(count)]
    for permit in permits:
        permit.settle(outcome, reason="together")


def test_attempts_that_fail_together_are_one_failure() -> None:
    """A hundred lanes that meet the same outage close the gate for the first pause only, and it is noted once."""

    async def story() -> None:
        scene = a_gate()
        await all_at_once(scene, 100, Outcome.UNREACHED)
        assert await scene.one() == 0.5
        news = [scene.gate.news.get_nowait() for _ in range(scene.gate.news.qsize())]
        assert [one.lasted_s for one in news] == [None, 0.5]

    run(story())


def test_pauses_double_to_their_limit_and_begin_anew() -> None:
    """0.5, 1, 2 ... 30 s while nothing answers; after a success the next outage begins with 0.5 s."""

    async def story() -> None:
        scene = a_gate()
        at = [await scene.one(Outcome.UNREACHED) for _ in range(8)]
        at.append(await scene.one())
        assert [round(b - a, 3) for a, b in itertools.pairwise(at)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
        before = await scene.one(Outcome.UNREACHED)
        assert round(await scene.one() - before, 3) == 0.5

    run(story())


def test_what_was_under_way_before_does_not_shorten_what_the_smp_asked_for() -> None:
    """Retry-After stands, although a request that was under way before the 429 is answered after it."""

    async def story() -> None:
        scene = a_gate()
        early = await scene.gate.enter(errand("early"))
        await scene.one(Outcome.BUSY, retry_after_s=20)
        early.settle(Outcome.WORKED)
        assert await scene.one() == 20

    run(story())


def test_an_absurd_retry_after_does_not_close_the_gate_for_ever() -> None:
    """However long the SMP asks for, after an hour it is asked again."""

    async def story() -> None:
        scene = a_gate()
        await scene.one(Outcome.BUSY, retry_after_s=float("inf"))
        assert await scene.one() == 3600

    run(story())


def test_the_rate_holds_for_all_who_wait_together() -> None:
    """A hundred lanes at 10/s: ten at once, then one every 0.1 s."""

    async def story() -> None:
        scene = a_gate(rate_per_s=10)
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(scene.pass_through(errand(f"lane {number}")))
        at = [when for _, when in scene.passed]
        for second in range(10):
            assert sum(second <= when < second + 1 for when in at) <= 20
        assert at[9] == 0
        assert round(at[99], 6) == 9

    run(story())


def test_a_share_of_the_rate_is_all_that_passes() -> None:
    """With two gateways each lets half of 10/s pass, also of what had been saved up; alone again, all of it."""

    async def story() -> None:
        scene = a_gate(rate_per_s=10)
        await asyncio.sleep(5)
        scene.gate.share(2)
        async with asyncio.TaskGroup() as group:
            for number in range(26):
                group.create_task(scene.pass_through(errand(f"lane {number}")))
            await asyncio.sleep(3.01)
            scene.gate.share(1)
        at = [round(when - 5, 6) for _, when in scene.passed]
        assert at[:6] == [0, 0, 0, 0, 0, 0.2]
        assert at[19] == 3
        assert at[25] < 3.7

    run(story())


def test_a_gate_used_up_admits_nobody_at_once() -> None:
    """Nothing may leave in an accepting commit while the rate is used up; with the next share it may."""

    async def story() -> None:
        gate = a_gate(rate_per_s=2).gate
        first, second = gate.try_enter(errand()), gate.try_enter(errand())
        third = gate.try_enter(errand())
        await asyncio.sleep(0.6)
        assert (first is not None, second is not None, third, gate.admits("assets")) == (True, True, None, True)

    run(story())


def test_a_permit_that_was_not_used_goes_back() -> None:
    """Who finds nothing to send costs the others no turn; cancelled while it waits or just granted, the same."""

    async def story() -> None:
        scene = a_gate(rate_per_s=1)
        held = await scene.gate.enter(errand())
        granted = asyncio.create_task(scene.gate.enter(errand("granted")))
        waiting = asyncio.create_task(scene.gate.enter(errand("waiting")))
        await asyncio.sleep(0)
        held.unused()
        for task in (granted, waiting):
            task.cancel()
        await asyncio.gather(granted, waiting, return_exceptions=True)
        assert await scene.one() == 0

    run(story())


def test_a_participants_thousands_delay_another_by_one_turn() -> None:
    """A has 1000 lanes waiting; B comes at 50 s: it passes with the turn after the next at the latest."""

    async def story() -> None:
        scene = a_gate(rate_per_s=10)
        async with asyncio.TaskGroup() as group:
            for number in range(1000):
                group.create_task(scene.pass_through(errand(f"a {number}", urgency=Urgency.BACKLOG)))
            await asyncio.sleep(50.05)  # between two turns
            before = len(scene.passed)
            await scene.pass_through(errand("b", participant="exflex"))
            assert "b" in scene.order[before : before + 2]

    run(story())


def test_after_an_outage_one_probe_then_a_ramp() -> None:
    """200 lanes wait: one request is under way until it is answered, then 2, 4, 8 … and never a crowd."""

    async def story() -> None:
        scene = a_gate()
        await scene.one(Outcome.UNREACHED)
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(scene.pass_through(errand(f"lane {number}"), takes_s=1))
        waves = [sum(1 for _, when in scene.passed if when == 0.5 + wave) for wave in range(6)]
        assert waves == [1, 2, 4, 8, 16, RAMP_END]

    run(story())


def test_a_failing_probe_is_one_request_and_not_a_crowd() -> None:
    """While nothing answers, 200 waiting lanes cost one try per pause."""

    async def story() -> None:
        scene = a_gate()

        async def lane(number: int) -> None:
            while now() < 100:
                await scene.pass_through(errand(f"lane {number}"), outcome=Outcome.UNREACHED)

        tasks = [asyncio.create_task(lane(number)) for number in range(200)]
        await asyncio.sleep(100)
        tries = [when for _, when in scene.passed if when > 0]  # at first all passed and failed together
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert tries == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5]

    run(story())


def test_a_429_pauses_everybody_and_is_told_at_either_end() -> None:
    """The host's address is limited: another participant waits as well; it is no outage."""

    async def story() -> None:
        scene = a_gate()
        await scene.one(Outcome.BUSY, retry_after_s=7)
        assert scene.gate.degraded == ("SMP test: asks for fewer requests (429), since 2026-11-18T11:06:40Z",)
        await scene.pass_through(errand("b", participant="exflex", endpoint="login"))
        assert scene.passed == [("b", 7)]
        assert scene.events == ["smp_throttled", "smp_unthrottled"]
        assert scene.gate.available
        assert scene.gate.news.empty()

    run(story())


def test_an_endpoint_out_of_service_closes_no_other() -> None:
    """503 for units with Retry-After 60: assets pass meanwhile; one outage, from the 503 to the probe that works."""

    async def story() -> None:
        scene = a_gate()
        await scene.one(Outcome.UNAVAILABLE, endpoint="unit", retry_after_s=60)
        assert await scene.one() == 0
        assert not scene.gate.admits("unit")
        assert await scene.one(endpoint="unit") == 60
        news = [scene.gate.news.get_nowait() for _ in range(scene.gate.news.qsize())]
        assert [one.lasted_s for one in news] == [None, 60]
        assert scene.gate.degraded == ()

    run(story())


def test_one_lanes_unclear_answers_stop_nobody_and_three_lanes_do() -> None:
    """A payload that makes the SMP fail is its lane's trouble; three lanes in a row are the endpoint's."""

    async def story() -> None:
        scene = a_gate()
        for _ in range(10):
            await scene.pass_through(errand("poison"), outcome=Outcome.UNCLEAR)
        assert scene.gate.admits("assets")
        for lane in ("second", "third"):
            await scene.pass_through(errand(lane), outcome=Outcome.UNCLEAR)
        assert not scene.gate.admits("assets")
        assert scene.gate.admits("status")

    run(story())


def test_fresh_messages_go_ahead_of_the_backlog_which_drains_all_the_same() -> None:
    """After an outage: what waited is backlog; of what comes fresh at 3 of 4 turns, the backlog gets the fourth."""

    async def story() -> None:
        scene = a_gate(rate_per_s=1)
        await scene.one(Outcome.UNREACHED)
        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(scene.pass_through(errand(f"old {number}")))
            while not scene.passed:  # noqa: ASYNC110 - until the probe, one of the old ones, has worked
                await asyncio.sleep(0.1)
            for number in range(12):
                group.create_task(scene.pass_through(errand(f"new {number}")))
        shares = [sum(lane.startswith("new") for lane in scene.order[at : at + 4]) for at in (1, 5, 9, 13)]
        assert shares == [3, 3, 3, 3]
        assert [lane for lane in scene.order if lane.startswith("old")] == [f"old {number}" for number in range(40)]

    run(story())


def test_an_outage_that_nobody_can_probe_any_more_is_over() -> None:
    """503 for units, and the only unit expired: after the pause nothing speaks for an outage."""

    async def story() -> None:
        scene = a_gate()
        await scene.one(Outcome.UNAVAILABLE, endpoint="unit", retry_after_s=10)
        await asyncio.sleep(9)
        before = scene.gate.available
        await asyncio.sleep(2)
        assert (before, scene.gate.available) == (False, True)

    run(story())


def test_a_pause_counts_for_who_waits_and_for_who_comes() -> None:
    """Nobody is let past in an accepting commit while the gate is closed."""

    async def story() -> None:
        scene = a_gate()
        await scene.one(Outcome.UNREACHED)

        def refused() -> Permit | None:
            return scene.gate.try_enter(errand())

        assert refused() is None
        await asyncio.sleep(0.5)
        probe = refused()
        assert probe is not None
        assert refused() is None  # one probe, until it is answered
        probe.settle(Outcome.WORKED)
        assert refused() is not None

    run(story())
