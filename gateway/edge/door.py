"""The door of a public TLS listener: how many may be inside, and how long somebody may stand there saying nothing.

Rules
-----
* Nobody who has not said a whole request head within :data:`FIRST_WORD_S` stays, nor anybody silent for
  :data:`SILENCE_S` after an answer; half a head is silence too.
* Beyond :data:`PLACES` connections a new one is closed at once, so that strangers cannot use up the process's files and
  take the sites' links and the health listener with them.
* Bodies are taken as they are: nothing is decompressed, not even to throw it away.
* Malformed HTTP is answered 400 by the library, counted, and never printed.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

PLACES = 256  # an SMP needs a few; the process has at least 1,024 files, and sites need theirs
FIRST_WORD_S = 10.0
SILENCE_S = 75.0  # longer than the 60 s for which common clients keep a connection
_HANDSHAKE_S = 10.0
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
    first_word_s: float = FIRST_WORD_S,
) -> AsyncIterator[int]:
    """Serve an application until left, and yield the port.

    Raises:
        OSError: the address is taken or not ours.
    """
    door = _Door(places, first_word_s)
    application.middlewares.append(door.attend)
    application.on_response_prepare.append(_nameless)
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=5.0,
        auto_decompress=False,
        keepalive_timeout=SILENCE_S,
        lingering_time=_LINGER_S,
        logger=_counting_logger(event),
    )
    await runner.setup()
    try:
        server = runner.server
        if server is None:
            raise RuntimeError("the runner has no server after its set-up")
        listener = await asyncio.get_running_loop().create_server(
            lambda: door.admit(server), host, port, ssl=tls, ssl_handshake_timeout=_HANDSHAKE_S
        )
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(door.watch(server), name="door watch")
            try:
                yield int(listener.sockets[0].getsockname()[1])
            finally:
                watch.cancel()
                listener.close()
    finally:
        await runner.cleanup()


class _Door:
    """Who is inside, and since when each has been silent."""

    def __init__(self, places: int, first_word_s: float) -> None:
        self._places = places
        self._first_word_s = first_word_s
        self._silent: dict[object, float] = {}  # connection -> when its silence began
        self._spoken: set[object] = set()
        self._busy: set[object] = set()

    def admit(self, server: web.Server) -> asyncio.Protocol:
        """Make the protocol of a new connection, or one that closes it."""
        return server() if len(server.connections) < self._places else _Closed()

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

    async def watch(self, server: web.Server) -> None:
        """Show out who is silent for too long, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            inside = server.connections
            self._silent = {each: self._silent.get(each, loop.time()) for each in inside}
            self._spoken &= self._silent.keys()
            for connection in inside:
                patience = SILENCE_S if connection in self._spoken else self._first_word_s
                if connection not in self._busy and loop.time() - self._silent[connection] > patience:
                    connection.force_close()
            await asyncio.sleep(_ROUND_S)


class _Closed(asyncio.Protocol):
    """What a connection gets for which there is no place."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


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
