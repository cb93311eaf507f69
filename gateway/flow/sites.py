"""The sites that run, each a task of its own: a changed configuration touches those that it says something else of.

A site that is configured no more is retired: it takes in nothing, and goes when everything it had asked for is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from gateway.flow.site import SiteRuntime
from gateway.settings.configuration import SiteConfig
from gateway.telemetry import Telemetry


class Sites:
    """All sites of a gateway; ``running`` holds those that run, retiring ones included, by name."""

    def __init__(self, build: Callable[[SiteConfig], SiteRuntime], telemetry: Telemetry) -> None:
        self.running: dict[str, SiteRuntime] = {}
        self._build = build
        self._telemetry = telemetry
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def open(self, sites: Mapping[str, SiteConfig]) -> AsyncIterator[None]:
        """Run these until left."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self.change(sites)
            try:
                yield
            finally:
                for task in [*self._tasks.values()]:
                    task.cancel()

    async def change(self, sites: Mapping[str, SiteConfig]) -> None:
        """Run these from now on; one that is the same as before is not touched."""
        for name in self.running.keys() - sites.keys():
            self.running[name].retire()
        for name, site in sites.items():
            runtime = self.running.get(name)
            if runtime is not None and runtime.over:  # it goes at this moment, and comes anew
                await asyncio.wait([self._tasks[name]])
                runtime = None
            if runtime is None:
                self.running[name] = runtime = self._build(site)
                self._tasks[name] = self._group.create_task(self._run(name, runtime), name=f"site {name}")
            elif runtime.retiring or runtime.site != site:
                await runtime.reconfigure(site)

    async def withdraw(self, names: Collection[str]) -> None:
        """Stop these at once, and return when nothing of them is connected any more."""
        tasks = [self._tasks[name] for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, name: str, runtime: SiteRuntime) -> None:
        try:
            await runtime.run()
        finally:
            del self.running[name], self._tasks[name]
        self._telemetry.emit("site_retired", site=name)
