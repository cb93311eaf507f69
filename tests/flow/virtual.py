"""A loop on which waiting takes no time: whenever nothing is ready, the clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """Waits by moving the clock; waiting for nothing at all is a deadlock."""

    jumped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits for something that can never come")
        self.jumped += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Seconds pass only when everything waits for them."""

    def __init__(self) -> None:
        self._clock = _Jumping()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.jumped


class VirtualClock:
    """ports.Clock on the loop's time, from an instant in 2026 on."""

    def now(self) -> int:
        return 1_795_000_000_000_000 + round(asyncio.get_running_loop().time() * 1_000_000)


class Even:
    """ports.Entropy without surprises."""

    def __init__(self) -> None:
        self._count = 0

    def uuid(self) -> str:
        self._count += 1
        return f"00000000-0000-4000-8000-{self._count:012d}"

    def jitter(self, _spread: float) -> float:
        return 1.0


def run(story: Coroutine[Any, Any, T]) -> T:
    """Tell a story to its end, however many hours it takes."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)
