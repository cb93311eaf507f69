"""The listener that one site's masters call: who may come in, how many, and for how long somebody may say nothing.

Rules
-----
* Only addresses of the allow-list are served; others are shown out before a byte is read. The listener is the identity:
  whoever is let in speaks for this site.
* With TLS a master shows a certificate of the site's CA, with one of the site's names where it has a list of them. Each
  handshake takes our own certificate as its file is then.
* Every request is answered, in the order of arrival, on its own connection: a master may send the next before the
  answer. Answers that nobody takes away stop the reading, so that nothing piles up here.
* What is not Modbus, half a frame or half a handshake for :data:`HALF_FRAME_S`, and silence for :data:`IDLE_S` end a
  connection.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

from adapters.modbus.addresses import ListenAddress, Network
from adapters.modbus.frames import Frame, FrameBroken, FrameStream
from gateway.errors import SecretError

PLACES = 16  # masters of one site, and some to spare
HALF_FRAME_S = 10.0
IDLE_S = 300.0
_CHUNK = 4096
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_EXHAUSTED_PAUSE_S = 1.0

Answerer = Callable[[Frame], Frame]
Tell = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """Who may come in: from these networks and, where ``tls`` makes a context, with a certificate of these names."""

    allow: tuple[Network, ...]
    tls: Callable[[], ssl.SSLContext] | None = None
    names: frozenset[str] = field(default_factory=frozenset)  # none: every certificate of the CA


@asynccontextmanager
async def listening(where: ListenAddress, entrance: Entrance, answer: Answerer, refused: Tell) -> AsyncIterator[int]:
    """Serve until left, and cut every connection then; yields the port, a free one where 0 was asked for.

    Raises:
        OSError: the address is taken or not ours.
    """
    room = _Room(entrance, answer, refused)
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in await _sockets(where)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(room.open(each), name=f"listener {where}") for each in sockets]
            try:
                yield int(sockets[0].getsockname()[1])
            finally:
                for task in tasks:
                    task.cancel()


class _Room:
    """The connections of one listener."""

    def __init__(self, entrance: Entrance, answer: Answerer, refused: Tell) -> None:
        self._entrance = entrance
        self._answer = answer
        self._refused = refused
        self._guests: set[asyncio.Task[None]] = set()

    async def open(self, listener: socket.socket) -> None:
        """Let in who comes to this socket and may, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    guest, peer = await asyncio.get_running_loop().sock_accept(listener)
                except OSError as error:  # it left before it was asked in, or there is no file or memory left for it
                    if error.errno in _EXHAUSTED:
                        await asyncio.sleep(_EXHAUSTED_PAUSE_S)
                    continue
                reason = self._why_not(peer)
                if reason is not None:
                    guest.close()
                    self._refused(peer=str(peer[0]), reason=reason)
                    continue
                task = group.create_task(self._receive(guest, str(peer[0])), name="master")
                self._guests.add(task)
                task.add_done_callback(self._guests.discard)

    async def _receive(self, guest: socket.socket, peer: str) -> None:
        """Serve one connection until it ends."""
        writer = None
        try:
            reader, writer = await self._let_in(guest)
            stranger = self._stranger(writer)
            if stranger is None:
                await self._serve(reader, writer)
            else:
                self._refused(peer=peer, reason=stranger)
        except (FrameBroken, SecretError, ssl.SSLError) as fault:
            self._refused(peer=peer, reason=str(fault))
        except (OSError, TimeoutError):
            pass  # it went away, or said nothing for too long: it may come again
        finally:
            if writer is not None:
                writer.transport.abort()

    async def _let_in(self, guest: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The streams of a connection, once its handshake is over; from then on the socket is the loop's to close."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_CHUNK)
        try:
            tls = None if self._entrance.tls is None else self._entrance.tls()
        except SecretError:
            guest.close()
            raise
        transport, protocol = await loop.connect_accepted_socket(
            lambda: asyncio.StreamReaderProtocol(reader),
            guest,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else HALF_FRAME_S,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _stranger(self, writer: asyncio.StreamWriter) -> str | None:
        """Why a certificate does not open the door; None where it does, or none is asked for."""
        if self._entrance.tls is None or not self._entrance.names:
            return None
        shown = _names(writer.get_extra_info("peercert") or {})
        if shown & self._entrance.names:
            return None
        return f"its certificate is {', '.join(sorted(shown)) or 'nameless'}, and names has none of that"

    def _why_not(self, peer: tuple[object, ...]) -> str | None:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not any(address in network for network in self._entrance.allow):
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


async def _sockets(where: ListenAddress) -> list[socket.socket]:
    """Listening sockets for every address that this host name has here."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(address[:2], family=family))
            for family, *_, address in dict.fromkeys(found)
        ]
        for each in sockets:
            each.setblocking(False)  # noqa: FBT003 - the socket's own way
        stack.pop_all()
    return sockets


def _names(certificate: dict[str, object]) -> frozenset[str]:
    """The names in a certificate, as `ssl` shows it: of its subject, and those that it is valid for beside that."""
    subject, others = certificate.get("subject", ()), certificate.get("subjectAltName", ())
    common = [value for part in subject for name, value in part if name == "commonName"]  # type: ignore[attr-defined]  # tuples, says `ssl`
    return frozenset([*common, *(value for kind, value in others if kind == "DNS")])  # type: ignore[attr-defined]  # as above
