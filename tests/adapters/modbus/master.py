"""A SCADA as master of our register map, by bytes of its own: what it raises, reads and consumes."""

from __future__ import annotations

import asyncio
import random
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Self

from adapters.modbus.config import ModbusConnection, ModbusPoint
from adapters.modbus.server import ModbusServerAdapter
from gateway.core.mailbox import MailboxSpec, crc32
from gateway.core.point import Access, PointSpec
from gateway.ports import ConnectionConfig, Resources, Session
from tests.adapters.modbus.rig import CountingClock, NoEntropy, no_secret, no_tls

BOX = MailboxSpec(name="scada", connection="scada", base=1000, results=1200)
POINTS: Mapping[str, Mapping[str, object]] = {
    "export_limit": {"address": "holding:1006", "type": "int16"},
    "level": {"address": "holding:2000", "type": "uint32"},
    "breaker": {"address": "coil:3"},
    "smp_state": {"address": "input:100", "type": "uint16"},
    "smp_lamp": {"address": "discrete:7"},
}
OURS = frozenset({"smp_state", "smp_lamp"})


@dataclass
class ServerRig:
    """Our listener, on a free port of this machine."""

    settings: Mapping[str, object] = field(default_factory=dict)
    mailboxes: Mapping[str, MailboxSpec] = field(default_factory=lambda: {"scada": BOX})
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    tls: Callable[[], ssl.SSLContext] | None = None

    def adapter(self) -> ModbusServerAdapter:
        resources = Resources(
            clock=CountingClock(),
            entropy=NoEntropy(),
            event=lambda name, **fields: self.events.append((name, fields)),
            secret=no_secret,
            server_tls=no_tls if self.tls is None else lambda *_: self.tls and self.tls(),
        )
        return ModbusServerAdapter(self.connection(), resources)

    def connection(self) -> ConnectionConfig:
        members = {"role": "server", "listen": "127.0.0.1:0", "allow": ["127.0.0.1/32"], "poll": "10ms"}
        points = {
            name: (
                PointSpec(name=name, connection="scada", access=Access.WRITE if name in OURS else Access.READ),
                ModbusPoint.model_validate(place),
            )
            for name, place in POINTS.items()
        }
        points["export_limit"] = (replace(points["export_limit"][0], scale=Decimal("0.1")), points["export_limit"][1])
        return ConnectionConfig(
            site="hams-bess",
            name="scada",
            settings=ModbusConnection.model_validate({**members, **self.settings}),
            points=points,
            mailboxes=self.mailboxes,
        )


class Master:
    """One connection of a master; each call waits for its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._transaction = 0

    @classmethod
    @asynccontextmanager
    async def at(cls, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def frame(self, pdu: bytes, unit: int = 1) -> bytes:
        self._transaction = (self._transaction + 1) % 65536
        return struct.pack(">HHHB", self._transaction, 0, len(pdu) + 1, unit) + pdu

    async def answer(self) -> tuple[int, bytes]:
        """The next answer's transaction and PDU."""
        transaction, protocol, length, _ = struct.unpack(">HHHB", await self.reader.readexactly(7))
        assert protocol == 0
        return transaction, await self.reader.readexactly(length - 1)

    async def ask(self, pdu: bytes, unit: int = 1) -> bytes:
        self.writer.write(self.frame(pdu, unit))
        transaction, answer = await self.answer()
        assert transaction == self._transaction
        return answer

    async def read(self, address: int, count: int = 1, function: int = 3) -> list[int]:
        answer = await self.ask(struct.pack(">BHH", function, address, count))
        assert answer[0] == function, answer.hex()
        return list(struct.unpack(f">{count}H", answer[2:]))

    async def write(self, address: int, values: Sequence[int]) -> None:
        data = struct.pack(f">{len(values)}H", *values)
        answer = await self.ask(struct.pack(">BHHB", 16, address, len(values), len(data)) + data)
        assert answer == struct.pack(">BHH", 16, address, len(values)), answer.hex()

    async def request(self, sequence: int, payload: Sequence[int]) -> None:
        """Raise a request: the block first, its number last."""
        crc = crc32([sequence, 1, len(payload), *payload])
        await self.write(1001, [1, len(payload), crc >> 16, crc & 0xFFFF])
        await self.write(1006, payload)
        await self.write(1000, [sequence])

    async def until(self, address: int, value: int) -> None:
        while await self.read(address) != [value]:
            pass


@asynccontextmanager
async def serving(rig: ServerRig) -> AsyncIterator[tuple[Session, Master]]:
    """A session, and a master that is connected to it."""
    adapter = rig.adapter()
    async with asyncio.timeout(60), adapter.connect() as session, Master.at(adapter.port) as master:
        yield session, master


def hostile(dice: random.Random, master: Master) -> bytes:
    """A stream that is random, or a frame that nearly is one."""
    pdu = bytes([dice.choice([3, 4, 5, 6, 15, 16, 22, 23, 43, 0x83])]) + dice.randbytes(dice.randrange(12))
    if dice.random() < 0.5:
        pdu = struct.pack(">BHHB", 16, 1200 + dice.randrange(38), 1, 2) + dice.randbytes(2)
    frame = bytearray(master.frame(pdu, unit=dice.choice([0, 1, 1, 1, 7])))
    if dice.random() < 0.3:
        frame[dice.randrange(len(frame))] = dice.randrange(256)
    return bytes(frame[: dice.randrange(len(frame)) + 1] if dice.random() < 0.2 else frame)


async def ended(master: Master) -> bytes:
    """Everything that a connection still says, until it ends."""
    try:
        return await master.reader.read()
    except ConnectionError:
        return b""
