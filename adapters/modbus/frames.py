"""Modbus frames as a server meets them: MBAP, and the requests inside. Pure; bytes in, bytes out.

A frame is 7 bytes of header (transaction, protocol 0, length, unit) and a PDU (Modbus messaging on TCP/IP V1.0b,
3.1.3). Whatever is not that ends the connection: there is no way to find the next frame in a stream that went wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct(">HHHB")
_PDU_BYTES = 253  # ibid., 3.1.2


class FrameBroken(ValueError):
    """The stream is not Modbus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One request, or its answer."""

    transaction: int
    unit: int
    pdu: bytes

    def encode(self) -> bytes:
        """As it goes over the wire."""
        return _HEADER.pack(self.transaction, 0, len(self.pdu) + 1, self.unit) + self.pdu


class FrameStream:
    """Frames out of whatever pieces they come in."""

    def __init__(self) -> None:
        self._held = b""

    @property
    def waiting(self) -> bool:
        """Whether half a frame is held."""
        return bool(self._held)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now.

        Raises:
            FrameBroken: another protocol, or a length that no frame has.
        """
        self._held += data
        while len(self._held) >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(self._held)
            if protocol != 0:
                raise FrameBroken(f"protocol {protocol} is not Modbus")
            if not 2 <= length <= _PDU_BYTES + 1:
                raise FrameBroken(f"a frame of {length} bytes")
            end = _HEADER.size - 1 + length
            if len(self._held) < end:
                return
            pdu, self._held = self._held[_HEADER.size : end], self._held[end:]
            yield Frame(transaction=transaction, unit=unit, pdu=pdu)
