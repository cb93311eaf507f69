"""Bytes that mean nothing, from a site's server or the clients of ours, cost their connection at most (P17)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from decimal import Decimal

from asyncua import ua
from asyncua.common.utils import ServiceError

from adapters.opcua.client import OpcuaSession
from gateway.core.transaction import State
from gateway.errors import LinkLost, PointRejected
from gateway.ports import Committed, PointWrite
from tests.adapters.fault_proxy import FaultProxy
from tests.adapters.opcua.rig import Rig
from tests.adapters.opcua.server_rig import ServerRig, call, put, serve, shows

CASES = 3_000
SEED = 20261125
_HEADER = 24  # of a message: its type, size and channel; broken ones end the connection at once and teach nothing


class LyingProxy(FaultProxy):
    """Changes bytes of messages towards the client, behind their headers."""

    def __init__(self, host: str, port: int, dice: random.Random) -> None:
        super().__init__(host, port)
        self.dice = dice
        self.lies = 0
        self.lying = False

    def passing(self, data: bytes) -> bytes:
        return self.lied(data)

    def lied(self, data: bytes) -> bytes:
        """The data with a few bytes changed."""
        if not self.lying or len(data) <= _HEADER:
            return data
        changed = bytearray(data)
        for _ in range(self.dice.randint(1, 4)):
            changed[self.dice.randrange(_HEADER, len(changed))] = self.dice.randrange(256)
            self.lies += 1
        return bytes(changed)


class LyingClients(LyingProxy):
    """Changes bytes of messages towards the server instead."""

    def passing(self, data: bytes) -> bytes:
        return data

    def rising(self, data: bytes) -> bytes:
        return self.lied(data)


async def test_a_lying_server_is_a_lost_link_at_worst(rig: Rig) -> None:
    """Thousands of changed bytes in real answers and notifications; the site boundary sees LinkLost, or nothing."""
    dice = random.Random(SEED)
    proxy = LyingProxy("127.0.0.1", rig.site.port, dice)
    await proxy.open()
    rig.proxy, rig.timeout, rig.publish, rig.silence = proxy, "200ms", "10ms", "250ms"
    try:
        async with asyncio.timeout(500):
            while proxy.lies < CASES:
                proxy.lying = dice.random() < 0.1  # now and then from the first byte on
                with contextlib.suppress(LinkLost):
                    async with rig.adapter().connect() as session:
                        assert isinstance(session, OpcuaSession)
                        proxy.lying = True
                        for number in range(30):
                            await rig.site.set_raw("level", number)
                            with contextlib.suppress(PointRejected):
                                await session.write([PointWrite(point="permit", value=True)])
                            assert await session.read()
    finally:
        await proxy.close()


async def test_lying_clients_change_nothing_and_disturb_nobody() -> None:
    """Thousands of changed bytes in calls, writes and reads: our nodes stay as they are, and the honest are served."""
    rig = ServerRig()
    ours = ("Plant.limit", "Plant.text", "SMP.Result.Sequence", "SMP.Result.Id")
    async with rig.listening() as session:
        await session.write([PointWrite(point="limit", value=Decimal(5)), PointWrite(point="text", value="as it was")])
        proxy = LyingClients("127.0.0.1", rig.port, random.Random(SEED))
        await proxy.open()
        serving = asyncio.create_task(serve(session, Committed(message_id="0b1e", state=State.ACCEPTED)))
        try:
            async with asyncio.timeout(500), rig.client() as honest:
                before = [await shows(honest, name) for name in ours]
                while proxy.lies < CASES:
                    await _lie_once(rig, proxy)
                    await put(honest, "Plant.soc", 1.0, ua.VariantType.Double)
                    assert (await call(honest, "A", "{}")).StatusCode.is_good()
                assert [await shows(honest, name) for name in ours] == before
            assert not serving.done()
        finally:
            serving.cancel()
            await proxy.close()


async def _lie_once(rig: ServerRig, proxy: LyingProxy) -> None:
    """One connection, honest or not from the first byte on, as long as it lasts."""
    proxy.lying = proxy.dice.random() < 0.1
    client = rig.client(proxy.port)
    client.uaclient._timeout = 0.05  # what was garbled is never answered
    with contextlib.suppress(OSError, LookupError, ValueError, ua.UaError, ServiceError, asyncio.CancelledError):
        async with asyncio.timeout(3):
            await client.connect()
            proxy.lying = True
            for number in range(20):
                with contextlib.suppress(ua.UaStatusCodeError):
                    await call(client, f"A-{number}", '{"power": 12.5}')
                with contextlib.suppress(ua.UaStatusCodeError):
                    await put(client, "Plant.soc", float(number), ua.VariantType.Double)
    client.disconnect_socket()
