"""The public listener's door: silence, crowds, compressed bodies and broken HTTP harm nobody inside."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest
import trustme
import uvloop
from aiohttp import web

from gateway.edge.door import Door, open_door
from tests.edge.wire import server_side

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


class House:
    """A door with one page behind it."""

    def __init__(self, authority: trustme.CA) -> None:
        self.authority = authority
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        self._tls = server_side(authority)
        self.events: list[str] = []
        self.bodies: list[bytes] = []
        self.port = 0
        self.door: Door

    async def hello(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        return web.Response(text="hello")

    @contextlib.asynccontextmanager
    async def open(self, *, places: int = 8, from_one: int = 8, first_word_s: float = 60.0) -> AsyncIterator[House]:
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
                from_one=from_one,
                first_word_s=first_word_s,
            ) as self.door,
        ):
            self.port = self.door.port
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


async def test_one_address_does_not_get_every_place(house: House) -> None:
    """Two from one address stay, its third is closed, another address is let in; handshakes count like the rest."""
    async with house.open(from_one=2) as inside:
        silent = await asyncio.open_connection("127.0.0.1", inside.port)  # says nothing, not even TLS
        second = await inside.enter()
        with contextlib.suppress(OSError):
            await inside.ask(HELLO)
            pytest.fail("a third from the same address was let in")
        third = await asyncio.open_connection(
            "127.0.0.1", inside.port, ssl=inside.trust, server_hostname="127.0.0.1", local_addr=("127.0.0.2", 0)
        )
        third[1].write(HELLO)
        assert (await third[0].readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        for _, writer in (silent, second, third):
            writer.transport.abort()


async def test_another_certificate_is_shown_to_newcomers_only(house: House) -> None:
    """Who is inside goes on being served; the next handshake shows the new certificate, of another kind of key too."""
    async with house.open() as inside:
        reader, writer = await inside.enter()
        before = _shown(writer)
        inside.door.show(server_side(house.authority, trustme.KeyType.RSA))
        writer.write(HELLO)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        _, newcomer = await inside.enter()
        assert _shown(newcomer) != before
        for each in (writer, newcomer):
            each.transport.abort()


def _shown(writer: asyncio.StreamWriter) -> bytes:
    return bytes(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))


async def test_noise_instead_of_tls_is_shown_out_and_nobody_else_is_disturbed(house: House) -> None:
    """Plain HTTP, random bytes, an end in mid-handshake: closed; the next one is served, and nothing was printed."""
    async with house.open() as inside:
        for noise in (HELLO, bytes(range(256)), b"\x16\x03\x01", b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", inside.port)
            writer.write(noise)
            writer.write_eof()
            with contextlib.suppress(OSError):
                assert b"HTTP" not in await reader.read()
            writer.transport.abort()
        assert (await inside.ask(HELLO)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [b"".join(b"X-%d: x\r\n" % number for number in range(80)), b"X: " + b"x" * 9000 + b"\r\n"],
    ids=["many fields", "a long field"],
)
async def test_a_head_has_bounds(house: House, head: bytes) -> None:
    """Too many fields or one too long: 400, told as malformed, and the handler never sees it."""
    async with house.open() as inside:
        answer = await inside.ask(b"GET /hello HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
    assert answer.split()[1] == b"400"
    assert b"aiohttp" not in answer
    assert inside.bodies == []
    assert inside.events == ["request_malformed"]


async def test_requests_sent_ahead_are_answered_in_turn(house: House) -> None:
    """Three in one flight, one more of the old HTTP: four answers, and the last one closes."""
    async with house.open() as inside:
        reader, writer = await inside.enter()
        writer.write(HELLO * 3 + b"GET /hello HTTP/1.0\r\n\r\n")
        answers = await reader.read()
    assert answers.count(b" 200 OK") == 4
    assert answers.count(b"HTTP/1.0 200 OK") == 1


async def test_what_is_not_served_is_refused_in_json(house: House) -> None:
    """Another path: 404; the refusal has the form of every other."""
    async with house.open() as inside:
        answer = await inside.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"Content-Type: application/json" in answer


@pytest.mark.parametrize(
    "story",
    [
        test_half_a_head_is_silence_and_is_shown_out,
        test_a_crowd_is_kept_out_and_those_inside_are_served,
        test_one_address_does_not_get_every_place,
        test_another_certificate_is_shown_to_newcomers_only,
        test_noise_instead_of_tls_is_shown_out_and_nobody_else_is_disturbed,
        test_requests_sent_ahead_are_answered_in_turn,
    ],
)
def test_the_products_own_loop_behaves_alike(
    house: House, story: Callable[[House], Coroutine[None, None, None]]
) -> None:
    """uvloop's TLS and sockets are other code than asyncio's; the same stories hold."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story(house))
