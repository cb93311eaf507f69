"""The contract of `ports.Session` as tests, for every adapter, ours or not: subclass, and give a fixture ``plant``.

    class TestMine(SessionContract, ReachedContract, MailboxContract):
        @pytest.fixture
        async def plant(self): ...   # yields a plant, as the Protocols below describe it

Needs pytest and pytest-asyncio with ``asyncio_mode = auto``; ``pytest.register_assert_rewrite("adapters.contract")`` in
a conftest.py makes its failures readable. A simulated site behind the adapter is a real server on loopback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol, TypeVar

import pytest

from gateway.core.mailbox import Role
from gateway.core.message import Problem
from gateway.core.point import Quality, Reading
from gateway.core.transaction import State
from gateway.errors import LinkLost, PointRejected
from gateway.ports import (
    Adapter,
    Busy,
    Committed,
    MailboxStatus,
    News,
    PointWrite,
    Refused,
    Request,
    ResultWrite,
    RoleWrite,
    Session,
    Submitted,
    Write,
)

T = TypeVar("T")

HANG_GUARD_S = 60.0  # no assertion: far beyond what anything takes
DURABLE = (Committed(message_id="0b1e", state=State.ACCEPTED), Refused(problems=(Problem(code="x", message="no"),)))
_STEPS = 12  # of the event loop, at each of which a read is cancelled once


class Plant(Protocol):
    """A simulated site: a number ``level`` that it changes, and ``smp_state``, a whole number with access: write."""

    def adapter(self) -> Adapter:
        """The adapter, as the product would build it."""

    async def change(self, level: int) -> None:
        """Give ``level`` another value."""

    async def state(self) -> int:
        """What ``smp_state`` is, at the site."""


class ReachedPlant(Plant, Protocol):
    """A site that the adapter reaches out for: one that can be gone."""

    def silence(self) -> None:
        """Keep the link open and answer nothing."""

    async def vanish(self) -> None:
        """Go away, taking every connection along."""

    async def come_back(self) -> None:
        """Be there again, remembering everything."""


class MailboxPlant(Plant, Protocol):
    """A site with a mailbox ``plc``."""

    async def ask(self, payload: Sequence[int]) -> int:
        """Raise a request; returns its sequence."""

    def role(self, role: Role) -> int:
        """What the mailbox shows."""


class SendingPlant(Plant, Protocol):
    """A site that sends messages of its own, one kind of them, as JSON under ids of its own."""

    async def send(self, ident: str, payload: str | None = None) -> None:
        """Send a message without waiting for its acknowledgement; ``payload`` in place of sound JSON."""

    async def acknowledged(self, ident: str) -> bool:
        """Wait until the site knows what became of sending it; False when it has to keep the message."""

    async def result(self, ident: str) -> str:
        """Wait for the result of a message, and take it; its state."""


async def told(session: Session, kind: type[T]) -> T:
    """The next news of this kind, whatever comes before."""
    while True:
        for item in await session.read():
            if isinstance(item, kind):
                return item


async def level(session: Session, value: int) -> Reading:
    """Read until ``level`` is this."""
    while True:
        for item in await session.read():
            if isinstance(item, Reading) and item.point == "level" and item.value == Decimal(value):
                return item


async def cancelled_often(session: Session) -> list[News]:
    """Cancel a read at every step on its way; what the uncancelled ones brought."""
    found: list[News] = []
    for steps in range(_STEPS):
        reading = asyncio.create_task(session.read())
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            found += reading.result()
    return found


class SessionContract:
    """What every adapter promises, whoever calls whom."""

    async def test_the_first_read_tells_something(self, plant: Plant) -> None:
        """Whoever connects learns at once that somebody is there."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            assert await session.read()

    async def test_a_changed_value_is_told_exactly(self, plant: Plant) -> None:
        """As a Decimal of good quality, every time it changes."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            for value in (7, 8):
                await plant.change(value)
                assert (await level(session, value)).quality is Quality.GOOD

    async def test_a_write_is_there_when_it_returns_and_may_be_repeated(self, plant: Plant) -> None:
        """A repeat after a crash changes nothing."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            await session.read()
            for _ in range(2):
                await session.write([PointWrite(point="smp_state", value=Decimal(2))])
                assert await plant.state() == 2

    async def test_only_what_is_for_writing_is_written(self, plant: Plant) -> None:
        """A point that is read, one that is not there, a value that does not fit: refused for good, never clamped."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            await session.read()
            await session.write([PointWrite(point="smp_state", value=Decimal(3))])
            for point, value in (("level", Decimal(2)), ("nowhere", Decimal(2)), ("smp_state", "three")):
                with pytest.raises(PointRejected):
                    await session.write([PointWrite(point=point, value=value)])
            assert await plant.state() == 3

    async def test_a_cancelled_read_loses_no_value(self, plant: Plant) -> None:
        """Cancelled at every step on its way, the value still comes."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            await plant.change(9)
            news = await cancelled_often(session)
            values = [item.value for item in news if isinstance(item, Reading) and item.point == "level"]
            if Decimal(9) not in values:
                await level(session, 9)

    async def test_a_session_that_was_left_is_finished(self, plant: Plant) -> None:
        """Every call of it is a lost link; the adapter makes another session, as often as it is asked."""
        adapter = plant.adapter()
        async with asyncio.timeout(HANG_GUARD_S):
            for _ in range(2):
                async with adapter.connect() as session:
                    await session.read()
                for use in (session.read(), session.write([PointWrite(point="smp_state", value=Decimal(1))])):
                    with pytest.raises(LinkLost):
                        await use


class ReachedContract:
    """What an adapter promises that reaches out for its site."""

    async def test_silence_is_a_lost_link(self, plant: ReachedPlant) -> None:
        """Reading and writing both give up, and the session stays given up."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            await session.read()
            plant.silence()
            with pytest.raises(LinkLost):
                await told(session, Request)
            with pytest.raises(LinkLost):
                await session.write([PointWrite(point="smp_state", value=Decimal(2))])

    async def test_a_site_that_vanished_is_a_lost_link_and_can_be_connected_again(self, plant: ReachedPlant) -> None:
        """A session never reconnects; the adapter makes another one."""
        adapter = plant.adapter()
        async with asyncio.timeout(HANG_GUARD_S):
            async with adapter.connect() as session:
                await session.read()
                await plant.vanish()
                with pytest.raises(LinkLost):
                    await told(session, Request)
            with pytest.raises(LinkLost):
                async with adapter.connect():
                    pass
            await plant.come_back()
            async with adapter.connect() as session:
                assert await session.read()


class MailboxContract:
    """What an adapter promises that carries mailboxes."""

    async def test_a_mailbox_is_told_how_it_stands(self, plant: MailboxPlant) -> None:
        """Before anything is asked."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            assert (await told(session, MailboxStatus)).request_seq == 0

    @pytest.mark.parametrize("outcome", DURABLE)
    async def test_what_is_durable_is_acknowledged(self, plant: MailboxPlant, outcome: Committed | Refused) -> None:
        """Committed and refused are both on disk, and both are told to the site."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            sequence = await plant.ask([1, 2, 3])
            request = await told(session, Request)
            assert (request.mailbox, request.sequence, request.fault) == ("plc", sequence, None)
            await session.confirm(request.receipt, outcome)
            assert plant.role(Role.ACKNOWLEDGE) == sequence

    async def test_busy_tells_the_site_nothing(self, plant: MailboxPlant) -> None:
        """And the request comes again, the same in every number."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            await plant.ask([1])
            first = await told(session, Request)
            await session.confirm(first.receipt, Busy())
            again = await told(session, Request)
            assert (again.sequence, again.crc, again.kind) == (first.sequence, first.crc, first.kind)
            assert plant.role(Role.ACKNOWLEDGE) == 0

    async def test_a_request_comes_again_with_each_connect(self, plant: MailboxPlant) -> None:
        """Whoever crashed between commit and acknowledgement must see it again."""
        async with asyncio.timeout(HANG_GUARD_S):
            sequence = await plant.ask([1])
            for _ in range(2):
                async with plant.adapter().connect() as session:
                    request = await told(session, Request)
                    assert request.sequence == sequence
                    await session.confirm(request.receipt, Committed())

    async def test_a_result_is_there_when_write_returns(self, plant: MailboxPlant) -> None:
        """Its roles and points; a repeat after a crash changes nothing."""
        steps: list[Write] = [
            RoleWrite(mailbox="plc", role=Role.RESULT_FOR, value=1),
            RoleWrite(mailbox="plc", role=Role.STATE, value=2),
            RoleWrite(mailbox="plc", role=Role.TEXT, value=""),
            RoleWrite(mailbox="plc", role=Role.RESULT_SEQ, value=1),
            PointWrite(point="smp_state", value=Decimal(2)),
        ]
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            for _ in range(2):
                await session.write(steps)
                assert [plant.role(role) for role in (Role.RESULT_FOR, Role.STATE, Role.RESULT_SEQ)] == [1, 2, 1]

    async def test_the_sites_own_half_is_never_written(self, plant: MailboxPlant) -> None:
        """Nor a mailbox that nobody declared."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            for box, role in (("plc", Role.REQUEST_SEQ), ("plc", Role.KIND), ("other", Role.ACKNOWLEDGE)):
                with pytest.raises(PointRejected):
                    await session.write([RoleWrite(mailbox=box, role=role, value=1)])

    async def test_a_cancelled_read_loses_no_request(self, plant: MailboxPlant) -> None:
        """Cancelled at every step on its way, the next read still tells of it."""
        async with asyncio.timeout(HANG_GUARD_S):
            sequence = await plant.ask([1])
            async with plant.adapter().connect() as session:
                await cancelled_often(session)
                assert (await told(session, Request)).sequence == sequence


class SubmissionContract:
    """What an adapter promises that brings messages under the site's own ids."""

    @pytest.mark.parametrize("outcome", DURABLE)
    async def test_a_message_is_acknowledged_when_it_is_durable(
        self, plant: SendingPlant, outcome: Committed | Refused
    ) -> None:
        """Told whole, again until it is confirmed, and never after that."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            await plant.send("A-1")
            first, again = await told(session, Submitted), await told(session, Submitted)
            assert first == again
            assert (first.key, first.fault, first.reply["id"]) == ("A-1", None, "A-1")
            assert isinstance(first.document, dict)
            await session.confirm(first.receipt, outcome)
            await plant.acknowledged("A-1")
            await plant.send("A-2")
            assert (await told(session, Submitted)).key == "A-2"

    async def test_busy_leaves_the_message_with_the_site(self, plant: SendingPlant) -> None:
        """It comes again, by itself or because the site was told to keep it."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            await plant.send("A-1")
            await session.confirm((await told(session, Submitted)).receipt, Busy())
            if not await plant.acknowledged("A-1"):
                await plant.send("A-1")
            again = await told(session, Submitted)
            assert again.key == "A-1"
            await session.confirm(again.receipt, Committed())

    async def test_what_cannot_be_believed_takes_no_id(self, plant: SendingPlant) -> None:
        """It is told as a fault, so that it is refused and on record."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            for payload in ("{", '{"a": 1, "a": 2}', "[" * 40):
                await plant.send("A-1", payload)
                asked = await told(session, Submitted)
                assert (asked.key, asked.document) == (None, None)
                assert asked.fault is not None
                await session.confirm(asked.receipt, Refused(problems=(asked.fault,)))

    async def test_a_result_reaches_who_asked(self, plant: SendingPlant) -> None:
        """Under its id; the same once more is harmless."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            await plant.send("A-1")
            asked = await told(session, Submitted)
            await session.confirm(asked.receipt, Committed())
            result = {"id": "A-1", "message": asked.message, "state": "completed", "errors": [], "results": []}
            for _ in range(2):
                writing = asyncio.create_task(session.write([ResultWrite(to=asked.reply, result=result, number=5)]))
                assert await plant.result("A-1") == "completed"
                await writing

    async def test_a_cancelled_read_loses_no_message(self, plant: SendingPlant) -> None:
        """Cancelled at every step on its way, the next read still tells of it."""
        async with asyncio.timeout(HANG_GUARD_S), plant.adapter().connect() as session:
            await plant.send("A-1")
            await cancelled_often(session)
            assert (await told(session, Submitted)).key == "A-1"
