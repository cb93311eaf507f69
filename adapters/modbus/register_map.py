"""The registers that we show to a master: what they hold, who may write them, and how a request is answered. Pure.

Rules
-----
* The site's own registers (mailbox blocks, points that are read) are the master's to write; ours (result blocks, points
  with ``access: write``) it may only read. A write that touches anything else changes nothing and is refused.
* A request is answered as a whole: all of it, or an exception code and no change.
* A read that touches one of our addresses may also cover the gaps between them, which hold 0: masters join their reads.
* A point has no value before the master wrote all of it since our start; the number of a mailbox is such a point too,
  because an empty register after *our* restart is not a site that began anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapters.modbus.addresses import ADDRESSES, Table
from adapters.modbus.config import BITS_PER_READ, REGISTERS_PER_READ
from adapters.modbus.translation import Point
from gateway.core.mailbox import MailboxSpec
from gateway.core.point import Access

Cell = tuple[Table, int]

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
_REGISTERS_PER_WRITE, _BITS_PER_WRITE, _REGISTERS_PER_EXCHANGE = 123, 1968, 121  # Modbus V1.1b3, 6.12, 6.11, 6.17
_READS = {1: Table.COIL, 2: Table.DISCRETE, 3: Table.HOLDING, 4: Table.INPUT}
_ON = 0xFF00  # ibid., 6.5


class _Refused(Exception):
    """The exception code to answer with."""

    def __init__(self, code: int) -> None:
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The PDU to answer with, and the cells that the request read and wrote."""

    pdu: bytes
    read: frozenset[Cell] = frozenset()
    wrote: frozenset[Cell] = frozenset()


class RegisterMap:
    """All cells of one connection; kept for as long as the process lives."""

    def __init__(self, points: Iterable[Point], mailboxes: Mapping[str, MailboxSpec]) -> None:
        self._cells: dict[Cell, int] = {}
        self._theirs: set[Cell] = set()
        self._ours: set[Cell] = set()
        self._blank: set[Cell] = set()
        for point in points:
            cells = {(point.table, address) for address in point.place.window}
            if point.place.scale_factor is not None:
                cells.add((point.table, point.place.scale_factor.register))
            if point.spec.access is Access.WRITE:
                self._ours |= cells
            else:
                self._theirs |= cells
                self._blank |= cells
        for box in mailboxes.values():
            block = {(Table.HOLDING, address) for part in box.site_blocks for address in part}
            self._theirs |= block
            self._blank -= block
            self._blank |= {(Table.HOLDING, address) for address in box.site_block[:1]}
            self._ours |= {(Table.HOLDING, address) for address in box.host_block}

    # ------------------------------------------------------------ our own program
    def read(self, table: Table, window: range) -> list[int] | None:
        """What these cells hold; None when the master has not written all that a value needs."""
        if any((table, address) in self._blank for address in window):
            return None
        return [self._cells.get((table, address), 0) for address in window]

    def write(self, table: Table, address: int, values: Sequence[int]) -> None:
        """Change cells as our own program does."""
        self._cells.update(((table, at), int(value)) for at, value in enumerate(values, start=address))

    # ------------------------------------------------------------ a master's requests
    def answer(self, pdu: bytes) -> Reply:
        """Answer one request."""
        function = pdu[0]
        act = {
            5: self._write_coil,
            6: self._write_register,
            15: self._write_coils,
            16: self._write_registers,
            23: self._exchange,
        }.get(function, self._answer_read if function in _READS else None)
        if act is None:
            return Reply(pdu=bytes([function | 0x80, ILLEGAL_FUNCTION]))
        try:
            return act(pdu)
        except _Refused as refused:
            return Reply(pdu=bytes([function | 0x80, refused.code]))

    def _answer_read(self, pdu: bytes) -> Reply:
        table = _READS[pdu[0]]
        address, count = _numbers(pdu, 2, exactly=5)
        window = _window(address, count, BITS_PER_READ if table.bits else REGISTERS_PER_READ)
        values, cells = self._shown(table, window)
        data = _packed(values) if table.bits else struct.pack(f">{count}H", *values)
        return Reply(pdu=bytes([pdu[0], len(data)]) + data, read=cells)

    def _write_coil(self, pdu: bytes) -> Reply:
        address, value = _numbers(pdu, 2, exactly=5)
        if value not in {0, _ON}:
            raise _Refused(ILLEGAL_VALUE)
        return Reply(pdu=pdu, wrote=self._take(Table.COIL, address, [value == _ON]))

    def _write_register(self, pdu: bytes) -> Reply:
        address, value = _numbers(pdu, 2, exactly=5)
        return Reply(pdu=pdu, wrote=self._take(Table.HOLDING, address, [value]))

    def _write_coils(self, pdu: bytes) -> Reply:
        address, count = _numbers(pdu, 2)
        data = _data(pdu, 5, -(-count // 8))
        _window(address, count, _BITS_PER_WRITE)
        bits = [data[index // 8] >> index % 8 & 1 for index in range(count)]
        return Reply(pdu=pdu[:5], wrote=self._take(Table.COIL, address, bits))

    def _write_registers(self, pdu: bytes) -> Reply:
        address, count = _numbers(pdu, 2)
        data = _data(pdu, 5, 2 * count)
        _window(address, count, _REGISTERS_PER_WRITE)
        return Reply(pdu=pdu[:5], wrote=self._take(Table.HOLDING, address, struct.unpack(f">{count}H", data)))

    def _exchange(self, pdu: bytes) -> Reply:
        """Function 23: the write comes before the read; where either cannot be, neither is."""
        first, count, address, length = _numbers(pdu, 4)
        data = _data(pdu, 9, 2 * length)
        window = _window(first, count, REGISTERS_PER_READ)
        _window(address, length, _REGISTERS_PER_EXCHANGE)
        self._shown(Table.HOLDING, window)
        wrote = self._take(Table.HOLDING, address, struct.unpack(f">{length}H", data))
        values, cells = self._shown(Table.HOLDING, window)
        shown = struct.pack(f">{count}H", *values)
        return Reply(pdu=bytes([pdu[0], len(shown)]) + shown, read=cells, wrote=wrote)

    def _shown(self, table: Table, window: range) -> tuple[list[int], frozenset[Cell]]:
        cells = frozenset((table, address) for address in window)
        if not (cells & self._ours or cells & self._theirs):
            raise _Refused(ILLEGAL_ADDRESS)
        return [self._cells.get((table, address), 0) for address in window], cells

    def _take(self, table: Table, address: int, values: Sequence[int]) -> frozenset[Cell]:
        cells = frozenset((table, address + index) for index in range(len(values)))
        if not cells <= self._theirs:
            raise _Refused(ILLEGAL_ADDRESS)
        self.write(table, address, values)
        self._blank -= cells
        return cells


def _numbers(pdu: bytes, count: int, *, exactly: int | None = None) -> tuple[int, ...]:
    """The first numbers of a request, of two bytes each."""
    if len(pdu) < 1 + 2 * count or (exactly is not None and len(pdu) != exactly):
        raise _Refused(ILLEGAL_VALUE)
    return struct.unpack_from(f">{count}H", pdu, 1)


def _data(pdu: bytes, at: int, length: int) -> bytes:
    """The values of a write, which must be as long as it says, twice."""
    if len(pdu) != at + 1 + length or pdu[at] != length:
        raise _Refused(ILLEGAL_VALUE)
    return pdu[at + 1 :]


def _window(address: int, count: int, most: int) -> range:
    if not 1 <= count <= most:
        raise _Refused(ILLEGAL_VALUE)
    if address + count > ADDRESSES:
        raise _Refused(ILLEGAL_ADDRESS)
    return range(address, address + count)


def _packed(bits: Sequence[int]) -> bytes:
    data = bytearray(-(-len(bits) // 8))
    for index, bit in enumerate(bits):
        data[index // 8] |= bit << index % 8
    return bytes(data)
