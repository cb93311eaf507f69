"""A TCP proxy that does to a connection what networks do: delay nothing, lose nothing, until a test says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FaultProxy:
    """Stands on a port of its own in front of a server; faults touch every connection, old and new."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._answers_only = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._budget: int | None = None  # bytes that still pass towards the client; then the connection is cut
        self.slices = 0  # pass on at most so many bytes at once, 0 for as they come
        self.connections = 0
        self.port = 0

    async def open(self) -> None:
        """Listen; after `vanish` again on the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def freeze(self, *, answers_only: bool = False) -> None:
        """Pass nothing on, or no answers, and keep every connection open: a half-open link, a stopped process."""
        self._answers_only = answers_only
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass everything on, also what was held back."""
        self._flowing.set()

    def cut_after(self, count: int) -> None:
        """Pass so many more bytes towards the client, then reset the connection: in the middle of a frame."""
        self._budget = count

    @property
    def cutting(self) -> bool:
        """Whether a cut is still to come."""
        return self._budget is not None

    def passing(self, data: bytes) -> bytes:
        """What becomes of bytes on their way towards the client; a liar overrides it."""
        return data

    def rising(self, data: bytes) -> bytes:
        """What becomes of bytes on their way towards the server."""
        return data

    def reset(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def vanish(self) -> None:
        """Stop listening and reset every connection."""
        if self._server is not None:
            self._server.close()
            self.reset()
            self._server = None

    async def close(self) -> None:
        """End everything."""
        await self.vanish()
        self.thaw()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        for source, target, down in ((reader, up_writer, False), (up_reader, writer, True)):
            task = asyncio.create_task(self._pump(source, target, towards_client=down))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, towards_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if towards_client or not self._answers_only:
                    await self._flowing.wait()
                data = self.passing(data) if towards_client else self.rising(data)
                if towards_client and self._budget is not None:
                    data, self._budget = data[: self._budget], self._budget - len(data)
                for start in range(0, len(data), self.slices or len(data) or 1):
                    target.write(data[start : start + (self.slices or len(data))])
                    await target.drain()
                    if self.slices:
                        await asyncio.sleep(0)
                if towards_client and self._budget is not None and self._budget <= 0:
                    self._budget = None
                    self.reset()
                    return
        target.transport.abort()


@asynccontextmanager
async def fault_proxy(host: str, port: int) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(host, port)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
