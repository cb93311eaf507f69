"""The traps of the OPC UA library that a session must not fall into: each fails on the naive use (T5, T7, T9)."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from asyncua import Client, ua
from asyncua.common.subscription import DataChangeEvent

from gateway.errors import LinkLost
from gateway.ports import PointWrite
from tests.adapters.opcua.rig import Rig, request, status
from tests.adapters.opcua.test_client import connected, node

_PERIOD_MS = 20
_QUEUE = 1000  # of the library's own, where nobody says otherwise


class Ear:
    """A subscription's handler, that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self._changed = asyncio.Event()

    def datachange_notification(self, _node: object, value: object, _data: object) -> None:
        self.heard.append(value)
        self._changed.set()

    async def hears(self, value: object) -> None:
        while value not in self.heard:
            self._changed.clear()
            await self._changed.wait()


async def test_t5_the_library_stays_connected_to_a_dead_subscription(rig: Rig) -> None:
    """Its client reads on, is told of nothing, and says that all is well; ours is a lost link."""
    rig.silence = "300ms"
    assert rig.site.server is not None
    service = rig.site.server.iserver.subscription_service
    async with Client(f"opc.tcp://127.0.0.1:{rig.site.port}") as naive, connected(rig) as session:
        deaf, control = Ear(), Ear()
        await (await naive.create_subscription(_PERIOD_MS, deaf)).subscribe_data_change(naive.get_node(node("level")))
        await deaf.hears(0)
        await status(session)
        await service.delete_subscriptions(list(service.subscriptions))
        await rig.site.set_raw("level", 7)
        await (await naive.create_subscription(_PERIOD_MS, control)).subscribe_data_change(
            naive.get_node(node("level"))
        )
        await control.hears(7)
        assert await naive.get_node(node("level")).read_value() == 7
        assert deaf.heard == [0]
        with pytest.raises(LinkLost):
            await request(session)


async def test_t7_the_library_drops_what_nobody_took_without_a_word(rig: Rig) -> None:
    """Its iterator begins in the middle, and no event says that something is missing."""
    async with asyncio.timeout(60), Client(f"opc.tcp://127.0.0.1:{rig.site.port}") as naive:
        level = naive.get_node(node("level"))
        events, ear = await naive.create_subscription(_PERIOD_MS), Ear()
        await events.subscribe_data_change(level, queuesize=2 * _QUEUE)
        await (await naive.create_subscription(2 * _PERIOD_MS, ear)).subscribe_data_change(level)
        for value in range(1, _QUEUE + 501):
            await rig.site.set_raw("level", value)
        await ear.hears(_QUEUE + 500)
        told: list[object] = []
        async for event in events:
            assert isinstance(event, DataChangeEvent)
            assert event.data.monitored_item.Value.StatusCode == ua.StatusCode()
            told.append(event.value)
            if event.value == _QUEUE + 500:
                break
    assert 1 not in told


async def test_t9_the_library_writes_a_plain_number_as_another_type(rig: Rig) -> None:
    """A number of Python's becomes an Int64, which a node of another type refuses; ours is of the node's own type."""
    async with Client(f"opc.tcp://127.0.0.1:{rig.site.port}") as naive, connected(rig) as session:
        with pytest.raises(ua.uaerrors.BadTypeMismatch):
            await naive.get_node(node("smp_state")).write_value(7)
        await session.write([PointWrite(point="smp_state", value=Decimal(7))])
    assert rig.site.raw("smp_state") == 7
