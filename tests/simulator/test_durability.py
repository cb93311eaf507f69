"""kill -9 of a simulated SMP in its own process: what it answered is in the ledger."""

from __future__ import annotations

import asyncio
import ssl
import stat
import sys
from pathlib import Path

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.simulator import Ledger, SimulatedSmp
from tests.simulator.partners import PROFILE, Client, Host, Start, asset, create

PROGRAM = """
import asyncio, sys
from pathlib import Path
from gateway.simulator import SimulatedSmp

async def serve():
    profile, state, url = sys.argv[1:]
    async with SimulatedSmp(
        profile_path=Path(profile), state=Path(state), callback_url=url, processing_delay_s=0.0
    ) as smp:
        print(smp.port, flush=True)
        await asyncio.Event().wait()

asyncio.run(serve())
"""


async def test_a_killed_simulator_keeps_every_answered_submission(
    state: Path, start: Start, host: Host, keys: dict[str, ec.EllipticCurvePrivateKey]
) -> None:
    """Pins that all transaction ids answered before kill -9 are readable from outside, and that a new start goes on."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(PROFILE), str(state), host.url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    outside = start(port=port)  # never entered: it only tells the client the address
    trust = ssl.create_default_context(cafile=state / "pki" / "smp-ca.pem")
    answered: list[str] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        client = Client(smp=outside, session=session, participant="exstor", key=keys["exstor"])
        await client.login()
        for number in range(20):
            answer = await client.send("/assets", create(asset(f"asset {number}")))
            answered.append(answer.body["transactionId"])
        process.kill()
        await process.wait()
    entries = Ledger.read(state / "smp-ledger.db")
    assert [entry.transaction_id for entry in entries] == answered
    assert [arrival.transaction_id for arrival in Ledger.read_arrivals(state / "smp-ledger.db")] == answered
    async with start() as again:
        decided = await again.until(lambda entries: all(entry.callback == "delivered" for entry in entries))
    assert [entry.effects for entry in decided] == [(f"asset {number}",) for number in range(20)]


async def test_private_files_are_private(smp: SimulatedSmp) -> None:
    """Pins mode 0600 on every private half, and nothing private in the public ones."""
    private = {"smp-ca.key", "smp-server.key", "smp-signing.pem", "smp-token.key"}
    folder = smp.state / "pki"
    assert {path.name for path in folder.iterdir()} >= private | {"smp-ca.pem", "smp-server.pem", "smp.jwks.json"}
    for name in private:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    for name in ("smp-ca.pem", "smp-server.pem", "smp.jwks.json"):
        assert "PRIVATE" not in (folder / name).read_text()
