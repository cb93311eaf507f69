"""The public TLS listener for the SMP's callbacks: it takes raw bytes in time and size, and decides nothing."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from gateway.core import codec
from gateway.errors import JournalBroken
from gateway.ports import CallbackHandler, CallbackReply, Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRoute:
    """One path that callbacks may arrive at, as a wire profile has it; test and live may share it."""

    path: str
    signature_header: str
    size_limit: int


@asynccontextmanager
async def callback_server(
    host: str,
    port: int,
    tls: ssl.SSLContext,
    *,
    routes: Collection[CallbackRoute],
    handler: CallbackHandler,
    clock: Clock,
    event: Callable[..., None],
    broken: Callable[[JournalBroken], None],
) -> AsyncIterator[int]:
    """Serve until left, and yield the port.

    ``handler`` gets the exact bytes. An error of ours is answered 500 without details, so that the SMP sends again, and
    ``broken`` is told when the journal can no longer be trusted.
    """
    application = web.Application(client_max_size=max(route.size_limit for route in routes))
    for route in set(routes):
        application.router.add_post(route.path, _receiver(route, handler, clock, event, broken))
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=5.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _receiver(
    route: CallbackRoute,
    handler: CallbackHandler,
    clock: Clock,
    event: Callable[..., None],
    broken: Callable[[JournalBroken], None],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def receive(request: web.Request) -> web.Response:
        if request.headers.get("Content-Encoding", "identity") != "identity":
            return _respond(CallbackReply(status=415, body={"error": "content-encoding is not accepted"}))
        if (request.content_length or 0) > route.size_limit:
            return _respond(CallbackReply(status=413, body={"error": f"larger than {route.size_limit} bytes"}))
        body = await request.read()  # raises 413 beyond client_max_size
        at = clock.now()
        signatures = request.headers.getall(route.signature_header, [])
        try:
            reply = await handler(
                request.match_info["participant"], body, signatures[0] if len(signatures) == 1 else None, at
            )
        except JournalBroken as error:
            broken(error)
            reply = CallbackReply(status=503, body={"error": "not stored"}, retry_after=60)
        except Exception as error:  # noqa: BLE001 - the HTTP handler of last resort: one bad callback harms no other
            event("handler_faulted", listener="callbacks", error=repr(error))
            reply = CallbackReply(status=500, body={"error": "internal error"})
        return _respond(reply)

    return receive


def _respond(reply: CallbackReply) -> web.Response:
    headers = {"Retry-After": str(reply.retry_after)} if reply.retry_after is not None else None
    return web.Response(
        status=reply.status, body=codec.dumps(dict(reply.body)), content_type="application/json", headers=headers
    )
