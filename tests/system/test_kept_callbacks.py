"""What is kept of callbacks can be looked at: applied, other types, quarantined, unmatched."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from gateway.cli import app
from tests.system.commands import smp_gateway
from tests.system.rig import World, holds, world
from tests.system.test_callbacks import SLOW_POLLS, awaiting, sign, verdict


def shell(here: World) -> Callable[..., tuple[int, str]]:
    def run(*words: str) -> tuple[int, str]:
        command, *rest = words
        arguments = ["callbacks", command, str(here.folder / "gateway.yaml"), *rest, "--state", str(here.state)]
        result = CliRunner().invoke(app, arguments, env=dict(here.environ))
        return result.exit_code, result.output

    return run


async def test_every_kept_callback_is_listed_and_shown(tmp_path: Path) -> None:
    """One of each: the list says what became of it, `show` the exact bytes; a quarantined one was alarmed."""
    async with world(tmp_path, timings=SLOW_POLLS) as here, here.gateway() as running:
        message = await awaiting(here, running)
        other = verdict(message, messageType="Maintenance")
        orphan = verdict(message, transactionId="TX-elsewhere")
        stale = verdict(message)
        for jti, body, iat in (("a-other", other, 0), ("b-orphan", orphan, 0), ("c-stale", stale, -900)):
            await running.call_back("exstor", body, sign(here, body, jti=jti, iat=int(time.time()) + iat))
        run = shell(here)
        code, listed = run("list", "--json")
        assert code == 0
        assert {row["jti"]: row["became"] for row in json.loads(listed)} == {
            "a-other": "other",
            "b-orphan": "orphan",
            "c-stale": "quarantined",
        }
        assert "b-orphan" not in run("list", "--as", "other")[1]
        code, shown = run("show", "a-")
        assert (code, "Maintenance" in shown) == (0, True)
        assert run("show", "nobody")[0] == 2
        reason = ("--reason", "sent by NGESO for another host")
        where = (str(here.folder / "gateway.yaml"), "--state", str(here.state))
        dismissed = [
            await smp_gateway("callbacks", "dismiss", where[0], jti, *reason, *where[1:], environ=here.environ)
            for jti in ("nobody", "a-", "b-", "b-")
        ]
        assert [code for code, _, _ in dismissed] == [2, 1, 0, 1]
        assert "sent by NGESO for another host" in run("list", "--as", "orphan")[1]
        assert await running.gateway.journal.unmatched(time.time_ns() // 1000) == {}
    assert [event["jti"] for event in here.events("callback_quarantined")] == ["c-stale"]


_NOTICE = "  - {on: [other], write: {smp_text: {field: raw}, smp_state: 9}}\n"


def _told(text: str) -> str:
    """The site that has points for it also wants to know of other callbacks."""
    return text + _NOTICE if "smp_text:" in text else text


async def test_a_site_gets_other_callbacks_as_they_come_and_only_its_participants(tmp_path: Path) -> None:
    """Of another type, validly signed: its text in the plant's registers, cut to the point; once for the same bytes."""
    async with world(tmp_path, timings=SLOW_POLLS, sites=_told) as here, here.gateway() as running:
        message = await awaiting(here, running)
        body = verdict(message, messageType="Maintenance")
        signature = sign(here, body)
        for ack in ("Accepted", "Duplicate"):
            assert (await running.call_back("exstor", body, signature))[1]["ack"] == ack
        plant = here.plants["solent-bess"]
        await holds(lambda: plant.registers(1410) == [9])
        await running.relayed()
        text = b"".join(register.to_bytes(2, "big") for register in plant.registers(1412, 32))
        assert text.rstrip(b"\0").removesuffix(b"...") == body[: len(text.rstrip(b"\0").removesuffix(b"..."))]
        assert len(text.rstrip(b"\0")) > 32
    assert len(here.events("relay_delivered", state="other")) == 1
