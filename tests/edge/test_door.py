"""The public listener's door: silence, crowds, compressed bodies and broken HTTP harm nobody inside."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme
from aiohttp import web

from gateway.edge.door import open_door
from tests.edge.wire import server_side

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


class House:
    """A door with one page behind it."""

    def __init__(self, authority: trustme.CA) -> None:
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        self._tls = server_side(authority)
        self.events: list[str] = []
        self.bodies: list[bytes] = []
        self.port = 0

    async def hello(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        return web.Response(text="hello")

    @contextlib.asynccontextmanager
    async def open(self, *, places: int = 8, first_word_s: float = 60.0) -> AsyncIterator[House]:
        application = web.Application()
        application.router.add_route("*", "/hello", self.hello)
        async with (
            asyncio.timeout(30),
            open_door(
                application,
                "127.0.0.1",
                0,
                self._tls,
                event=lambda name, **_: self.events.append(name),
                places=places,
                first_word_s=first_word_s,
            ) as self.port,
        ):
            yield self

    async def enter(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust)

    async def ask(self, words: bytes) -> bytes:
        reader, writer = await self.enter()
        writer.write(words)
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        return answer

    async def ask_until_let_in(self, words: bytes) -> bytes:
        """The place of who left is free once the listener has seen him go."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                return await self.ask(words)


@pytest.fixture
def house(authority: trustme.CA) -> House:
    return House(authority)


async def test_half_a_head_is_silence_and_is_shown_out(house: House) -> None:
    """A slow-loris is closed; somebody who has spoken and waits for more to say stays."""
    async with house.open(first_word_s=0.0) as inside:
        reader, writer = await inside.enter()
        writer.write(HELLO[:-2])
        assert await reader.read() == b""
    async with house.open() as inside:
        reader, writer = await inside.enter()
        for _ in range(2):
            writer.write(HELLO)
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        writer.transport.abort()


async def test_a_crowd_is_kept_out_and_those_inside_are_served(house: House) -> None:
    """Beyond the places a connection is closed at once; a place that becomes free is given again."""
    async with house.open(places=2) as inside:
        first = await inside.enter()
        first[1].write(HELLO)
        await first[0].readuntil(b"hello")
        second = await inside.enter()
        second[1].write(HELLO)
        await second[0].readuntil(b"hello")
        with contextlib.suppress(OSError):
            reader, _ = await inside.enter()
            assert await reader.read() == b""
        first[1].write(HELLO)
        assert (await first[0].readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        first[1].write(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await first[0].read()
        assert (await inside.ask_until_let_in(HELLO)).startswith(b"HTTP/1.1 200")
        second[1].transport.abort()


async def test_a_body_stays_as_it_was_sent(house: House) -> None:
    """Nothing is decompressed: what is verified are the wire's bytes, and a bomb stays small."""
    bomb = gzip.compress(b"\0" * 1_000_000)
    head = b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with house.open() as inside:
        await inside.ask(head + bomb)
    assert house.bodies == [bomb]


async def test_broken_http_is_an_event_and_names_no_software(house: House, capfd: pytest.CaptureFixture[str]) -> None:
    """An answer without a traceback on the terminal; no answer says what we are made of."""
    async with house.open() as inside:
        assert (await inside.ask(b"GET /\xff\xfe HTTP/9.9\r\n\r\n")).startswith(b"HTTP/1.")
        answer = await inside.ask(HELLO)
    assert b"Server:" not in answer
    assert capfd.readouterr() == ("", "")
