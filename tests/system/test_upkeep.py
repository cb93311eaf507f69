"""Keys and certificates that change under a running gateway: fetched, exchanged, spoilt, and never in the way."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.app import adapters
from gateway.cli.certificates import practice_certificates, private_pem
from gateway.core.transaction import State
from gateway.settings.configuration import load
from tests.system.rig import Running, World, holds, world
from tests.system.test_callbacks import REFUSED, SLOW_POLLS, awaiting, sign, verdict

JWKS = "/.well-known/jwks.json"


@asynccontextmanager
async def fetching(folder: Path, **options: object) -> AsyncIterator[World]:
    """A world whose gateway fetches the SMP's keys from its address instead of a file."""
    async with world(folder, **options) as here:  # type: ignore[arg-type]  # passed on as it came
        path = here.folder / "gateway.yaml"
        text = path.read_text("utf-8")
        path.write_text(text.replace("file:pki/smp.jwks.json", here.environ["SMP_URL"] + JWKS), "utf-8")
        here.configuration = load(path, adapters=adapters(), state=here.state, environ=here.environ)
        yield here


async def test_a_callback_with_an_unknown_key_waits_for_the_fetch_under_way(tmp_path: Path) -> None:
    """The keys are still on their way when the SMP calls back: one fetch, it is believed, nothing was refused."""
    async with fetching(tmp_path, timings=SLOW_POLLS) as here:
        here.front.gated_path = JWKS
        here.front.gate.clear()
        async with here.gateway() as running:
            message = await awaiting(here, running)
            body = verdict(message)
            callback = asyncio.create_task(running.call_back("exstor", body, sign(here, body)))
            await holds(lambda: here.front.requests(JWKS))
            here.front.gate.set()
            assert (await callback)[0] == 200
            await running.reaches("hams-bess", State.COMPLETED)
    assert len(here.front.requests(JWKS)) == 1
    assert not here.events("callback_refused")


async def test_a_restart_without_the_smp_still_verifies(tmp_path: Path) -> None:
    """The keys were kept: a callback signed before the outage is believed while the address does not answer."""
    async with fetching(tmp_path, timings=SLOW_POLLS) as here:
        async with here.gateway() as running:
            message = await awaiting(here, running)
            await holds(lambda: here.events("keys_changed"))
            await holds((here.state / "callback-keys" / "test.json").exists)
        await here.front.close()
        async with here.gateway() as running:
            body = verdict(message)
            assert (await running.call_back("exstor", body, sign(here, body)))[0] == 200
            await holds(lambda: here.events("keys_fetch_failed"))
            lines = (await running.ready())[1]["degraded"]
    assert any(line.startswith("callback keys test: ") for line in lines)


async def test_an_exchanged_key_file_counts_without_a_restart(tmp_path: Path) -> None:
    """The SMP's new key set is put in place: noticed, and its callbacks are believed; a spoilt one changes nothing."""
    async with world(tmp_path, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        here.smp.rotate_key(overlap_s=600)
        await holds(lambda: here.events("renewal_succeeded"))
        good = here.smp.jwks_path.read_bytes()
        here.smp.jwks_path.write_bytes(b"{}")
        await holds(lambda: here.events("renewal_failed"))
        assert any("callback keys test: the new file is not used" in line for line in (await degraded(running)))
        here.smp.jwks_path.write_bytes(good)
        kid = json.loads(good)["keys"][0]["kid"]
        body = verdict(message)
        key = (here.smp.state / "pki" / "smp-signing.pem").read_bytes()
        assert (await running.call_back("exstor", body, sign(here, body, key=key, kid=kid)))[0] == 200


async def degraded(running: Running) -> list[str]:
    return list((await running.ready())[1]["degraded"])


async def test_a_participants_own_keys_take_the_place_of_the_environments(tmp_path: Path) -> None:
    """exstor's callbacks need exstor's key; the environment's own key is as good as any stranger's there."""
    async with world(tmp_path, timings=SLOW_POLLS) as here:
        own = ec.generate_private_key(ec.SECP256R1())
        _give_own_key(here, own)
        async with here.gateway() as running:
            message = await awaiting(here, running)
            body = verdict(message)
            assert await running.call_back("exstor", body, sign(here, body)) == REFUSED
            signature = sign(here, body, key=private_pem(own), kid="exstor-callbacks")
            assert (await running.call_back("exstor", body, signature))[0] == 200
            await here.ask("trent-chp", "TRENT 1")
            here.smp.faults.release_callbacks()
            await running.reaches("trent-chp", State.COMPLETED)


def _give_own_key(here: World, key: ec.EllipticCurvePrivateKey) -> None:
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "kid": "exstor-callbacks", "alg": "ES256", "use": "sig"}
    jwk |= {name: _coordinate(value) for name, value in (("x", numbers.x), ("y", numbers.y))}
    (here.state / "pki" / "exstor-callbacks.jwks.json").write_text(json.dumps({"keys": [jwk]}), "utf-8")
    path = here.folder / "participants" / "exstor.yaml"
    text = path.read_text("utf-8") + "\ncallback_keys: file:pki/exstor-callbacks.jwks.json\n"
    path.write_text(text, "utf-8")
    here.configuration = load(here.folder / "gateway.yaml", adapters=adapters(), state=here.state, environ=here.environ)


def _coordinate(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()


async def test_an_exchanged_certificate_is_shown_and_nobody_is_cut_off(tmp_path: Path) -> None:
    """A connection stays over the exchange; newcomers see the new one; a spoilt file is told and the old one stays."""
    async with world(tmp_path, timings=SLOW_POLLS) as here, here.gateway() as running:
        port = running.gateway.callback_port
        first = ssl.create_default_context(cafile=here.state / "pki" / "host-ca.pem")
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=first)
        made = practice_certificates(("127.0.0.1",), now=datetime.fromtimestamp(time.time(), UTC))
        (here.state / "pki" / "host.key").write_bytes(made.key)
        (here.state / "pki" / "host.pem").write_bytes(made.certificate)
        await holds(lambda: here.events("renewal_succeeded", what="callbacks.certificate"))
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        writer.transport.abort()
        second = ssl.create_default_context(cadata=made.authority.decode())
        _, newcomer = await asyncio.open_connection("127.0.0.1", port, ssl=second)
        newcomer.transport.abort()
        (here.state / "pki" / "host.pem").write_bytes(b"spoilt")
        running.gateway.renew()
        await holds(lambda: here.events("renewal_failed", what="callbacks.certificate"))
        _, newcomer = await asyncio.open_connection("127.0.0.1", port, ssl=second)
        newcomer.transport.abort()
        assert any(
            line.startswith("callbacks.certificate: the new file is not used") for line in await degraded(running)
        )
        status, exposition = await running.get("/metrics")
    assert status == 200
    assert 'smp_gateway_certificate_expires_seconds{what="callbacks.certificate"}' in exposition


async def test_a_login_is_never_in_a_messages_way(tmp_path: Path) -> None:
    """The next token is asked for and does not come: with the one at hand a message is completed meanwhile."""
    timings = {**SLOW_POLLS, "token_renewal": "0.01"}
    async with world(tmp_path, timings=timings, token_life_s=60) as here, here.gateway() as running:
        await holds(lambda: len(here.events("login_succeeded")) >= len(here.configuration.participants))
        here.front.gated_path = "/authenticate"
        here.front.gate.clear()
        logins = len(here.front.requests("/authenticate"))
        await holds(lambda: len(here.front.requests("/authenticate")) > logins)
        await here.ask("hams-bess", "HAMS 1")
        await running.reaches("hams-bess", State.COMPLETED)
        assert not here.front.gate.is_set()


async def test_a_fetch_of_keys_is_never_in_a_messages_way(tmp_path: Path) -> None:
    """The set of keys is asked for and does not come: with the one that was kept a message is completed meanwhile."""
    async with fetching(tmp_path, timings=SLOW_POLLS) as here:
        async with here.gateway():
            await holds((here.state / "callback-keys" / "test.json").exists)
        here.front.gated_path = JWKS
        here.front.gate.clear()
        async with here.gateway() as running:
            await holds(lambda: len(here.front.requests(JWKS)) == 2)
            await here.ask("hams-bess", "HAMS 1")
            await running.reaches("hams-bess", State.COMPLETED)
            assert not here.front.gate.is_set()
            here.front.gate.set()
