"""The library's traps, shown on its naive use and on ours: what a rewrite would walk into, and this adapter does not.

T1 (a late serial answer taken for the next one's) is in test_transport.py, and so is the whole conversation inside TLS.
"""

from __future__ import annotations

import asyncio
import struct
from decimal import Decimal

import pytest
from pymodbus.client import AsyncModbusTcpClient, AsyncModbusTlsClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.framer import FramerSocket, FramerTLS
from pymodbus.pdu import DecodePDU

from adapters.modbus.simulator import ModbusSite
from gateway.errors import LinkLost
from gateway.ports import PointWrite
from tests.adapters.modbus.master import Master, ServerRig, serving
from tests.adapters.modbus.rig import MAILBOX, Rig, reading
from tests.adapters.modbus.test_transport import Pki
from tests.ports import free_ports

PIPELINED = 3


async def answered(master: Master) -> list[int]:
    """Ask several things in one segment and then one more; the transactions answered until the last one is."""
    sent = b"".join(master.frame(struct.pack(">BHH", 3, 1200 + index, 1)) for index in range(PIPELINED))
    master.writer.write(sent)
    found = [(await master.answer())[0]]
    master.writer.write(master.frame(struct.pack(">BHH", 3, 1200, 1)))
    while found[-1] != PIPELINED + 1:
        found.append((await master.answer())[0])
    return found


async def test_t2_the_librarys_server_leaves_pipelined_requests_unanswered() -> None:
    """Three in one segment: not all are answered; by our own listener they are, in their order."""
    async with asyncio.timeout(60), ModbusSite(MAILBOX) as naive, Master.at(naive.port) as master:
        assert set(await answered(master)) != {1, 2, 3, 4}
    async with serving(ServerRig()) as (_, master):
        assert await answered(master) == [1, 2, 3, 4]


async def test_t3_the_librarys_client_never_tries_its_first_connect_again() -> None:
    """The plant comes up a little later: the naive client stays dead, our next session is there."""
    (port,) = free_ports(1)
    site = ModbusSite(MAILBOX, port=port)
    rig = Rig(site)
    naive = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=1)
    async with asyncio.timeout(60):
        assert not await naive.connect()
        with pytest.raises(LinkLost, match="cannot be reached"):
            async with rig.adapter().connect():
                pass
        async with site:
            site.set_registers(2000, [7])
            with pytest.raises(ConnectionException):
                await naive.read_holding_registers(2000, count=1, device_id=1)
            async with rig.adapter().connect() as session:
                assert (await reading(session, "level")).value == Decimal(7)
    naive.close()


async def test_t3_the_librarys_retries_write_a_command_again() -> None:
    """A plant that takes the write and is slow to say so: the naive client commands it again and again, ours once."""
    async with asyncio.timeout(60), ModbusSite(MAILBOX) as site:
        naive = AsyncModbusTcpClient(site.host, port=site.port, timeout=0.1)
        assert await naive.connect()
        site.freeze()
        with pytest.raises(ModbusException):
            await naive.write_register(1300, 2, device_id=1)
        naive.close()
        site.thaw()
        assert sum(each.values is not None for each in site.log) > 1
    async with asyncio.timeout(60), ModbusSite(MAILBOX) as site:
        rig = Rig(site, timeout="300ms", poll="10s")
        async with rig.adapter().connect() as session:
            await session.read()
            site.freeze()
            with pytest.raises(LinkLost):
                await session.write([PointWrite(point="smp_state", value=Decimal(2))])
        site.thaw()
        assert sum(each.values is not None for each in site.log) == 1


async def test_t4_the_librarys_tls_client_hides_why() -> None:
    """A device of another CA is a bare False there, and a lost link with its reason here."""
    pki = Pki()
    async with asyncio.timeout(60), ModbusSite(MAILBOX, tls=pki.device) as site:
        stranger = AsyncModbusTlsClient(
            site.host, port=site.port, sslctx=pki.client(shown=pki.ours, trust=pki.ours), timeout=1
        )
        assert await stranger.connect() is False
        rig = Rig(site, settings={"transport": "tls", "ca": "file:ca.pem"})
        rig.client_tls = lambda *_: pki.client(shown=pki.ours, trust=pki.ours)
        with pytest.raises(LinkLost, match="certificate verify failed"):
            async with rig.adapter().connect():
                pass
        stranger.close()


def test_t4_the_librarys_tls_frames_are_never_put_together() -> None:
    """Half an answer is a whole one to its TLS framer; that of TCP, which our line has inside TLS too, waits on."""
    answer = struct.pack(">HHHBBB100H", 7, 0, 203, 1, 3, 200, *range(100))
    half = answer[:120]
    assert FramerTLS(DecodePDU(is_server=False)).decode(half)[0] == len(half)
    assert FramerSocket(DecodePDU(is_server=False)).decode(half)[0] == 0
    assert FramerSocket(DecodePDU(is_server=False)).decode(answer)[0] == len(answer)
