"""What a session tells of an OPC UA site, what it writes there, and how it notices that something is wrong."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
from asyncua import Client, ua
from asyncua.client.ua_client import UaClient

from adapters.opcua import client
from adapters.opcua.client import OpcuaSession
from adapters.opcua.watching import Inbox
from gateway.core.mailbox import Role
from gateway.core.point import PointSpec, Quality, Reading, Value
from gateway.errors import JournalBroken, LinkLost, PointRejected
from gateway.ports import Busy, Committed, PointWrite, RoleWrite
from tests.adapters.opcua.rig import MAILBOX, Rig, reading, request, status

ASK: Mapping[str, Value] = {"export_limit": Decimal("12.3"), "serial": "ABC"}


def node(name: str) -> ua.NodeId:
    return ua.NodeId.from_string(f"ns=2;s=Plant.{name}")


@asynccontextmanager
async def connected(rig: Rig) -> AsyncIterator[OpcuaSession]:
    async with asyncio.timeout(60), rig.adapter().connect() as session:
        assert isinstance(session, OpcuaSession)
        yield session


async def test_a_request_carries_one_snapshot(rig: Rig) -> None:
    """Payload and other points, each with the node's own type; the roles themselves are no readings of it."""
    await rig.site.set_value("soc", Decimal("50.1"))
    await rig.site.set_raw("breaker", value=True)
    async with connected(rig) as session:
        sequence = await rig.site.request(2, ASK)
        asked = await request(session)
    values = {name: found.value for name, found in asked.snapshot.items()}
    assert values == {
        "export_limit": Decimal("12.3"),
        "serial": "ABC",
        "level": Decimal(0),
        "soc": Decimal("50.1"),
        "breaker": True,
    }
    assert (asked.sequence, asked.kind, asked.fault) == (sequence, 2, None)
    assert asked.crc == zlib.crc32(b"\0\x01\0\x02\0\x02" + b"\0\x7bABC")
    assert asked.seen_at < asked.snapshot_at


async def test_a_sequence_that_moves_meanwhile_is_not_believed(rig: Rig) -> None:
    """The plant goes on to its next request in the middle of our look: the first is never told."""
    moved: list[int] = []

    def move(_node: ua.NodeId, _attribute: ua.AttributeIds) -> ua.DataValue:
        if not moved and rig.site.role(Role.REQUEST_SEQ) == 1:
            moved.append(1)
            rig.site.server.iserver.aspace[request_node].attributes[ua.AttributeIds.Value].value = two  # type: ignore[union-attr]
        return ua.DataValue(ua.Variant(500, ua.VariantType.UInt16))

    request_node = node("m_request")
    two = ua.DataValue(ua.Variant(2, ua.VariantType.UInt16))
    async with connected(rig) as session:
        await status(session)
        server = rig.site.server
        assert server is not None
        server.set_attribute_value_callback(node("level"), move)
        await rig.site.request(1, ASK)
        asked = await request(session)
    assert moved
    assert asked.sequence == 2
    assert asked.fault == "bad_crc"  # of the first request; and after three looks it is told


async def test_a_wrong_crc_is_told_after_three_looks(rig: Rig) -> None:
    """Until then it may be a request that is still being written."""
    async with connected(rig) as session:
        await rig.site.request(1, ASK, crc=1)
        asked = await request(session)
    assert (asked.fault, asked.crc) == ("bad_crc", 1)


async def test_confirming_writes_the_acknowledgement_and_busy_nothing(rig: Rig) -> None:
    """What was confirmed is told no more; what was not comes again."""
    async with connected(rig) as session:
        sequence = await rig.site.request(1, ASK)
        await session.confirm((await request(session)).receipt, Busy())
        assert rig.site.role(Role.ACKNOWLEDGE) == 0
        again = await request(session)
        await session.confirm(again.receipt, Committed())
        assert rig.site.role(Role.ACKNOWLEDGE) == sequence
        await rig.site.set_value("level", Decimal(7))
        assert (await reading(session, "level")).value == 7


async def test_whoever_was_replaced_in_the_middle_of_a_result_writes_no_more(rig: Rig) -> None:
    """Another gateway may have written the next result since: what makes this one valid is not written any more."""
    async with connected(rig) as session:
        sequence = await rig.site.request(1, ASK)
        asked = await request(session)
        rig.tenure.left = 1
        with pytest.raises(JournalBroken):
            await session.write([RoleWrite(mailbox="plc", role=r, value=7) for r in (Role.RESULT_FOR, Role.RESULT_SEQ)])
        with pytest.raises(JournalBroken):
            await session.confirm(asked.receipt, Committed())
    roles = [rig.site.role(role) for role in (Role.RESULT_FOR, Role.RESULT_SEQ, Role.ACKNOWLEDGE)]
    assert (sequence, roles) == (1, [7, 0, 0])


async def test_the_status_follows_what_the_plant_does(rig: Rig) -> None:
    """Also when it loses the result that we wrote there."""
    async with connected(rig) as session:
        assert (await status(session)).result_seq == 0
        await session.write([RoleWrite(mailbox="plc", role=Role.RESULT_SEQ, value=9)])
        await rig.site.set_raw("m_result_acknowledge", 9)
        seen = await status(session)
        assert (seen.result_seq, seen.result_acknowledged) == (9, 9)
        await rig.site.set_raw("m_result_sequence", 0)
        assert (await status(session)).result_seq == 0


async def test_a_bad_role_is_told_and_another_look_finds_it_well(rig: Rig) -> None:
    """A mailbox that cannot be read asks for nothing, and is not zero."""
    await rig.site.set_raw("m_kind", 1, status=0x80310000)
    async with connected(rig) as session:
        await rig.site.request(1, ASK)
        await rig.site.set_raw("m_kind", 1, status=0x80310000)
        await reading(session, "m_request")
        await rig.site.set_raw("m_kind", 1)
        assert (await request(session)).kind == 1


async def test_a_missing_node_costs_only_itself_and_is_looked_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plant's server often starts before its nodes are there."""
    monkeypatch.setattr(client, "_LOOK_FOR_NODES_S", 0.05)
    rig.extra = {"late": "ns=2;s=Plant.late", "lost": "nsu=urn:nowhere;s=x"}
    async with connected(rig) as session:
        first = await reading(session, "late")
        assert (first.quality, first.fault) == (Quality.BAD, "node_unknown")
        assert {fields["what"] for fields in rig.told("point_read_failed")} == {"late", "lost"}
        server = rig.site.server
        assert server is not None
        await server.nodes.objects.add_variable(node("late"), "late", ua.Variant(5, ua.VariantType.UInt16))
        assert (await reading(session, "late")).value == 5
        assert [fields["what"] for fields in rig.told("point_read_recovered")] == ["late"]
        await server.write_attribute_value(node("late"), ua.DataValue(ua.Variant(6, ua.VariantType.UInt16)))
        assert (await reading(session, "late")).value == 6


async def test_a_deadband_keeps_small_changes_at_the_server(rig: Rig) -> None:
    """The next thing told after 50.0 is the change that counts."""
    rig.deadband = {"soc": Decimal("0.5")}
    await rig.site.set_value("soc", Decimal(50))
    async with connected(rig) as session:
        assert (await reading(session, "soc")).value == 50
        for value in ("50.2", "50.4", "51"):
            await rig.site.set_value("soc", Decimal(value))
        assert (await reading(session, "soc")).value == 51


async def test_an_unchanged_value_is_told_again_before_it_is_stale(rig: Rig) -> None:
    """The clock of the rig counts looks, so one µs is a long time; nothing of the plant changes."""
    rig.max_age = {"soc": 30}
    async with connected(rig) as session:
        first, second = await reading(session, "soc"), await reading(session, "soc")
    assert first.value == second.value
    assert second.at - first.at >= 15


# ---------------------------------------------------------------- T9: types
async def test_values_are_written_as_the_nodes_own_type(rig: Rig) -> None:
    """A naive int becomes an Int64, which a UInt16 node refuses; ours keeps the node what it is."""
    async with connected(rig) as session:
        await session.write(
            [
                PointWrite(point="smp_state", value=Decimal(3)),
                PointWrite(point="setpoint", value=Decimal("0.1")),
                PointWrite(point="permit", value=True),
                PointWrite(point="smp_text", value="row 0: Übergabe", fit=True),
            ]
        )
    assert [rig.site.raw(n) for n in ("smp_state", "permit", "smp_text")] == [3, True, "row 0: Übergabe"]
    async with Client(f"opc.tcp://127.0.0.1:{rig.site.port}") as naive:
        state = naive.get_node(node("smp_state"))
        assert (await state.read_data_value()).Value.VariantType is ua.VariantType.UInt16  # type: ignore[union-attr]
        with pytest.raises(ua.uaerrors.BadTypeMismatch):
            await state.write_value(3)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (PointWrite(point="smp_state", value=Decimal(70000)), "does not fit into Uint16"),
        (PointWrite(point="smp_state", value="2"), "is not a number"),
        (PointWrite(point="nowhere", value=Decimal(2)), "is not a point of this connection"),
        (RoleWrite(mailbox="plc", role=Role.STATE, value=70000), "does not fit"),
        (RoleWrite(mailbox="other", role=Role.STATE, value=1), "is not a mailbox"),
    ],
)
async def test_what_cannot_be_written_is_refused_before_it_is_sent(
    rig: Rig, step: PointWrite | RoleWrite, words: str
) -> None:
    """And nothing reaches the plant."""
    async with connected(rig) as session:
        rig.site.log.clear()
        with pytest.raises(PointRejected, match=words):
            await session.write([step])
    assert not [name for name, _ in rig.site.log if name in {"smp_state", "m_result"}]


async def test_a_server_that_refuses_or_keeps_another_value_is_told_of(rig: Rig) -> None:
    """After one retry; a node that says "not now" ends the session instead, so that it is written later."""
    server = rig.site.server
    assert server is not None
    async with connected(rig) as session:
        await server.get_node(node("smp_state")).set_writable(writable=False)
        with pytest.raises(PointRejected, match="the server refused it: Bad"):
            await session.write([PointWrite(point="smp_state", value=Decimal(3))])
        server.set_attribute_value_setter(node("setpoint"), lambda *_: None)
        with pytest.raises(PointRejected, match=r"holds 0\.0 after 5\.0 was written"):
            await session.write([PointWrite(point="setpoint", value=Decimal(5))])


# ---------------------------------------------------------------- T5: silence, restarts, cuts
async def test_a_frozen_server_is_a_lost_link_and_the_next_session_is_whole(rig: Rig) -> None:
    """Frozen, then gone on: no old subscription is trusted, everything is read and subscribed anew."""
    rig.silence, rig.timeout = "300ms", "300ms"
    async with connected(rig) as session:
        await status(session)
        rig.proxy.freeze()
        with pytest.raises(LinkLost):
            await request(session)
        with pytest.raises(LinkLost):
            await session.read()
    rig.proxy.thaw()
    await rig.site.set_value("level", Decimal(1))
    async with connected(rig) as session:
        assert (await reading(session, "level")).value == 1
        await rig.site.set_value("level", Decimal(2))
        assert (await reading(session, "level")).value == 2


async def test_a_subscription_that_died_alone_is_noticed(rig: Rig) -> None:
    """The session answers reads, and says nothing by itself any more: state CONNECTED, and still dead."""
    rig.silence = "300ms"
    async with connected(rig) as session:
        await status(session)
        server = rig.site.server
        assert server is not None
        service = server.iserver.subscription_service
        await service.delete_subscriptions(list(service.subscriptions))
        with pytest.raises(LinkLost):
            await request(session)


async def test_a_cut_in_mid_frame_loses_nothing(rig: Rig) -> None:
    """Cut while the request is on its way: told by the next session, once acknowledged, told no more."""
    sequence = 0
    async with connected(rig) as session:
        await status(session)
        rig.proxy.cut_after(30)
        sequence = await rig.site.request(1, ASK)
        with pytest.raises(LinkLost):
            await request(session)
    async with connected(rig) as session:
        asked = await request(session)
        assert (asked.sequence, asked.fault) == (sequence, None)
        await session.confirm(asked.receipt, Committed())
    assert rig.site.role(Role.ACKNOWLEDGE) == sequence


async def test_single_bytes_make_whole_messages(rig: Rig) -> None:
    """A slow link cuts messages wherever it likes."""
    rig.proxy.slices = 1
    async with connected(rig) as session:
        await rig.site.request(1, ASK)
        assert (await request(session)).fault is None


async def test_nobody_there_is_a_lost_link(rig: Rig) -> None:
    """At once, and with the address."""
    await rig.proxy.vanish()
    with pytest.raises(LinkLost, match=f"127.0.0.1:{rig.proxy.port}"):
        async with connected(rig):
            pass


async def test_a_server_that_takes_the_connection_and_says_nothing_is_a_lost_link(rig: Rig) -> None:
    """Connecting is bounded too."""
    rig.timeout = "200ms"
    rig.proxy.freeze()
    with pytest.raises(LinkLost, match="did not answer in time"):
        async with connected(rig):
            pass


# ---------------------------------------------------------------- T7: losses
async def test_after_the_overflow_bit_everything_is_read_again(rig: Rig) -> None:
    """The server threw values away: what we hold may be old, until it was read."""
    async with connected(rig) as session:
        await status(session)
        subscription = session._subscription
        handle = next(h for h, spec in subscription._points.items() if spec.name == "level")
        await rig.site.set_value("level", Decimal(5))
        await reading(session, "level")
        stale = ua.DataValue(ua.Variant(4, ua.VariantType.UInt16), ua.StatusCode(ua.UInt32(0x480)))
        subscription._on_change(ua.MonitoredItemNotification(ClientHandle=ua.UInt32(handle), Value=stale), at=1)
        assert {item.value for item in await session.read() if isinstance(item, Reading)} == {Decimal(4), Decimal(5)}
    assert len(rig.told("point_values_lost")) == 1


async def test_a_gap_in_the_servers_numbering_is_a_loss(rig: Rig) -> None:
    """A message that cannot be decoded is dropped by the library without a word; the next number tells."""
    async with connected(rig) as session:
        await status(session)
        session._subscription._count(7, with_news=True)
        lossy = session._inbox.lossy
        await rig.site.set_value("level", Decimal(5))
        assert (await reading(session, "level")).value == 5
    assert lossy
    assert rig.told("point_values_lost")


def test_an_inbox_that_is_full_says_so_and_starts_again() -> None:
    """The library's own queue drops the oldest without a word; what we drop is read again."""
    stirred = asyncio.Event()
    inbox = Inbox({"p": PointSpec(name="p", connection="scada")}, stirred, limit=3)
    for value in range(3):
        inbox.put(Reading(point="p", value=Decimal(value), at=value))
    before = inbox.lossy
    inbox.put(Reading(point="p", value=Decimal(3), at=3))
    assert (before, inbox.lossy, inbox.take()) == (False, True, [])
    inbox.put(Reading(point="p", value=Decimal(3), at=4))  # as it is read again, although it is the one told last
    assert [found.value for found in inbox.take()] == [3]


async def test_more_changes_than_anybody_takes_end_with_the_last_value(rig: Rig) -> None:
    """A burst through the whole path: whatever is dropped on the way, the last reading is the plant's value."""
    rig.queue = 1
    async with connected(rig) as session:
        await status(session)
        session._inbox._limit = 2
        for value in range(1, 200):
            await rig.site.set_value("level", Decimal(value))
            await rig.site.set_value("soc", Decimal(value))
        while (await reading(session, "level")).value != 199:
            pass


async def test_a_mailbox_without_most_roles_works(rig: Rig) -> None:
    """Four nodes that a brownfield site has anyway, and the gateway's word that only the latest result counts."""
    few = (Role.REQUEST_SEQ, Role.ACKNOWLEDGE, Role.STATE, Role.RESULT_SEQ)
    roles = {role: MAILBOX.roles[role] for role in few}
    rig.mailboxes = {"plc": replace(MAILBOX, roles=roles, payload=(), crc=False, latest=True)}
    async with connected(rig) as session:
        await rig.site.set_raw("m_request", 5)
        asked = await request(session)
        assert (asked.sequence, asked.kind, asked.fault) == (5, 1, None)
        await session.confirm(asked.receipt, Committed())
        await session.write(
            [
                RoleWrite(mailbox="plc", role=Role.STATE, value=2),
                RoleWrite(mailbox="plc", role=Role.RESULT_SEQ, value=1),
            ]
        )
    assert [rig.site.raw(n) for n in ("m_acknowledge", "m_result", "m_result_sequence")] == [5, 2, 1]


async def test_leaving_in_the_moment_of_an_answer_is_leaving(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own kind of cancellation is no error to the task group around the session."""

    class Raced(asyncio.CancelledError):
        """As wait_for2 raises it when an answer and a cancellation come together."""

    async def raced(*_: object) -> None:
        raise Raced

    async with rig.adapter().connect() as session:
        await session.read()
        monkeypatch.setattr(UaClient, "write_attributes", raced)
        with pytest.raises(asyncio.CancelledError) as found:
            await session.write([PointWrite(point="permit", value=True)])
        monkeypatch.undo()
    assert found.type is asyncio.CancelledError
