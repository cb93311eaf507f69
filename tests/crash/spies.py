"""Proxies between gateways and plants: they see each write into a plant, and can hold its answer back."""

from __future__ import annotations

import asyncio

from tests.adapters.fault_proxy import FaultProxy

_WRITES = {5, 6, 15, 16}  # Modbus function codes
_FUNCTION, _COUNT = 7, slice(10, 12)  # where they stand in a request


class Spy(FaultProxy):
    """One gateway's way to one plant; ``writes`` counts what it was asked to write."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.writes = 0
        self.caught = asyncio.Event()
        self._least: int | None = None

    def catch(self, least: int) -> None:
        """Let the next write of so many registers pass, and hold back its answer."""
        self._least = least

    def release(self) -> None:
        """Let everything pass again."""
        self._least = None
        self.caught.clear()
        self.thaw()

    def rising(self, data: bytes) -> bytes:
        """See what a gateway asks; it asks one thing at a time."""
        if len(data) > _FUNCTION and data[_FUNCTION] in _WRITES:
            self.writes += 1
            if self._least is not None and int.from_bytes(data[_COUNT]) >= self._least:
                self._least = None
                self.freeze(answers_only=True)
                self.caught.set()
        return data


async def first(spies: list[Spy], least: int) -> Spy:
    """The first that catches a write; the others let everything pass again."""
    for spy in spies:
        spy.catch(least)
    waiting = {asyncio.create_task(spy.caught.wait()): spy for spy in spies}
    done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    found = waiting[done.pop()]
    for spy in spies:
        if spy is not found:
            spy.release()
    return found
