"""Whether our clock agrees with one environment's SMP; while it does not, nothing is signed and messages wait.

It ends by itself: logins are not signed, are made at a steady pace meanwhile, and their answers carry a `Date` too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core import skew
from gateway.flow.trouble import Trouble
from gateway.ports import Clock, Reply

PROBE_S = 30.0  # how often an account logs in to learn whether the clocks agree again


class Agreement:
    """What the answers of one environment say about our clock."""

    def __init__(self, environment: str, *, clock: Clock, event: Callable[..., None]) -> None:
        self._environment = environment
        self._clock = clock
        self._event = event
        self._trouble = Trouble()
        self._agreed = asyncio.Event()
        self._agreed.set()
        self._listeners: list[Callable[[], None]] = []

    @property
    def degraded(self) -> tuple[str, ...]:
        """What is wrong with our clock, for `/readyz`."""
        return (self._trouble.line(f"clock, SMP {self._environment}"),) if self._trouble.reason else ()

    @property
    def holds(self) -> bool:
        """Whether we may sign."""
        return self._agreed.is_set()

    async def wait(self) -> None:
        """Wait until we may sign."""
        await self._agreed.wait()

    def on_end(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when it stops holding."""
        self._listeners.append(listener)

    def observe(self, reply: Reply, tolerance_us: int) -> None:
        """Learn from an answer; ``tolerance_us`` is the profile's."""
        if reply.date_at is None or reply.sent_at is None or reply.answered_at is None:
            return
        found = skew.skew(sent_at=reply.sent_at, answered_at=reply.answered_at, date_at=reply.date_at)
        may_sign = skew.may_sign(found, tolerance_us)
        if abs(found) <= skew.ALARM_US:
            if self._trouble.ends():
                self._event("clock_agreed", environment=self._environment)
        else:
            self._alarm(found, may_sign=may_sign)
        if may_sign:
            self._agreed.set()
        elif self._agreed.is_set():
            self._agreed.clear()
            for listener in self._listeners:
                listener()

    def _alarm(self, found: int, *, may_sign: bool) -> None:
        """Tell when it begins, and when it begins or ceases to stop us; the number on the screen stays the newest."""
        what = skew.sentence(found) + ("" if may_sign else "; nothing is signed, messages wait")
        if not self._trouble.reason or may_sign is not self.holds:
            self._event("clock_skewed", environment=self._environment, reason=what)
        self._trouble.begins(what, self._clock.now())
