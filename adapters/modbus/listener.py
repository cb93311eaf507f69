"""The listener that one site's masters call: who may come in, how many, and for how long somebody may say nothing.

Rules
-----
* Only addresses of the allow-list are served; others are shown out before a byte is read. The listener is the identity:
  whoever is let in speaks for this site.
* Every request is answered, in the order of arrival, on its own connection: a master may send the next before the
  answer. Answers that nobody takes away stop the reading, so that nothing piles up here.
* What is not Modbus, half a frame for :data:`HALF_FRAME_S`, and silence for :data:`IDLE_S` end a connection.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from adapters.modbus.addresses import ListenAddress, Network
from adapters.modbus.frames import Frame, FrameBroken, FrameStream

PLACES = 16  # masters of one site, and some to spare
HALF_FRAME_S = 10.0
IDLE_S = 300.0
_CHUNK = 4096

Answerer = Callable[[Frame], Frame]
Tell = Callable[..., None]


@asynccontextmanager
async def listening(
    where: ListenAddress, allow: tuple[Network, ...], answer: Answerer, refused: Tell
) -> AsyncIterator[int]:
    """Serve until left, and cut every connection then; yields the port, a free one where 0 was asked for.

    Raises:
        OSError: the address is taken or not ours.
    """
    room = _Room(allow, answer, refused)
    server = await asyncio.start_server(room.receive, where.host, where.port, limit=_CHUNK)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await room.clear()


class _Room:
    """The connections of one listener."""

    def __init__(self, allow: tuple[Network, ...], answer: Answerer, refused: Tell) -> None:
        self._allow = allow
        self._answer = answer
        self._refused = refused
        self._guests: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        guest = asyncio.current_task()
        peer = writer.get_extra_info("peername")
        reason = self._why_not(peer)
        if guest is None or reason is not None:
            self._refused(peer=str(peer[0]) if peer else "unknown", reason=reason)
            writer.transport.abort()
            return
        self._guests[guest] = writer
        try:
            await self._serve(reader, writer)
        except FrameBroken as fault:
            self._refused(peer=str(peer[0]), reason=str(fault))
        except (OSError, TimeoutError):
            pass  # it went away, or said nothing for too long: it may come again
        finally:
            self._guests.pop(guest)
            writer.transport.abort()

    async def clear(self) -> None:
        """Cut every connection, which ends its task: cancelling it would be an error to Python 3.11's streams."""
        for writer in self._guests.values():
            writer.transport.abort()
        await asyncio.gather(*self._guests, return_exceptions=True)

    def _why_not(self, peer: tuple[object, ...] | None) -> str | None:
        if not peer:
            return "it has no address"
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not any(address in network for network in self._allow):
            return "it is not in allow"
        return "too many connections" if len(self._guests) >= PLACES else None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = FrameStream()
        while True:
            async with asyncio.timeout(HALF_FRAME_S if stream.waiting else IDLE_S):
                data = await reader.read(_CHUNK)
            if not data:
                return
            for frame in stream.feed(data):
                writer.write(self._answer(frame).encode())
            async with asyncio.timeout(IDLE_S):
                await writer.drain()
