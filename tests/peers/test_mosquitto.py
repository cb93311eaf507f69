"""The traps of the MQTT libraries against a real broker: each fails on the naive use."""

from __future__ import annotations

import asyncio
import socket

import aiomqtt
import pytest

from adapters.mqtt.simulator import MqttSite
from gateway.errors import LinkLost
from tests.adapters.mqtt.mosquitto import mosquitto
from tests.adapters.mqtt.rig import Rig, submitted


async def test_t10_the_library_acknowledges_before_anything_is_on_disk() -> None:
    """Used as it comes, a message is gone when the process dies before its commit; ours comes again."""
    async with mosquitto() as broker:
        rig = Rig(broker.port)

        async def sent(site: MqttSite, ident: str) -> None:
            await site.publish("depot/request", {"id": ident})

        def naive() -> aiomqtt.Client:
            return aiomqtt.Client("127.0.0.1", broker.port, identifier="naive", clean_session=False)

        async with rig.site() as site:
            async with naive() as client:
                await client.subscribe("depot/request", qos=1)
                await sent(site, "a")
                assert b'"a"' in bytes((await anext(client.messages)).payload)  # and then the process dies
            async with naive() as client:
                await sent(site, "b")
                assert b'"b"' in bytes((await anext(client.messages)).payload)  # "a" is lost
            async with rig.adapter().connect() as session:
                await sent(site, "c")
                assert (await submitted(session)).key == "c"  # and then the process dies
            async with rig.adapter().connect() as session:
                assert (await submitted(session)).key == "c"


async def test_t11_the_library_never_reconnects() -> None:
    """A client that lost its broker stays lost; ours says so, and the adapter makes another one."""
    async with mosquitto() as broker:
        adapter = Rig(broker.port).adapter()
        async with adapter.connect() as session, asyncio.timeout(30):
            await session.read()
            with pytest.raises(aiomqtt.MqttError):  # noqa: PT012 - leaving the client belongs to it
                async with aiomqtt.Client("127.0.0.1", broker.port) as naive:
                    await broker.stop()
                    await broker.start()
                    await anext(naive.messages)
            with pytest.raises(LinkLost):
                await submitted(session)
        async with adapter.connect() as session:
            assert await session.read()


async def test_t11_brokers_that_do_not_answer_do_not_fill_the_executor() -> None:
    """Connecting blocks a thread; twenty of ours leave the loop's own threads to everybody else."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
        port = silent.getsockname()[1]

        async def connect() -> None:
            with pytest.raises(LinkLost):
                async with Rig(port, {"client_id": "smp-depot"}).adapter().connect():
                    pass

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(connect()) for _ in range(40)]
            await asyncio.sleep(0)
            assert await loop.run_in_executor(None, lambda: "answered") == "answered"
            assert not all(task.done() for task in tasks)
