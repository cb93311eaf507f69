"""What a session tells of a site, in which requests, and that one bad register spoils nothing else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from adapters.modbus.simulator import Access
from gateway.core.mailbox import Role, crc32
from gateway.core.point import Quality, Reading
from gateway.errors import LinkLost
from gateway.ports import Busy, Committed, MailboxStatus, Reachable, Request, RoleWrite
from tests.adapters.modbus.rig import MAILBOX, Rig, reading, request, status

SERIAL = [0x4142, 0x4300, 0, 0]


async def test_a_request_carries_one_snapshot(rig: Rig) -> None:
    """Points in the payload come from the checked block, the others from between block and sequence."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        rig.site.set_registers(2000, [42, 1, 2])
        sequence = await rig.site.request(1, [123, 0, *SERIAL])
        asked = await request(session)
        values = {name: found.value for name, found in asked.snapshot.items()}
        assert values == {
            "export_limit": Decimal("12.3"),
            "serial": "ABC",
            "level": Decimal(42),
            "energy": Decimal(65538),
            "sensor": Decimal(7),
            "breaker": True,
        }
        assert (asked.sequence, asked.kind, asked.fault) == (sequence, 1, None)
        assert asked.crc == crc32([sequence, 1, 6, 123, 0, *SERIAL])
        assert asked.raw[:6] == bytes([0, 1, 0, 1, 0, 6])
        assert asked.seen_at < asked.snapshot_at


async def test_the_poll_is_few_requests_in_the_promised_order(rig: Rig) -> None:
    """Our own numbers, the block in one read, the points, the sequence again: nothing more."""
    await rig.site.request(1, [1])
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await request(session)
    reads = [(access.function, access.address, access.count) for access in list(rig.site.log)[:6]]
    assert reads == [(3, 1200, 2), (3, 1000, 125), (1, 2, 1), (3, 2000, 3), (4, 30, 1), (3, 1000, 1)]


async def test_our_own_numbers_are_as_old_as_their_own_read(rig: Rig) -> None:
    """They are read before the request: a result written in between must not look like one that the site has lost."""
    rig.site.set_registers(2000, [42, 1, 2])
    await rig.site.request(1, [123, 0, *SERIAL])
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        shown: list[object] = []
        while not any(isinstance(item, Request) for item in shown):
            shown += await session.read()
    (told,) = [item for item in shown if isinstance(item, MailboxStatus)]
    (asked,) = [item for item in shown if isinstance(item, Request)]
    assert told.at < asked.seen_at


async def test_a_payload_too_short_for_its_points_says_so(rig: Rig) -> None:
    """A point beyond LENGTH has no value, not the one of the request before."""
    rig.site.set_registers(1008, SERIAL)
    await rig.site.request(1, [123])
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        asked = await request(session)
    assert asked.snapshot["export_limit"].value == Decimal("12.3")
    assert asked.snapshot["serial"].fault == "payload_too_short"


async def test_confirming_writes_the_acknowledgement(rig: Rig) -> None:
    """ACK_SEQ becomes the sequence, and the request is told no more; the next one is."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        first = await rig.site.request(1, [1])
        await session.confirm((await request(session)).receipt, Committed())
        await rig.site.acknowledged(first)
        rig.site.set_registers(2000, [5])
        assert not [item for item in await session.read() if isinstance(item, Request)]
        second = await rig.site.request(1, [2])
        assert (await request(session)).sequence == second


async def test_busy_writes_nothing_and_the_request_comes_again(rig: Rig) -> None:
    """Back-pressure is silence: no acknowledgement, and the same request with the next poll, first seen when it was."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        sequence = await rig.site.request(1, [1])
        asked = await request(session)
        await session.confirm(asked.receipt, Busy())
        again = await request(session)
        assert (again.sequence, again.crc, again.seen_at) == (sequence, asked.crc, asked.seen_at)
        assert rig.site.role(Role.ACKNOWLEDGE) == 0
        assert all(access.values is None for access in rig.site.log)


async def test_a_sequence_that_moves_during_the_poll_is_not_believed(rig: Rig) -> None:
    """The site changes everything between the block and the re-read: the old half is dropped, the new whole told."""
    site = rig.site
    await site.request(1, [1])

    def change(access: Access) -> None:
        if access.address == 30:  # the last read between block and sequence
            site.on_access = None
            block = [1, 1, *divmod(crc32([2, 1, 1, 500]), 0x10000), 0, 500]
            site.set_registers(1001, block)
            site.set_registers(1000, [2])

    site.on_access = change
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        asked = await request(session)
    assert (asked.sequence, asked.snapshot["export_limit"].value) == (2, Decimal("50.0"))


async def test_a_crc_that_stays_wrong_is_told_after_three_polls(rig: Rig) -> None:
    """Twice nothing is said; then the request comes with its fault, so that it can be refused."""
    rig.poll = "1ms"
    await rig.site.request(1, [1], crc=0xDEAD)
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        asked = await request(session)
    blocks = [access for access in rig.site.log if access.address == 1000 and access.count > 1]
    assert (asked.fault, asked.crc, len(blocks)) == ("bad_crc", 0xDEAD, 3)


async def test_only_changes_are_told(rig: Rig) -> None:
    """Everything once per connection, then only what changed."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        first = await session.read()
        assert {item.point for item in first if isinstance(item, Reading)} == {"level", "energy", "sensor", "breaker"}
        rig.site.set_registers(2000, [5])
        second = await session.read()
        assert [(item.point, item.value) for item in second if isinstance(item, Reading)] == [("level", Decimal(5))]
        assert len(second) == 1


async def test_the_mailbox_status_follows_its_numbers(rig: Rig) -> None:
    """Told after each connect and whenever one of the four numbers changes, 0 included."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        assert (await status(session)).request_seq == 0
        rig.site.set_registers(1005, [9])
        found = await status(session)
        assert (found.request_seq, found.acknowledged, found.result_seq, found.result_acknowledged) == (0, 0, 0, 9)
        rig.site.set_registers(1200, [3, 4])
        found = await status(session)
        assert (found.acknowledged, found.result_seq) == (3, 4)


async def test_a_refused_register_spoils_only_its_own_point(rig: Rig) -> None:
    """`level` and `energy` share a request; the device refuses it for one of them, and the other is still read."""
    rig.site.refuse(2000)
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        found = {item.point: item for item in await session.read() if isinstance(item, Reading)}
        assert (found["level"].quality, found["level"].fault) == (Quality.BAD, "device_exception")
        assert "exception 2, illegal data address for holding:2000" in str(found["level"].detail)
        assert found["energy"].quality is Quality.GOOD
        rig.site.heal()
        assert (await reading(session, "level")).quality is Quality.GOOD
    told = [(name, fields["what"]) for name, fields in rig.events]
    assert told == [("point_read_failed", "level"), ("point_read_recovered", "level")]


async def test_a_refused_mailbox_leaves_the_points(rig: Rig) -> None:
    """A device that does not know the mailbox's registers is told of once, and its points are read all the same."""
    rig.site.refuse(1000)
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        assert not [item for item in await session.read() if isinstance(item, MailboxStatus)]
        rig.site.set_registers(2000, [5])
        assert (await reading(session, "level")).value == Decimal(5)
        rig.site.heal()
        assert (await status(session)).request_seq == 0
    assert [name for name, _ in rig.events] == ["point_read_failed", "point_read_recovered"]


async def test_two_mailboxes_do_not_mix(rig: Rig) -> None:
    """Each has its own sequence, block and acknowledgement."""
    other = replace(MAILBOX, name="second", base=3000, results=3200, capacity=4)
    rig.mailboxes = {"plc": MAILBOX, "second": other}
    rig.site.set_registers(3000, [8, 2, 1, *divmod(crc32([8, 2, 1, 77]), 0x10000), 0, 77])
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        asked = await request(session)
        assert (asked.mailbox, asked.sequence, asked.kind) == ("second", 8, 2)
        await session.confirm(asked.receipt, Committed())
    assert (rig.site.registers(3200), rig.site.registers(1200)) == ([8], [0])


async def test_a_cancelled_read_loses_nothing(rig: Rig) -> None:
    """Cancelled while the device thinks, the next read tells everything, and no answer goes to the wrong question."""
    sequence = await rig.site.request(1, [123, 0, *SERIAL])
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        asked = asyncio.Event()
        rig.site.on_access = lambda _: asked.set()
        for _ in range(5):
            rig.site.freeze()
            asked.clear()
            pending = asyncio.create_task(request(session))
            await asked.wait()
            pending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pending
            rig.site.thaw()
        found = await request(session)
        assert found.sequence == sequence
        assert found.snapshot["serial"].value == "ABC"


async def test_a_cancelled_request_stays_the_only_one_in_flight(rig: Rig) -> None:
    """Devices mix up overlapping requests, so the next one waits for the answer that nobody wants any more."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        asked = asyncio.Event()
        rig.site.on_access = lambda _: asked.set()
        rig.site.freeze()
        pending = asyncio.create_task(session.read())
        await asked.wait()
        pending.cancel()
        await asyncio.wait([pending])
        following = asyncio.create_task(session.read())
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(rig.site.log) == 1
        rig.site.thaw()
        assert await following


async def test_a_unit_that_does_not_answer_is_a_lost_link(rig: Rig) -> None:
    """A frozen, half-open device is noticed by its silence, and the session is finished for good."""
    rig.timeout = "50ms"
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.read()
        rig.site.freeze()
        with pytest.raises(LinkLost, match="did not answer"):
            await request(session)
        rig.site.thaw()
        with pytest.raises(LinkLost):
            await session.read()
        with pytest.raises(LinkLost):
            await session.write([RoleWrite(mailbox="plc", role=Role.HEARTBEAT, value=1)])


async def test_a_late_answer_is_nobodys(rig: Rig) -> None:
    """The answer to a request that timed out never becomes another's value: the next has its own connection."""
    rig.timeout = "100ms"
    site = rig.site
    site.set_registers(2000, [1111, 0, 0])
    async with asyncio.timeout(30):
        async with rig.adapter().connect() as session:
            site.freeze()
            with pytest.raises(LinkLost):
                await reading(session, "level")
        site.set_registers(2000, [2222, 0, 0])
        site.thaw()
        async with rig.adapter().connect() as session:
            for _ in range(3):
                assert (await reading(session, "level")).value == Decimal(site.registers(2000)[0])
                site.set_registers(2000, [site.registers(2000)[0] + 1])


async def test_a_closed_connection_is_noticed_between_polls(rig: Rig) -> None:
    """With an hour between polls, the end of the connection is known at once."""
    rig.poll = "60m"
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        await session.read()
        waiting = asyncio.create_task(reading(session, "level"))
        await asyncio.sleep(0)
        await rig.site.stop()
        with pytest.raises(LinkLost, match="closed the connection"):
            await waiting


async def test_nobody_there_is_a_lost_link(rig: Rig) -> None:
    """Entering says so; nothing is retried here."""
    await rig.site.stop()
    with pytest.raises(LinkLost, match="cannot be reached"):
        async with rig.adapter().connect():
            pass


async def test_a_wrong_unit_is_a_lost_link_or_a_bad_reading_never_a_value(rig: Rig) -> None:
    """Another unit id than the device's own is answered by an exception; nothing is taken for a value."""
    rig.unit = 9
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        found = [item for item in await session.read() if isinstance(item, Reading)]
    assert found
    assert all(item.fault == "device_exception" for item in found)


async def test_a_restarted_site_shows_its_request_again(rig: Rig) -> None:
    """After each connect the request is told again, also if it was confirmed before."""
    async with asyncio.timeout(30):
        sequence = await rig.site.request(1, [1])
        for _ in range(2):
            async with rig.adapter().connect() as session:
                asked = await request(session)
                assert asked.sequence == sequence
                await session.confirm(asked.receipt, Committed())
            await rig.site.stop()
            await rig.site.start()


async def test_slow_points_are_polled_slowly_but_every_message_has_them(rig: Rig) -> None:
    """A point of its own period is read at the connect, and again only when it is due or a request needs it."""
    rig.extra = {"nameplate": {"address": "input:500", "type": "uint16", "poll": "60m"}}
    slow = range(500, 501)
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        assert (await reading(session, "nameplate")).value == 0
        rig.site.set_inputs(500, [50])
        for level in (1, 2, 3):
            rig.site.set_registers(2000, [level])
            assert (await reading(session, "level")).value == level
        assert len([access for access in rig.site.log if access.touches(slow) and access.function == 4]) == 1
        await rig.site.request(1, [1])
        assert (await request(session)).snapshot["nameplate"].value == Decimal(50)


async def test_a_refused_address_is_remembered_and_tried_again(rig: Rig) -> None:
    """Found once, it is asked no more, its message still says that it is missing, and it is tried after a while."""
    rig.settings = {"retest": "60m"}
    rig.site.refuse(2000)
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        assert (await reading(session, "level")).fault == "device_exception"
        rig.site.log.clear()
        await rig.site.request(1, [1])
        assert (await request(session)).snapshot["level"].fault == "device_exception"
        assert not [access for access in rig.site.log if access.touches(range(2000, 2001))]
    rig.settings = {}
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        assert (await reading(session, "level")).fault == "device_exception"
        rig.site.heal()
        assert (await reading(session, "level")).quality is Quality.GOOD


async def test_busy_is_not_never(rig: Rig) -> None:
    """Exception 6 means "not now": the points have no value in this poll, and nothing is left out because of it."""
    rig.settings = {"retest": "60m"}
    rig.site.refuse(2000, code=6)
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        assert (await reading(session, "energy")).fault == "device_exception"
        rig.site.heal()
        assert (await reading(session, "energy")).quality is Quality.GOOD


async def test_a_gateway_without_its_unit_is_a_lost_link(rig: Rig) -> None:
    """Exception 11: the unit behind is silent. Asking for each point would hold up all others on its bus."""
    rig.site.refuse(2000, code=11)
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        with pytest.raises(LinkLost, match=r"unit 1 at .* is not there: exception 11, gateway target did not respond"):
            await session.read()


async def test_a_connection_that_is_only_written_is_known_to_be_there(rig: Rig) -> None:
    """With nothing to read the session still says once that the device answers, since writes wait for that."""
    connection = rig.connection()
    points = {name: pair for name, pair in connection.points.items() if name in {"smp_state", "permit"}}
    only = replace(connection, points=points, mailboxes={})
    async with asyncio.timeout(30), rig.adapter(only).connect() as session:
        assert [type(item) for item in await session.read()] == [Reachable]
        waiting = asyncio.create_task(session.read())
        await asyncio.sleep(0)
        await rig.site.stop()
        with pytest.raises(LinkLost):
            await waiting
