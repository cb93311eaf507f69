"""Events of the site's server: which are told, what is picked from them, what is said when some are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from asyncua import Node, ua
from asyncua.server.event_generator import EventGenerator

from adapters.opcua import events
from adapters.opcua.client import OpcuaSession
from adapters.opcua.config import OpcuaTrigger
from gateway.core import strict_json
from gateway.errors import LinkLost
from gateway.ports import Busy, Committed, Submitted
from tests.adapters.opcua.rig import Rig
from tests.adapters.opcua.test_client import connected

SOURCE = "ns=2;s=Area"
FIELDS = {"name": "Message", "mw": "2:ExportLimit", "count": "2:Count", "ready": "2:Ready"}
PROPERTIES: list[tuple[Any, ...]] = [
    ("ExportLimit", ua.VariantType.Float),
    ("Count", ua.VariantType.UInt16),
    ("Ready", ua.VariantType.Boolean),
    ("Ticket", ua.VariantType.String),
]


class Plant:
    """The plant's own program, which raises events of one type, or of its parent."""

    def __init__(self, kind: Node, area: Node, raising: EventGenerator, other: EventGenerator) -> None:
        self.kind, self.area, self._raising, self._other = kind, area, raising, other

    async def happens(self, message: str, **values: Any) -> None:  # noqa: ANN401 - as asyncua takes them
        for name, value in values.items():
            setattr(self._raising.event, name, value)
        await self._raising.trigger(message=message)

    async def something_else(self) -> None:
        await self._other.trigger(message="of no interest")


async def declare(rig: Rig, **members: object) -> Plant:
    """Give the plant an area that tells events, and the site a message that one makes."""
    server = rig.site.server
    assert server is not None
    area = await server.nodes.objects.add_object(ua.NodeId.from_string(SOURCE), "Area")
    kind = await server.create_custom_event_type(2, "SmpRequestEventType", ua.ObjectIds.BaseEventType, PROPERTIES)
    raising = await server.get_event_generator(kind, emitting_node=area.nodeid)
    other = await server.get_event_generator(emitting_node=area.nodeid)
    asked = {"event": kind.nodeid.to_string(), "source": SOURCE, "fields": FIELDS, **members}
    rig.triggers = {"battery": OpcuaTrigger.model_validate(asked)}
    return Plant(kind, area, raising, other)


async def told(session: OpcuaSession, count: int = 1) -> list[Submitted]:
    """Wait until so many events wait to be confirmed."""
    while True:
        found = [item for item in await session.read() if isinstance(item, Submitted)]
        if len(found) >= count:
            return found


async def test_an_event_brings_its_fields_and_an_id_of_its_own(rig: Rig) -> None:
    """Numbers are exact, of the fields' own types; other events are no message; nobody waits for an answer."""
    plant = await declare(rig)
    async with connected(rig) as session:
        await plant.something_else()
        await plant.happens("HAMS 1", ExportLimit=0.1, Count=7, Ready=True)
        (first,) = await told(session)
    assert (first.message, first.fault, first.reply) == ("battery", None, {})
    assert first.document == {"name": "HAMS 1", "mw": Decimal("0.1"), "count": 7, "ready": True}
    assert strict_json.loads(first.raw) == first.document
    assert first.key is not None
    assert len(first.key) > 30


async def test_an_event_is_told_until_it_is_on_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told again after Busy, in its order, and no more once it is confirmed; a second one has another id."""
    monkeypatch.setattr(events, "_PAUSE_S", 0.05)
    plant = await declare(rig)
    async with connected(rig) as session:
        await plant.happens("one")
        await plant.happens("two")
        first, second = await told(session, 2)
        await session.confirm(first.receipt, Busy())
        again, _ = await told(session, 2)
        assert again == first
        await session.confirm(first.receipt, Committed())
        assert await told(session) == [second]
    assert first.key != second.key


async def test_a_field_can_be_the_id(rig: Rig) -> None:
    """The same ticket raised twice is one message; what is no id is refused without touching any."""
    plant = await declare(rig, fields={**FIELDS, "ticket": "2:Ticket"}, id="ticket")
    async with connected(rig) as session:
        await plant.happens("one", Ticket="T-17")
        await plant.happens("one", Ticket="T-17")
        await plant.happens("two", Ticket="a b")
        first, second, third = await told(session, 3)
    assert (first.key, second.key, first.raw) == ("T-17", "T-17", second.raw)
    assert third.key is None
    assert third.fault is not None
    assert third.fault.code == "no_id"


async def test_what_json_cannot_hold_is_left_out(rig: Rig) -> None:
    """Not a number, and a field that the event lacks, have no value: what needs them is refused by name."""
    plant = await declare(rig, fields={"mw": "2:ExportLimit", "none": "2:Nowhere", "source": "SourceNode"})
    async with connected(rig) as session:
        await plant.happens("one", ExportLimit=float("nan"))
        (first,) = await told(session)
    assert first.document == {"mw": None, "none": None, "source": SOURCE}


async def test_a_lost_answer_is_told_as_lost_events(rig: Rig) -> None:
    """A gap in the numbering: an error, and every point is read again."""
    plant = await declare(rig)
    async with connected(rig) as session:
        await plant.happens("one")
        (first,) = await told(session)
        await session.confirm(first.receipt, Committed())
        session._subscription._next_sequence = 77  # as if answers had been lost
        await plant.happens("two")
        await told(session)
        await _until_told(rig, session, "site_events_lost")
    assert rig.told("site_events_lost")[0]["messages"] == "battery"
    assert rig.told("point_values_lost")


async def test_the_servers_own_overflow_is_a_loss(rig: Rig) -> None:
    """EventQueueOverflow stands for events that the server threw away; it makes no message itself."""
    plant = await declare(rig)
    async with connected(rig) as session:
        kind = ua.NodeId(ua.Int32(ua.ObjectIds.EventQueueOverflowEventType))
        fields = [ua.Variant(b"1"), ua.Variant(kind, ua.VariantType.NodeId), *[ua.Variant(None)] * len(FIELDS)]
        session._events.happened(1, fields, 1)  # no server here ever says it
        await _until_told(rig, session, "site_events_lost")
        await plant.happens("two")
        (only,) = await told(session)
    assert isinstance(only.document, Mapping)
    assert only.document["name"] == "two"


async def test_more_than_can_wait_is_a_loss(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that wait are kept, in their order; what came beyond them is told as lost."""
    monkeypatch.setattr(events, "WAITING", 2)
    plant = await declare(rig)
    async with connected(rig) as session:
        for name in ("one", "two", "three"):
            await plant.happens(name)
        await _until_told(rig, session, "site_events_lost")
        kept = await told(session, 2)
    assert [each.document["name"] for each in kept if isinstance(each.document, dict)] == ["one", "two"]


async def test_an_object_that_tells_no_events_is_said_once_and_tried_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link stays up, its points are read; when the object is there its events are heard."""
    monkeypatch.setattr("adapters.opcua.client._LOOK_FOR_NODES_S", 0.05)
    plant = await declare(rig, source="ns=2;s=Later")
    async with connected(rig) as session:
        await session.read()
        assert rig.told("site_events_failed")
        server = rig.site.server
        assert server is not None
        later = await server.nodes.objects.add_object(ua.NodeId.from_string("ns=2;s=Later"), "Later")
        raising = await server.get_event_generator(plant.kind, emitting_node=later.nodeid)
        await _until_told(rig, session, "site_events_recovered")
        await raising.trigger(message="at last")
        await told(session)
    assert len(rig.told("site_events_failed")) == 1


async def test_a_namespace_that_the_server_does_not_have_is_said(rig: Rig) -> None:
    """Of the type, of the source or of a field."""
    await declare(rig, fields={"mw": "nsu=urn:elsewhere;ExportLimit"})
    async with connected(rig) as session:
        await session.read()
    assert "does not know a namespace" in str(rig.told("site_events_failed")[0]["reason"])


async def test_a_server_without_conditions_says_so_where_they_are_to_be_told_again(rig: Rig) -> None:
    """ConditionRefresh is asked for after the connect; what is refused is told, and events are heard all the same."""
    plant = await declare(rig, refresh=True)
    async with connected(rig) as session:
        await plant.happens("one")
        await told(session)
    assert "cannot be asked for" in str(rig.told("site_events_failed")[0]["reason"])


async def test_a_lost_link_ends_it(rig: Rig) -> None:
    """What was told and not confirmed cannot be confirmed any more."""
    plant = await declare(rig)
    async with connected(rig) as session:
        await plant.happens("one")
        (first,) = await told(session)
        await rig.site.stop()
        with pytest.raises(LinkLost):
            await told(session, 2)
        with pytest.raises(LinkLost):
            await session.confirm(first.receipt, Committed())


async def _until_told(rig: Rig, session: OpcuaSession, event: str) -> None:
    """Read on until something is told."""
    reading = asyncio.create_task(_read_on(session))
    while not rig.told(event):
        rig.spoke.clear()
        await rig.spoke.wait()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def _read_on(session: OpcuaSession) -> None:
    while True:
        await session.read()
