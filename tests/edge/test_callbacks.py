"""The callback listener takes exact bytes in time and size, and its own errors tell nothing."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
import trustme

from gateway.edge.callbacks import CallbackRoute, callback_server
from gateway.edge.clock import SystemClock
from gateway.errors import JournalBroken
from gateway.ports import CallbackReply
from tests.edge.wire import server_side

PATH = "/smp/v1/callbacks/{participant}"
ROUTE = CallbackRoute(path=PATH, signature_header="X-JWS-Signature", size_limit=1000)


@dataclass
class Listener:
    """A running listener and what its handler got; ``reply`` may raise."""

    authority: trustme.CA
    reply: Callable[[], CallbackReply] = lambda: CallbackReply(status=200, body={"ack": "Accepted"})
    got: list[tuple[str, bytes, str | None]] = field(default_factory=list)
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    broken: list[JournalBroken] = field(default_factory=list)
    port: int = 0

    @property
    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    async def handle(self, participant: str, body: bytes, signature: str | None, _at: int) -> CallbackReply:
        self.got.append((participant, body, signature))
        return self.reply()

    async def post(self, path: str, body: object, *headers: tuple[str, str]) -> tuple[int, dict[str, str], str | None]:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.trust)) as session,
            session.post(f"https://127.0.0.1:{self.port}{path}", data=body, headers=headers) as answer,
        ):
            return answer.status, json.loads(await answer.read()), answer.headers.get("Retry-After")

    @asynccontextmanager
    async def running(self, *routes: CallbackRoute, patience_s: float = 60.0) -> AsyncIterator[Listener]:
        async with callback_server(
            "127.0.0.1",
            0,
            server_side(self.authority),
            routes=routes or [ROUTE],
            handler=self.handle,
            clock=SystemClock(),
            event=lambda name, **fields: self.events.append((name, fields)),
            broken=self.broken.append,
            patience_s=patience_s,
        ) as door:
            self.port = door.port
            yield self


async def test_the_handler_gets_the_exact_bytes(authority: trustme.CA) -> None:
    """Participant, body and signature as they came; two signature headers are both handed on."""
    async with Listener(authority).running() as listener:
        body = b'{"a" : "\xc3\xa9"}\n'
        assert (await listener.post("/smp/v1/callbacks/exstor", body, ("X-JWS-Signature", "s")))[0] == 200
        await listener.post("/smp/v1/callbacks/exstor", body, ("X-JWS-Signature", "s"), ("X-JWS-Signature", "t"))
        await listener.post("/smp/v1/callbacks/exstor", body)
    assert listener.got == [("exstor", body, "s"), ("exstor", body, "s, t"), ("exstor", body, None)]


async def test_a_body_without_a_length_is_bounded_too(authority: trustme.CA) -> None:
    """Chunked, longer than the limit: 413, and the handler never sees it; exactly the limit passes."""

    async def chunks(size: int) -> AsyncIterator[bytes]:
        for _ in range(size):
            yield b"x"

    async with Listener(authority).running() as listener:
        assert (await listener.post("/smp/v1/callbacks/exstor", chunks(1001)))[0] == 413
        assert (await listener.post("/smp/v1/callbacks/exstor", chunks(1000)))[0] == 200
    assert [len(body) for _, body, _ in listener.got] == [1000]


async def test_a_body_that_does_not_come_is_not_waited_for(authority: trustme.CA) -> None:
    """A head that promises 10 bytes and then nothing: 408, and the handler never sees it."""
    async with Listener(authority).running(patience_s=0.05) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=listener.trust)
        writer.write(b"POST /smp/v1/callbacks/exstor HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        async with asyncio.timeout(20):
            assert (await reader.readline()).split()[1] == b"408"
        writer.transport.abort()
    assert listener.got == []


async def test_environments_that_share_a_path_share_a_listener(authority: trustme.CA) -> None:
    """Two profiles with one path, other limits and other signature headers: either's callback is heard."""
    other = CallbackRoute(path=PATH, signature_header="X-Live-Signature", size_limit=2000)
    async with Listener(authority).running(ROUTE, other) as listener:
        await listener.post("/smp/v1/callbacks/exstor", b"1", ("X-JWS-Signature", "s"))
        await listener.post("/smp/v1/callbacks/exflex", b"2" * 2000, ("X-Live-Signature", "t"))
    assert [(who, signature) for who, _, signature in listener.got] == [("exstor", "s"), ("exflex", "t")]


async def test_an_error_of_ours_tells_nothing_and_is_told(authority: trustme.CA) -> None:
    """The handler raises: 500 without details, an event with them; the next callback is served."""

    def fault() -> CallbackReply:
        raise ZeroDivisionError("of our own")

    async with Listener(authority, reply=fault).running() as listener:
        assert await listener.post("/smp/v1/callbacks/exstor", b"1") == (500, {"error": "internal error"}, None)
        listener.reply = lambda: CallbackReply(status=503, body={}, retry_after=60)
        assert await listener.post("/smp/v1/callbacks/exstor", b"1") == (503, {}, "60")
    assert [name for name, _ in listener.events] == ["handler_faulted"]


async def test_a_broken_journal_is_reported_and_not_acknowledged(authority: trustme.CA) -> None:
    """JournalBroken: 503, and whoever ends the process is told."""

    def fault() -> CallbackReply:
        raise JournalBroken("disk")

    async with Listener(authority, reply=fault).running() as listener:
        assert (await listener.post("/smp/v1/callbacks/exstor", b"1"))[0] == 503
    assert len(listener.broken) == 1


@pytest.mark.parametrize("path", ["/", "/smp/v1/callbacks/", "/smp/v1/callbacks/a/b", "/metrics"])
async def test_no_other_path_is_served(authority: trustme.CA, path: str) -> None:
    """404 everywhere else; the handler never sees it."""
    async with (
        Listener(authority).running() as listener,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=listener.trust)) as session,
        session.post(f"https://127.0.0.1:{listener.port}{path}", data=b"1") as answer,
    ):
        assert answer.status == 404
    assert listener.got == []
