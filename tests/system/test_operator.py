"""What operators do with a running gateway, and with the journal of one that does not run."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.app import open_control, open_control_or_journal
from gateway.core.acts import Act
from gateway.core.control import ACT, PARTICIPANTS, RELEASE, STATUS, ActOrder, CreatedAsset, Nothing, ReleaseOrder
from gateway.core.mailbox import state_code
from gateway.core.message import Created, Message
from gateway.core.transaction import State
from gateway.errors import ControlRefused
from gateway.telemetry import Telemetry
from tests.system.commands import smp_gateway
from tests.system.front import Answer, Seen
from tests.system.rig import Running, World, holds, world

ME = f"operator:{pwd.getpwuid(os.getuid()).pw_name}"
STATUS_PATH = "/transactions/status"


def not_deduplicated(text: str) -> str:
    """An SMP that does not recognise what it was sent before: a doubt that it does not answer is for people."""
    return text.replace("deduplicates: {assets: true, units: true}", "deduplicates: {assets: false, units: false}")


@asynccontextmanager
async def doubtful(folder: Path) -> AsyncIterator[World]:
    """A world in which status calls fail, so that a lost answer ends ESCALATED within moments."""
    timings = {"doubt_deadline": "100ms", "poll_first": "30ms", "poll_longest": "30ms"}
    async with world(folder, timings=timings, profile=not_deduplicated) as here:
        here.front.intercept = status_fails
        yield here


def status_fails(seen: Seen) -> Answer | None:
    return Answer(status=500) if seen.path == STATUS_PATH else None


async def escalate(here: World, running: Running, *, arrives: bool) -> Message:
    """Lose the answer to one submission, before or after the SMP took it."""
    here.smp.faults.hold_callbacks()
    here.front.plan("/assets", Answer(forward=arrives, cut=True))
    await here.ask("hams-bess", "HAMS 1")
    return await running.reaches("hams-bess", State.ESCALATED)


def order(act: Act, *created: CreatedAsset, reason: str = "told by NGESO's desk") -> ActOrder:
    return ActOrder(act=act, reason=reason, created=created)


async def test_the_status_says_what_is_degraded(tmp_path: Path) -> None:
    """With the SMP away the gateway answers on its socket: degraded, by whom and since when."""
    async with (
        world(tmp_path, smp_up=False) as here,
        here.gateway() as running,
        open_control(here.configuration) as control,
    ):
        while (found := await control.ask(STATUS, Nothing())).status == "ready":
            await running.ready()
    assert found.status == "degraded"
    assert found.process == os.getpid()
    assert any(line.startswith("SMP test: unavailable, not reachable") for line in found.degraded)


async def test_an_escalated_message_that_the_smp_has_is_resolved_by_hand(tmp_path: Path) -> None:
    """Completed with the SMP's id: the plant is told, the lane goes on, and who did it and why is audited."""
    async with (
        doubtful(tmp_path) as here,
        here.gateway() as running,
        open_control(here.configuration) as control,
    ):
        message = await escalate(here, running, arrives=True)
        assert (await here.plants["hams-bess"].next_result()).state == state_code(State.ESCALATED)
        await holds(lambda: here.events("messages_stuck", participant="exstor", why="escalated"))
        waits = [line for line in (await control.ask(STATUS, Nothing())).degraded if "1 messages escalated" in line]
        assert [line.startswith("participant exstor: ") for line in waits] == [True]
        second = await here.ask("trent-chp", "TRENT 1")  # another lane, which nobody waits for
        acted = await control.ask(
            ACT, order(Act.RESOLVE_COMPLETED, CreatedAsset(ref="HAMS 1", smp_id="A-77")), message=message.id[:10]
        )
        assert (acted.message, acted.before, acted.state) == (message.id, State.ESCALATED, State.COMPLETED)
        await holds(lambda: here.plants["hams-bess"].showing().state == state_code(State.COMPLETED))
        here.smp.faults.release_callbacks()
        assert (await here.plants["trent-chp"].result(second)).state == state_code(State.COMPLETED)
        await holds(lambda: here.events("callback_received", participant="exstor", disposition="repeated"))
        await holds(lambda: here.events("messages_freed", participant="exstor", why="escalated"))
        assert "escalated" not in str((await control.ask(STATUS, Nothing())).degraded)
        ended = await running.gateway.journal.message(message.id)
    assert ended is not None
    assert (ended.state, ended.created) == (State.COMPLETED, (Created(ref="HAMS 1", smp_id="A-77"),))
    step = next(row for row in here.story(message.id).audit if row.actor == ME)
    assert (step.event, step.to_state, step.detail) == (
        "operator_completed",
        State.COMPLETED,
        "told by NGESO's desk",
    )
    assert not here.events("callback_conflicted")


async def test_a_verdict_against_a_decision_is_a_conflict_alarm(tmp_path: Path) -> None:
    """Declared failed, then the SMP says Success: the decision stands, the callback is kept, and it is alarmed."""
    async with (
        doubtful(tmp_path) as here,
        here.gateway() as running,
        open_control(here.configuration) as control,
    ):
        message = await escalate(here, running, arrives=True)
        await control.ask(ACT, order(Act.RESOLVE_FAILED), message=message.id)
        here.smp.faults.release_callbacks()
        await holds(lambda: here.events("callback_conflicted", participant="exstor"))
        ended = await running.gateway.journal.message(message.id)
    assert ended is not None
    assert (ended.state, [problem.code for problem in ended.problems]) == (State.FAILED, ["operator_failed"])
    assert [row.disposition for row in here.story(message.id).callbacks] == ["conflict"]


async def test_a_late_callback_wins_while_nobody_has_decided(tmp_path: Path) -> None:
    """ESCALATED, then the SMP's verdict: COMPLETED, and the operator who comes after it is told that it is final."""
    async with (
        doubtful(tmp_path) as here,
        here.gateway() as running,
        open_control(here.configuration) as control,
    ):
        message = await escalate(here, running, arrives=True)
        here.smp.faults.release_callbacks()
        await running.reaches("hams-bess", State.COMPLETED)
        with pytest.raises(ControlRefused, match="is completed; that is final") as refused:
            await control.ask(ACT, order(Act.RESOLVE_FAILED), message=message.id)
    assert refused.value.code == "wrong_state"


async def test_an_escalated_message_is_sent_again_as_it_was(tmp_path: Path) -> None:
    """The SMP never got it: the same id and bytes under a new signature, one effect, two attempts on record."""
    async with (
        doubtful(tmp_path) as here,
        here.gateway() as running,
        open_control(here.configuration) as control,
    ):
        message = await escalate(here, running, arrives=False)
        assert not here.effects()
        here.smp.faults.release_callbacks()
        acted = await control.ask(ACT, order(Act.RESEND), message=message.id)
        assert acted.before is State.ESCALATED
        await running.reaches("hams-bess", State.COMPLETED)
        sent = here.front.requests("/assets")
    assert len(sent) == 2
    assert len({(seen.headers["x-message-id"], seen.body) for seen in sent}) == 1
    assert len({seen.headers["x-jws-signature"] for seen in sent}) == 2
    assert here.effects() == ["HAMS 1"]
    assert [row.number for row in here.story(message.id).attempts] == [1, 2]


async def test_nothing_is_sent_again_while_the_smp_cannot_be_reached(tmp_path: Path) -> None:
    """The gate is closed: refused with the SMP's fault, and the message stays ESCALATED."""
    async with (
        doubtful(tmp_path) as here,
        here.gateway() as running,
        open_control(here.configuration) as control,
    ):
        message = await escalate(here, running, arrives=False)
        await here.front.close()
        await here.ask("solent-bess", "SOLENT 1")
        await holds(lambda: here.events("smp_unavailable"))
        with pytest.raises(ControlRefused) as refused:
            await control.ask(ACT, order(Act.RESEND), message=message.id)
        now = await running.gateway.journal.message(message.id)
    assert (refused.value.code, refused.value.blame) == ("smp_unavailable", "smp")
    assert now is not None
    assert now.state is State.ESCALATED


async def test_what_is_not_possible_says_what_is(tmp_path: Path) -> None:
    """A wrong act, an unknown id, a foreign asset: refused with the acts that are possible, and nothing moves."""
    async with (
        doubtful(tmp_path) as here,
        here.gateway() as running,
        open_control(here.configuration) as control,
    ):
        message = await escalate(here, running, arrives=True)
        with pytest.raises(ControlRefused) as refused:
            await control.ask(ACT, order(Act.RETRY), message=message.id)
        with pytest.raises(ControlRefused) as unknown:
            await control.ask(ACT, order(Act.RESEND), message="ffffffff-ffff")
        with pytest.raises(ControlRefused) as strange:
            await control.ask(ACT, order(Act.RESEND), message="../v1/status")
        stranger = CreatedAsset(ref="HAMS 2", smp_id="A-1")
        with pytest.raises(ControlRefused) as foreign:
            await control.ask(ACT, order(Act.RESOLVE_COMPLETED, stranger), message=message.id)
        now = await running.gateway.journal.message(message.id)
    assert refused.value.advice == "possible now: resend, resolve --as completed, resolve --as failed"
    assert [each.value.code for each in (refused, unknown, strange, foreign)] == [
        "wrong_state",
        "not_found",
        "not_found",
        "invalid",
    ]
    assert now is not None
    assert now.state is State.ESCALATED


async def test_without_a_gateway_the_journal_is_acted_on(tmp_path: Path) -> None:
    """Stopped with a message ESCALATED: resolved on the journal; the next start tells the plant."""
    async with doubtful(tmp_path) as here:
        async with here.gateway() as running:
            message = await escalate(here, running, arrives=True)
            assert (await here.plants["hams-bess"].next_result()).state == state_code(State.ESCALATED)
            await running.relayed()
        telemetry = Telemetry(stream=here.log)
        async with open_control_or_journal(here.configuration, telemetry) as control:
            with pytest.raises(ControlRefused, match="needs a running gateway"):
                await control.ask(ACT, order(Act.RESEND), message=message.id)
            acted = await control.ask(ACT, order(Act.RESOLVE_COMPLETED), message=message.id)
        async with here.gateway():
            assert (await here.plants["hams-bess"].next_result()).state == state_code(State.COMPLETED)
    assert acted.state is State.COMPLETED
    assert ME in {row.actor for row in here.story(message.id).audit}


async def test_the_command_line_says_what_became_of_a_decision(tmp_path: Path) -> None:
    """Exit codes: 2 without a reason or for an unknown id, 1 for what is not possible now, 0 when it is done."""
    async with doubtful(tmp_path) as here, here.gateway() as running:
        message = await escalate(here, running, arrives=True)
        where = (str(here.folder / "gateway.yaml"), message.id[:13], "--state", str(here.state))

        async def messages(act: str, *arguments: str) -> tuple[int, str, str]:
            return await smp_gateway("messages", act, *where, *arguments, environ=here.environ)

        without = await messages("resend")
        blank = await messages("resend", "--reason", "   ")
        coloured = await messages("resend", "--reason", "\x1b[31m red")
        wrong = await messages("refuse", "--reason", "a typing mistake")
        nobodys = await messages("resolve", "--reason", "x y z", "--as", "completed", "--created", "HAMS 1")
        done = await messages(
            "resolve", "--reason", "seen at NGESO", "--as", "completed", "--created", "HAMS 1=A-1", "--json"
        )
        again = await messages("resolve", "--reason", "seen at NGESO", "--as", "failed")
    assert [code for code, _, _ in (without, blank, coloured, wrong, nobodys, done, again)] == [2, 2, 2, 1, 2, 0, 1]
    assert "refuse is not possible: message" in wrong[2]
    assert "next: possible now: resend, resolve" in wrong[2]
    assert json.loads(done[1]) == {
        "message": message.id,
        "act": "resolve_completed",
        "before": "escalated",
        "state": "completed",
        "others": [],
    }
    assert "that is final" in again[2]


async def test_a_held_participant_is_listed_and_released(tmp_path: Path) -> None:
    """A wrong password is mended at the SMP: released by hand it logs in at once, and the next message goes out."""
    async with world(tmp_path) as here:
        here.front.intercept = lambda seen: (
            Answer(status=401) if seen.path == "/authenticate" and b'"exstor"' in seen.body else None
        )
        async with here.gateway() as running, open_control(here.configuration) as control:
            await holds(lambda: here.events("participant_held", participant="exstor"))
            standings = {each.participant: each for each in (await control.ask(PARTICIPANTS, Nothing())).participants}
            assert standings["exstor"].held
            assert standings["exflex"].held is None
            with pytest.raises(ControlRefused, match="is not held"):
                await control.ask(RELEASE, ReleaseOrder(reason="try"), participant="exflex")
            with pytest.raises(ControlRefused, match="no participant nobody"):
                await control.ask(RELEASE, ReleaseOrder(reason="try"), participant="nobody")
            here.front.intercept = lambda _seen: None
            released = await control.ask(RELEASE, ReleaseOrder(reason="password reset"), participant="exstor")
            await here.ask("hams-bess", "HAMS 1")
            await running.reaches("hams-bess", State.COMPLETED)
    assert released.held == standings["exstor"].held
    where = (str(here.folder / "gateway.yaml"), "--state", str(here.state))
    _, told, _ = await smp_gateway("participants", "audit", *where, "--json", environ=here.environ)
    (row,) = json.loads(told)
    assert (row["participant"], row["event"], row["actor"]) == ("exstor", "participant_released", ME)
    assert "password reset" in row["detail"]
    assert json.loads(json.dumps(here.events("operator_acted")))[0]["actor"] == ME
