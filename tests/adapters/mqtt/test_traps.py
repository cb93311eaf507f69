"""The traps of the MQTT libraries that a session must not fall into: each fails on the naive use (T10, T11)."""

from __future__ import annotations

import asyncio

import aiomqtt
import pytest

from gateway.errors import LinkLost
from tests.adapters.mqtt.mosquitto import Mosquitto, mosquitto
from tests.adapters.mqtt.rig import Rig, ask, submitted

REQUEST = "depot/request"


def naive(broker: Mosquitto) -> aiomqtt.Client:
    """A client with a session that the broker keeps, as the library's own examples make it."""
    return aiomqtt.Client("127.0.0.1", broker.port, identifier="naive", clean_session=False)


async def test_t10_the_library_acknowledges_what_nobody_has_stored() -> None:
    """It has said PUBACK when its user gets the message: who dies then has lost it. Ours comes again."""
    async with mosquitto() as broker, asyncio.timeout(60):
        rig = Rig(broker.port)
        async with rig.site() as site:
            async with naive(broker) as client, rig.adapter().connect() as session:
                await client.subscribe(REQUEST, qos=1)
                await ask(site, "first")
                message = await anext(client.messages)
                assert b"first" in bytes(message.payload)
                assert (await submitted(session)).key == "first"
            await ask(site, "second")
            async with naive(broker) as client, rig.adapter().connect() as session:
                message = await anext(client.messages)
                assert b"second" in bytes(message.payload)
                assert (await submitted(session)).key == "first"


async def test_t11_the_library_never_connects_again() -> None:
    """Its client is dead for good, though the broker is back; the next session of ours reads."""
    async with mosquitto() as broker, asyncio.timeout(60):
        rig = Rig(broker.port)
        client = naive(broker)
        await client.__aenter__()
        async with rig.adapter().connect() as session:
            await session.read()
            await broker.stop()
            with pytest.raises(LinkLost):
                await session.read()
        await broker.start()
        with pytest.raises(aiomqtt.MqttError):
            await client.subscribe(REQUEST, qos=1)
        await client.__aexit__(None, None, None)
        async with rig.site() as site, rig.adapter().connect() as session:
            await ask(site, "after")
            assert (await submitted(session)).key == "after"
