"""Delivers signed callbacks until they are answered 2xx, with growing pauses, and never in another form than the first.

A callback is signed once, when the verdict is committed; every try carries the same bytes, ``jti`` and ``iat``. After
the receiver's clock tolerance a late redelivery is therefore refused as stale, as a real sender's would be, and the
verdict is still there for the status call. What is not delivered when the simulator ends is taken up again at its next
start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from gateway.simulator.faults import Faults
from gateway.simulator.ledger import Ledger
from gateway.simulator.record import Callback, CallbackState

ANSWER_TIMEOUT_S = 10.0
PARALLEL = 64  # callbacks under way at once, as a real platform would bound them


@dataclass(frozen=True, slots=True, kw_only=True)
class Redelivery:
    """Pauses between tries double from ``first_s`` to ``longest_s``; after ``tries`` a callback is abandoned."""

    first_s: float = 0.2
    longest_s: float = 10.0
    tries: int = 500


class Courier:
    """Owns one task per callback that is due; they live in the task group of the simulator."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        session: aiohttp.ClientSession,
        tasks: asyncio.TaskGroup,
        header: str,
        redelivery: Redelivery,
        faults: Callable[[], Faults],
        clock: Callable[[], int],
        tell: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._session = session
        self._tasks = tasks
        self._header = header
        self._redelivery = redelivery
        self._faults = faults
        self._clock = clock
        self._tell = tell
        self._slots = asyncio.Semaphore(PARALLEL)

    def send(self, callback: Callback) -> asyncio.Event:
        """Start delivering; the event is set after the first try, whatever came of it."""
        tried = asyncio.Event()
        self._tasks.create_task(self._deliver(callback, tried), name=f"callback {callback.transaction_id}")
        return tried

    def resume(self) -> None:
        """Take up every callback that an earlier run left undelivered."""
        for callback in self._ledger.due():
            self.send(callback)

    async def _deliver(self, callback: Callback, tried: asyncio.Event) -> None:
        pause = self._redelivery.first_s
        for number in range(1, self._redelivery.tries + 1):
            await self._faults().callbacks_allowed.wait()
            async with self._slots:
                status = await self._post(callback)
            state = self._state(status, number)
            self._ledger.tried(callback.id, at=self._clock(), status=status, state=state)
            tried.set()
            self._tell(
                f"callback {callback.transaction_id} {callback.participant} try {number}: {status or 'no answer'}"
            )
            if state is not CallbackState.DUE:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._redelivery.longest_s)

    def _state(self, status: int | None, number: int) -> CallbackState:
        if status is not None and 200 <= status < 300:
            return CallbackState.DELIVERED
        return CallbackState.ABANDONED if number == self._redelivery.tries else CallbackState.DUE

    async def _post(self, callback: Callback) -> int | None:
        status = None
        for _ in range(self._faults().callback_copies):
            status = await self._post_once(callback)
        return status

    async def _post_once(self, callback: Callback) -> int | None:
        headers = {"Content-Type": "application/json", self._header: callback.signature}
        try:
            async with self._session.post(
                callback.url,
                data=callback.body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S),
            ) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
