"""The contract of `ports.Session`, held by every adapter against its own simulated plant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from gateway.core.mailbox import Role
from gateway.errors import LinkLost, PointRejected
from gateway.ports import Busy, Committed, MailboxStatus, PointWrite, Refused, Request, RoleWrite, Session, Write
from tests.contracts.adapters.plant import PLANTS, Plant


@pytest.fixture(params=PLANTS)
async def plant(request: pytest.FixtureRequest) -> AsyncIterator[Plant]:
    async with PLANTS[request.param]() as made, asyncio.timeout(60):
        yield made


async def asked(session: Session) -> Request:
    while True:
        for item in await session.read():
            if isinstance(item, Request):
                return item


async def test_read_is_never_empty_and_begins_with_the_mailbox(plant: Plant) -> None:
    """The first thing told of a mailbox is how it stands."""
    async with plant.adapter().connect() as session:
        news = await session.read()
        assert [item.request_seq for item in news if isinstance(item, MailboxStatus)] == [0]


@pytest.mark.parametrize("outcome", [Committed(), Refused(problems=())])
async def test_what_is_durable_is_acknowledged(plant: Plant, outcome: Committed | Refused) -> None:
    """Committed and refused are both on disk, and both are told to the site."""
    async with plant.adapter().connect() as session:
        sequence = await plant.ask([1, 2, 3])
        request = await asked(session)
        assert (request.mailbox, request.sequence, request.fault) == ("plc", sequence, None)
        await session.confirm(request.receipt, outcome)
        assert plant.role(Role.ACKNOWLEDGE) == sequence


async def test_busy_tells_the_site_nothing(plant: Plant) -> None:
    """And the request comes again, the same in every number."""
    async with plant.adapter().connect() as session:
        await plant.ask([1])
        first = await asked(session)
        await session.confirm(first.receipt, Busy())
        again = await asked(session)
        assert (again.sequence, again.crc, again.kind) == (first.sequence, first.crc, first.kind)
        assert plant.role(Role.ACKNOWLEDGE) == 0


async def test_a_request_comes_again_with_each_connect(plant: Plant) -> None:
    """Whoever crashed between commit and acknowledgement must see it again."""
    sequence = await plant.ask([1])
    for _ in range(2):
        async with plant.adapter().connect() as session:
            request = await asked(session)
            assert request.sequence == sequence
            await session.confirm(request.receipt, Committed())


async def test_writes_are_there_when_write_returns_and_may_be_repeated(plant: Plant) -> None:
    """Roles and points; a repeat after a crash changes nothing."""
    steps: list[Write] = [
        RoleWrite(mailbox="plc", role=Role.RESULT_FOR, value=1),
        RoleWrite(mailbox="plc", role=Role.STATE, value=2),
        RoleWrite(mailbox="plc", role=Role.TEXT, value=""),
        RoleWrite(mailbox="plc", role=Role.RESULT_SEQ, value=1),
        PointWrite(point="smp_state", value=Decimal(2)),
    ]
    async with plant.adapter().connect() as session:
        for _ in range(2):
            await session.write(steps)
            assert [plant.role(role) for role in (Role.RESULT_FOR, Role.STATE, Role.RESULT_SEQ)] == [1, 2, 1]


async def test_what_may_not_be_written_is_refused(plant: Plant) -> None:
    """The site's own registers, and points that are not for writing."""
    async with plant.adapter().connect() as session:
        with pytest.raises(PointRejected):
            await session.write([RoleWrite(mailbox="plc", role=Role.REQUEST_SEQ, value=1)])
        with pytest.raises(PointRejected):
            await session.write([PointWrite(point="level", value=Decimal(2))])


async def test_cancelling_a_read_loses_nothing(plant: Plant) -> None:
    """Cancelled at every step on its way, the next read still tells of the request."""
    sequence = await plant.ask([1])
    async with plant.adapter().connect() as session:
        for steps in range(12):
            reading = asyncio.create_task(session.read())
            for _ in range(steps):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            if not reading.cancelled():
                assert reading.result()
        assert (await asked(session)).sequence == sequence


async def test_silence_is_a_lost_link(plant: Plant) -> None:
    """Reading and writing both give up, and the session stays given up."""
    async with plant.adapter().connect() as session:
        await session.read()
        plant.silence()
        with pytest.raises(LinkLost):
            await asked(session)
        with pytest.raises(LinkLost):
            await session.write([PointWrite(point="smp_state", value=Decimal(2))])


async def test_a_plant_that_vanished_is_a_lost_link_and_can_be_connected_again(plant: Plant) -> None:
    """A session never reconnects; the adapter makes another one."""
    adapter = plant.adapter()
    async with adapter.connect() as session:
        await session.read()
        await plant.vanish()
        with pytest.raises(LinkLost):
            await asked(session)
    with pytest.raises(LinkLost):
        async with adapter.connect():
            pass
    await plant.come_back()
    async with adapter.connect() as session:
        assert await session.read()
