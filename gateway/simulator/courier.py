"""Delivers signed callbacks until they are answered 2xx, with growing pauses, and never in another form than the first.

A callback is signed once, when the verdict is committed; every try carries the same bytes, ``jti`` and ``iat``. After
the receiver's clock tolerance a late redelivery is therefore refused as stale, as a real sender's would be, and the
verdict is still there for the status call. What is not delivered when the simulator ends is taken up again at its next
start. Faults are drawn once for each callback; a lie is posted once, beside the true one, and leaves a row in the
ledger's table of faults. During an outage nothing leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from gateway.simulator.callbacks import FORGERIES, Writer
from gateway.simulator.faults import Fault, Faults
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
        media_type: str,
        redelivery: Redelivery,
        writer: Writer,
        available: Callable[[], Awaitable[None]],
        faults: Callable[[], Faults],
        clock: Callable[[], int],
        tell: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._session = session
        self._tasks = tasks
        self._header = header
        self._media_type = media_type
        self._redelivery = redelivery
        self._writer = writer
        self._available = available
        self._faults = faults
        self._clock = clock
        self._tell = tell
        self._slots = asyncio.Semaphore(PARALLEL)
        self._let_pass: list[asyncio.Event] = []  # of callbacks that wait for another one to go first

    def send(self, callback: Callback, *, early: bool = False) -> asyncio.Event:
        """Start delivering; the event is set after the first try, whatever came of it. An early one is never held."""
        tried = asyncio.Event()
        self._tasks.create_task(self._deliver(callback, tried, early), name=f"callback {callback.transaction_id}")
        return tried

    def resume(self) -> None:
        """Take up every callback that an earlier run left undelivered."""
        for callback in self._ledger.due():
            self.send(callback)

    async def _deliver(self, callback: Callback, tried: asyncio.Event, early: bool) -> None:  # noqa: FBT001 -- private
        if self._draw(Fault.CALLBACK_NEVER, callback):
            self._ledger.give_up(callback.id)
            tried.set()
            self._tell(f"callback {callback.transaction_id} {callback.participant} will never be sent")
            return
        if not early:
            await self._hold_back(callback)
        for fault in FORGERIES:
            if self._faults().happens(fault):
                await self._lie(fault, callback)
        copies = 2 if self._draw(Fault.CALLBACK_TWICE, callback) else 1
        delivered = await self._redeliver(callback, tried, copies) is CallbackState.DELIVERED
        if delivered and self._faults().happens(Fault.CALLBACK_CONTRADICT):
            await self._lie(Fault.CALLBACK_CONTRADICT, callback)

    async def _redeliver(self, callback: Callback, tried: asyncio.Event, copies: int) -> CallbackState:
        pause = self._redelivery.first_s
        number = 0
        while True:
            number += 1
            status = None
            for _ in range(max(copies, self._faults().callback_copies)):
                status = await self._post(callback)
            state = self._state(status, number)
            self._ledger.tried(callback.id, at=self._clock(), status=status, state=state)
            tried.set()
            self._let_others_pass()
            self._tell(
                f"callback {callback.transaction_id} {callback.participant} try {number}: {status or 'no answer'}"
            )
            if state is not CallbackState.DUE:
                return state
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._redelivery.longest_s)

    async def _hold_back(self, callback: Callback) -> None:
        if self._draw(Fault.CALLBACK_LATE, callback):
            await asyncio.sleep(self._faults().late_by_s)
        if self._draw(Fault.CALLBACK_REORDER, callback):
            other = asyncio.Event()
            self._let_pass.append(other)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._faults().late_by_s):
                    await other.wait()

    def _let_others_pass(self) -> None:
        for waiting in self._let_pass:
            waiting.set()
        self._let_pass.clear()

    async def _lie(self, fault: Fault, callback: Callback) -> None:
        transaction = self._ledger.transaction(callback.transaction_id)
        if transaction is None:
            raise LookupError(callback.transaction_id)
        if fault is Fault.CALLBACK_CONTRADICT:
            lie = self._writer.contradiction(transaction)
        else:
            lie = self._writer.forgery(fault, transaction, callback)
        status = await self._post(lie)
        self._note(fault, callback, status)

    def _draw(self, fault: Fault, callback: Callback) -> bool:
        """Draw, and record it when it happens."""
        if not self._faults().happens(fault):
            return False
        self._note(fault, callback, None)
        return True

    def _note(self, fault: Fault, callback: Callback, status: int | None) -> None:
        self._ledger.note(fault, at=self._clock(), transaction_id=callback.transaction_id, status=status)
        self._tell(f"fault {fault} {callback.transaction_id}" + (f": {status}" if status else ""))

    def _state(self, status: int | None, number: int) -> CallbackState:
        if status is not None and 200 <= status < 300:
            return CallbackState.DELIVERED
        return CallbackState.ABANDONED if number == self._redelivery.tries else CallbackState.DUE

    async def _post(self, callback: Callback) -> int | None:
        await self._faults().callbacks_allowed.wait()
        await self._available()
        async with self._slots:
            return await self._post_once(callback)

    async def _post_once(self, callback: Callback) -> int | None:
        headers = {"Content-Type": self._media_type}
        if callback.signature:
            headers[self._header] = callback.signature
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
