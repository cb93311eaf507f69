"""A gate in front of one environment of the SMP: closed while it asks for a pause or cannot be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.ports import Entropy

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0


class Gate:
    """Closed for a growing pause after each failure to reach the SMP, opened by the first success."""

    def __init__(self, environment: str, entropy: Entropy, event: Callable[..., None]) -> None:
        self.environment = environment
        self._entropy = entropy
        self._event = event
        self._failures = 0
        self._until = 0.0

    @property
    def unreachable(self) -> bool:
        """Whether the last attempt did not reach the SMP."""
        return self._failures > 0

    @property
    def open(self) -> bool:
        """Whether something may be sent now."""
        return asyncio.get_running_loop().time() >= self._until

    def failed(self, reason: str) -> None:
        """Close for a growing pause; say so once."""
        if self._failures == 0:
            self._event("smp_unreachable", environment=self.environment, reason=reason)
        self._failures += 1
        pause = min(_FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10), _LONGEST_PAUSE_S)
        self.pause(pause * self._entropy.jitter(0.2))

    def reached(self) -> None:
        """Open; say so once."""
        if self._failures:
            self._event("smp_reachable", environment=self.environment)
            self._failures = 0
            self._until = 0.0

    def pause(self, seconds: float) -> None:
        """Close for at least this long, as the SMP asked or as nothing answers."""
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    async def passed(self) -> None:
        """Wait until something may be sent."""
        loop = asyncio.get_running_loop()
        while (left := self._until - loop.time()) > 0:  # noqa: ASYNC110 - time passes without an event, and a pause may grow
            await asyncio.sleep(left)
