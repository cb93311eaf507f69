"""One session against a real mosquitto: order, acknowledgements, back-pressure, what is kept, and how it ends."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from paho.mqtt import client as paho

from adapters.mqtt.simulator import payloads_of
from gateway.core.mailbox import Role
from gateway.core.point import Quality, Value
from gateway.errors import JournalBroken, PointRejected
from gateway.ports import (
    Busy,
    Committed,
    PointWrite,
    Reachable,
    Refused,
    ResultWrite,
    RoleWrite,
)
from tests.adapters.mqtt.mosquitto import Mosquitto, mosquitto
from tests.adapters.mqtt.rig import VERSIONS, Rig, all_submitted, ask, item, nothing_more, reading, submitted


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
