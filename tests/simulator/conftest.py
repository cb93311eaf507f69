"""A simulated SMP on a fresh state folder, a participant that speaks to it, and a host that takes its callbacks."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from gateway.simulator import SimulatedSmp
from tests.simulator.partners import KIDS, PROFILE, QUICK, Client, Connect, Host, Start


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def keys() -> dict[str, ec.EllipticCurvePrivateKey]:
    return {participant: ec.generate_private_key(ec.SECP256R1()) for participant in KIDS}


@pytest.fixture
def state(tmp_path: Path, authority: trustme.CA, keys: dict[str, ec.EllipticCurvePrivateKey]) -> Path:
    (tmp_path / "pki").mkdir()
    (tmp_path / "secrets").mkdir()
    authority.cert_pem.write_to_path(tmp_path / "pki" / "host-ca.pem")
    members = []
    for participant, key in keys.items():
        jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        members.append({**jwk, "kid": KIDS[participant], "alg": "ES256", "use": "sig", "participant": participant})
        (tmp_path / "secrets" / f"{participant}.password").write_text("correct horse\n")
    (tmp_path / "pki" / "participants.jwks.json").write_text(json.dumps({"keys": members}))
    return tmp_path


@pytest.fixture
async def host(authority: trustme.CA) -> AsyncIterator[Host]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    host = Host()
    application = web.Application()
    application.router.add_post("/smp/v1/callbacks/{participant}", host.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    host.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield host
    await runner.cleanup()


@pytest.fixture
def start(state: Path, host: Host) -> Start:
    def started(**options: object) -> SimulatedSmp:
        settings: dict[str, Any] = {"callback_url": host.url, "processing_delay_s": 0.0, "redelivery": QUICK, **options}
        return SimulatedSmp(profile_path=PROFILE, state=state, callback_ca=state / "pki" / "host-ca.pem", **settings)

    return started


@pytest.fixture
async def smp(start: Start) -> AsyncIterator[SimulatedSmp]:
    async with start() as running:
        yield running


@pytest.fixture
def connect(keys: dict[str, ec.EllipticCurvePrivateKey]) -> Connect:
    @asynccontextmanager
    async def connected(smp: SimulatedSmp, participant: str = "exstor") -> AsyncIterator[Client]:
        trust = ssl.create_default_context(cafile=smp.ca_path)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            client = Client(smp=smp, session=session, participant=participant, key=keys[participant])
            await client.login()
            yield client

    return connected


@pytest.fixture
async def client(smp: SimulatedSmp, connect: Connect) -> AsyncIterator[Client]:
    async with connect(smp) as connected:
        yield connected
