"""The listening socket of the simulated SMP, and the outages during which it is shut or answers 503."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from aiohttp import web

from gateway.simulator.orders import Away, BeginOutage


class Door:
    """Shutting refuses new connections and cuts the open ones; opening listens on the same port as before."""

    def __init__(self, application: web.Application, *, host: str, port: int, tls: ssl.SSLContext) -> None:
        self.port = port
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        self._host = host
        self._tls = tls
        self._site: web.TCPSite | None = None

    async def open(self) -> None:
        """Listen; port 0 becomes the one that was given."""
        if self._site is not None:
            return
        if self._runner.server is None:
            await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port, ssl_context=self._tls)
        await site.start()
        self._site = site
        self.port = site.port

    async def shut(self) -> None:
        """Refuse and cut."""
        if self._site is None or self._runner.server is None:
            return
        site, self._site = self._site, None
        await site.stop()
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def remove(self) -> None:
        """Let go of everything."""
        await self._runner.cleanup()


class Outages:
    """At most one outage at a time; while there is one, no callback leaves either."""

    def __init__(self, door: Door, *, tasks: asyncio.TaskGroup, tell: Callable[[str], None]) -> None:
        self._door = door
        self._tasks = tasks
        self._tell = tell
        self._turn = asyncio.Lock()  # the door moves one way at a time
        self._number = 0
        self._until = 0.0
        self._away: Away | None = None
        self._over = asyncio.Event()
        self._over.set()

    async def begin(self, order: BeginOutage) -> None:
        """Be away from now on; ends by itself."""
        async with self._turn:
            self._number += 1
            self._away, self._until = order.away, asyncio.get_running_loop().time() + order.for_s
            self._over.clear()
            await (self._door.shut() if order.away is Away.REFUSED else self._door.open())
            self._tell(f"outage begins: {order.away} for {order.for_s:g} s")
            self._tasks.create_task(self._end(self._number, order.for_s), name="outage")

    async def over(self) -> None:
        """Wait until there is none; safe to cancel."""
        await self._over.wait()

    def left_s(self) -> float | None:
        """How long it will still last; None when there is none."""
        return None if self._away is None else max(0.0, self._until - asyncio.get_running_loop().time())

    def told(self) -> dict[str, object] | None:
        """What the control API says of it."""
        left = self.left_s()
        return None if left is None else {"answer": str(self._away), "left": f"{left * 1000:.0f}ms"}

    async def _end(self, number: int, after_s: float) -> None:
        await asyncio.sleep(after_s)
        async with self._turn:
            if number != self._number:
                return  # another one took its place
            await self._door.open()
            self._away = None
            self._over.set()
            self._tell("outage ends")
