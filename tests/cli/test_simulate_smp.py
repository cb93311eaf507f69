"""`smp-gateway simulate smp` as a process: faults, the control API and the ledger from a terminal."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import aiohttp
import pytest

from gateway.cli.simulate.ledger import show
from gateway.simulator import Ledger
from gateway.simulator.record import Received
from gateway.simulator.smp import LEDGER_FILE
from tests.crash.processes import child, python
from tests.crash.world import REPOSITORY


def smp(state: Path, *options: str) -> list[str]:
    where = ("--state", str(state), "--listen", "127.0.0.1:0", "--callback-url", "https://127.0.0.1:9")
    return python(REPOSITORY, "simulate", "smp", *where, *options)


async def test_faults_and_control_from_the_command_line(tmp_path: Path) -> None:
    """Pins that --fault, --seed and --scenario are in force, and that the printed address and token open the API."""
    story = tmp_path / "story.yaml"
    story.write_text("faults: {busy: 0.25}\n")
    options = ("--fault", "lose-reply=0.1", "--fault", "delay=200ms", "--seed", "7", "--control", "127.0.0.1:0")
    async with child(smp(tmp_path, *options, "--scenario", str(story))) as process:
        url = (await process.until("control  ")).split()[-1]
        token = (await process.until("control token")).split()[-1]
        await process.until("listening on")
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            async with session.get(f"{url}/faults") as got:
                plan = await got.json()
            async with session.post(f"{url}/rotate-key") as got:
                assert got.status == 200
        await process.until("callbacks are signed with")
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    assert plan["seed"] == 7
    assert (plan["faults"]["lose-reply"], plan["faults"]["delay"]) == (0.1, "200ms")
    assert plan["faults"]["busy"] == 0.25


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--fault", "lose-replay=1"), "lose-reply"),
        (("--fault", "busy"), "probability"),
        (("--fault", "delay=5"), "duration"),
        (("--control", "0.0.0.0:0"), "loopback"),
        (("--control", "here"), "--control"),
        (("--scenario", "/nowhere/story.yaml"), "/nowhere/story.yaml"),
    ],
)
async def test_wrong_usage_is_told(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    """Pins exit code 2 without a traceback, and what is wrong."""
    async with child(smp(tmp_path, *options)) as process:
        assert await process.ended() == 2
    said = " ".join(process.lines)
    assert told in said
    assert "Traceback" not in said


async def test_the_ledger_is_printed(tmp_path: Path) -> None:
    """Pins both forms of --ledger, which needs no callback URL, and exit code 2 where there is none."""
    asking = ("simulate", "smp", "--ledger", "--state", str(tmp_path))
    async with child(python(REPOSITORY, *asking)) as process:
        assert await process.ended() == 2
    assert "there is no ledger" in process.lines[-1]
    async with child(smp(tmp_path)) as process:
        await process.until("listening on")
        process.signal(signal.SIGTERM)
        await process.ended()
    async with child(python(REPOSITORY, *asking)) as process:
        assert await process.ended() == 0
    assert process.lines == ["no transaction yet"]
    async with child(python(REPOSITORY, *asking, "--json")) as process:
        assert await process.ended() == 0
    assert json.loads(process.lines[-1]) == {"transactions": [], "faults": []}


def test_an_id_in_the_ledger_stands_on_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe and on 80 columns: whoever compares it with the journal can search for it."""
    submission = "6e939ae4-7d8b-4d2a-a4ff-a414e86fe812"
    ledger = Ledger(tmp_path / LEDGER_FILE)
    body = json.dumps({"messageId": submission, "action": "Create", "assets": [{"assetName": "A"}]}).encode()
    received = Received(
        participant="exflex",
        submission=submission,
        kind="assets",
        body=body,
        sha256=hashlib.sha256(body).hexdigest(),
        jti="j1",
        at=1_795_616_641_000_000,
        last_byte_ns=1,
    )
    ledger.admit(received, deduplicate=True)
    ledger.close()
    show(tmp_path, as_json=False)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "exflex" in line]
    assert submission in line
    assert "2026-11-25 14:24:01" in line
