"""The bench's SMP: a bare HTTP/1.1 server on TLS that stamps each POST, and the caller of signed callbacks."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.bench.material import CALLBACK_PATH, HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """One submission as it arrived; ``at`` is when its last byte was there (monotonic ns)."""

    at: int
    body: bytes
    headers: Mapping[str, str]
    transaction_id: str


@dataclass(slots=True)
class Smp:
    """What arrived, in order."""

    base_url: str = ""
    posted: asyncio.Queue[Posted] = field(default_factory=asyncio.Queue)
    polls: int = 0
    _transactions: int = 0

    async def serve(self, tls: ssl.SSLContext) -> int:
        """Listen until the process ends; return the port."""
        server = await asyncio.get_running_loop().create_server(lambda: _Wire(self), HOST, 0, ssl=tls)
        port = int(server.sockets[0].getsockname()[1])
        self.base_url = f"https://{HOST}:{port}"
        return port

    def answer(self, path: str, headers: Mapping[str, str], body: bytes, at: int) -> tuple[int, dict[str, object]]:
        """Decide what a request gets."""
        if path == "/authenticate":
            return 200, {"token": "bench-token", "expiresIn": 86400}
        if path == "/assets":
            self._transactions += 1
            transaction_id = f"TX-{self._transactions:06}"
            self.posted.put_nowait(Posted(at=at, body=body, headers=headers, transaction_id=transaction_id))
            return 202, {"transactionId": transaction_id, "receivedAt": "2026-11-23T10:15:30Z"}
        self.polls += 1
        return 404, {"error": "the bench answers no polls"}


class _Wire(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self, smp: Smp) -> None:
        self._smp = smp
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # TLS transports of the standard loop are WriteTransports in all but their class
        self._transport = transport  # type: ignore[assignment]  # asyncio hands the protocol a writing transport

    def data_received(self, data: bytes) -> None:
        at = time.monotonic_ns()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            request, headers = parse_head(bytes(self._buffer[:end]))
            size = end + 4 + int(headers.get("content-length", "0"))
            if len(self._buffer) < size:
                return
            body = bytes(self._buffer[end + 4 : size])
            del self._buffer[:size]
            status, members = self._smp.answer(request.split(" ")[1], headers, body, at)
            answer = json.dumps(members).encode()
            if self._transport is not None:
                self._transport.write(
                    f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(answer)}\r\n\r\n".encode()
                    + answer
                )


class Caller:
    """One kept-alive TLS connection to a callback listener."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext) -> Caller:
        """Connect and shake hands."""
        return cls(*await asyncio.open_connection(HOST, port, ssl=tls, server_hostname=HOST))

    def send(self, body: bytes, signature: str) -> int:
        """Write a callback in one piece and return when its last byte was written (monotonic ns)."""
        self._writer.write(post(CALLBACK_PATH, body, {"X-JWS-Signature": signature}))
        return time.monotonic_ns()

    async def answer(self) -> int:
        """The status of the answer, once it was read whole."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, headers = parse_head(head[:-4])
        await self._reader.readexactly(int(headers.get("content-length", "0")))
        return int(status.split(" ")[1])


def post(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A whole request."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n{lines}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def parse_head(head: bytes) -> tuple[str, dict[str, str]]:
    """The first line, and the headers by their lower-case names."""
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.lower(): value.strip() for name, _, value in pairs}
