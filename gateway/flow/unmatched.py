"""Callbacks that stay unmatched: they may come before their transaction id, but not long before.

One that is still nobody's after :data:`PATIENCE_US` means that the SMP speaks of something that we never sent, or that
we lost; it is told when that begins and when it ends, per participant, and shown by `/readyz`. It ends when it is
matched after all, or when somebody dismisses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.flow.signals import Signals
from gateway.flow.trouble import Trouble
from gateway.ports import Clock, Journal
from gateway.telemetry import Telemetry

PATIENCE_US = 300_000_000  # longer than any answer to a submission is waited for


class UnmatchedWatch:
    """Looks at the start, and a while after each callback that found nothing."""

    def __init__(self, journal: Journal, *, signals: Signals, clock: Clock, telemetry: Telemetry) -> None:
        self._journal = journal
        self._signals = signals
        self._clock = clock
        self._telemetry = telemetry
        self._troubles: dict[str, Trouble] = {}

    @property
    def degraded(self) -> tuple[str, ...]:
        """Whose callbacks belong to nothing, and since when."""
        return tuple(
            trouble.line(f"participant {who}") for who, trouble in sorted(self._troubles.items()) if trouble.reason
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._judge(await self._journal.unmatched(self._clock.now() - PATIENCE_US))
            if not self.degraded:
                await self._signals.unmatched.wait()
            self._signals.unmatched.clear()
            await self._be_patient()

    async def _be_patient(self) -> None:
        """Let the time pass in which a callback may still be matched; look at once when people dismiss one."""
        end = asyncio.get_running_loop().time() + PATIENCE_US / 1_000_000 + 1
        while True:
            try:
                async with asyncio.timeout_at(end):
                    await self._signals.dismissed.wait()
            except TimeoutError:
                return
            self._signals.dismissed.clear()
            self._judge(await self._journal.unmatched(self._clock.now() - PATIENCE_US))

    def _judge(self, counts: Mapping[str, int]) -> None:
        for who in counts.keys() | self._troubles.keys():
            trouble, count = self._troubles.setdefault(who, Trouble()), counts.get(who, 0)
            began = bool(trouble.reason)
            if not count and trouble.ends():
                self._telemetry.emit("callbacks_matched", participant=who)
            elif count:
                said = f"{count} callbacks belong to nothing that is known (callbacks list --as orphan, then dismiss)"
                trouble.begins(said, self._clock.now())
                if not began:
                    self._telemetry.emit("callbacks_unmatched", participant=who, count=count)
