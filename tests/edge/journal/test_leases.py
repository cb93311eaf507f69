"""Several gateways on one database: what each may change, who has which lease, and what they tell each other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from gateway.core.message import Lane
from gateway.core.record import Disposition
from gateway.core.sharing import Hint, Lease, Node
from gateway.core.transaction import Event, State
from gateway.edge.journal.postgres import PostgresJournal
from gateway.errors import JournalBroken, JournalLocked, LeaseEnded
from tests.contracts.journal.scenario import (
    BATTERY,
    FAILURE,
    FOREIGN,
    Place,
    accepted,
    attempt,
    callback,
    draft,
    evidence,
    outgoing,
    sent,
    state_of,
)
from tests.edge.journal.test_postgres import behind
from tests.postgres import PostgresServer

EXSTOR, EXFLEX = ("test", "exstor"), ("test", "exflex")


@pytest.fixture
def place(postgres: PostgresServer, tmp_path: Path) -> Place:
    return Place(tmp_path, url=postgres.fresh())


@asynccontextmanager
async def node(place: Place, *lanes: Lane) -> AsyncIterator[PostgresJournal]:
    """A gateway that shares the journal, and serves the participants of these lanes."""
    assert place.url is not None

    def event(name: str, **fields: object) -> None:
        place.events.append((name, fields))

    opened = PostgresJournal.open(
        place.url,
        clock=place.clock,
        pipeline_after_verdict=False,
        event=event,
        standing_by=lambda: event("standing_by"),
    )
    async with opened as journal:
        await journal.leases.enrol({EXSTOR, EXFLEX})
        for lane in lanes:
            assert await journal.leases.claim(await lease(journal, lane))
        yield journal


async def lease(journal: PostgresJournal, lane: Lane = BATTERY) -> Lease:
    sight = await journal.leases.look()
    (found,) = (each for each in sight.leases if each.owner == (lane.environment, lane.participant))
    return found


async def itself(journal: PostgresJournal) -> Node:
    """A gateway as the others see it."""
    sight = await journal.leases.look()
    (found,) = (each for each in sight.nodes if each.id == journal.epoch)
    return found


# ---------------------------------------------------------------- leases
async def test_a_free_lease_is_taken_once(place: Place) -> None:
    """Two that saw the same free lease: one of them has it, the other is told no, and each change counts its epoch."""
    async with node(place) as one, node(place) as two:
        seen = await lease(one)
        assert sorted(await asyncio.gather(one.leases.claim(seen), two.leases.claim(seen))) == [False, True]
        now = await lease(one)
        assert now.node in {one.epoch, two.epoch}
        assert now.epoch == seen.epoch + 1
        assert not await one.leases.claim(seen)


async def test_a_lease_seen_before_another_one_had_it_is_not_taken(place: Place) -> None:
    """Free again after somebody else's turn, it must be looked at anew: more may have changed than that."""
    async with node(place) as one, node(place) as two:
        seen = await lease(one)
        assert await two.leases.claim(seen)
        await two.leases.release(EXSTOR)
        assert not await one.leases.claim(seen)
        assert await one.leases.claim(await lease(one))


async def test_taking_over_puts_into_doubt_what_was_under_way_of_that_participant(place: Place) -> None:
    """What the other one had sent and not settled is in doubt with the lease; that of other participants is not."""
    async with node(place, BATTERY, FOREIGN) as one, node(place) as two:
        await sent(one, 1, "s1")
        await sent(one, 2, "s2", FOREIGN)
        await one.leases.release(EXSTOR)
        assert await two.leases.claim(await lease(two))
        assert await state_of(two, 1) is State.IN_DOUBT
        assert await state_of(two, 2, FOREIGN) is State.SENDING


async def test_whoever_gave_a_lease_back_changes_nothing_any_more(place: Place) -> None:
    """What comes too late is refused by the UPDATE itself, before and after another one has the lease."""
    async with node(place, BATTERY, FOREIGN) as one, node(place) as two:
        await sent(one, 1, "s1")
        await one.leases.release(EXSTOR)
        with pytest.raises(LeaseEnded):
            await one.settle("s1", 1, accepted("T"))
        assert await two.leases.claim(await lease(two))
        assert not (await one.settle("s1", 1, accepted("T"))).moved  # kept as evidence, like any late answer
        with pytest.raises(LeaseEnded):
            await one.retake("s1", Event.RESENT, attempt("j2"))
        await sent(one, 2, "s2", FOREIGN)  # all else of it goes on
        assert await state_of(two, 1) is State.IN_DOUBT
    assert [step[2] for step in place.steps(draft(1).id)] == [State.ACCEPTED, State.SENDING, State.IN_DOUBT]


async def test_what_has_waited_too_long_is_ended_by_whoever_serves_it(place: Place) -> None:
    """A message of another gateway's participant is that one's to expire, whoever looks first."""
    async with node(place, BATTERY) as one, node(place, FOREIGN) as two:
        now = place.clock.now()
        await one.append(replace(draft(1), not_after=now + 1))
        assert await two.expire(now + 10) == []
        assert [each.state for each in await one.expire(now + 10)] == [State.EXPIRED]


async def test_each_sends_its_own_lanes_only(place: Place) -> None:
    """What could be sent is told to the gateway that serves it."""
    async with node(place, BATTERY) as one, node(place, FOREIGN) as two:
        await one.append(draft(1))
        await two.append(draft(1, FOREIGN))
        assert (await one.lanes(), await two.lanes()) == ([BATTERY], [FOREIGN])


# ---------------------------------------------------------------- lives
async def test_a_buried_gateway_can_do_nothing(place: Place) -> None:
    """Its life and its leases end in one commit: it neither writes nor reads nor sends after that."""
    async with node(place, BATTERY) as one, node(place) as two:
        await sent(one, 1, "s1")
        await two.leases.bury(await itself(one))
        assert await two.leases.claim(await lease(two))
        with pytest.raises(JournalBroken, match="another gateway"):
            await one.settle("s1", 1, accepted("T"))
        assert await state_of(two, 1) is State.IN_DOUBT


async def test_a_gateway_that_counted_a_turn_meanwhile_is_not_buried(place: Place) -> None:
    """Who was only slow keeps its life and its leases."""
    async with node(place, BATTERY) as one, node(place) as two:
        seen = await itself(one)
        await sent(one, 1, "s1")
        await two.leases.bury(seen)
        assert (await lease(two)).node == one.epoch
        assert (await one.settle("s1", 1, accepted("T"))).state is State.AWAITING


async def test_a_gateway_that_ends_leaves_nothing_of_itself(place: Place) -> None:
    """Its leases are free at once, and the others are told."""
    async with node(place) as two, aclosing(two.leases.hints()) as hints:
        assert (await anext(hints)).missed
        async with node(place, BATTERY) as one:
            assert (await lease(two)).node == one.epoch
        assert await anext(hints) == Hint()
        assert (await lease(two)).node is None
        assert [each.id for each in (await two.leases.look()).nodes] == [two.epoch]


async def test_a_life_is_never_used_again(place: Place) -> None:
    """Each opening has an epoch that no other one has had, also when everybody had gone meanwhile."""
    epochs = []
    for _ in range(3):
        async with node(place) as one:
            epochs.append(one.epoch)
    assert epochs == sorted(set(epochs))


async def test_a_process_that_has_ended_is_seen_on_its_own_machine(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process table tells of one that was here; of another machine's it tells nothing."""
    ended = await asyncio.create_subprocess_exec("true")
    await ended.wait()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: ended.pid)
        async with node(place) as one:
            patch.undo()
            async with node(place) as two:
                assert {each.id: each.gone for each in (await two.leases.look()).nodes} == {
                    one.epoch: True,
                    two.epoch: False,
                }
                with psycopg.connect(place.url or "", autocommit=True) as raw:
                    raw.execute("UPDATE node SET machine = 'another'")
                assert not (await itself(one)).gone


async def test_shares_are_never_fewer_than_gateways(place: Place) -> None:
    """Who wants to use more of the rate than its share, because it has not seen somebody come, does not say so."""
    async with node(place) as one:
        await one.leases.divide(3)
        assert (await itself(one)).shares == 3
        async with node(place) as two:
            await one.leases.divide(1)
            assert (await itself(one)).shares == 3
            await one.leases.divide(2)
            assert (await itself(two)).shares == 1
        assert (await itself(one)).shares == 2


async def test_who_wants_the_journal_alone_waits_for_nobody_and_is_waited_for(place: Place) -> None:
    """The command line is refused while gateways share it; a gateway waits until the command line is done."""
    async with node(place, BATTERY):
        with pytest.raises(JournalLocked):
            async with place.open():
                pass
    async with place.open():
        waiting = asyncio.create_task(once(place))
        while not any(name == "standing_by" for name, _ in place.events):  # noqa: ASYNC110 - told by another task
            await asyncio.sleep(0.01)
    assert await waiting


async def once(place: Place) -> int:
    async with node(place) as journal:
        return journal.epoch


# ---------------------------------------------------------------- callbacks at the wrong gateway
async def test_a_callback_at_another_gateway_is_applied_there_and_told(place: Place) -> None:
    """The verdict is committed where it came, under the lease of whoever serves the participant, who hears of it."""
    async with node(place, BATTERY) as one, node(place) as two, aclosing(one.leases.hints()) as hints:
        assert (await anext(hints)).missed
        await sent(one, 1, "s1")
        await one.settle("s1", 1, accepted("T"))
        received = await two.receive(evidence("j1"), callback("T"), None)
        assert received.disposition is Disposition.APPLIED
        hint = await anext(hints)
        assert hint.owner == EXSTOR
        assert received.changed is not None
        assert hint.changed == received.changed.all
        assert await state_of(one, 1) is State.COMPLETED
        assert (await one.receive(evidence("j1"), callback("T"), None)).disposition is Disposition.DUPLICATE
        late = await two.receive(evidence("j2"), callback("T", verdict=FAILURE), None)
        assert late.disposition is Disposition.CONFLICT


async def test_a_callback_for_a_participant_that_nobody_serves_is_kept_and_applied(place: Place) -> None:
    """In a handover the verdict is as durable as ever, and whoever takes over finds it."""
    async with node(place, BATTERY) as one, node(place) as two:
        await sent(one, 1, "s1")
        await one.settle("s1", 1, accepted("T"))
        await one.leases.release(EXSTOR)
        assert (await two.receive(evidence("j1"), callback("T"), None)).disposition is Disposition.APPLIED
        assert await state_of(two, 1) is State.COMPLETED


async def test_an_answer_and_a_callback_at_another_gateway_never_miss_each_other(place: Place) -> None:
    """Forty answers race with their callbacks at the other gateway: each verdict is applied, early or late."""
    async with node(place, BATTERY) as one, node(place) as two:
        lanes = [replace(BATTERY, message=f"m{number}") for number in range(40)]
        for number, lane in enumerate(lanes):
            await sent(one, 1, f"s{number}", lane)
        await asyncio.gather(
            *(one.settle(f"s{number}", 1, accepted(f"T{number}")) for number in range(len(lanes))),
            *(two.receive(evidence(f"j{number}"), callback(f"T{number}"), None) for number in range(len(lanes))),
        )
        assert {await state_of(one, 1, lane) for lane in lanes} == {State.COMPLETED}
    with place.look() as reader:
        assert reader.examine({}) == []


async def test_two_gateways_that_receive_for_each_other_never_wait_in_a_circle(place: Place) -> None:
    """Each takes in for its own participant while callbacks for the other one's come: nobody is ever refused."""
    async with node(place, BATTERY) as one, node(place, FOREIGN) as two:
        async with asyncio.timeout(60):
            await asyncio.gather(
                *(one.append(draft(n), outgoing(f"a{n}")) for n in range(1, 60)),
                *(two.append(draft(n, FOREIGN), outgoing(f"b{n}")) for n in range(1, 60)),
                *(one.receive(evidence(f"x{n}", lane=FOREIGN), None, None) for n in range(60)),
                *(two.receive(evidence(f"y{n}"), None, None) for n in range(60)),
            )
    with place.look() as reader:
        assert reader.examine({}) == []


# ---------------------------------------------------------------- a COMMIT whose answer never came
@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_lost_commit_at_another_gateway_has_its_effect_once(
    postgres: PostgresServer, place: Place, cut: str
) -> None:
    """A callback for somebody else's participant is applied and told once, whether or not the server had the COMMIT."""
    async with node(place, BATTERY) as one, behind(postgres, place) as (proxy, far), node(far) as two:
        await sent(one, 1, "s1")
        await one.settle("s1", 1, accepted("T"))
        async with aclosing(one.leases.hints()) as hints:
            assert (await anext(hints)).missed
            proxy.cut = cut
            assert (await two.receive(evidence("j1"), callback("T"), None)).disposition is Disposition.APPLIED
            assert proxy.cuts == 1
            assert (await anext(hints)).owner == EXSTOR
        assert await state_of(one, 1) is State.COMPLETED
    steps = [step[2] for step in place.steps(draft(1).id)]
    assert steps == [State.ACCEPTED, State.SENDING, State.AWAITING, State.COMPLETED]


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_lease_whose_commit_was_lost_is_had_once(postgres: PostgresServer, place: Place, cut: str) -> None:
    """Whoever took it knows that it did, and nobody takes it from there."""
    async with node(place) as one, behind(postgres, place) as (proxy, far), node(far) as two:
        seen = await lease(one)
        proxy.cut = cut
        assert await two.leases.claim(seen)
        assert proxy.cuts == 1
        now = await lease(one)
        assert (now.node, now.epoch) == (two.epoch, seen.epoch + 1)
        assert not await one.leases.claim(seen)
