"""Tells people of what does not go on by itself (`core.attention`): when it begins, when it ends, and by `/readyz`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.core.attention import Stuck, attention
from gateway.core.sharing import Owner
from gateway.flow.account import Account
from gateway.flow.signals import Signals
from gateway.flow.trouble import Trouble
from gateway.ports import Clock, Journal
from gateway.telemetry import Telemetry

_LOOK_S = 30.0  # how late an overdue verdict is noticed, that nothing tells of


class AttentionWatch:
    """Looks when a message begins or ceases to wait for people, and every now and then."""

    def __init__(
        self,
        journal: Journal,
        served: Mapping[str, Account],
        *,
        configured: Mapping[str, Account],
        signals: Signals,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._journal = journal
        self._served = served
        self._configured = configured
        self._signals = signals
        self._clock = clock
        self._telemetry = telemetry
        self._troubles: dict[tuple[str, Stuck], Trouble] = {}

    @property
    def degraded(self) -> tuple[str, ...]:
        """What waits, whose it is, and since when."""
        found = sorted(self._troubles.items())
        return tuple(trouble.line(f"participant {who}") for (who, _), trouble in found if trouble.reason)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._signals.attention.clear()
            await self._look()
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._signals.attention.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        now, accounts = self._clock.now(), list(self._served.values())
        patience = {each.identity.environment: each.profile.timings.verdict_deadline_us for each in accounts}
        found = await self._journal.unfinished({name: now - deadline for name, deadline in patience.items()})
        self._tell(attention(found, _owners(self._served), _owners(self._configured)))

    def _tell(self, found: Mapping[tuple[str, Stuck], str]) -> None:
        for key in found.keys() | self._troubles.keys():
            (who, why), trouble = key, self._troubles.setdefault(key, Trouble())
            began, said = bool(trouble.reason), found.get(key)
            if said is None and trouble.ends():
                self._telemetry.emit("messages_freed", participant=who, why=why)
            elif said is not None:
                trouble.begins(said, self._clock.now())
                if not began:
                    self._telemetry.emit("messages_stuck", participant=who, why=why, reason=said)


def _owners(accounts: Mapping[str, Account]) -> frozenset[Owner]:
    return frozenset((each.identity.environment, each.identity.participant) for each in accounts.values())
