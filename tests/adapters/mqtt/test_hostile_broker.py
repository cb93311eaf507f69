"""P17 for the client: a broker that lies in every packet ends as a lost link, and costs nobody else anything."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from gateway.core.point import Reading
from gateway.errors import LinkLost, PointRejected
from gateway.ports import Committed, News, PointWrite, Submitted
from tests.adapters.mqtt.rig import Rig

ROUNDS, PACKETS = 100, 15  # of each version: 3,000 hostile packets in all
_PATIENCE_S = 0.03
Answer = Callable[[random.Random, bool, bytes], bytes]


def packet(head: int, body: bytes) -> bytes:
    """A control packet (MQTT 5.0 section 2.1): type and flags, length, the rest."""
    length, coded = len(body), b""
    while True:
        length, digit = length >> 7, length & 0x7F
        coded += bytes([digit | (0x80 if length else 0)])
        if not length:
            return bytes([head]) + coded + body


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def publish(rng: random.Random, modern: bool) -> bytes:  # noqa: FBT001
    """A message that is nearly right: to our topics and others, of every QoS, also with a number of 0."""
    qos = rng.randrange(4)
    topic = rng.choice([b"depot/request", b"depot/label", b"depot/limits/1", b"", b"\xff\xfe", b"a\0b", b"depot/#"])
    number = rng.choice([0, 1, 2, 65535]).to_bytes(2, "big") if qos else b""
    properties = rng.choice(
        [b"\0", b"\x03\x01\x00\x00", b"\x05\x08\x00\x02\xff\xff", b"\xff\xff\xff\xff", b"\x02\x23\0"]
    )
    payload = rng.choice([b'{"id": "A"}', b"", b"{", rng.randbytes(20)])
    flags = rng.choice([0, 1, 8]) | (qos << 1)
    return packet(0x30 | flags, text(topic) + number + (properties if modern else b"") + payload)


def hostile(rng: random.Random, modern: bool) -> bytes:  # noqa: FBT001
    """A message, an answer to nothing, what no broker sends, noise; sometimes with a bit turned, or cut short."""
    number = rng.choice([0, 1, 2, 3, 65535]).to_bytes(2, "big")
    made = rng.choice(
        [
            publish(rng, modern),
            packet(rng.randrange(256), number + rng.randbytes(rng.randrange(6))),
            packet(0x90, number + rng.randbytes(rng.randrange(4))),
            packet(0x40, number + rng.choice([b"", b"\x80", b"\xff\x00"])),
            packet(0x20, b"\0" + rng.randbytes(1) + (b"\0" if modern else b"")),
            b"\xd0\x00",
            rng.randbytes(rng.randrange(1, 30)),
        ]
    )
    if rng.random() < 0.2:
        place = rng.randrange(len(made))
        made = made[:place] + bytes([made[place] ^ (1 << rng.randrange(8))]) + made[place + 1 :]
    return made if rng.random() < 0.9 else made[: rng.randrange(len(made)) + 1]


def honest(rng: random.Random, modern: bool, subscribe: bytes) -> bytes:  # noqa: ARG001, FBT001
    """Grant what was asked for: the packet's number, and a code for each filter."""
    body = subscribe[2:]
    filters = body.count(b"depot/")
    return packet(0x90, body[:2] + (b"\0" if modern else b"") + b"\x01" * filters)


def lying(rng: random.Random, modern: bool, subscribe: bytes) -> bytes:  # noqa: FBT001
    """Grant too little, too much, or what does not exist."""
    codes = rng.randbytes(rng.choice([0, 1, 2, 9]))
    return packet(0x90, subscribe[2:4] + (b"\0" if modern else b"") + codes)


@asynccontextmanager
async def liar(rng: random.Random, modern: bool, answer: Answer) -> AsyncIterator[int]:  # noqa: FBT001
    """A broker that takes whoever comes, answers subscriptions in its way, sends hostile packets and closes."""

    async def read(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.read(4096)
        except OSError:  # the client had enough
            return b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read(reader)
        writer.write(packet(0x20, b"\0\0" + (b"\0" if modern else b"")))
        for _ in range(2):
            subscribe = await read(reader)
            writer.write(answer(rng, modern, subscribe) if subscribe else b"")
        for count, made in ((1, publish), (PACKETS - 1, hostile)):
            writer.write(b"".join(made(rng, modern) for _ in range(count)))
            with contextlib.suppress(TimeoutError):  # what comes out of it may want no answer
                async with asyncio.timeout(_PATIENCE_S):
                    await read(reader)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def suffer(rig: Rig, told: list[News]) -> None:
    """One session from its beginning to its end, as the runtime leads it."""
    async with rig.adapter().connect() as session:
        while True:
            for news in await session.read():
                told.append(news)
                if isinstance(news, Submitted):
                    await session.confirm(news.receipt, Committed())


@pytest.mark.parametrize(("answer", "rounds"), [(honest, ROUNDS), (lying, 10)])
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_whatever_a_broker_sends_is_news_or_a_lost_link(version: str, answer: Answer, rounds: int) -> None:
    """No other error, no waiting for ever, nothing left in the loop."""
    rng, modern = random.Random(17), version == "5"
    wrong: list[object] = []
    told: list[News] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: wrong.append(context))
    async with liar(rng, modern, answer) as port, asyncio.timeout(120):
        for _ in range(rounds):
            with pytest.raises(LinkLost):
                await suffer(Rig(port, {"version": version, "timeout": "200ms"}), told)
    assert wrong == []
    assert answer is lying or {Submitted, Reading} <= {type(each) for each in told}


async def test_a_reason_code_that_does_not_exist_is_a_refusal() -> None:
    """A PUBACK may say no in ways that nobody has defined."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(packet(0x20, b"\0\0\0"))
        for _ in range(2):
            writer.write(honest(random.Random(0), modern=True, subscribe=await reader.read(4096)))
        sent = await reader.read(4096)
        at = sent.index(b"depot/smp/state") + len(b"depot/smp/state")
        writer.write(packet(0x40, sent[at : at + 2] + b"\xf7\0"))
        await reader.read(4096)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        rig = Rig(server.sockets[0].getsockname()[1])
        async with rig.adapter().connect() as session:
            with pytest.raises((PointRejected, LinkLost)):
                await session.write([PointWrite(point="smp_state", value=Decimal(1))])


async def test_a_broker_that_says_who_took_our_session_is_quoted() -> None:
    """MQTT 5's reason of a DISCONNECT (0x8E), in words that say what to do."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(packet(0x20, b"\0\0\0"))
        for _ in range(2):
            writer.write(honest(random.Random(0), modern=True, subscribe=await reader.read(4096)))
        writer.write(packet(0xE0, b"\x8e\0"))
        await reader.read(4096)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, asyncio.timeout(20):
        with pytest.raises(LinkLost, match="another client took over our client id"):
            await suffer(Rig(server.sockets[0].getsockname()[1]), [])
