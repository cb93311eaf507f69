"""The bench's site: a bare Modbus TCP slave (MBAP; FC3, FC6, FC16) that holds one standard mailbox and stamps it.

Stamps are CLOCK_MONOTONIC nanoseconds. An answer is stamped just before it is handed to the socket, a write when the
bytes that complete it were received.
"""

from __future__ import annotations

import asyncio
import struct
import time
from dataclasses import dataclass, field

from tests.bench import layout
from tests.bench.material import HOST

_HEADER = struct.Struct(">HHHB")  # transaction, protocol, length of unit and PDU, unit


@dataclass(slots=True)
class Marks:
    """When one request was first shown, and when its result came."""

    sequence: int
    shown: int = 0
    first_write: int = 0
    result: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Plc:
    """The site's registers, and what happened to the request under way."""

    def __init__(self) -> None:
        self.registers = [0] * layout.REGISTERS
        self.marks = Marks(sequence=0)
        self.connected = asyncio.Event()

    async def serve(self) -> int:
        """Listen until the process ends; return the port."""
        server = await asyncio.get_running_loop().create_server(lambda: _Wire(self), HOST, 0)
        return int(server.sockets[0].getsockname()[1])

    def ask(self, sequence: int) -> Marks:
        """Raise a request; REQUEST_SEQ is set last, as a PLC does."""
        self.marks = Marks(sequence=sequence)
        block = layout.request_block(sequence)
        for offset in (*range(1, layout.RESULT_ACK_SEQ), *range(layout.PAYLOAD, len(block))):
            self.registers[layout.BASE + offset] = block[offset]
        self.registers[layout.BASE] = sequence
        return self.marks

    def result(self) -> tuple[int, int]:
        """RESULT_FOR_SEQ and STATE as written last."""
        first = layout.RESULTS + layout.RESULT_FOR
        return self.registers[first], self.registers[first + 1]

    def showing(self, window: range) -> None:
        """Stamp the first answer that carries the new sequence."""
        shows = layout.BASE in window and self.registers[layout.BASE] == self.marks.sequence
        if shows and not self.marks.shown:
            self.marks.shown = time.monotonic_ns()

    def written(self, window: range, at: int) -> None:
        """Stamp the writes of the result block, and consume the result at once."""
        if layout.RESULTS + layout.RESULT_FOR in window and not self.marks.first_write:
            self.marks.first_write = at
        if layout.RESULTS + layout.RESULT_SEQ in window:
            self.registers[layout.BASE + layout.RESULT_ACK_SEQ] = self.registers[layout.RESULTS + layout.RESULT_SEQ]
            if not self.marks.result:
                self.marks.result = at
                self.marks.done.set()


class _Wire(asyncio.Protocol):
    """One connection."""

    def __init__(self, plc: Plc) -> None:
        self._plc = plc
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.WriteTransport):
            raise TypeError(transport)
        self._transport = transport
        self._plc.connected.set()

    def data_received(self, data: bytes) -> None:
        at = time.monotonic_ns()
        buffer = self._buffer
        buffer += data
        while len(buffer) > _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(buffer)
            end = 6 + length
            if len(buffer) < end:
                return
            pdu = bytes(buffer[_HEADER.size : end])
            del buffer[:end]
            answer = self._answer(pdu, at)
            frame = _HEADER.pack(transaction, protocol, len(answer) + 1, unit) + answer
            if pdu[0] == 3:
                first, count = struct.unpack_from(">HH", pdu, 1)
                self._plc.showing(range(first, first + count))
            if self._transport is not None:
                self._transport.write(frame)

    def _answer(self, pdu: bytes, at: int) -> bytes:
        function, (first, second), registers = pdu[0], struct.unpack_from(">HH", pdu, 1), self._plc.registers
        if function == 3 and first + second <= len(registers):
            return struct.pack(f">BB{second}H", 3, 2 * second, *registers[first : first + second])
        if function == 6 and first < len(registers):
            registers[first] = second
            self._plc.written(range(first, first + 1), at)
            return pdu
        if function == 16 and first + second <= len(registers):
            registers[first : first + second] = struct.unpack_from(f">{second}H", pdu, 6)
            self._plc.written(range(first, first + second), at)
            return pdu[:5]
        return bytes((function | 0x80, 1 if function not in {3, 6, 16} else 2))
