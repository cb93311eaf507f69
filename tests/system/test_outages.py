"""The SMP is away, the gateway is away, the profile changes under way: nothing is lost, nothing doubled, order kept."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.app import adapters, open_control
from gateway.core.acts import Act
from gateway.core.control import ACT, ActOrder
from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from gateway.edge.keys import PemSigner
from gateway.errors import SigningFailed
from gateway.settings.configuration import load
from tests.edge.wire import tunnel
from tests.system.front import Answer
from tests.system.rig import OWNERS, SITES, holds, world


async def test_requests_are_taken_while_the_smp_is_away_and_sent_in_order(tmp_path: Path) -> None:
    """Down at the start: accepted and acknowledged, `/readyz` 200 degraded; back again: sent in order per lane."""
    async with world(tmp_path, smp_up=False) as here, here.gateway() as running:
        for number in range(4):
            for site in SITES:
                await here.plants[site].acknowledged(await here.ask(site, f"{site} {number}"))
        await holds(lambda: here.events("smp_unavailable"))
        status, body = await running.ready()
        assert (status, body["status"]) == (200, "degraded")
        (line,) = [line for line in body["degraded"] if line.startswith("SMP test: unavailable, not reachable")]
        assert ", since 20" in line
        assert {message.state for message in await running.messages()} == {State.ACCEPTED}
        await here.front.open()
        for site in SITES:
            await running.reaches(site, State.COMPLETED, number=3)
        await holds(lambda: here.events("smp_available"))
    effects = here.effects()
    for site in SITES:
        assert [name for name in effects if name.startswith(site)] == [f"{site} {number}" for number in range(4)]
    (began,), (ended,) = here.events("smp_unavailable"), here.events("smp_available")
    assert ended["lasted_s"] > 0
    assert "waiting" in began
    assert ended["waiting"] > 0
    assert len(here.events("login_succeeded")) == len(set(OWNERS.values()))


async def test_behind_a_proxy_everything_goes_through_it(tmp_path: Path) -> None:
    """`proxy:` in gateway.yaml: login and submission reach the SMP through its tunnels, the callback needs none."""
    async with world(tmp_path) as here, tunnel() as proxy:
        path = here.folder / "gateway.yaml"
        ca = "    ca: file:pki/smp-ca.pem"
        text = path.read_text("utf-8")
        assert ca in text
        path.write_text(text.replace(ca, f"    proxy: http://127.0.0.1:{proxy.port}\n{ca}", 1), "utf-8")
        here.reload()
        async with here.gateway() as running:
            await here.ask("hams-bess", "HAMS 1")
            await running.reaches("hams-bess", State.COMPLETED)
    assert {head.split()[1] for head in proxy.heads} == {here.environ["SMP_URL"].removeprefix("https://").encode()}
    assert here.effects() == ["HAMS 1"]


async def test_an_outage_in_the_middle_is_survived(tmp_path: Path) -> None:
    """The SMP goes away with nothing under way and comes back: what was asked meanwhile is sent once, in order."""
    async with world(tmp_path) as here, here.gateway() as running:
        await here.ask("hams-bess", "HAMS 0")
        await running.reaches("hams-bess", State.COMPLETED)
        await here.front.close()
        for number in (1, 2, 3):
            await here.plants["hams-bess"].acknowledged(await here.ask("hams-bess", f"HAMS {number}"))
        await here.front.open()
        await running.reaches("hams-bess", State.COMPLETED, number=3)
    assert here.effects() == [f"HAMS {number}" for number in range(4)]


async def test_a_message_under_way_at_the_end_is_resolved_after_the_restart(tmp_path: Path) -> None:
    """Left while AWAITING, its callback undelivered: after the restart it is COMPLETED once and the plant is told."""
    async with world(tmp_path) as here:
        here.smp.faults.hold_callbacks()
        async with here.gateway() as running:
            sequence = await here.ask("hams-bess", "HAMS 1")
            await running.reaches("hams-bess", State.AWAITING)
        here.smp.faults.release_callbacks()
        async with here.gateway() as running:
            assert (await here.plants["hams-bess"].result(sequence)).state == state_code(State.COMPLETED)
            (message,) = await running.messages("hams-bess")
    assert message.state is State.COMPLETED
    assert here.effects() == ["HAMS 1"]
    assert len(here.front.requests("/assets")) == 1


async def test_leaving_waits_for_the_attempt_under_way(tmp_path: Path) -> None:
    """Left while the SMP has the request: the answer is settled before the gateway ends; nothing is in doubt after."""
    async with world(tmp_path) as here:
        here.smp.faults.hold_callbacks()
        here.smp.faults.answer_delay_s = 0.3
        async with here.gateway():
            await here.ask("hams-bess", "HAMS 1")
            await holds(lambda: here.effects() or here.smp.ledger.arrivals())
        async with here.gateway() as running:
            message = await running.reaches("hams-bess", State.AWAITING, State.COMPLETED)
    assert State.IN_DOUBT not in {row.to_state for row in here.story(message.id).audit}


async def test_messages_accepted_and_unsent_are_sent_after_the_restart(tmp_path: Path) -> None:
    """Accepted while the SMP was away, the gateway restarted: each is sent once, in order."""
    async with world(tmp_path, smp_up=False) as here:
        async with here.gateway():
            for number in range(3):
                await here.plants["hams-bess"].acknowledged(await here.ask("hams-bess", f"HAMS {number}"))
        await here.front.open()
        async with here.gateway() as running:
            await running.reaches("hams-bess", State.COMPLETED, number=2)
    assert here.effects() == ["HAMS 0", "HAMS 1", "HAMS 2"]


async def test_a_status_answer_about_another_transaction_is_not_believed(tmp_path: Path) -> None:
    """The poll is answered with somebody else's Success: the message waits on, until the SMP speaks of its own."""
    async with world(tmp_path, timings={"poll_first": "50ms"}) as here, here.gateway() as running:
        here.smp.faults.hold_callbacks()
        body = (
            b'{"transactionId":"TX-OTHER","submissionId":"other","status":"Failed","notification":null,'
            b'"results":[],"errors":[{"index":0,"ref":"A","field":"f","code":"C","message":"m"}]}'
        )
        here.front.plan("/transactions/status", Answer(status=200, body=body), Answer(status=200, body=body))
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.COMPLETED, State.FAILED)
    assert message.state is State.COMPLETED
    assert message.transaction_id != "TX-OTHER"


async def test_what_the_profile_cannot_express_is_refused_although_the_smp_is_away(tmp_path: Path) -> None:
    """A body beyond the SMP's limit is REFUSED at once, not when it could be sent."""
    async with (
        world(
            tmp_path, smp_up=False, profile=lambda text: text.replace("request_bytes: 4194304", "request_bytes: 200")
        ) as here,
        here.gateway() as running,
    ):
        sequence = await here.ask("hams-bess", "HAMS 1")
        assert (await here.plants["hams-bess"].result(sequence)).state == state_code(State.REFUSED)
        message = await running.reaches("hams-bess", State.REFUSED)
    assert [problem.code for problem in message.problems] == ["not_expressible"]


async def test_a_profile_that_cannot_express_an_accepted_message_parks_it_and_stops_its_lane_only(
    tmp_path: Path,
) -> None:
    """Accepted under one profile, restarted under a narrower one: PARKED after three tries, told, and still later."""
    async with world(tmp_path, smp_up=False) as here:
        async with here.gateway():
            sequence = await here.ask("hams-bess", "HAMS 1" + " LONG" * 5)
            await here.plants["hams-bess"].acknowledged(sequence)
        path = here.folder / "profiles" / "smp-v1.yaml"
        path.write_text(path.read_text("utf-8").replace("request_bytes: 4194304", "request_bytes: 430"), "utf-8")
        here.configuration = load(
            here.folder / "gateway.yaml", adapters=adapters(), state=here.state, environ=here.environ
        )
        await here.front.open()
        async with here.gateway() as running:
            await running.reaches("hams-bess", State.PARKED)
            assert (await here.plants["hams-bess"].result(sequence)).state == state_code(State.PARKED)
            await here.plants["hams-bess"].acknowledged(await here.ask("hams-bess", "H"))
            await here.ask("trent-chp", "T")
            await running.reaches("trent-chp", State.COMPLETED)
        assert len(here.events("submission_failed", code="not_expressible")) == 3
        assert len(here.events("message_parked", site="hams-bess")) == 1
        async with here.gateway() as running:
            await here.ask("trent-chp", "T2")
            await running.reaches("trent-chp", State.COMPLETED, number=1)
            states = [message.state for message in await running.messages("hams-bess")]
            assert states == [State.PARKED, State.ACCEPTED]
            async with open_control(here.configuration) as control:
                parked = (await running.messages("hams-bess"))[0]
                await control.ask(ACT, ActOrder(act=Act.REFUSE, reason="too long a name"), message=parked.id)
            assert (await here.plants["hams-bess"].result(sequence)).state == state_code(State.REFUSED)
            await running.reaches("hams-bess", State.COMPLETED, number=1)
    assert sorted(here.effects()) == ["H", "T", "T2"]


async def test_a_key_that_does_not_sign_parks_its_own_messages_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signing fails three times: nothing was sent, PARKED with the reason; another participant's key signs on."""
    sign = PemSigner.sign

    def failing(signer: PemSigner, data: bytes) -> bytes:
        if signer.key_id.startswith("exstor"):
            raise SigningFailed("the device does not answer")
        return sign(signer, data)

    monkeypatch.setattr(PemSigner, "sign", failing)
    async with world(tmp_path) as here, here.gateway() as running:
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.PARKED)
        await here.ask("trent-chp", "TRENT 1")
        await running.reaches("trent-chp", State.COMPLETED)
    assert [row.detail for row in here.story(message.id).audit if row.to_state is State.PARKED] == [
        "the device does not answer"
    ]
    assert len(here.events("submission_failed", code="unsigned")) == 3
    assert len(here.front.requests("/assets")) == 1
    assert here.effects() == ["TRENT 1"]


async def test_content_that_cannot_be_read_any_more_is_parked(tmp_path: Path) -> None:
    """A byte of an accepted message flipped on disk: PARKED, and the process and the other lanes live on."""
    async with world(tmp_path, smp_up=False) as here:
        async with here.gateway():
            for site in ("hams-bess", "trent-chp"):
                await here.plants[site].acknowledged(await here.ask(site, f"{site} 1"))
        with closing(sqlite3.connect(str(here.configuration.journal))) as disk, disk:
            disk.execute("UPDATE message SET content = X'7B22' WHERE site = 'hams-bess'")
        await here.front.open()
        async with here.gateway() as running:
            await running.reaches("hams-bess", State.PARKED)
            await running.reaches("trent-chp", State.COMPLETED)
    assert here.effects() == ["trent-chp 1"]
