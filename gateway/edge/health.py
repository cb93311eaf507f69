"""`/livez`, `/readyz` and `/metrics` on their own listener, for supervisors and Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from gateway.core import codec


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Why we are not ready (then 503), and what is degraded while we are (an SMP or site outage)."""

    reasons: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()

    @property
    def word(self) -> Literal["ready", "degraded", "not ready"]:
        """The whole in a word."""
        return "not ready" if self.reasons else "degraded" if self.degraded else "ready"


@asynccontextmanager
async def health_server(
    host: str, port: int, *, readiness: Callable[[], Readiness], metrics: Callable[[], Awaitable[bytes]]
) -> AsyncIterator[int]:
    """Serve until left, and yield the port."""

    async def live(_request: web.Request) -> web.Response:
        return _json(200, {"status": "alive"})

    async def ready(_request: web.Request) -> web.Response:
        now = readiness()
        body: dict[str, object] = {"status": now.word, "reasons": now.reasons, "degraded": now.degraded}
        return _json(503 if now.reasons else 200, body)

    async def exposition(_request: web.Request) -> web.Response:
        return web.Response(body=await metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    application = web.Application()
    application.add_routes([web.get("/livez", live), web.get("/readyz", ready), web.get("/metrics", exposition)])
    runner = web.AppRunner(
        application, access_log=None, handle_signals=False, shutdown_timeout=1.0, auto_decompress=False
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _json(status: int, body: dict[str, object]) -> web.Response:
    return web.Response(status=status, body=codec.dumps(body), content_type="application/json")
