"""A configuration whose files changed under a running gateway: read again as a whole, and applied as a difference.

Rules
-----
* All or nothing: with a single mistake, or something that only a restart can do, what ran before goes on unchanged.
* What cannot be used is told once, with the first place to look at, and shown until the files are good again.
* Reading again is harmless when nothing changed, so that every hint may lead to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path

from gateway.errors import ConfigError, SecretError
from gateway.flow.trouble import Trouble
from gateway.ports import Clock
from gateway.settings.configuration import Configuration
from gateway.settings.difference import Difference, difference
from gateway.settings.sources import fingerprint, matching
from gateway.telemetry import Telemetry

Read = Callable[[], Awaitable[Configuration]]
Apply = Callable[[Configuration, Difference], Awaitable[None]]
Changes = Callable[[Collection[Path]], AsyncIterator[None]]


class Reloads:
    """Keeps what runs in step with the files."""

    def __init__(self, running: Configuration, *, read: Read, apply: Apply, clock: Clock, telemetry: Telemetry) -> None:
        self.running = running
        self._read = read
        self._apply = apply
        self._clock = clock
        self._telemetry = telemetry
        self._trouble = Trouble()
        self._hint = asyncio.Event()
        self._under_way = asyncio.Lock()

    @property
    def degraded(self) -> tuple[str, ...]:
        """Why the files are not what runs, for `/readyz`."""
        return (self._trouble.line("configuration"),) if self._trouble.reason else ()

    def hint(self) -> None:
        """Read the files again soon, whether or not a change was noticed (SIGHUP)."""
        self._hint.set()

    async def obey(self) -> None:
        """Read again at each :meth:`hint`, until cancelled."""
        while True:
            await self._hint.wait()
            self._hint.clear()
            await self.reload()

    async def watch(self, changes: Changes) -> None:
        """Read again whenever a file was changed, came or went, until cancelled or there is nothing to watch."""
        patterns, seen = self.running.patterns, fingerprint(self.running.patterns)
        while True:
            async for _ in changes(_watched(patterns)):
                now = fingerprint(patterns)
                if now != seen:
                    seen = now
                    await self.reload()
                if self.running.patterns != patterns:
                    break
            else:
                return
            patterns, seen = self.running.patterns, fingerprint(self.running.patterns)

    async def reload(self) -> None:
        """Read the files and apply what they say otherwise than before; tell of it, whatever becomes of it."""
        async with self._under_way:
            try:
                wanted = await self._read()
                found = difference(self.running, wanted)
                if found.obstacles:
                    self._refuse(found.obstacles)
                    return
                await self._apply(wanted, found)
            except ConfigError as error:
                self._refuse([str(problem) for problem in error.problems if not problem.warning])
            except SecretError as error:
                self._refuse([str(error)])
            else:
                self.running = wanted
                self._tell(found)

    def _refuse(self, reasons: Collection[str]) -> None:
        first, *others = reasons
        more = f" (and {len(others)} more: smp-gateway check)" if others else ""
        if self._trouble.begins(f"the files are not used, {first}{more}; what ran before goes on", self._clock.now()):
            self._telemetry.emit("configuration_refused", reasons=list(reasons)[:20])
        self._telemetry.configuration(current=False)

    def _tell(self, found: Difference) -> None:
        self._telemetry.configuration(current=True)
        if self._trouble.ends() or found.any:
            self._telemetry.emit(
                "configuration_reloaded",
                added=found.added,
                changed=found.changed,
                removed=found.removed,
                participants=found.participants,
            )


def _watched(patterns: Collection[str]) -> Collection[Path]:
    """The files, and one name in each folder where there may be some."""
    return {path for pattern in patterns for path in (Path(pattern), *matching(pattern))}
