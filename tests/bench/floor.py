"""The floor: the least that any gateway in Python must do, as one bare loop on blocking sockets.

    python -m tests.bench.floor FOLDER MODBUS_PORT SMP_PORT POLL_MS

Up: the same three register reads per poll, the CRC, one FULL commit, one ES256 signature, one POST on a warm TLS
connection. Down: the callback from a TLS socket, ES256 verification, one FULL commit, the same three register writes.
No state machine, no restart rules, no tenants, no configuration, no evidence. It prints its callback port and ends when
the peers do.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import ssl
import struct
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import apsw

from tests.bench import jose, layout, material
from tests.bench.smp import parse_head, post

_TABLES = """
CREATE TABLE request (id TEXT PRIMARY KEY, sequence INTEGER, raw BLOB, body BLOB, header TEXT) STRICT;
CREATE TABLE callback (jti TEXT PRIMARY KEY, body BLOB, signature TEXT) STRICT;
"""
_MBAP = struct.Struct(">HHHB")


class Device:
    """Modbus TCP, one request at a time."""

    def __init__(self, port: int) -> None:
        self._socket = _connect(port)
        self._transaction = 0

    def read(self, first: int, count: int) -> tuple[int, ...]:
        answer = self._ask(struct.pack(">BHH", 3, first, count))
        return struct.unpack_from(f">{count}H", answer, 2)

    def write(self, first: int, values: Sequence[int]) -> None:
        count = len(values)
        self._ask(struct.pack(f">BHHB{count}H", 16, first, count, 2 * count, *values))

    def _ask(self, pdu: bytes) -> bytes:
        self._transaction = (self._transaction + 1) & 0xFFFF
        self._socket.sendall(_MBAP.pack(self._transaction, 0, len(pdu) + 1, 1) + pdu)
        frame = b""
        while len(frame) < 6 or len(frame) < 6 + int.from_bytes(frame[4:6], "big"):
            frame += _received(self._socket)
        return frame[7:]


class Floor:
    """One site, one SMP, one disk."""

    def __init__(self, folder: Path, modbus_port: int, smp_port: int, poll_s: float) -> None:
        self._poll_s = poll_s
        self._signing = material.read_key(folder / material.PARTICIPANT_KEY)
        self._trusted = material.read_key(folder / material.SMP_KEY).public_key()
        self._audience = f"https://{material.HOST}:{smp_port}/assets"
        self._journal = apsw.Connection(str(folder / "floor.db"))
        for pragma, value in (("journal_mode", "wal"), ("synchronous", "full"), ("wal_autocheckpoint", 0)):
            self._journal.pragma(pragma, value)
        self._journal.execute(_TABLES)
        self._device = Device(modbus_port)
        self._smp = material.client_tls(folder).wrap_socket(_connect(smp_port), server_hostname=material.HOST)
        self._callbacks = _accept(folder)
        self._last = 0
        self._result_seq = 0
        self._sequences: dict[str, int] = {}  # transaction id -> request

    def run(self) -> None:
        """Poll, and serve callbacks in between, until a peer is gone."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._callbacks, selectors.EVENT_READ)
            due = time.monotonic()
            while True:
                wait = due - time.monotonic()
                if wait > 0 and selector.select(wait):
                    self._down()
                elif wait <= 0:
                    due = time.monotonic() + self._poll_s
                    if self._up():
                        due = time.monotonic()

    def _up(self) -> bool:
        """One poll and what it asks for; True when the request was being written meanwhile, so look again at once."""
        self._device.read(layout.RESULTS, 2)
        block = self._device.read(layout.BASE, layout.BLOCK)
        again = self._device.read(layout.BASE, 1)[0]
        sequence = block[layout.REQUEST_SEQ]
        if again != sequence:
            return True
        if sequence != self._last and layout.whole(block):
            self._send(sequence, block)
        return False

    def _send(self, sequence: int, block: Sequence[int]) -> None:
        message_id = str(_uuid())
        body = layout.submission(message_id, block[layout.PAYLOAD :])
        header = jose.header(
            key_id=material.PARTICIPANT_KEY_ID,
            typ="smp-request+jws",
            iat=int(time.time()),
            jti=str(_uuid()),
            aud=self._audience,
        )
        raw = struct.pack(f">{len(block)}H", *block)
        self._journal.execute(
            "INSERT INTO request VALUES (?, ?, ?, ?, ?)", (message_id, sequence, raw, body, json.dumps(header))
        )
        signature = jose.sign(self._signing, header, body)
        headers = {"Authorization": "Bearer bench-token", "X-Message-Id": message_id, "X-JWS-Signature": signature}
        self._smp.sendall(post("/assets", body, headers))
        self._device.write(layout.RESULTS + layout.ACK_SEQ, [sequence])
        self._last = sequence
        _, answer = _request(self._smp)
        self._sequences[json.loads(answer)["transactionId"]] = sequence

    def _down(self) -> None:
        headers, body = _request(self._callbacks)
        signature = headers["x-jws-signature"]
        header = jose.verify(self._trusted, signature, body)
        if header is None:
            raise ValueError("the callback's signature does not hold")
        verdict = json.loads(body)
        self._journal.execute("INSERT INTO callback VALUES (?, ?, ?)", (str(header["jti"]), body, signature))
        state = layout.COMPLETED if verdict["status"] == "Success" else 0
        sequence = self._sequences.pop(verdict["transactionId"])
        self._result_seq = self._result_seq % layout.SEQUENCES + 1
        self._device.write(layout.RESULTS + layout.RESULT_FOR, [sequence, state, len(verdict["errors"])])
        self._device.write(layout.RESULTS + layout.TEXT, [0] * layout.TEXT_REGISTERS)
        self._device.write(layout.RESULTS + layout.RESULT_SEQ, [self._result_seq])
        answer = json.dumps({"messageId": verdict["messageId"], "ack": "Accepted"}).encode()
        self._callbacks.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))


def _uuid() -> uuid.UUID:
    return uuid.UUID(bytes=os.urandom(16), version=4)


def _request(wire: socket.socket) -> tuple[dict[str, str], bytes]:
    """One HTTP message, whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(wire)
    head, _, body = data.partition(b"\r\n\r\n")
    headers = parse_head(head)[1]
    while len(body) < int(headers["content-length"]):
        body += _received(wire)
    return headers, body


def _received(wire: socket.socket) -> bytes:
    data = wire.recv(65536)
    if not data:
        raise EOFError
    return data


def _connect(port: int) -> socket.socket:
    wire = socket.create_connection((material.HOST, port))
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return wire


def _accept(folder: Path) -> ssl.SSLSocket:
    """Tell the port, and take the one connection that callbacks come on."""
    with socket.create_server((material.HOST, 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        wire, _ = listener.accept()
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return material.server_tls(folder).wrap_socket(wire, server_side=True)


def main(arguments: list[str]) -> int:
    """Run until the peers are gone."""
    folder, modbus_port, smp_port, poll_ms = arguments
    floor = Floor(Path(folder), int(modbus_port), int(smp_port), float(poll_ms) / 1000)
    with suppress(EOFError, ConnectionError):
        floor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
