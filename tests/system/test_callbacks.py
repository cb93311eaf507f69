"""Callbacks: early, late, twice, forged, foreign, stale, too large; and the poll when none comes."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core.message import Message
from gateway.core.record import Disposition
from gateway.core.transaction import State
from gateway.edge.journal.reader import CallbackRow
from tests.system.rig import Running, World, holds, world
from tests.system.wire import OTHER_V7, SMP_V1, Wire, private_key

REFUSED = (401, {"error": "signature not accepted"})


def sign(here: World, body: bytes, *, key: bytes | None = None, environment: str = "test", **changes: object) -> str:
    """Sign as the SMP of this environment would, with the header changed where told; None leaves a member out."""
    smp = here.smps[environment]
    header: dict[str, Any] = {
        "kid": json.loads(smp.jwks_path.read_bytes())["keys"][0]["kid"],
        "typ": "typ_callback",
        "jti": secrets.token_hex(16),
        "aud": here.environ["PUBLIC_URL"] + here.wire.callback("exstor"),
        **changes,
    }
    return here.wire.sign(body, key or (smp.state / "pki" / "smp-signing.pem").read_bytes(), **header)


def verdict(message: Message, outcome: str = "success", *, wire: Wire = SMP_V1, **changes: object) -> bytes:
    """A callback's body that decides this message, in the profile's names."""
    error = {"row": 0, "ref": "A", "field": "f", "code": "C", "message": "m"}
    members = {
        "message_id": secrets.token_hex(16),
        "message_type": wire.tree["result_types"][0],
        "issued_at": "2026-11-23T10:00:00Z",
        "participant": message.lane.participant,
        "transaction_id": message.transaction_id,
        "status": wire.word(outcome),
        "notification": "Success" if outcome == "success" else None,
        "results": [],
        "errors": [] if outcome == "success" else wire.errors(error),
        **changes,
    }
    return json.dumps(wire.named("result", members)).encode()


async def awaiting(here: World, running: Running, site: str = "hams-bess", name: str = "HAMS 1") -> Message:
    """A message that waits for its callback, which the SMP keeps back."""
    here.smp.faults.hold_callbacks()
    await here.ask(site, name)
    return await running.reaches(site, State.AWAITING)


def kept(here: World, message: Message) -> list[tuple[Disposition, bytes]]:
    rows: tuple[CallbackRow, ...] = here.story(message.id).callbacks
    return [(row.disposition, row.body) for row in rows]


SLOW_POLLS = {"poll_first": "60s"}  # nothing is found out by a poll unless something hastens it


async def test_without_callbacks_the_poll_finds_the_verdict(tmp_path: Path, wire: Wire) -> None:
    """Callbacks are off at the SMP: the status call brings the verdict and the plant is told."""
    async with world(tmp_path, wire=wire, timings={"poll_first": "50ms"}) as here, here.gateway() as running:
        here.smp.faults.hold_callbacks()
        sequence = await here.ask("hams-bess", "HAMS 1")
        result = await here.plants["hams-bess"].result(sequence)
        await running.reaches("hams-bess", State.COMPLETED)
    assert result.state == 2
    assert here.front.requests(*wire.status)


async def test_a_callback_before_the_202_decides_the_message(tmp_path: Path, wire: Wire) -> None:
    """The callback overtakes the answer: the message is COMPLETED once, one effect, nothing is polled."""
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here, here.gateway() as running:
        here.smp.faults.callback_first = True
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.COMPLETED)
    assert here.effects() == ["HAMS 1"]
    assert message.problems == ()
    assert not here.front.requests(*wire.status)


async def test_a_callback_twice_is_applied_once(tmp_path: Path, wire: Wire) -> None:
    """The same bytes three times: APPLIED once, 200 each time, one relay."""
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here, here.gateway() as running:
        here.smp.faults.callback_copies = 3
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.COMPLETED)
        await holds(lambda: len(here.events("callback_received")) == 3)
    told = [event["disposition"] for event in here.events("callback_received")]
    assert told == ["applied", "duplicate", "duplicate"]
    assert len(kept(here, message)) == len(here.story(message.id).relays) == 1


async def test_a_callback_delivered_again_after_a_restart_is_a_duplicate(tmp_path: Path, wire: Wire) -> None:
    """What was applied before the restart is known after it: 200 Duplicate, nothing moves."""
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here:
        async with here.gateway() as running:
            message = await awaiting(here, running)
            body = verdict(message, wire=wire)
            signature = sign(here, body)
            assert wire.receipt((await running.call_back("exstor", body, signature))[1]) == "accepted"
        async with here.gateway() as running:
            status, answer = await running.call_back("exstor", body, signature)
            assert (status, wire.receipt(answer)) == (200, "duplicate")
    assert [disposition for disposition, _ in kept(here, message)] == [Disposition.APPLIED]


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "other"},
        {"aud": "https://elsewhere.example/smp/v1/callbacks/exstor"},
        {"aud": None},
        {"typ": "typ_request"},
        {"kid": "exstor-2026-11"},
        {"crit": ["iat", "jti", "aud", "x"], "x": 1},
        {"jku": "https://elsewhere.example/jwks"},
        {"iat": None},
        {"jti": None},
    ],
)
async def test_a_forged_callback_changes_nothing(tmp_path: Path, wire: Wire, changes: dict[str, Any]) -> None:
    """Wrong key, audience, type or header: 401 like an unknown participant, nothing stored, the message waits on."""
    key = private_key(wire.algorithm, "stranger") if "key" in changes else None
    header = {name: value for name, value in changes.items() if name != "key"}
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        body = verdict(message, wire=wire)
        assert await running.call_back("exstor", body, sign(here, body, key=key, **header)) == REFUSED
        assert await running.call_back("nobody", body, sign(here, body)) == REFUSED
        (still,) = await running.messages("hams-bess")
    assert still.state is State.AWAITING
    assert kept(here, message) == []


async def test_callbacks_for_another_address_are_a_trouble_until_a_good_one_comes(tmp_path: Path, wire: Wire) -> None:
    """The SMP signs for a public URL that is not ours: `/readyz` says so and since when; a stranger's bytes do not."""
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        body = verdict(message, wire=wire)
        stranger = private_key(wire.algorithm, "stranger")
        assert await running.call_back("exstor", body, sign(here, body, key=stranger)) == REFUSED
        assert not any("callbacks" in line for line in (await running.ready())[1]["degraded"])
        assert await running.call_back("exstor", body, sign(here, body, aud="https://elsewhere.example/x")) == REFUSED
        (line,) = [line for line in (await running.ready())[1]["degraded"] if "callbacks" in line]
        assert line.startswith("participant exstor: callbacks are refused, aud is 'https://elsewhere.example/x'")
        assert ", since 20" in line
        assert (await running.call_back("exstor", body, sign(here, body)))[0] == 200
        assert not any("callbacks" in line for line in (await running.ready())[1]["degraded"])


async def test_unsigned_tampered_and_misaddressed_bytes_are_refused_alike(tmp_path: Path, wire: Wire) -> None:
    """No signature, one byte changed, another participant's path: 401 each, the same body, nothing stored."""
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        body = verdict(message, wire=wire)
        signature = sign(here, body)
        assert await running.call_back("exstor", body, None) == REFUSED
        assert await running.call_back("exstor", body + b" ", signature) == REFUSED
        assert await running.call_back("exflex", body, signature) == REFUSED
        assert (await running.call_back("exstor", body, signature))[0] == 200
    assert [disposition for disposition, _ in kept(here, message)] == [Disposition.APPLIED]


@pytest.mark.parametrize("beyond_s", [-1, 60])  # what is early comes nearer while it is under way
async def test_a_stale_callback_is_kept_and_its_transaction_polled_at_once(
    tmp_path: Path, wire: Wire, beyond_s: int
) -> None:
    """Well signed but too far off on either side: 401, QUARANTINED, and the poll is made now; 401 again."""
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        body = verdict(message, wire=wire)
        tolerance_s = wire.tolerance_s if beyond_s > 0 else -wire.tolerance_s
        signature = sign(here, body, iat=int(time.time()) + tolerance_s + beyond_s)
        assert (await running.call_back("exstor", body, signature))[0] == 401
        await running.reaches("hams-bess", State.COMPLETED)
        assert (await running.call_back("exstor", body, signature))[0] == 401
    assert [disposition for disposition, _ in kept(here, message)] == [Disposition.QUARANTINED]
    assert here.front.requests(*wire.status)


async def test_one_jti_with_other_bytes_is_refused(tmp_path: Path, wire: Wire) -> None:
    """409, whatever the second says; the first stands."""
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        first, second = verdict(message, wire=wire), verdict(message, "failed", wire=wire)
        assert (await running.call_back("exstor", first, sign(here, first, jti="one")))[0] == 200
        assert (await running.call_back("exstor", second, sign(here, second, jti="one")))[0] == 409
        (still,) = await running.messages("hams-bess")
    assert still.state is State.COMPLETED
    assert [disposition for disposition, _ in kept(here, message)] == [Disposition.APPLIED]


@pytest.mark.parametrize("changes", [{"status": "Perhaps"}, {"errors": 7}, {"message_id": None}])
async def test_a_callback_that_cannot_be_read_is_kept_and_polled(
    tmp_path: Path, wire: Wire, changes: dict[str, Any]
) -> None:
    """422 and QUARANTINED; where its ids can be read its transaction is polled at once."""
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        body = verdict(message, wire=wire, **changes)
        assert (await running.call_back("exstor", body, sign(here, body)))[0] == 422
        if "message_id" not in changes:
            await running.reaches("hams-bess", State.COMPLETED)
    assert here.events("callback_received", disposition="quarantined")


async def test_size_and_encoding_are_checked_before_anything_else(tmp_path: Path, wire: Wire) -> None:
    """413 beyond the profile's limit, 415 for any content-encoding; the listener goes on."""

    def narrow(text: str) -> str:
        return text.replace("callback_bytes: 4194304", "callback_bytes: 2000")

    async with world(tmp_path, wire=wire, profile=narrow) as here, here.gateway() as running:
        assert (await running.call_back("exstor", b"x" * 2001, None))[0] == 413
        assert (await running.call_back("exstor", b"x", None, headers={"Content-Encoding": "gzip"}))[0] == 415
        assert await running.call_back("exstor", b"x" * 2000, None) == REFUSED


async def test_an_unknown_type_is_kept_and_acknowledged(tmp_path: Path, wire: Wire) -> None:
    """Another messageType, validly signed: 200, stored as OTHER, no state moves."""
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        body = verdict(message, wire=wire, message_type="Outage")
        assert (await running.call_back("exstor", body, sign(here, body)))[0] == 200
        (still,) = await running.messages("hams-bess")
    assert still.state is State.AWAITING
    assert [disposition for disposition, _ in kept(here, message)] == [Disposition.OTHER]


async def test_a_contradicting_verdict_is_kept_and_alarmed_and_moves_nothing(tmp_path: Path, wire: Wire) -> None:
    """Success, then Failed with a fresh jti: 200, CONFLICT kept and alarmed, COMPLETED stands, no second relay."""
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        for body in (verdict(message, wire=wire), verdict(message, "failed", wire=wire)):
            assert (await running.call_back("exstor", body, sign(here, body)))[0] == 200
        (still,) = await running.messages("hams-bess")
    assert still.state is State.COMPLETED
    assert [disposition for disposition, _ in kept(here, message)] == [Disposition.APPLIED, Disposition.CONFLICT]
    assert len(here.events("callback_conflicted")) == len(here.story(message.id).relays) == 1


async def test_one_participants_callback_cannot_decide_anothers_transaction(tmp_path: Path, wire: Wire) -> None:
    """Signed for exflex's address, with exstor's transaction id: exstor's message waits on, whoever it names."""
    async with world(tmp_path, wire=wire, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        aud = here.environ["PUBLIC_URL"] + wire.callback("exflex")
        own = verdict(message, wire=wire, participant="exflex")
        assert (await running.call_back("exflex", own, sign(here, own, aud=aud)))[0] == 200
        foreign = verdict(message, wire=wire)
        assert (await running.call_back("exflex", foreign, sign(here, foreign, aud=aud)))[0] == 403
        (still,) = await running.messages("hams-bess")
    assert still.state is State.AWAITING
    assert kept(here, message) == []


async def test_a_caller_without_the_smps_certificate_is_shut_out(tmp_path: Path) -> None:
    """With client_ca in callbacks, TLS ends for a caller that shows nothing, before a byte of HTTP is read."""
    async with world(tmp_path, wire=OTHER_V7, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        body = verdict(message, wire=OTHER_V7)
        with pytest.raises(aiohttp.ClientError):
            await running.call_back("exstor", body, sign(here, body), shown=False)
        assert (await running.call_back("exstor", body, sign(here, body)))[0] == 200
    assert [disposition for disposition, _ in kept(here, message)] == [Disposition.APPLIED]


async def test_a_gateway_without_a_certificate_reaches_nothing(tmp_path: Path) -> None:
    """The SMP lets in only who shows a certificate: the message stays ACCEPTED, and `/readyz` says why."""
    async with world(tmp_path, wire=OTHER_V7) as here:
        here.drop_certificate()
        async with here.gateway() as running:
            await here.ask("hams-bess", "HAMS 1")
            await holds(lambda: here.events("login_failed", participant="exstor"))
            await running.reaches("hams-bess", State.ACCEPTED)
            assert any("exstor" in line for line in (await running.ready())[1]["degraded"])
    assert here.front.seen == []
