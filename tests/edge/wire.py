"""A TLS certificate for loopback, and a server that answers with exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trustme


@dataclass
class Raw:
    """Answers each request head with ``answer`` and closes; ``requests`` holds what came."""

    answer: bytes
    answers: int = 1  # on one connection; then it is closed at the next request, unanswered
    port: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for _ in range(self.answers):
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
                await writer.drain()
            if self.answers > 1:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@dataclass
class Tunnel:
    """An HTTP proxy that connects whoever asks for it; ``heads`` holds what it was asked for."""

    answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
    port: int = 0
    heads: list[bytes] = field(default_factory=list)

    ended: list[asyncio.Task[None]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)
        if b" 200 " in self.answer:
            host, _, port = self.heads[-1].split()[1].decode().rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, far_writer))
                both.create_task(_pump(far_reader, writer))
        writer.close()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ended.append(asyncio.create_task(self.serve(reader, writer)))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
    writer.close()
    await writer.wait_closed()


@asynccontextmanager
async def tunnel(answer: bytes = Tunnel.answer) -> AsyncIterator[Tunnel]:
    proxy = Tunnel(answer)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await asyncio.gather(*proxy.ended, return_exceptions=True)


def server_side(authority: trustme.CA, kind: trustme.KeyType = trustme.KeyType.ECDSA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", key_type=kind).configure_cert(context)
    return context


@asynccontextmanager
async def raw_server(authority: trustme.CA, answer: bytes, *, answers: int = 1) -> AsyncIterator[Raw]:
    raw = Raw(answer, answers)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=server_side(authority))
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
