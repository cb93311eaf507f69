"""The door of a public TLS listener: how many may be inside, and how long somebody may stand there saying nothing.

Rules
-----
* A connection has its place from its first moment, before TLS. Beyond :data:`PLACES` a new one is closed at once, so
  that strangers cannot use up the process's files and take the sites' links and the health listener with them; nor may
  one address (of IPv6 one network of 64 bits) have more than :data:`FROM_ONE`.
* Nobody who has not said a whole request head within :data:`FIRST_WORD_S` stays, nor anybody silent for
  :data:`SILENCE_S` after an answer; half a head is silence too.
* A head has at most :data:`HEADERS` fields of 8 KiB each; requests sent ahead wait in the kernel, not here.
* Bodies are taken as they are: nothing is decompressed, not even to throw it away.
* Malformed HTTP is answered 400 by the library, counted, and never printed; what it refuses otherwise is JSON here.
* The certificate may change at any time: it counts from the next handshake on, and who is inside stays.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial

from aiohttp import web

from gateway.core import codec

PLACES = 256  # an SMP needs a few; the process has at least 1,024 files, and sites need theirs
FROM_ONE = PLACES // 2  # so that one address alone cannot keep the SMP out
FIRST_WORD_S = 10.0
SILENCE_S = 75.0  # longer than the 60 s for which common clients keep a connection
HEADERS = 64  # a caller behind two proxies has about twenty
_HANDSHAKE_S = 10.0
_BACKLOG = 100
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_ROUND_S = 1.0
_LINGER_S = 1.0  # how long an answered body that nobody wants is still read, so that the answer is not lost in a reset


@asynccontextmanager
async def open_door(
    application: web.Application,
    host: str,
    port: int,
    tls: ssl.SSLContext,
    *,
    event: Callable[..., None],
    places: int = PLACES,
    from_one: int = FROM_ONE,
    first_word_s: float = FIRST_WORD_S,
) -> AsyncIterator[Door]:
    """Serve an application until left.

    Raises:
        OSError: the address is taken or not ours.
    """
    application.middlewares.append(_plain)
    application.on_response_prepare.append(_nameless)
    attending = _Attending()
    application.middlewares.append(attending.attend)
    runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=5.0)
    await runner.setup()
    try:
        server = runner.server
        if server is None:
            raise RuntimeError("the runner has no server after its set-up")
        handler = partial(_Handler, server, loop=asyncio.get_running_loop(), logger=_counting_logger(event))
        with ExitStack() as stack:
            sockets = [stack.enter_context(each) for each in await _listen(host, port)]
            bound = int(sockets[0].getsockname()[1])
            door = Door(server, handler, tls, port=bound, places=places, from_one=from_one)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(door.receive(each), name="door") for each in sockets]
                tasks.append(group.create_task(attending.watch(server, first_word_s), name="door watch"))
                try:
                    yield door
                finally:
                    for task in tasks:
                        task.cancel()
    finally:
        await runner.cleanup()


class Door:
    """A listener that is open: its port, and the certificate that it shows."""

    def __init__(
        self,
        server: web.Server,
        handler: Callable[[], web.RequestHandler],
        tls: ssl.SSLContext,
        *,
        port: int,
        places: int,
        from_one: int,
    ) -> None:
        self.port = port
        self._server = server
        self._handler = handler
        self._tls = tls
        self._places = places
        self._from_one = from_one
        self._arriving: dict[asyncio.Task[None], object] = {}  # handshake -> its household

    def show(self, tls: ssl.SSLContext) -> None:
        """Begin every handshake from now on with this context; connections that are there stay as they are."""
        self._tls = tls

    async def receive(self, listener: socket.socket) -> None:
        """Let in who comes to this socket and finds a place, until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    guest, peer = await loop.sock_accept(listener)
                except OSError as error:  # he left before he was asked in, or there is no file or memory left for him
                    if error.errno in _EXHAUSTED:
                        await asyncio.sleep(_ROUND_S)
                    continue
                household = _household(str(peer[0]))
                if not self._has_place(household):
                    guest.close()
                    continue
                task = group.create_task(self._let_in(guest), name="handshake")
                self._arriving[task] = household
                task.add_done_callback(self._arriving.pop)

    def _has_place(self, household: object) -> bool:
        inside = (each.transport for each in self._server.connections if each.transport is not None)
        peers = (transport.get_extra_info("peername") for transport in inside)
        households = [*(_household(str(peer[0])) for peer in peers if peer), *self._arriving.values()]
        return len(households) < self._places and households.count(household) < self._from_one

    async def _let_in(self, guest: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._handler, guest, ssl=self._tls, ssl_handshake_timeout=_HANDSHAKE_S
            )
        except (OSError, TimeoutError):  # whoever cannot speak TLS is nobody's concern
            guest.close()


class _Handler(web.RequestHandler):
    """The library's handler of one connection, within our bounds; what it refuses by itself looks like our refusals."""

    __slots__ = ()

    def __init__(self, server: web.Server, *, loop: asyncio.AbstractEventLoop, logger: logging.Logger) -> None:
        super().__init__(
            server,
            loop=loop,
            logger=logger,
            access_log=None,  # type: ignore[arg-type]  # the library's own way to have none
            auto_decompress=False,
            keepalive_timeout=SILENCE_S,
            lingering_time=_LINGER_S,
            max_headers=HEADERS,
        )

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Refuse what is no HTTP, and close; the library logs it, which counts it."""
        super().handle_error(request, status, exc, message)
        said = "malformed request" if status < 500 else "internal error"
        refusal = web.Response(
            status=status, body=codec.dumps({"error": said}), content_type="application/json", headers={"Server": ""}
        )
        refusal.force_close()
        return refusal


class _Attending:
    """Who is inside, and since when each has been silent."""

    def __init__(self) -> None:
        self._silent: dict[object, float] = {}  # connection -> when its silence began
        self._spoken: set[object] = set()
        self._busy: set[object] = set()

    @web.middleware
    async def attend(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Note that a connection has said a whole head, and when it was answered."""
        connection = request.protocol
        self._busy.add(connection)
        self._spoken.add(connection)
        try:
            return await handler(request)
        finally:
            self._busy.discard(connection)
            self._silent[connection] = asyncio.get_running_loop().time()

    async def watch(self, server: web.Server, first_word_s: float) -> None:
        """Show out who is silent for too long, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            inside = server.connections
            self._silent = {each: self._silent.get(each, loop.time()) for each in inside}
            self._spoken &= self._silent.keys()
            for connection in inside:
                patience = SILENCE_S if connection in self._spoken else first_word_s
                if connection not in self._busy and loop.time() - self._silent[connection] > patience:
                    connection.force_close()
            await asyncio.sleep(_ROUND_S)


async def _listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for every address that this host name has here."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(address[:2], family=family, backlog=_BACKLOG))
            for family, *_, address in dict.fromkeys(found)
        ]
        for each in sockets:
            each.setblocking(False)  # noqa: FBT003 - the socket's own way
        stack.pop_all()
    return sockets


def _household(host: str) -> object:
    """Whom a connection counts against: its address, or the network of 64 bits that one IPv6 customer is given."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return address
    return address.ipv4_mapped or int(address) >> 64


@web.middleware
async def _plain(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer in JSON also where the library refuses: another path or method."""
    try:
        return await handler(request)
    except web.HTTPException as refused:
        allowed = {name: refused.headers[name] for name in ("Allow",) if name in refused.headers}
        body = codec.dumps({"error": refused.reason.lower()})
        return web.Response(status=refused.status, body=body, content_type="application/json", headers=allowed)


async def _nameless(_request: web.Request, response: web.StreamResponse) -> None:
    """Tell nobody which software answers."""
    response.headers.pop("Server", None)


def _counting_logger(event: Callable[..., None]) -> logging.Logger:
    """A logger for the HTTP library whose complaints become events instead of tracebacks on the terminal."""

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            event("request_malformed", listener="callbacks", error=record.getMessage()[:200])

    logger = logging.Logger("door", level=logging.WARNING)  # noqa: LOG001 - outside of the process-wide registry on purpose
    logger.addHandler(Counting())
    return logger
