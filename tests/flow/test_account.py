"""One participant's account: one login for everybody, pauses that lock nobody out, and others left in peace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from gateway.core import base64url
from gateway.core.circuit import Outcome
from gateway.core.jws import KeyRecord
from gateway.core.message import ASSETS, UNIT, Lane
from gateway.core.profile import Profile
from gateway.flow.account import Account, Identity, Ticket
from gateway.flow.gate import Gate
from gateway.ports import Reply, SignedCall
from tests.flow.virtual import Even, VirtualClock, run

LANE = Lane(environment="test", participant="exstor", site="hams-bess", message="battery")


@dataclass
class Smp:
    """Answers logins from a plan, then with a token of half an hour, always the same one; takes ``takes_s``."""

    plan: list[Reply] = field(default_factory=list)
    takes_s: float = 0.0
    logins: list[float] = field(default_factory=list)
    off_by: int = 0  # µs that its clock is ahead of ours

    async def login(self, _username: str, _password: str) -> Reply:
        self.logins.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes_s)
        if self.plan:
            return self.plan.pop(0)
        body = json.dumps({"token": "same", "expiresIn": 1800}).encode()
        now = VirtualClock().now()
        return Reply(handed_over=True, status=200, body=body, sent_at=now, answered_at=now, date_at=now + self.off_by)

    async def submit(self, call: SignedCall, bearer: str) -> Reply:
        raise AssertionError(f"{call} {bearer}")


class Key:
    """A signer and a key ring that no story uses."""

    key_id = "kid"
    algorithm = "ES256"
    public_jwk: ClassVar[Mapping[str, str]] = {}

    def sign(self, data: bytes) -> bytes:
        return data[:0]

    degraded = ()

    def find(self, _key_id: str) -> KeyRecord | None:
        return None

    async def refresh(self) -> bool:
        return False


@dataclass
class Scene:
    account: Account
    smp: Smp
    gate: Gate
    events: list[str]

    async def ticket(self) -> Ticket:
        permit = await self.account.ready(LANE, ASSETS, 0)
        permit.settle(Outcome.WORKED)
        ticket = self.account.ticket
        assert ticket is not None
        return ticket


def tell(
    profile: Profile,
    story: Callable[[Scene], Coroutine[Any, Any, None]],
    smp: Smp | None = None,
) -> None:
    """Run one account beside the story."""

    async def played() -> None:
        events: list[str] = []

        def event(name: str, **_fields: object) -> None:
            events.append(name)

        gate = Gate("test", clock=VirtualClock(), entropy=Even(), event=event)
        used = smp or Smp()
        identity = Identity(
            participant="exstor",
            environment="test",
            profile=profile,
            base_url="https://smp.example/api",
            callback_audience="https://host.example",
            username="exstor",
            password="secret",
        )
        account = Account(
            identity,
            transport=used,
            signer=Key(),
            callback_keys=Key(),
            gate=gate,
            clock=VirtualClock(),
            entropy=Even(),
            event=event,
        )
        task = asyncio.create_task(account.run())
        await story(Scene(account, used, gate, events))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(played())


REFUSED = Reply(handed_over=True, status=401, body=b"{}")
BROKEN = Reply(handed_over=True, status=500, body=b"{}")


def test_a_token_is_renewed_before_it_ends(profile: Profile) -> None:
    """At 80 % of its life, off every message's path: there is a ticket at every moment."""

    async def story(scene: Scene) -> None:
        await scene.ticket()
        for _ in range(100):
            await asyncio.sleep(60)
            assert scene.account.ticket is not None
        assert scene.smp.logins == [0, 1440, 2880, 4320, 5760]

    tell(profile, story)


def test_lanes_that_meet_one_dead_token_cause_one_login(profile: Profile) -> None:
    """Three submissions answered 401 on the same login: one login more, and no hold."""

    async def story(scene: Scene) -> None:
        dead = await scene.ticket()
        for submission in ("a", "b", "c"):
            scene.account.unauthorized(dead, submission)
        fresh = await scene.ticket()
        assert fresh.login == dead.login + 1
        assert len(scene.smp.logins) == 2
        assert scene.account.held is None

    tell(profile, story)


def test_a_fresh_token_with_the_same_letters_is_a_fresh_token(profile: Profile) -> None:
    """An SMP that gives out the same token again and refuses it again holds the participant, without a login storm."""

    async def story(scene: Scene) -> None:
        first = await scene.ticket()
        scene.account.unauthorized(first, "a")
        second = await scene.ticket()
        assert second.value == first.value
        scene.account.unauthorized(second, "a")
        assert scene.account.held is not None
        await asyncio.sleep(29)
        assert len(scene.smp.logins) == 2

    tell(profile, story)


def test_status_calls_that_no_token_satisfies_cost_ever_fewer_logins_and_are_told(profile: Profile) -> None:
    """401 to every poll of ten minutes: growing pauses, one alarm, submissions go on; told again when one passes."""

    async def story(scene: Scene) -> None:
        await scene.ticket()
        for _ in range(300):
            scene.account.unauthorized(await scene.ticket())
            await asyncio.sleep(2)
        assert scene.smp.logins[:7] == [0, 0, 2, 4, 8, 16, 32]
        assert max(len([at for at in scene.smp.logins if start <= at < start + 60]) for start in range(60, 600)) == 1
        assert scene.account.held is None
        await scene.ticket()
        assert scene.account.can_send(ASSETS)
        (line,) = scene.account.degraded
        assert line.startswith("participant exstor: status calls are refused")
        scene.account.enquired()
        assert scene.account.degraded == ()
        assert [name for name in scene.events if name.startswith("enquiries")] == [
            "enquiries_refused",
            "enquiries_answered",
        ]
        before = len(scene.smp.logins)
        scene.account.unauthorized(await scene.ticket())  # of a token that has died meanwhile
        await scene.ticket()
        assert len(scene.smp.logins) == before + 1

    tell(profile, story)


def test_a_401_that_arrives_after_the_renewal_drops_nothing(profile: Profile) -> None:
    """The answer to a request with the old token says nothing about the new one."""

    async def story(scene: Scene) -> None:
        old = await scene.ticket()
        await asyncio.sleep(1441)
        scene.account.unauthorized(old, "a")
        assert scene.account.ticket is not None
        assert len(scene.smp.logins) == 2

    tell(profile, story)


def test_a_token_dropped_during_the_login_costs_no_second_login(profile: Profile) -> None:
    """The old token dies while its renewal is under way: the login under way makes it good."""

    async def story(scene: Scene) -> None:
        old = await scene.ticket()
        await asyncio.sleep(1440 + 1)  # one second into the renewal
        scene.account.unauthorized(old, "a")
        await scene.ticket()
        await asyncio.sleep(60)
        assert len(scene.smp.logins) == 2

    tell(profile, story, Smp(takes_s=2))


def test_lanes_refused_together_count_once(profile: Profile) -> None:
    """Five lanes answered 403 at once: one alarm, one refusal, the first pause of 30 s and not the last."""

    async def story(scene: Scene) -> None:
        await scene.ticket()
        for _ in range(5):
            scene.account.hold("403")
        assert scene.account.ticket is None
        started = asyncio.get_running_loop().time()
        await scene.ticket()
        assert asyncio.get_running_loop().time() - started == 30
        assert scene.events.count("participant_held") == 1
        assert scene.events[-1] == "participant_released"

    tell(profile, story)


def test_a_hold_during_a_login_is_not_undone_by_it(profile: Profile) -> None:
    """Held while a renewal is under way: its success does not release; the pause comes first."""

    async def story(scene: Scene) -> None:
        await scene.ticket()
        await asyncio.sleep(1440 + 1)
        scene.account.hold("403")
        await asyncio.sleep(20)
        assert scene.account.held == "403"
        await scene.ticket()
        assert asyncio.get_running_loop().time() >= 1441 + 30

    tell(profile, story, Smp(takes_s=2))


def test_after_three_refused_logins_nobody_tries_again(profile: Profile) -> None:
    """Three refusals with growing pauses, then silence, so that the account is not locked."""

    async def story(scene: Scene) -> None:
        await asyncio.sleep(7 * 24 * 3600)
        assert scene.smp.logins == [0, 30, 150]
        assert scene.account.held is not None
        assert scene.events.count("participant_held") == 1

    tell(profile, story, Smp(plan=[REFUSED] * 100))


def test_an_operator_releases_whom_nobody_tries_any_more(profile: Profile) -> None:
    """After the last try the login is tried again as soon as somebody says so, and refusals count anew."""

    async def story(scene: Scene) -> None:
        await asyncio.sleep(100_000)
        assert len(scene.smp.logins) == 3
        scene.account.release()
        await asyncio.sleep(0.1)
        assert len(scene.smp.logins) == 4
        assert scene.account.held is not None
        await asyncio.sleep(29)
        assert len(scene.smp.logins) == 4
        await scene.ticket()
        assert scene.smp.logins[4] - scene.smp.logins[3] == 30.0
        assert scene.account.held is None

    tell(profile, story, Smp(plan=[REFUSED] * 4))


def test_a_failing_login_backs_off_without_closing_the_gate(profile: Profile) -> None:
    """500 to every login: growing pauses of this account; the gate stays open for the others."""

    async def story(scene: Scene) -> None:
        for _ in range(600):
            await asyncio.sleep(1)
            assert scene.gate.admits(ASSETS)
        pauses = [round(b - a) for a, b in zip(scene.smp.logins, scene.smp.logins[1:], strict=False)]
        assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]

    tell(profile, story, Smp(plan=[BROKEN] * 1000))


def test_a_held_endpoint_is_tried_again_and_told_once(profile: Profile) -> None:
    """404 on two lanes: one alarm; after five minutes the kind may be sent again."""

    async def story(scene: Scene) -> None:
        await scene.ticket()
        scene.account.hold_endpoint(ASSETS, "404")
        scene.account.hold_endpoint(ASSETS, "404")
        assert not scene.account.can_send(ASSETS)
        assert scene.account.can_send(UNIT)
        await scene.ticket()
        assert asyncio.get_running_loop().time() == 300
        assert scene.events.count("endpoint_held") == 1

    tell(profile, story)


def test_a_clock_that_disagrees_stops_signing_and_is_watched_by_logins(profile: Profile) -> None:
    """Ten minutes off: told once, no permit, a login every 30 s, and all goes on with the first `Date` that agrees."""

    async def story(scene: Scene) -> None:
        await scene.ticket()
        started = asyncio.get_running_loop().time()
        scene.smp.off_by = 600_000_000
        await asyncio.sleep(1440)  # until the next login, whose answer tells
        waiting = asyncio.create_task(scene.account.ready(LANE, ASSETS, 0))
        await asyncio.sleep(100)
        assert (waiting.done(), scene.account.permit(LANE, ASSETS)) == (False, None)
        assert [line for line in scene.gate.degraded if "600 s behind the SMP's; nothing is signed" in line]
        assert [at - started for at in scene.smp.logins[1:]] == [1440, 1470, 1500, 1530]
        scene.smp.off_by = 0
        await waiting
        assert asyncio.get_running_loop().time() - started == 1560
        assert [name for name in scene.events if name.startswith("clock")] == ["clock_skewed", "clock_agreed"]
        assert scene.gate.degraded == ()

    tell(profile, story)


def test_a_clock_a_minute_off_alarms_and_signs_on(profile: Profile) -> None:
    """Beyond 30 s people are told; within half the tolerance the SMP still believes us."""

    async def story(scene: Scene) -> None:
        scene.smp.off_by = -60_000_000
        await scene.ticket()
        assert "clock_skewed" in scene.events
        assert scene.account.permit(LANE, ASSETS) is not None

    tell(profile, story)


def test_a_new_key_signs_what_is_committed_from_then_on(profile: Profile) -> None:
    """What is SENDING under the old key is signed with it; a new login name gets a token of its own."""

    class Later(Key):
        key_id = "later"

    async def story(scene: Scene) -> None:
        first = await scene.ticket()
        under_way = scene.account.attempt(1)
        scene.account.rekey(replace(scene.account.identity, username="exstor2"), Later())
        after = scene.account.attempt(1)
        assert (under_way.key_id, after.key_id) == ("kid", "later")
        for attempt in (under_way, after):
            call = scene.account.sign("POST", "/assets", attempt, b"{}", message_id="m")
            header = json.loads(base64url.decode(call.token.partition(".")[0]))
            assert header["kid"] == attempt.key_id
        assert (await scene.ticket()).login == first.login + 1

    tell(profile, story)
