"""One session against a real mosquitto: order, acknowledgements, back-pressure, what is kept, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import threading
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from paho.mqtt import client as paho

from adapters.mqtt.simulator import MqttSite, payloads_of
from gateway.core.mailbox import Role
from gateway.core.point import Quality, Value
from gateway.errors import JournalBroken, LinkLost, PointRejected
from gateway.ports import (
    Busy,
    Committed,
    MailboxStatus,
    PointWrite,
    Reachable,
    Refused,
    ResultWrite,
    RoleWrite,
    Session,
    Submitted,
)
from tests.adapters.mqtt.mosquitto import Mosquitto, mosquitto
from tests.adapters.mqtt.rig import Rig, all_submitted, item, reading, submitted

VERSIONS = ("5", "3.1.1")


@pytest.fixture
async def broker() -> AsyncIterator[Mosquitto]:
    async with mosquitto() as running, asyncio.timeout(60):
        yield running


async def ask(site: MqttSite, ident: object, **members: object) -> None:
    await site.publish("depot/request", {"id": ident, **members})


async def nothing_more(site: MqttSite, session: Session) -> None:
    """Prove that no message is left, by a reading that was sent after it would have come."""
    await site.publish("depot/label", "the last one")
    while True:
        news = await session.read()
        assert not [each for each in news if isinstance(each, Submitted)]
        if any(getattr(each, "value", None) == "the last one" for each in news):
            return


@pytest.mark.parametrize("version", VERSIONS)
async def test_messages_come_in_their_order_until_they_are_confirmed(broker: Mosquitto, version: str) -> None:
    """All that wait here, again and again, each with its JSON and the points that it fills."""
    rig = Rig(broker.port, {"version": version, "receive_maximum": 10})
    async with rig.site() as site, rig.adapter().connect() as session:
        assert isinstance((await session.read())[0], Reachable)
        for number in range(10):
            await ask(site, number, name=f"C{number}")
        while len(waiting := await all_submitted(session)) < 10:
            assert [told.key for told in waiting] == [str(number) for number in range(len(waiting))]
        for number, first in enumerate(waiting):
            told = await submitted(session)
            assert first == told
            assert (told.message, told.key, told.fault) == ("chargers", str(number), None)
            assert told.snapshot["name"].value == f"C{number}"
            assert told.document == {"id": number, "name": f"C{number}"}
            await session.confirm(told.receipt, Committed())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("outcome", [Committed(), Refused(problems=())])
async def test_what_is_on_disk_is_acknowledged_and_never_comes_again(
    broker: Mosquitto, version: str, outcome: Committed | Refused
) -> None:
    """Accepted or refused; and what is not acknowledged comes again with the next connect, in its order."""
    rig = Rig(broker.port, {"version": version})
    adapter = rig.adapter()
    async with rig.site() as site:
        async with adapter.connect() as session:
            for ident in "abc":
                await ask(site, ident)
            await session.confirm((await submitted(session)).receipt, outcome)
        async with adapter.connect() as session:
            for ident in "bc":
                told = await submitted(session)
                assert told.key == ident
                await session.confirm(told.receipt, outcome)
            await nothing_more(site, session)
    assert rig.told("broker_session_lost") == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_sent_while_we_are_away_is_kept_by_the_broker(broker: Mosquitto, version: str) -> None:
    """A persistent session under a stable id."""
    rig = Rig(broker.port, {"version": version})
    async with rig.site() as site:
        async with rig.adapter().connect():
            pass
        await ask(site, "while-away")
        async with rig.adapter().connect() as session:
            assert (await submitted(session)).key == "while-away"


@pytest.mark.parametrize("version", VERSIONS)
async def test_busy_withholds_the_acknowledgement(broker: Mosquitto, version: str) -> None:
    """The message comes again after a pause, the one behind it waits, and readings go on."""
    rig = Rig(broker.port, {"version": version})
    async with rig.site() as site, rig.adapter().connect() as session:
        await ask(site, "a")
        await ask(site, "b")
        told = await submitted(session)
        await session.confirm(told.receipt, Busy())
        await site.publish("depot/label", "meanwhile")
        assert (await reading(session, "label")).value == "meanwhile"
        again = await submitted(session)
        assert (again.key, again.receipt) == ("a", told.receipt)
        await session.confirm(again.receipt, Committed())
        assert (await submitted(session)).key == "b"


@pytest.mark.parametrize(
    ("version", "settings"), [("5", ()), ("3.1.1", ("allow_anonymous true", "max_inflight_messages 0"))]
)
async def test_what_waits_here_is_bounded(version: str, settings: tuple[str, ...]) -> None:
    """MQTT 5 tells the broker how much we take; what another sends beyond that is left in the socket."""
    async with mosquitto(*settings) as broker, asyncio.timeout(60):
        rig = Rig(broker.port, {"version": version, "keepalive": "10s"})
        async with rig.site() as site, rig.adapter().connect() as session:
            for number in range(40):
                await ask(site, number, padding="x" * 50_000)
            for number in range(40):
                told = await submitted(session)
                assert told.key == str(number)
                held = len(session._deliveries)  # type: ignore[attr-defined]
                assert held <= 3 + 1 + (version != "5") * 4
                await session.confirm(told.receipt, Committed())


async def test_acknowledgements_go_out_in_the_order_of_arrival(broker: Mosquitto) -> None:
    """A reading of QoS 1 behind an unconfirmed message is told at once and acknowledged after it (section 4.6)."""
    rig = Rig(broker.port)
    acknowledged: list[int] = []
    gone = asyncio.Event()
    async with rig.site() as site, rig.adapter().connect() as session:
        line = session._line  # type: ignore[attr-defined]
        real = line._client._packet_queue

        def queue(command: int, packet: bytes, *more: Any) -> object:  # noqa: ANN401 - the library's own
            if command == paho.PUBACK:
                acknowledged.extend(mid for _, _, mid in struct.iter_unpack(">BBH", packet))
                gone.set()
            return real(command, packet, *more)

        line._client._packet_queue = queue
        await ask(site, "a")
        told = await submitted(session)
        await site.publish("depot/limits/1", "7")
        assert (await reading(session, "limit")).value == Decimal(7)
        assert acknowledged == []
        await session.confirm(told.receipt, Committed())
        await gone.wait()
        assert acknowledged == sorted(acknowledged)
        assert len(acknowledged) == 2


async def test_readings_of_several_topics_and_wildcards(broker: Mosquitto) -> None:
    """JSON and plain values, scaled; a bad one costs nobody else, and is told when it begins and when it ends."""
    rig = Rig(broker.port)
    async with rig.site() as site, rig.adapter().connect() as session:
        await site.publish("depot/telemetry", {"power": {"kw": 1250}})
        assert (await reading(session, "power")).value == Decimal("1.250")
        await site.publish("depot/limits/7", "12.5")
        assert (await reading(session, "limit")).value == Decimal("12.5")
        await site.publish("depot/telemetry", b'{"power": {"kw": NaN}}')
        found = await reading(session, "power")
        assert (found.value, found.fault) == (None, "bad_json")
        await site.publish("depot/telemetry", b"\xff\xfe")
        await site.publish("depot/telemetry", {"power": {"kw": 1}})
        await reading(session, "power", lambda each: each.quality is Quality.GOOD)
    assert [fields["point"] for fields in rig.told("point_read_failed")] == ["power"]
    assert [fields["point"] for fields in rig.told("point_read_recovered")] == ["power"]


async def test_kept_values_come_with_each_connect(broker: Mosquitto) -> None:
    """Retained readings; of unknown age, so stale where the point has a limit."""
    rig = Rig(broker.port)
    async with rig.site() as site:
        await site.publish("depot/label", "kept", retain=True)
        async with rig.adapter().connect() as session:
            assert (await reading(session, "label")).value == "kept"
        rig.max_age = 60_000_000
        async with rig.adapter().connect() as session:
            assert (await reading(session, "label")).fault == "stale"
            await site.publish("depot/label", "fresh")
            assert (await reading(session, "label")).value == "fresh"


@pytest.mark.parametrize("version", VERSIONS)
async def test_results_and_writes_are_there_when_write_returns(broker: Mosquitto, version: str) -> None:
    """Confirmed by the broker; results are not kept by it, state is where the YAML says so."""
    rig = Rig(broker.port, {"version": version})
    async with rig.adapter().connect() as session:
        await session.write(
            [
                PointWrite(point="smp_state", value=Decimal(2)),
                ResultWrite(to={"id": "A", "topic": "depot/result/A"}, result={"id": "A", "state": "completed"}),
            ]
        )
        async with rig.site() as site:
            assert (await site.hears("depot/smp/state")).payload == b"2"
            assert site.heard("depot/result/A") == []
            await session.write([ResultWrite(to={"id": "A", "topic": "depot/result/A"}, result={"state": "failed"})])
            assert (await site.hears("depot/result/A")).json == {"state": "failed"}


async def test_whoever_was_replaced_among_several_writes_makes_no_more(broker: Mosquitto) -> None:
    """Another gateway may have published what came later since."""
    rig = Rig(broker.port)
    async with rig.site() as site, rig.adapter().connect() as session:
        rig.tenure.left = 1
        result = ResultWrite(to={"id": "A", "topic": "depot/result/A"}, result={"id": "A"})
        with pytest.raises(JournalBroken):
            await session.write([PointWrite(point="smp_state", value=Decimal(2)), result])
        await site.publish("depot/end", {})
        await site.hears("depot/end")
        assert (len(site.heard("depot/smp/state")), site.heard("depot/result/A")) == (1, [])


async def test_a_response_topic_and_correlation_data_come_back(broker: Mosquitto) -> None:
    """MQTT 5's own way of asking."""
    rig = Rig(broker.port)
    async with rig.site(version="5") as site, rig.adapter().connect() as session:
        await site.publish("depot/request", {"id": "A"}, response_topic="depot/inbox", correlation=b"\x00\x07")
        told = await submitted(session)
        await session.write([ResultWrite(to=told.reply, result={"id": "A"})])
        heard = await site.hears("depot/inbox")
        assert (heard.json, heard.correlation) == ({"id": "A"}, b"\x00\x07")


async def test_what_may_not_be_written_is_refused(broker: Mosquitto) -> None:
    """Points that are read, values that do not fit, and registers that MQTT does not have."""
    rig = Rig(broker.port)
    async with rig.adapter().connect() as session:
        for step in (
            PointWrite(point="power", value=Decimal(1)),
            PointWrite(point="smp_text", value=Decimal(1)),
            RoleWrite(mailbox="plc", role=Role.STATE, value=1),
        ):
            with pytest.raises(PointRejected):
                await session.write([step])


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


HOSTILE: Mapping[str, bytes] = {
    "bad_json": b"{",
    "no_id": b'{"name": "no id"}',
    "too_long": b'{"id": "A", "padding": "' + b"x" * 2000 + b'"}',
}


@pytest.mark.parametrize("code", HOSTILE)
async def test_hostile_messages_are_told_as_faults(broker: Mosquitto, code: str) -> None:
    """Neither the session nor the message behind it suffers."""
    rig = Rig(broker.port, {"payload_limit": "1KiB"})
    async with rig.site() as site, rig.adapter().connect() as session:
        await site.publish("depot/request", HOSTILE[code])
        await ask(site, "good")
        told = await submitted(session)
        assert told.key is None
        assert told.fault is not None
        assert told.fault.code == code
        assert "depot/request" in told.fault.message
        await session.confirm(told.receipt, Refused(problems=(told.fault,)))
        assert (await submitted(session)).key == "good"


async def test_cancelling_a_read_loses_nothing(broker: Mosquitto) -> None:
    """Cancelled at every step on its way, the next read still tells of readings and messages."""
    rig = Rig(broker.port)
    async with rig.site() as site, rig.adapter().connect() as session:
        await session.read()
        for steps in range(8):
            task = asyncio.create_task(session.read())
            for _ in range(steps):
                await asyncio.sleep(0)
            if steps == 4:
                await site.publish("depot/label", "kept")
                await ask(site, "a")
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.result()
        assert (await submitted(session)).key == "a"


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


async def test_a_topic_that_we_may_not_write_is_named(broker: Mosquitto) -> None:
    """MQTT 5's refusal of a PUBLISH is final, and not taken for a success."""
    acl = broker._configuration.with_name("acl")
    acl.write_text("topic readwrite depot/telemetry\ntopic readwrite depot/request\n", "utf-8")
    async with mosquitto("allow_anonymous true", f"acl_file {acl}") as strict:
        rig = Rig(strict.port)
        async with rig.adapter().connect() as session:
            await item(session, Reachable)
            with pytest.raises(PointRejected, match="Not authorized"):
                await session.write([PointWrite(point="smp_state", value=Decimal(1))])


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


async def test_what_a_simulated_site_shows_is_what_is_read(broker: Mosquitto) -> None:
    """Pins a point's value through scale, path and topic and back again; one that is ours, or nobody's, is refused."""
    rig = Rig(broker.port)
    async with rig.site() as site, rig.adapter().connect() as session:
        shown: dict[str, Value] = {"power": Decimal("1.250"), "label": "north"}
        for (topic, payload), point in zip(
            payloads_of(rig.connection(), shown).items(), ("label", "power"), strict=True
        ):
            await site.publish(topic, payload)
            assert (await reading(session, point)).value == shown[point]
    for point in ("smp_state", "nowhere", "limit"):  # written by us, not there, on a topic with a wildcard
        with pytest.raises(ValueError, match=r"no point|wildcard"):
            payloads_of(rig.connection(), {point: "1"})


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


async def test_retained_garbage_is_no_message_and_costs_nothing(broker: Mosquitto) -> None:
    """It would come with every connect: nothing is made of it, and what is sound goes on."""
    rig = Rig(broker.port)
    async with rig.site() as site:
        for topic in ("depot/request", "depot/telemetry", "depot/limits/1"):
            await site.publish(topic, b"\xff" + b"[" * 5_000, retain=True)
        for _ in range(2):
            async with rig.adapter().connect() as session:
                await nothing_more(site, session)


async def test_a_flood_of_readings_keeps_no_request_waiting(broker: Mosquitto) -> None:
    """Values and garbage: the request among them is told and confirmed, nothing piles up, the latest value is told."""
    rig = Rig(broker.port)
    garbage = (b"\xff\xfe", b"[" * 2_000, b'{"power": {"kw": 1e999}}', b"", b'{"power": "\\ud800"}')
    async with rig.site() as site, rig.adapter().connect() as session:

        async def flood() -> None:
            for number in range(500):
                await site.publish("depot/telemetry", garbage[number % len(garbage)], qos=0)
                await site.publish("depot/limits/1", str(number), qos=1 if number % 10 == 0 else 0)

        async with asyncio.TaskGroup() as group:
            flooding = group.create_task(flood())
            await ask(site, "a")
            told = await submitted(session)
            await session.confirm(told.receipt, Committed())
            await flooding
            assert len(session._readings) <= 3  # type: ignore[attr-defined]
            await site.publish("depot/limits/1", "7777")
            await reading(session, "limit", lambda found: found.value == Decimal(7777))
