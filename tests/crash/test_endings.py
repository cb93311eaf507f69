"""How the gateway begins and ends as a process: exit codes, one clear line, and nothing half done."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.transaction import State
from gateway.simulator import pki
from gateway.simulator.smp import now_us
from tests.crash.processes import child, python
from tests.crash.records import read_journal
from tests.crash.world import REPOSITORY, World, world


@pytest.fixture
async def prepared(tmp_path: Path) -> World:
    """Keys and passwords, with nobody around."""
    here = World(tmp_path / "state", REPOSITORY, random.Random(0))
    await here.prepare()
    pki.prepare(here.state / "pki", host="127.0.0.1", now_us=now_us())  # the SMP's public halves
    return here


async def refused(here: World) -> tuple[int, list[str]]:
    """Start the gateway and wait for its end; the lines that are no events of its log."""
    async with child(here.gateway(), environ=here.environ) as gateway:
        code = await gateway.ended()
    return code, [line for line in gateway.lines if not line.startswith("{")]


async def test_a_second_gateway_is_not_let_in(prepared: World) -> None:
    """Pins exit code 3 and the holder's process id, and that the first one goes on and ends with 0 on SIGTERM."""
    async with prepared.running() as first:
        await first.until("gateway_started")
        code, said = await refused(prepared)
        first.signal(signal.SIGTERM)
        assert await first.ended() == 0
    assert (code, said) == (3, [f"smp-gateway: {prepared.journal} is in use by process {first.process.pid}"])
    assert json.loads(first.lines[-1])["event"] == "gateway_stopped"


async def test_sigterm_finishes_what_is_under_way(tmp_path: Path) -> None:
    """Pins the drain: the answer to a POST that was under way at SIGTERM is waited for and stored."""
    async with world(tmp_path, dice=random.Random(0), answer_delay="1s") as here, here.running() as gateway:
        assert here.smp is not None
        await here.smp.until("login exstor")
        await gateway.until("login_succeeded")
        plant = here.plants["hams-bess"].process
        assert plant is not None
        plant.say("new")
        await here.smp.until("assets exstor")  # it has the submission, and answers in a second
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended() == 0
        (message,) = read_journal(here.journal).messages
    assert message.state in {State.AWAITING, State.COMPLETED}
    assert [len(each.committed) for each in message.submissions] == [1]


def without_key(here: World) -> None:
    (here.state / "keys" / "exstor.pem").unlink()


def without_certificate(here: World) -> None:
    (here.state / "pki" / "host.pem").unlink()


def without_password(here: World) -> None:
    (here.state / "secrets" / "exflex.password").unlink()


@pytest.mark.parametrize(
    ("spoil", "named"),
    [(without_key, "exstor.pem"), (without_certificate, "host.pem"), (without_password, "exflex.password")],
)
async def test_a_missing_file_is_named(prepared: World, spoil: Callable[[World], None], named: str) -> None:
    """Pins exit code 3 and one line that names the file, without a traceback."""
    spoil(prepared)
    code, said = await refused(prepared)
    assert code == 3
    assert len(said) == 1
    assert said[0].startswith("smp-gateway: ")
    assert named in said[0]


@pytest.mark.parametrize("listener", ["CALLBACK_LISTEN", "HEALTH_LISTEN"])
async def test_a_taken_port_is_named(prepared: World, listener: str) -> None:
    """Pins exit code 3 and one line with the address when a listener's port is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        prepared.environ[listener] = f"127.0.0.1:{port}"
        code, said = await refused(prepared)
    assert code == 3
    assert len(said) == 1
    assert str(port) in said[0]


async def test_a_wrong_configuration_is_told_line_by_line(tmp_path: Path) -> None:
    """Pins exit code 1 and `file:line:column: path: message` for every mistake, of several files at once."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config", ignore=shutil.ignore_patterns("state"))
    for file, before, after in (
        ("sites/hams-bess.yaml", "holding:1029", "holding:70000"),
        ("participants/exflex.yaml", "ES256", "HS256"),
    ):
        path = tmp_path / "config" / file
        path.write_text(path.read_text().replace(before, after))
    command = python(REPOSITORY, "run", str(tmp_path / "config" / "gateway.yaml"), "--state", str(tmp_path / "state"))
    async with child(command) as gateway:
        assert await gateway.ended() == 1
    assert len(gateway.lines) == 2
    assert all(re.match(r"\S+\.yaml:\d+:\d+: \S+: .", line) for line in gateway.lines), gateway.lines
