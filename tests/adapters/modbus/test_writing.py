"""Writes: only what is allowed, in few requests, RESULT_SEQ last, and never believed before it is read back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from adapters.modbus.simulator import Access
from gateway.core.mailbox import Role, register_bytes
from gateway.core.point import Access as Mode
from gateway.errors import JournalBroken, LinkLost, PointRejected
from gateway.ports import Committed, ConnectionConfig, PointWrite, Receipt, RoleWrite, Write
from tests.adapters.modbus.rig import MAILBOX, Rig, reading, status


def roles(**values: int | str) -> list[Write]:
    return [RoleWrite(mailbox="plc", role=Role(name), value=value) for name, value in values.items()]


PAGED = replace(MAILBOX, detail=2, pages=1150)
RESULT = roles(result_for=7, state=3, error_count=2, text="row 17 id: check digit", result_seq=5)


def writes(rig: Rig) -> list[tuple[int, int, int]]:
    return [(access.function, access.address, access.count) for access in rig.site.log if access.values is not None]


def reads(rig: Rig) -> list[tuple[int, int, int]]:
    return [(access.function, access.address, access.count) for access in rig.site.log if access.values is None]


async def test_a_result_is_three_writes_and_one_read(rig: Rig) -> None:
    """Neighbours share a request, RESULT_SEQ goes alone and last, and one read shows it all again."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.write(RESULT)
    assert writes(rig) == [(16, 1202, 3), (16, 1206, 32), (16, 1201, 1)]
    assert reads(rig) == [(3, 1201, 37)]
    shown = rig.site.showing()
    assert (shown.for_sequence, shown.state, shown.error_count, shown.result_seq) == (7, 3, 2, 5)
    assert shown.text == "row 17 id: check digit"


async def test_whoever_was_replaced_in_the_middle_of_a_result_writes_no_more(rig: Rig) -> None:
    """Another gateway may have written the next result since: what makes this one valid is not written any more."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        rig.tenure.left = 1
        with pytest.raises(JournalBroken):
            await session.write(RESULT)
        with pytest.raises(JournalBroken):
            await session.confirm(Receipt(mailbox="plc", sequence=7), Committed())
    assert writes(rig) == [(16, 1202, 3)]


async def test_a_result_between_heartbeats_is_one_request_less(rig: Rig) -> None:
    """The heartbeat lies in the middle of the block: written again as it stands, it saves a round trip."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.write(roles(heartbeat=41))
        rig.site.log.clear()
        await session.write(RESULT)
    assert writes(rig) == [(16, 1202, 36), (16, 1201, 1)]
    assert rig.site.registers(1205) == [41]


async def test_a_text_for_people_is_cut_to_fit_its_point(rig: Rig) -> None:
    """An error's sentence may be longer than the plant's display, and hold letters that it has not."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.write([PointWrite(point="smp_text", value="dégâts " + "x" * 99, fit=True)])
    assert register_bytes(rig.site.registers(1310, 32)) == b"d?g?ts " + b"x" * 54 + b"..."


async def test_result_seq_is_last_whatever_the_order_of_the_steps(rig: Rig) -> None:
    """It makes the rest valid, so it never goes first."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.write(list(reversed(RESULT)))
    assert writes(rig)[-1] == (16, 1201, 1)


async def test_a_shorter_text_clears_the_longer_one(rig: Rig) -> None:
    """All 32 registers are written, so that nothing of an earlier error stays behind."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.write(RESULT)
        await session.write(roles(text="ok"))
    assert rig.site.showing().text == "ok"
    assert rig.site.registers(1207, 31) == [0] * 31


async def test_points_are_written_in_order(rig: Rig) -> None:
    """Numbers, text and coils, each read back."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.write(
            [
                PointWrite(point="smp_state", value=Decimal(3)),
                PointWrite(point="smp_text", value="no such MPAN"),
                PointWrite(point="permit", value=True),
            ]
        )
    assert writes(rig) == [(16, 1300, 1), (16, 1310, 32), (5, 5, 1)]
    assert rig.site.registers(1300) == [3]
    assert rig.site.registers(1310, 2) == [0x6E6F, 0x2073]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([PointWrite(point="level", value=Decimal(1))], "level: is not declared with access: write"),
        ([PointWrite(point="nowhere", value=Decimal(1))], "nowhere: is not a point of this connection"),
        ([PointWrite(point="gauge", value=Decimal(1))], "input:40 cannot be written"),
        ([PointWrite(point="smp_state", value=Decimal(70000))], "70000 would be 70000 in the register"),
        ([PointWrite(point="smp_state", value="1")], "'1' is not a number"),
        ([PointWrite(point="smp_text", value="x" * 65)], "65 characters do not fit"),
        ([RoleWrite(mailbox="other", role=Role.STATE, value=1)], "other: is not a mailbox of this connection"),
        ([RoleWrite(mailbox="plc", role=Role.REQUEST_SEQ, value=1)], "plc.request_seq: is the site's to write"),
        ([RoleWrite(mailbox="plc", role=Role.PAYLOAD, value=1)], "plc.payload: is the site's to write"),
        ([RoleWrite(mailbox="plc", role=Role.STATE, value=65536)], "65536 is outside 0..65535"),
        ([RoleWrite(mailbox="plc", role=Role.STATE, value=-1)], "-1 is outside 0..65535"),
        ([RoleWrite(mailbox="plc", role=Role.STATE, value="1")], "'1' is outside"),
        ([RoleWrite(mailbox="plc", role=Role.TEXT, value="x" * 65)], "do not fit into 32 registers"),
    ],
)
async def test_what_is_not_allowed_never_leaves(rig: Rig, steps: Sequence[Write], words: str) -> None:
    """Refused before the first byte: the device sees no write at all."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        with pytest.raises(PointRejected) as caught:
            await session.write(steps)
    assert words in str(caught.value)
    assert writes(rig) == []


async def test_a_register_that_keeps_its_value_is_found_out(rig: Rig) -> None:
    """The device says yes and does nothing: one retry, then refused, and later steps are not made."""
    rig.site.stick(1300)
    steps = [PointWrite(point="smp_state", value=Decimal(3)), PointWrite(point="permit", value=True)]
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        with pytest.raises(PointRejected, match=r"smp_state: holding:1300 holds \[0\] after \[3\] was written"):
            await session.write(steps)
    assert writes(rig) == [(16, 1300, 1), (16, 1300, 1)]


async def test_one_retry_is_enough_for_one_failure(rig: Rig) -> None:
    """A write that took at the second try is a write that took."""
    site = rig.site
    site.stick(1300)

    def heal(access: Access) -> None:
        if access.values is None:
            site.heal()

    site.on_access = heal
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.write([PointWrite(point="smp_state", value=Decimal(3))])
    assert site.registers(1300) == [3]


async def test_an_exception_refuses_for_good(rig: Rig) -> None:
    """An illegal address stays one; the reason is the device's own."""
    rig.site.refuse(1202, reads=False)
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        with pytest.raises(PointRejected, match="plc: the device answered exception 2, illegal data address"):
            await session.write(RESULT)
    assert rig.site.showing().result_seq == 0


async def test_a_busy_device_is_a_lost_link_not_a_refusal(rig: Rig) -> None:
    """ "Not now" must not turn into "never": the runtime comes back and writes the same again."""
    rig.site.refuse(1300, code=6, reads=False)
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        with pytest.raises(LinkLost, match="device busy"):
            await session.write([PointWrite(point="smp_state", value=Decimal(3))])


async def test_an_acknowledgement_that_is_refused_is_a_lost_link(rig: Rig) -> None:
    """The site was not told, so the request must be seen again."""
    rig.site.refuse(1200, reads=False)
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        with pytest.raises(LinkLost, match="takes no acknowledgement"):
            await session.confirm(Receipt(mailbox="plc", sequence=1), Committed())


async def test_silence_during_a_write_is_a_lost_link(rig: Rig) -> None:
    """Whether it was written is unknown, and nothing is sent twice on our own account."""
    rig.timeout = "50ms"
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        rig.site.freeze()
        with pytest.raises(LinkLost, match="did not answer"):
            await session.write(RESULT)
    assert len(writes(rig)) == 1


async def test_a_write_need_not_wait_for_a_whole_poll(rig: Rig) -> None:
    """Turns are single requests: a write that comes during a poll goes between two of its reads."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        asked = asyncio.Event()
        rig.site.on_access = lambda _: asked.set()
        rig.site.freeze()
        polling = asyncio.create_task(session.read())
        await asked.wait()
        writing = asyncio.create_task(session.write(roles(heartbeat=1)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        rig.site.thaw()
        await writing
        await polling
    kinds = ["write" if access.values is not None else "read" for access in rig.site.log]
    assert kinds.index("write") == 1


async def test_a_scale_factor_is_read_before_the_value_is_laid_out(rig: Rig) -> None:
    """The device may change it at any time; a value that it cannot hold at this factor is refused."""
    rig.extra = {"setpoint": {"address": "holding:1400", "type": "int16", "scale_factor": "holding:1402"}}
    async with asyncio.timeout(30), rig.adapter(writable(rig, "setpoint")).connect() as session:
        rig.site.set_registers(1402, [0xFFFE])
        await session.write([PointWrite(point="setpoint", value=Decimal("12.34"))])
        assert rig.site.registers(1400) == [1234]
        rig.site.set_registers(1402, [1])
        await session.write([PointWrite(point="setpoint", value=Decimal(500))])
        assert rig.site.registers(1400) == [50]
        with pytest.raises(PointRejected, match="not a whole number"):
            await session.write([PointWrite(point="setpoint", value=Decimal("12.34"))])
        rig.site.set_registers(1402, [0x8000])
        with pytest.raises(PointRejected, match="holding:1402 holds no scale factor"):
            await session.write([PointWrite(point="setpoint", value=Decimal(500))])
        assert rig.site.registers(1400) == [50]


def writable(rig: Rig, name: str) -> ConnectionConfig:
    connection = rig.connection()
    spec, place = connection.points[name]
    return replace(connection, points={**connection.points, name: (replace(spec, access=Mode.WRITE), place)})


async def test_no_poll_comes_between_a_write_and_its_reading_back(rig: Rig) -> None:
    """Three results are written while a poll is under way: their requests are all next to each other."""
    rig.poll = "1ms"
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.read()
        polling = asyncio.create_task(reading(session, "level"))
        await asyncio.sleep(0)
        rig.site.log.clear()
        await session.write([*RESULT, *roles(result_for=8, result_seq=6)])
        rig.site.set_registers(2000, [5])
        await polling
    log = [(access.address, access.values is None) for access in rig.site.log]
    first = next(index for index, (_, read) in enumerate(log) if not read)
    last = max(index for index, (_, read) in enumerate(log) if not read)
    assert all(1200 <= address < 1300 for address, _ in log[first : last + 2])


async def test_a_list_of_errors_and_an_id_reach_the_plant(rig: Rig) -> None:
    """With `detail: 2` pairs of row and number follow the text, then the SMP's id; without it they are refused."""
    detail = RoleWrite(mailbox="plc", role=Role.DETAIL, value=(17, 100, 0xFFFF, 2))
    with pytest.raises(PointRejected, match="is the site's to write"):
        async with asyncio.timeout(30), rig.adapter().connect() as session:
            await session.write([detail])
    rig.mailboxes = {"plc": replace(MAILBOX, detail=2)}
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.write([*RESULT[:-1], detail, *roles(smp_id="SMP-000123"), RESULT[-1]])
    assert rig.site.registers(1238, 4) == [17, 100, 0xFFFF, 2]
    assert register_bytes(rig.site.registers(1242, 16)).rstrip(b"\0") == b"SMP-000123"
    assert writes(rig)[-1] == (16, 1201, 1)


async def test_a_page_is_invalid_while_it_changes_and_valid_last(rig: Rig) -> None:
    """Of a result PAGE is 0 first, RESULT_SEQ comes after everything else, and PAGE after that; whatever the order."""
    rig.mailboxes, rig.site.mailbox = {"plc": PAGED}, PAGED
    page = [*roles(page=0, smp_id="SMP-1", smp_row=0, pages=3), RoleWrite(mailbox="plc", role=Role.PAGE, value=1)]
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.write([*reversed(page), *RESULT])
        made = [access for access in rig.site.log if access.values is not None]
        numbers = [(a.address, a.values) for a in made if a.address in {1201, 1260}]
        assert (numbers[0], numbers[1:]) == ((1260, (0,)), [(1201, (5,)), (1260, (1,))])
        assert [made.index(a) for a in made if a.address in {1201, 1260}] == [0, len(made) - 2, len(made) - 1]
    assert (rig.site.role(Role.PAGE), rig.site.role(Role.PAGES), rig.site.role(Role.RESULT_SEQ)) == (1, 3, 5)


async def test_the_page_that_a_plant_asks_for_is_told(rig: Rig) -> None:
    """From a register of its own, also where nothing else of the mailbox changes."""
    rig.mailboxes = {"plc": PAGED}
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        assert (await status(session)).page == 0
        for page in (3, 0):
            rig.site.set_registers(1150, [page])
            assert (await status(session)).page == page
