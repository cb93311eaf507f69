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
