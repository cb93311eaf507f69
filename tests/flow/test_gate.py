"""The gate in front of the SMP: its pauses grow with outages, not with lanes, and its rate holds for everybody."""

from __future__ import annotations

import asyncio

from gateway.flow.gate import Gate
from tests.flow.virtual import Even, run


def a_gate(rate_per_s: float | None = None) -> tuple[Gate, list[str]]:
    events: list[str] = []
    return Gate("test", Even(), lambda name, **_fields: events.append(name), rate_per_s=rate_per_s), events


def now() -> float:
    return asyncio.get_running_loop().time()


def test_attempts_that_fail_together_are_one_failure() -> None:
    """A hundred lanes that meet the same outage close the gate for the first pause only, and it is told once."""

    async def story() -> None:
        gate, events = a_gate()
        for _ in range(100):
            gate.failed("refused")
        await gate.passed()
        assert now() == 0.5
        assert events == ["smp_unreachable"]

    run(story())


def test_pauses_double_to_their_limit_and_begin_anew() -> None:
    """0.5, 1, 2 ... 30 s while nothing answers; after a success the next outage begins with 0.5 s."""

    async def story() -> None:
        gate, events = a_gate()
        pauses = []
        for _ in range(8):
            before = now()
            gate.failed("refused")
            await gate.passed()
            pauses.append(round(now() - before, 3))
        assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
        gate.reached()
        before = now()
        gate.failed("refused")
        await gate.passed()
        assert round(now() - before, 3) == 0.5
        assert events == ["smp_unreachable", "smp_reachable", "smp_unreachable"]

    run(story())


def test_a_success_does_not_shorten_what_the_smp_asked_for() -> None:
    """Retry-After stands, although an attempt that was under way reaches the SMP after a failure."""

    async def story() -> None:
        gate, _ = a_gate()
        gate.failed("refused")
        gate.pause(20)
        gate.reached()
        await gate.passed()
        assert now() == 20

    run(story())


def test_an_absurd_retry_after_does_not_close_the_gate_for_ever() -> None:
    """However long the SMP asks for, after an hour it is asked again."""

    async def story() -> None:
        gate, _ = a_gate()
        gate.pause(float("inf"))
        await gate.passed()
        assert now() == 3600

    run(story())


def test_the_rate_holds_for_all_who_wait_together() -> None:
    """A hundred lanes released at once at 10/s: ten at once, then one every 0.1 s."""

    async def story() -> None:
        gate, _ = a_gate(rate_per_s=10)
        gate.pause(5)
        passed: list[float] = []

        async def lane() -> None:
            await gate.passed()
            passed.append(now())

        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(lane())
        for second in range(5, 15):
            assert sum(second <= at < second + 1 for at in passed) <= 20
        assert passed[9] == 5
        assert round(passed[99], 6) == 14

    run(story())


def test_a_gate_used_up_is_not_open() -> None:
    """Nothing may leave in an accepting commit while the rate is used up; with the next share it may."""

    async def story() -> None:
        gate, _ = a_gate(rate_per_s=2)
        gate.spend()
        before = gate.open
        gate.spend()
        used_up = gate.open
        await asyncio.sleep(0.6)
        assert (before, used_up, gate.open) == (True, False, True)

    run(story())
