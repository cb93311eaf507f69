"""A gate in front of one environment of the SMP: closed while it asks for a pause, cannot be reached, or is used up.

The rate counts for all participants together, because they share our address (EAC: 60 requests/s per client address).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.ports import Entropy

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_LONGEST_ASKED_S = 3600.0  # whatever Retry-After says: an outage may end early, and a wrong number must not hold us


class Gate:
    """Closed for a growing pause after each failure to reach the SMP, opened by the first success.

    ``rate_per_s`` requests may pass in each second, up to one second's worth at once; None is without limit.
    """

    def __init__(
        self, environment: str, entropy: Entropy, event: Callable[..., None], *, rate_per_s: float | None = None
    ) -> None:
        self.environment = environment
        self._entropy = entropy
        self._event = event
        self._failures = 0
        self._until = 0.0  # closed because nothing answers
        self._asked_until = 0.0  # closed because the SMP asked
        self._rate = rate_per_s
        self._left = rate_per_s or 0.0  # requests that may pass now; below zero while several passed at once
        self._counted_at = 0.0

    @property
    def unreachable(self) -> bool:
        """Whether the last attempt did not reach the SMP."""
        return self._failures > 0

    @property
    def open(self) -> bool:
        """Whether something may be sent now, without waiting for anything."""
        self._refill()
        return self._closed_for() <= 0 and (self._rate is None or self._left >= 1)

    def spend(self) -> None:
        """Count one request that passes now."""
        self._refill()
        self._left -= 1

    def failed(self, reason: str) -> None:
        """Close for a growing pause; say so once. Attempts that fail together are one failure."""
        if self._failures == 0:
            self._event("smp_unreachable", environment=self.environment, reason=reason)
        elif self._until > asyncio.get_running_loop().time():
            return
        self._failures += 1
        pause = min(_FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10), _LONGEST_PAUSE_S)
        self._until = asyncio.get_running_loop().time() + pause * self._entropy.jitter(0.2)

    def reached(self) -> None:
        """Open; say so once."""
        if self._failures:
            self._event("smp_reachable", environment=self.environment)
            self._failures = 0
            self._until = 0.0

    def pause(self, seconds: float) -> None:
        """Close for at least this long, because the SMP asked for it."""
        asked = asyncio.get_running_loop().time() + min(seconds, _LONGEST_ASKED_S)
        self._asked_until = max(self._asked_until, asked)

    async def passed(self) -> None:
        """Wait until one request may leave, and count it."""
        while True:
            while (left := self._closed_for()) > 0:  # noqa: ASYNC110 - time passes without an event, and a pause may grow
                await asyncio.sleep(left)
            await self.turn()
            if self._closed_for() <= 0:
                return

    async def turn(self) -> None:
        """Count one request and wait until the rate lets it leave, after those that were counted before."""
        self.spend()
        if self._rate is not None and self._left < 0:
            await asyncio.sleep(-self._left / self._rate)

    def _closed_for(self) -> float:
        """Seconds until the gate opens, whatever the rate says."""
        return max(self._until, self._asked_until) - asyncio.get_running_loop().time()

    def _refill(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._rate is not None:
            self._left = min(self._left + (now - self._counted_at) * self._rate, max(self._rate, 1.0))
        self._counted_at = now
