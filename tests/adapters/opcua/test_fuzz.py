"""Bytes of a server that mean nothing: a session ends with LinkLost or goes on; nothing else comes out of it (P17)."""

from __future__ import annotations

import asyncio
import contextlib
import random

from adapters.opcua.client import OpcuaSession
from gateway.errors import LinkLost, PointRejected
from gateway.ports import PointWrite
from tests.adapters.fault_proxy import FaultProxy
from tests.adapters.opcua.rig import Rig

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
        if not self.lying or len(data) <= _HEADER:
            return data
        changed = bytearray(data)
        for _ in range(self.dice.randint(1, 4)):
            changed[self.dice.randrange(_HEADER, len(changed))] = self.dice.randrange(256)
            self.lies += 1
        return bytes(changed)


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
