"""The public TLS listener for the SMP's callbacks: it takes raw bytes in time and size, and decides nothing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from aiohttp import web

from gateway.core import codec
from gateway.edge.door import Door, open_door
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
_BODIES_AT_ONCE = 8  # of the largest size; small ones count as what they announce


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
) -> AsyncIterator[Door]:
    """Serve until left.

    ``handler`` gets the exact bytes. An error of ours is answered 500 without details, so that the SMP sends again, and
    ``broken`` is told when the journal can no longer be trusted. A body must be there within ``patience_s``. Where
    environments share a path, the larger limit and either's signature header count; the profiles decide the rest.
    """
    largest = max(route.size_limit for route in routes)
    application = web.Application(client_max_size=largest)
    room = _Room(_BODIES_AT_ONCE * largest)
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
            room=room,
        )
        application.router.add_post(path, receiver.receive)
    async with open_door(application, host, port, tls, event=event) as door:
        yield door


class _Room:
    """How many bytes of bodies may be in memory at the same time, from all callers together."""

    def __init__(self, size: int) -> None:
        self._left = size

    @contextmanager
    def taken(self, size: int) -> Iterator[bool]:
        """Hold room for one body; False when there is none."""
        if size > self._left:
            yield False
            return
        self._left -= size
        try:
            yield True
        finally:
            self._left += size


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
    room: _Room

    async def receive(self, request: web.Request) -> web.Response:
        if request.headers.getall("Content-Encoding", ["identity"]) != ["identity"]:
            return _respond(CallbackReply(status=415, body={"error": "content-encoding is not accepted"}))
        announced = self.size_limit if request.content_length is None else request.content_length
        if announced > self.size_limit:
            return _respond(self._too_large())
        with self.room.taken(announced) as there_is_room:
            if not there_is_room:
                return _respond(CallbackReply(status=503, body={"error": "too busy"}, retry_after=5))
            body = await self._body(request)
            return _respond(body if isinstance(body, CallbackReply) else await self._handle(request, body))

    async def _handle(self, request: web.Request, body: bytes) -> CallbackReply:
        at = self.clock.now()
        signatures = [value for name in self.signature_headers for value in request.headers.getall(name, [])]
        signature = ", ".join(signatures) if signatures else None  # several are no signature in any form
        try:
            return await self.handler(request.match_info["participant"], body, signature, at)
        except JournalBroken as error:
            self.broken(error)
            return CallbackReply(status=503, body={"error": "not stored"}, retry_after=60)
        except Exception as error:  # noqa: BLE001 - the HTTP handler of last resort: one bad callback harms no other
            self.event("handler_faulted", listener="callbacks", error=repr(error))
            return CallbackReply(status=500, body={"error": "internal error"})

    async def _body(self, request: web.Request) -> bytes | CallbackReply:
        """The whole body, or why there is none; never more than the limit in memory."""
        try:
            async with asyncio.timeout(self.patience_s):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._too_large()
        except TimeoutError:
            return CallbackReply(status=408, body={"error": "the body did not come in time"})
        return body if len(body) <= self.size_limit else self._too_large()

    def _too_large(self) -> CallbackReply:
        return CallbackReply(status=413, body={"error": f"larger than {self.size_limit} bytes"})


def _respond(reply: CallbackReply) -> web.Response:
    headers = {"Retry-After": str(reply.retry_after)} if reply.retry_after is not None else None
    return web.Response(
        status=reply.status, body=codec.dumps(dict(reply.body)), content_type="application/json", headers=headers
    )
