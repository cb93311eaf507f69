"""The public TLS listener for the SMP's callbacks: it takes raw bytes in time and size, and decides nothing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Collection
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


# A callback of 4 MiB takes 40 s at 1 Mbit/s; whoever is slower only keeps memory and a connection busy.
_PATIENCE_S = 60.0


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
    patience_s: float = _PATIENCE_S,
) -> AsyncIterator[int]:
    """Serve until left, and yield the port.

    ``handler`` gets the exact bytes. An error of ours is answered 500 without details, so that the SMP sends again, and
    ``broken`` is told when the journal can no longer be trusted. A body must be there within ``patience_s``. Where
    environments share a path, the larger limit and either's signature header count; the profiles decide the rest.
    """
    application = web.Application(client_max_size=max(route.size_limit for route in routes))
    for path in {route.path for route in routes}:
        shared = [route for route in routes if route.path == path]
        receiver = _Receiver(
            size_limit=max(route.size_limit for route in shared),
            signature_headers=frozenset(route.signature_header.lower() for route in shared),
            handler=handler,
            clock=clock,
            event=event,
            broken=broken,
            patience_s=patience_s,
        )
        application.router.add_post(path, receiver.receive)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=5.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Receiver:
    """One path."""

    size_limit: int
    signature_headers: frozenset[str]
    handler: CallbackHandler
    clock: Clock
    event: Callable[..., None]
    broken: Callable[[JournalBroken], None]
    patience_s: float

    async def receive(self, request: web.Request) -> web.Response:
        if request.headers.get("Content-Encoding", "identity") != "identity":
            return _respond(CallbackReply(status=415, body={"error": "content-encoding is not accepted"}))
        body = await self._body(request)
        if isinstance(body, CallbackReply):
            return _respond(body)
        at = self.clock.now()
        signatures = [value for name in self.signature_headers for value in request.headers.getall(name, [])]
        signature = signatures[0] if len(signatures) == 1 else None
        try:
            reply = await self.handler(request.match_info["participant"], body, signature, at)
        except JournalBroken as error:
            self.broken(error)
            reply = CallbackReply(status=503, body={"error": "not stored"}, retry_after=60)
        except Exception as error:  # noqa: BLE001 - the HTTP handler of last resort: one bad callback harms no other
            self.event("handler_faulted", listener="callbacks", error=repr(error))
            reply = CallbackReply(status=500, body={"error": "internal error"})
        return _respond(reply)

    async def _body(self, request: web.Request) -> bytes | CallbackReply:
        """The whole body, or why there is none; never more than the limit in memory."""
        too_large = CallbackReply(status=413, body={"error": f"larger than {self.size_limit} bytes"})
        if (request.content_length or 0) > self.size_limit:
            return too_large
        try:
            async with asyncio.timeout(self.patience_s):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return too_large
        except TimeoutError:
            return CallbackReply(status=408, body={"error": "the body did not come in time"})
        return body if len(body) <= self.size_limit else too_large


def _respond(reply: CallbackReply) -> web.Response:
    headers = {"Retry-After": str(reply.retry_after)} if reply.retry_after is not None else None
    return web.Response(
        status=reply.status, body=codec.dumps(dict(reply.body)), content_type="application/json", headers=headers
    )
