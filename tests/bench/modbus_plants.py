"""Plants of the Modbus bench: every connection is one, with registers of which a tenth change with every read.

Takes lines on stdin (port, polling, begin, end) and answers each with one line of JSON. Ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time

from tests.bench.modbus import PERIOD_S

_HEADER = struct.Struct(">HHHBBHH")  # MBAP, then a read of holding registers
_LATE_S = 1.1 * PERIOD_S


class Plants:
    """All of them."""

    def __init__(self) -> None:
        self.connections: set[Plant] = set()
        self.reads = self.late = 0
        self.counting = False


class Plant(asyncio.Protocol):
    """One connection."""

    def __init__(self, plants: Plants) -> None:
        self._plants = plants
        self._held = b""
        self._reads = 0
        self._before: float | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._plants.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._held += data
        while len(self._held) >= _HEADER.size and self._transport is not None:
            transaction, _, _, unit, function, _, count = _HEADER.unpack_from(self._held)
            self._held = self._held[_HEADER.size :]
            self._reads += 1
            self._plants.connections.add(self)
            changing = count // 10
            values = [(self._reads + index) % 65536 if index < changing else index for index in range(count)]
            body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *values)
            self._transport.write(struct.pack(">HHH", transaction, 0, len(body)) + body)
            self._count(now)

    def _count(self, now: float) -> None:
        if self._plants.counting:
            self._plants.reads += 1
            self._plants.late += self._before is not None and now - self._before > _LATE_S
        self._before = now


async def main() -> None:
    loop = asyncio.get_running_loop()
    plants = Plants()
    server = await loop.create_server(lambda: Plant(plants), "127.0.0.1", 0, backlog=2048)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().strip():
        if line == "begin":
            plants.reads = plants.late = 0
        plants.counting = line == "begin" or (plants.counting and line != "end")
        told = {
            "port": server.sockets[0].getsockname()[1],
            "connections": len(plants.connections),
            "reads": plants.reads,
            "late": plants.late,
        }
        print(json.dumps(told), flush=True)  # noqa: T201 - to the bench


asyncio.run(main())
