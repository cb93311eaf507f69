"""Server role: the SCADA raises, reads and consumes in our register map; nothing it sends does harm."""

from __future__ import annotations

import asyncio
import random
import struct
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.addresses import Table
from adapters.modbus.frames import FrameBroken, FrameStream
from adapters.modbus.register_map import RegisterMap
from adapters.modbus.translation import bind_all
from gateway.core.mailbox import Role
from gateway.errors import LinkLost, PointRejected
from gateway.ports import Busy, Committed, MailboxStatus, PointWrite, Request, RoleWrite, Session
from tests.adapters.modbus.master import BOX, Master, ServerRig, ended, hostile, serving
from tests.adapters.modbus.rig import reading, request, status

RESULT = [
    RoleWrite(mailbox="scada", role=role, value=value)
    for role, value in ((Role.RESULT_FOR, 7), (Role.STATE, 2), (Role.TEXT, "fine"), (Role.RESULT_SEQ, 1))
]


async def test_a_whole_conversation() -> None:
    """Request, acknowledgement, result, consumption: the result counts as delivered when the master has read it."""
    async with serving(ServerRig()) as (session, master):
        await master.request(7, [500])
        asked = await request(session)
        assert (asked.sequence, asked.fault, asked.snapshot["export_limit"].value) == (7, None, Decimal("50.0"))
        assert await master.read(1200, 2) == [0, 0]
        await session.confirm(asked.receipt, Committed())
        assert await master.read(1200, 2) == [7, 0]
        delivery = asyncio.create_task(session.write(RESULT))
        await master.until(1201, 1)
        assert not delivery.done()
        assert (await master.read(1202, 2), await master.read(1206, 32)) == ([7, 2], [0x6669, 0x6E65, *[0] * 30])
        await delivery
        await master.write(1005, [1])
        while (found := await status(session)).result_acknowledged != 1:
            pass
        assert (found.request_seq, found.acknowledged, found.result_seq) == (7, 7, 1)


async def test_after_our_restart_an_empty_register_is_no_zero_of_the_site() -> None:
    """The status says that the number is not known; the same request raised again is the same, not a new generation."""
    rig = ServerRig()
    for _ in range(2):
        async with serving(rig) as (session, master):
            await master.read(1200)
            found = await status(session)
            assert (found.request_seq, found.result_seq) == (None, 0)
            await master.request(7, [500])
            assert (await request(session)).sequence == 7
    assert not [name for name, _ in rig.events if name == "point_read_failed"]


async def test_busy_leaves_the_master_waiting() -> None:
    """No acknowledgement, and the request comes again."""
    async with serving(ServerRig()) as (session, master):
        await master.request(7, [500])
        await session.confirm((await request(session)).receipt, Busy())
        assert (await request(session)).sequence == 7
        assert await master.read(1200) == [0]


async def test_values_that_were_never_written_are_none() -> None:
    """A register of ours that is empty after our start is not a plant that measures 0."""
    async with serving(ServerRig()) as (session, master):
        await master.write(2000, [0])
        assert (await reading(session, "level")).fault == "not_written"  # one of its two registers
        await master.write(2001, [5])
        assert (await reading(session, "level")).value == Decimal(5)
        assert await master.ask(struct.pack(">BHH", 5, 3, 0xFF00)) == struct.pack(">BHH", 5, 3, 0xFF00)
        assert (await reading(session, "breaker")).value is True


async def test_what_we_show_in_points_is_confirmed_by_the_masters_reading() -> None:
    """Also in the tables that only we can write; and a master that has no interest in it does not hold up the rest."""
    async with serving(ServerRig()) as (session, master):
        await master.read(1200)
        steps = [PointWrite(point="smp_state", value=Decimal(2)), PointWrite(point="smp_lamp", value=True)]
        delivery = asyncio.create_task(session.write(steps))
        while await master.read(100, function=4) != [2]:
            pass
        assert not delivery.done()
        assert await master.ask(struct.pack(">BHH", 2, 0, 10)) == bytes([2, 2, 0x80, 0])
        await delivery


async def test_what_no_master_reads_is_refused_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for other things: the write is given up, named, so that the next one has its turn."""
    monkeypatch.setattr("adapters.modbus.server._UNREAD_S", 0.05)
    async with serving(ServerRig()) as (session, master):
        await master.read(1200)
        with pytest.raises(PointRejected, match="no master has read input:100 for a minute"):
            await session.write([PointWrite(point="smp_state", value=Decimal(2))])


async def test_masters_that_say_nothing_are_a_lost_link() -> None:
    """Reading and writing both give up; the next session begins with the first request, and knows what was written."""
    rig = ServerRig(settings={"silence": "50ms"})
    adapter = rig.adapter()
    async with asyncio.timeout(60):
        async with adapter.connect() as session, Master.at(adapter.port) as master:
            await master.write(2000, [0, 9])
            with pytest.raises(LinkLost, match=r"no master has asked anything at 127\.0\.0\.1:0 for 0\.05 s"):
                await _read_on(session)
            with pytest.raises(LinkLost):
                await session.write(RESULT)
        async with adapter.connect() as session:
            waiting = asyncio.create_task(reading(session, "level"))
            await asyncio.sleep(0)
            assert not waiting.done()
            async with Master.at(adapter.port) as master:
                await master.read(1200)
                assert (await waiting).value == Decimal(9)


async def test_pipelined_requests_are_answered_in_order_and_completely() -> None:
    """T2: fifty requests in one segment, then the same in single bytes; reads see the writes before them."""
    async with serving(ServerRig()) as (_, master):
        for slices in (10_000, 1):
            sent = b""
            for value in range(25):
                data = struct.pack(">H", value)
                sent += master.frame(struct.pack(">BHHB", 16, 1006, 1, 2) + data)
                sent += master.frame(struct.pack(">BHH", 3, 1006, 1))
            first = struct.unpack(">H", sent[:2])[0]
            for start in range(0, len(sent), slices):
                master.writer.write(sent[start : start + slices])
                await master.writer.drain()
            for index in range(50):
                transaction, pdu = await master.answer()
                assert transaction == first + index
                assert index % 2 == 0 or pdu == bytes([3, 2, 0, index // 2])


async def test_only_the_sites_own_registers_are_its_to_write() -> None:
    """Our result block, our points, and whatever is not in the map: refused as a whole, and nothing changed."""
    async with serving(ServerRig()) as (_, master):
        for pdu in (
            struct.pack(">BHH", 6, 1200, 9),
            struct.pack(">BHHBHH", 16, 2001, 2, 4, 1, 1),  # begins in a point and ends beyond it
            struct.pack(">BHH", 6, 9, 9),
            struct.pack(">BHH", 5, 9, 0xFF00),
        ):
            assert await master.ask(pdu) == bytes([pdu[0] | 0x80, 2])
        assert await master.read(1200) == [0]
        assert await master.ask(struct.pack(">BHH", 3, 30000, 1)) == bytes([0x83, 2])
        assert await master.ask(struct.pack(">BHH", 3, 1000, 126)) == bytes([0x83, 3])
        assert await master.ask(struct.pack(">BHH", 5, 3, 7)) == bytes([0x85, 3])
        assert await master.ask(bytes([43, 14, 1, 0])) == bytes([0xAB, 1])
        assert await master.ask(struct.pack(">BHH", 3, 1000, 1), unit=9) == bytes([0x83, 11])
        assert (await master.ask(struct.pack(">BHH", 3, 1000, 1), unit=255))[0] == 3


async def test_only_networks_of_the_allow_list_are_served() -> None:
    """Another address is shown out before a byte of it is read, and told."""
    rig = ServerRig(settings={"allow": ["10.20.1.0/24", "::1"]})
    adapter = rig.adapter()
    async with asyncio.timeout(60), adapter.connect(), Master.at(adapter.port) as master:
        assert await ended(master) == b""
    assert [(name, fields["reason"]) for name, fields in rig.events] == [("master_refused", "it is not in allow")]


async def test_what_is_not_modbus_ends_only_its_own_connection() -> None:
    """The other master is served on."""
    rig = ServerRig()
    adapter = rig.adapter()
    async with asyncio.timeout(60), adapter.connect(), Master.at(adapter.port) as well, Master.at(adapter.port) as ill:
        ill.writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await ended(ill) == b""
        assert await well.read(1200) == [0]


async def test_a_crowd_finds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the places of one listener a new connection is closed at once."""
    monkeypatch.setattr("adapters.modbus.listener.PLACES", 1)
    rig = ServerRig()
    adapter = rig.adapter()
    async with asyncio.timeout(60), adapter.connect(), Master.at(adapter.port) as first:
        await first.read(1200)
        async with Master.at(adapter.port) as second:
            assert await ended(second) == b""
        assert await first.read(1200) == [0]


async def test_a_taken_address_is_a_lost_link() -> None:
    """Whose fault it is, and where."""
    first = ServerRig().adapter()
    async with first.connect():
        second = ServerRig(settings={"listen": f"127.0.0.1:{first.port}"}).adapter()
        with pytest.raises(LinkLost, match=f"cannot listen at 127.0.0.1:{first.port}"):
            async with second.connect():
                pass


async def test_three_thousand_hostile_streams_do_no_harm() -> None:
    """P17: whatever is sent, our registers stay, the listener answers on, and no request comes of it."""
    dice = random.Random(20261125)
    adapter = ServerRig().adapter()
    async with asyncio.timeout(120), adapter.connect() as session, Master.at(adapter.port) as well:
        await well.read(1200)
        for _ in range(300):
            async with Master.at(adapter.port) as ill:
                for _ in range(10):
                    ill.writer.write(hostile(dice, ill))
                ill.writer.write_eof()
                assert len(await ended(ill)) <= 10 * 260
        assert await well.read(1200, 38) == [0] * 38
        await session.confirm((await _next_request(session, well)).receipt, Committed())
        assert await well.read(1200) == [9]


async def test_a_page_is_asked_for_at_once_and_need_not_be_waited_for() -> None:
    """Long before the next poll, also while nothing was raised; what answers it ends before anybody has read it."""
    rig = ServerRig(settings={"poll": "3600s"}, mailboxes={"scada": replace(BOX, detail=2, pages=1150)})
    async with serving(rig) as (session, master):
        await master.read(1200)
        await session.read()
        await master.write(1150, [2])
        (told,) = await session.read()
        assert isinstance(told, MailboxStatus)
        assert (told.page, told.request_seq) == (2, None)
        await session.write([RoleWrite(mailbox="scada", role=Role.PAGE, value=2, passing=True)])
        assert await master.read(1260) == [2]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_are_frames_or_no_modbus(pieces: list[bytes]) -> None:
    """However they come in: the same frames as in one piece, or the stream is given up."""
    try:
        stream = FrameStream()
        cut = [frame for piece in pieces for frame in stream.feed(piece)]
    except FrameBroken:
        cut = None
    try:
        whole = list(FrameStream().feed(b"".join(pieces)))
    except FrameBroken:
        assert cut is None
    else:
        assert cut == whole


@given(st.binary(min_size=1, max_size=253))
def test_any_request_is_answered_and_ours_stays_ours(pdu: bytes) -> None:
    """An answer or an exception of the same function, never longer than a frame, and no register of ours changed."""
    config = ServerRig().connection()
    shown = RegisterMap(bind_all(config).values(), config.mailboxes)
    ours = [(Table.HOLDING, BOX.host_block), (Table.INPUT, range(100, 101)), (Table.DISCRETE, range(7, 8))]
    before = [shown.read(*cells) for cells in ours]
    reply = shown.answer(pdu)
    assert reply.pdu[0] & 0x7F == pdu[0] & 0x7F
    assert len(reply.pdu) <= 253
    assert [shown.read(*cells) for cells in ours] == before


async def _read_on(session: Session) -> None:
    while True:
        await session.read()


async def _next_request(session: Session, master: Master) -> Request:
    await master.request(9, [1])
    while True:
        for item in await session.read():
            if isinstance(item, Request) and item.sequence == 9:
                return item
            assert not isinstance(item, MailboxStatus) or item.acknowledged == 0
