"""What each answer of the SMP does to a message, to its lane, to its participant, and to the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from gateway.simulator.faults import CUT
from tests.system.front import Answer, Seen
from tests.system.rig import SITES, Running, World, holds, world
from tests.system.wire import OTHER_V7, Wire, private_key


def steps(here: World, message_id: str) -> list[str]:
    """The states that the audit took the message through, without its beginning."""
    return [row.to_state for row in here.story(message_id).audit if row.to_state is not None]


def bodies(here: World, participant: str = "exstor") -> set[tuple[str, bytes]]:
    return {(seen.message_id, seen.content) for seen in here.front.requests(here.wire.assets, participant=participant)}


async def test_a_reply_lost_after_the_commit_is_resolved_by_the_status_call(tmp_path: Path, wire: Wire) -> None:
    """Cut after the SMP's commit: IN_DOUBT, then the status call finds the verdict; sent once, one effect."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        here.smp.faults.hold_callbacks()
        here.smp.faults.after_commit.append(CUT)
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.COMPLETED)
    assert State.IN_DOUBT in steps(here, message.id)
    assert here.effects() == ["HAMS 1"]
    assert len(here.front.requests(wire.assets)) == 1
    assert here.front.requests(*wire.status)


async def test_an_answer_dropped_on_the_way_is_resolved_by_the_status_call(tmp_path: Path, wire: Wire) -> None:
    """The SMP committed and answered 202, the network lost it: one effect, and the doubt is resolved."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        here.smp.faults.hold_callbacks()
        here.front.plan(wire.assets, Answer(forward=True, cut=True))
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.COMPLETED)
    assert State.IN_DOUBT in steps(here, message.id)
    assert here.effects() == ["HAMS 1"]


@pytest.mark.parametrize("fault", [500, CUT, 408, 502])
async def test_a_failure_before_the_commit_is_sent_again_as_it_was(tmp_path: Path, wire: Wire, fault: int) -> None:
    """Unclear, and the SMP does not know it: the same submission id and bytes again, one effect."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        here.smp.faults.before_commit.append(fault)
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.COMPLETED)
        sent = here.front.requests(wire.assets)
    assert State.IN_DOUBT in steps(here, message.id)
    assert len(sent) == 2
    assert len(bodies(here)) == 1
    assert len({seen.signature for seen in sent}) == 2
    assert here.effects() == ["HAMS 1"]


async def test_a_failure_after_the_commit_is_never_a_second_effect(tmp_path: Path, wire: Wire) -> None:
    """500 after the commit: IN_DOUBT, resolved, one effect."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        here.smp.faults.after_commit.append(500)
        await here.ask("hams-bess", "HAMS 1")
        await running.reaches("hams-bess", State.COMPLETED)
    assert here.effects() == ["HAMS 1"]
    assert len(here.front.requests(wire.assets)) == 1


@pytest.mark.parametrize("status", [503, 429])
async def test_an_answer_that_says_not_now_is_heeded_and_the_same_goes_again(
    tmp_path: Path, wire: Wire, status: int
) -> None:
    """429 and 503: ACCEPTED again, nothing leaves before Retry-After, then attempt 2 with the same id and bytes."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        here.front.plan(wire.assets, Answer(status=status, headers={"Retry-After": "1"}))
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.COMPLETED)
        story = here.story(message.id)
    assert State.IN_DOUBT not in steps(here, message.id)
    assert [(row.number, row.status) for row in story.attempts] == [(1, status), (2, wire.taken)]
    assert story.attempts[1].started_at - story.attempts[0].started_at >= 1_000_000
    assert len(bodies(here)) == 1
    assert len(here.front.requests(wire.assets)) == 2


async def test_a_429_met_by_one_participant_pauses_all_of_the_host(tmp_path: Path, wire: Wire) -> None:
    """The SMP counts requests of our address: another participant's message waits as long, and no longer."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        await holds(lambda: len(here.events("login_succeeded")) == 2)
        here.front.plan(wire.assets, Answer(status=429, headers={"Retry-After": "2"}))
        await here.ask("hams-bess", "HAMS 1")
        await holds(lambda: here.events("smp_throttled"))
        await here.ask("trent-chp", "TRENT 1")
        other = await running.reaches("trent-chp", State.COMPLETED)
        message = await running.reaches("hams-bess", State.COMPLETED)
        _, body = await running.ready()
    first, second = here.story(message.id).attempts
    (only,) = here.story(other.id).attempts
    assert min(second.started_at, only.started_at) - (first.settled_at or 0) >= 1_900_000
    assert len(here.events("smp_throttled")) == len(here.events("smp_unthrottled")) == 1
    assert not here.events("smp_unavailable")
    assert not any("SMP test" in line for line in body["degraded"])


async def test_an_outage_announced_by_503_is_told_once_and_probed_one_by_one(tmp_path: Path, wire: Wire) -> None:
    """Three lanes meet a maintenance page: one outage, one probe at a time, and afterwards everything is sent."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        await holds(lambda: len(here.events("login_succeeded")) == 2)
        here.front.intercept = lambda seen: Answer(status=503) if seen.path == wire.assets else None
        for site in SITES:
            await here.plants[site].acknowledged(await here.ask(site, f"{site} 1"))
        await holds(lambda: len(here.front.requests(wire.assets)) >= len(SITES) + 2)
        _, body = await running.ready()
        (line,) = [line for line in body["degraded"] if line.startswith("SMP test: unavailable")]
        here.front.intercept = lambda _seen: None
        for site in SITES:
            await running.reaches(site, State.COMPLETED)
        await holds(lambda: here.events("smp_available"))
        _, metrics = await running.get("/metrics")
    assert "not available for assets, the SMP answered 503, since" in line
    assert len(here.events("smp_unavailable")) == len(here.events("smp_available")) == 1
    assert 'smp_gateway_smp_up{environment="test"} 1.0' in metrics


async def test_a_rejection_is_terminal_and_its_errors_reach_the_plant(tmp_path: Path, wire: Wire) -> None:
    """400 with errors: REJECTED, sent once, and the plant reads STATE 4 with the first error."""
    error = {"row": 0, "ref": "HAMS 1", "field": "capacity", "code": "TOO_BIG", "message": "not in this group"}
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        here.front.plan(wire.assets, Answer(status=400, body=wire.declined(error)))
        sequence = await here.ask("hams-bess", "HAMS 1")
        result = await here.plants["hams-bess"].result(sequence)
        (message,) = await running.messages("hams-bess")
    assert result.state == state_code(State.REJECTED) == 4
    assert (result.error_count, result.text) == (1, "row 0 capacity: not in this group")
    assert message.state is State.REJECTED
    assert message.problems[0].code == "TOO_BIG"
    assert len(here.front.requests(wire.assets)) == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", {"transaction_id": ""}, {"transaction_id": 7}, b"[]"])
async def test_a_2xx_that_cannot_be_read_is_a_doubt(
    tmp_path: Path, wire: Wire, body: bytes | dict[str, object]
) -> None:
    """202 without a readable transaction id, the SMP having committed: IN_DOUBT, resolved by status, one effect."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        here.smp.faults.hold_callbacks()
        sent = body if isinstance(body, bytes) else json.dumps(wire.named("result", body)).encode()
        here.front.plan(wire.assets, Answer(status=wire.taken, body=sent, forward=True))
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.COMPLETED)
    assert State.IN_DOUBT in steps(here, message.id)
    assert here.effects() == ["HAMS 1"]


@pytest.mark.parametrize("status", [404, 405, 413, 415, 301, 307])
async def test_a_wrong_endpoint_is_held_and_no_redirect_is_followed(tmp_path: Path, wire: Wire, status: int) -> None:
    """404 and its like, and every redirect: the kind is held, the message stays ACCEPTED, nothing goes elsewhere."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        headers = {"Location": here.front.base_url + "/elsewhere"} if status < 400 else {}
        here.front.plan(wire.assets, Answer(status=status, headers=headers))
        await here.ask("hams-bess", "HAMS 1")
        await holds(lambda: here.events("endpoint_held", participant="exstor"))
        message = await running.reaches("hams-bess", State.ACCEPTED)
        await here.ask("trent-chp", "TRENT 1")
        await running.reaches("trent-chp", State.COMPLETED)
        (still,) = await running.messages("hams-bess")
        _, body = await running.ready()
    assert any(line.startswith("participant exstor: assets is held, the SMP answered") for line in body["degraded"])
    assert (still.id, still.state) == (message.id, State.ACCEPTED)
    assert len(here.front.requests(wire.assets, participant="exstor")) == 1
    assert not here.front.requests("/elsewhere")


def refuse(token_of: Callable[[Seen], bool], status: int) -> Callable[[Seen], Answer | None]:
    return lambda seen: Answer(status=status) if seen.signature and token_of(seen) else None


async def test_an_expired_token_costs_one_login_for_all_lanes(tmp_path: Path, wire: Wire) -> None:
    """401 on two lanes with one token: one more login of this participant, the same submissions again."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        await holds(lambda: len(here.events("login_succeeded")) == 2)
        here.front.plan(wire.assets, Answer(status=401), Answer(status=401))
        here.front.gate.clear()
        await here.ask("hams-bess", "HAMS 1")
        await here.ask("solent-bess", "SOLENT 1")
        await holds(lambda: len(here.front.requests(wire.assets)) == 2)
        here.front.gate.set()
        for site in ("hams-bess", "solent-bess"):
            await running.reaches(site, State.COMPLETED)
    assert len(here.events("login_succeeded", participant="exstor")) == 2
    assert len(here.front.requests(wire.assets, participant="exstor")) == 4
    assert len(bodies(here)) == 2
    assert not here.events("participant_held")


async def _held(here: World, running: Running) -> None:
    """Exstor is held, its message stays ACCEPTED, `/readyz` says so with 200, and exflex goes on."""
    await here.ask("hams-bess", "HAMS 1")
    await holds(lambda: here.events("participant_held", participant="exstor"))
    await running.reaches("hams-bess", State.ACCEPTED)
    await here.ask("hams-bess", "HAMS 2")  # accepted and acknowledged all the same
    await running.reaches("hams-bess", State.ACCEPTED, number=1)
    sequence = await here.ask("trent-chp", "TRENT 1")
    result = await here.plants["trent-chp"].result(sequence)
    assert result.state == state_code(State.COMPLETED)
    status, body = await running.ready()
    assert (status, body["status"]) == (200, "degraded")
    assert any("exstor" in line and "held" in line for line in body["degraded"])
    assert not any("exflex" in line for line in body["degraded"])


async def test_a_renewal_of_the_token_is_never_in_a_messages_way(tmp_path: Path) -> None:
    """By order of events: the SMP keeps the renewal waiting, and a message asked for meanwhile comes to its end."""

    def early(text: str) -> str:
        return text.replace("token_renewal: 0.8", "token_renewal: 0.001")

    async with world(tmp_path, profile=early, token_life_s=1_000) as here, here.gateway() as running:
        await here.ask("hams-bess", "HAMS 1")
        await running.reaches("hams-bess", State.COMPLETED)
        here.front.gated_path = here.wire.login
        here.front.gate.clear()
        before = len(here.front.requests(here.wire.login))
        await holds(lambda: len(here.front.requests(here.wire.login)) >= before + 2)  # of both participants
        await here.ask("hams-bess", "HAMS 2")
        message = await running.reaches("hams-bess", State.COMPLETED, number=1)
        assert not here.front.gate.is_set()
        here.front.gate.set()
        sent = here.front.requests(here.wire.assets, participant="exstor")
        assert [seen.message_id for seen in sent][1:] == [each.id for each in here.story(message.id).submissions]


async def test_a_second_401_on_a_fresh_token_holds_the_participant_only(tmp_path: Path, wire: Wire) -> None:
    """401 again after a fresh login: HELD, and the other participant's conversation goes on."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        here.front.intercept = refuse(lambda seen: seen.participant == "exstor", 401)
        await _held(here, running)
        assert len(here.front.requests(wire.assets, participant="exstor")) == 2


async def test_a_403_holds_the_participant_only(tmp_path: Path, wire: Wire) -> None:
    """403: HELD at once, after one try."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        here.front.intercept = refuse(lambda seen: seen.participant == "exstor", 403)
        await _held(here, running)
        assert len(here.front.requests(wire.assets, participant="exstor")) == 1


async def test_a_refused_login_holds_the_participant_only(tmp_path: Path, wire: Wire) -> None:
    """A wrong password: HELD after one login, messages are accepted, the other participant goes on."""
    async with world(tmp_path, wire=wire) as here:
        here.front.intercept = lambda seen: (
            Answer(status=401) if seen.path == wire.login and b'"exstor"' in seen.body else None
        )
        async with here.gateway() as running:
            await _held(here, running)
    assert len([s for s in here.front.requests(wire.login) if b'"exstor"' in s.body]) == 1


async def test_another_participants_failing_login_does_not_pause_this_one(tmp_path: Path, wire: Wire) -> None:
    """Logins of exstor are answered 500 again and again: exflex's messages still leave in their accepting commit."""
    async with world(tmp_path, wire=wire) as here:
        here.front.intercept = lambda seen: (
            Answer(status=500) if seen.path == wire.login and b'"exstor"' in seen.body else None
        )
        async with here.gateway() as running:
            await holds(lambda: here.events("login_succeeded", participant="exflex"))
            for number in range(5):
                await here.ask("trent-chp", f"TRENT {number}")
                await running.reaches("trent-chp", State.COMPLETED, number=number)
            messages = await running.messages("trent-chp")
    for message in messages:
        commits = {row.at for row in here.story(message.id).audit if row.to_state in {State.ACCEPTED, State.SENDING}}
        assert len(commits) == 1


@pytest.mark.parametrize("spoilt", ["unsigned", "another request's", "forged"])
async def test_an_answer_that_is_not_signed_for_its_request_is_a_doubt(tmp_path: Path, spoilt: str) -> None:
    """With answers signed, a 201 or 404 that anybody could have written decides nothing, and `/readyz` says so."""
    async with world(tmp_path, wire=OTHER_V7, timings={"poll_first": "60s"}) as here, here.gateway() as running:
        await here.ask("solent-bess", "SOLENT 1")
        await running.reaches("solent-bess", State.COMPLETED)
        (earlier,) = here.front.seen[-1:]
        taken = json.dumps(OTHER_V7.named("result", {"transaction_id": "TX-FORGED"})).encode()
        answers = {
            "unsigned": Answer(status=201, body=taken, unsigned=True),
            "another request's": Answer(status=201, body=taken, answers=earlier),
            "forged": Answer(status=201, body=taken, key=private_key("PS256", "stranger")),
        }
        here.smp.faults.hold_callbacks()
        here.front.plan(OTHER_V7.assets, answers[spoilt])
        here.front.plan(OTHER_V7.status[1], *[Answer(status=404, unsigned=True)] * 100)
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.IN_DOUBT)
        (line,) = [line for line in (await running.ready())[1]["degraded"] if "answers" in line]
    assert message.transaction_id is None
    assert line.startswith("participant exstor: answers are not believed, ")
    assert len(here.front.requests(OTHER_V7.assets, participant="exstor")) == 2
