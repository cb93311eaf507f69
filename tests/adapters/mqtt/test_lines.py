"""The line to a broker: its beginning, its end, and what it does not take."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from decimal import Decimal

import pytest

from gateway.errors import LinkLost, PointRejected
from gateway.ports import (
    Committed,
    MailboxStatus,
    PointWrite,
    Refused,
    ResultWrite,
)
from tests.adapters.mqtt.mosquitto import Mosquitto, mosquitto
from tests.adapters.mqtt.rig import VERSIONS, Rig, ask, item, submitted


async def test_the_site_sees_whether_we_are_there(broker: Mosquitto) -> None:
    """Online when connected, offline after a goodbye and, as our last will, after a death."""
    rig = Rig(broker.port, {"status": "depot/smp/gateway"})
    async with rig.site() as site:
        async with rig.adapter().connect() as session:
            await site.hears("depot/smp/gateway", lambda each: each.payload == b"online")
            assert await session.read()
        await site.hears("depot/smp/gateway", lambda each: each.payload == b"offline")
        told = len(site.heard("depot/smp/gateway"))
        async with rig.adapter().connect() as session:
            session._line._client._sock_close()  # type: ignore[attr-defined]
            await site.hears("depot/smp/gateway", lambda _: len(site.heard("depot/smp/gateway")) == told + 2)
    assert site.heard("depot/smp/gateway")[-1].payload == b"offline"


async def test_a_broker_that_lost_our_session_is_told_of(broker: Mosquitto) -> None:
    """What was sent meanwhile is lost there, and people should know."""
    rig = Rig(broker.port)
    adapter = rig.adapter()
    async with adapter.connect():
        pass
    forgetful = Rig(broker.port, {"client_id": "smp-depot-mqtt"})
    async with forgetful.site(identifier="smp-depot-mqtt", clean_session=True):
        pass
    async with adapter.connect():
        pass
    assert [fields["connection"] for fields in rig.told("broker_session_lost")] == ["mqtt"]


async def test_silence_is_a_lost_link(broker: Mosquitto) -> None:
    """Reading and writing both give up, and the session stays given up; nobody waits for the frozen broker."""
    rig = Rig(broker.port)
    async with rig.adapter().connect() as session:
        await session.read()
        broker.freeze()
        with pytest.raises(LinkLost):
            await submitted(session)
        with pytest.raises(LinkLost):
            await session.write([PointWrite(point="smp_state", value=Decimal(2))])
    with pytest.raises(LinkLost):
        async with rig.adapter().connect():
            pass
    broker.thaw()


async def test_a_broker_that_vanished_can_be_connected_again(broker: Mosquitto) -> None:
    """A session never reconnects; the adapter makes another one, and the broker kept what was not acknowledged."""
    rig = Rig(broker.port)
    adapter = rig.adapter()
    async with adapter.connect() as session:
        async with rig.site() as site:
            await ask(site, "a")
        told = await submitted(session)
        await broker.stop()
        with pytest.raises(LinkLost):
            await item(session, MailboxStatus)
        with pytest.raises(LinkLost):
            await session.confirm(told.receipt, Committed())
    with pytest.raises(LinkLost, match="refused"):
        async with adapter.connect():
            pass
    await broker.start()
    async with adapter.connect() as session:
        assert (await submitted(session)).key == "a"


async def test_whoever_stops_connecting_is_told_nothing_of_it_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is looked up for longer than anybody waits, and is not found then, is no noise on the console."""
    begun, looked_up = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def look_up(*_: object, **__: object) -> socket.socket:
        threads.append(threading.current_thread())
        begun.set()
        looked_up.wait()
        raise socket.gaierror("nobody knows it")

    monkeypatch.setattr(socket, "create_connection", look_up)
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: heard.append(context))
    connecting = asyncio.ensure_future(Rig(1).adapter().connect().__aenter__())
    await asyncio.to_thread(begun.wait)
    connecting.cancel()
    await asyncio.wait([connecting])
    looked_up.set()
    await asyncio.to_thread(threads[0].join)
    await asyncio.sleep(0)
    del connecting
    gc.collect()
    assert heard == []


async def test_a_line_that_ends_while_it_writes_touches_nobody_elses_socket(broker: Mosquitto) -> None:
    """The library asks the loop later to watch a number; by then another site may have been given it."""
    loop = asyncio.get_running_loop()
    async with Rig(broker.port).adapter().connect() as session:
        line = session._line  # type: ignore[attr-defined]
        number = line._client.socket().fileno()
        line._client.publish("depot/smp/state", b"1", 1)
        line._cut()
        with socket.socket() as another:
            assert another.fileno() == number
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not loop.remove_writer(number)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_packet_without_end_fills_no_memory(version: str) -> None:
    """MQTT 5 brokers are told the limit and drop it; of an old one's only the beginning is kept, and refused."""
    async with mosquitto() as broker, asyncio.timeout(60):
        rig = Rig(broker.port, {"version": version, "payload_limit": "1KiB"})
        async with rig.site() as site, rig.adapter().connect() as session:
            await ask(site, "long", padding="x" * 20_000_000)
            await ask(site, "a")
            told = await submitted(session)
            if version == "3.1.1":
                assert told.fault is not None
                assert (told.fault.code, told.key) == ("too_long", None)
                assert int(told.raw.rpartition(b" bytes")[0].rpartition(b" ")[2]) < 300_000
                await session.confirm(told.receipt, Refused(problems=(told.fault,)))
                told = await submitted(session)
            assert told.key == "a"


async def test_what_is_longer_than_the_broker_takes_is_refused_here() -> None:
    """Sent, it would cost the connection, again after each reconnect; a result that can never be told is refused."""
    async with mosquitto("allow_anonymous true", "max_packet_size 4000") as broker, asyncio.timeout(60):
        rig = Rig(broker.port)
        async with rig.site() as site, rig.adapter().connect() as session:
            to = {"id": "A", "topic": "depot/result/A"}
            with pytest.raises(PointRejected, match="the broker takes 4000"):
                await session.write([ResultWrite(to=to, result={"id": "A", "padding": "x" * 4000})])
            await session.write([ResultWrite(to=to, result={"id": "A"})])
            await site.hears("depot/result/A")


async def test_another_client_under_our_id_is_told_of(broker: Mosquitto) -> None:
    """It ends our session, and what the broker kept for us may be gone with it: both are told; then we go on."""
    rig = Rig(broker.port, {"client_id": "smp-depot"})
    adapter = rig.adapter()
    async with rig.site() as site:
        async with adapter.connect() as session:
            await session.read()
            async with rig.site(identifier="smp-depot", version="5"):
                with pytest.raises(LinkLost, match="another client connects under our client id"):
                    await item(session, MailboxStatus)
        async with adapter.connect() as session:
            await ask(site, "a")
            assert (await submitted(session)).key == "a"
    assert len(rig.told("broker_session_lost")) == 1
