"""What is kept of callbacks can be looked at: applied, other types, quarantined, unmatched."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from gateway.cli import app
from tests.system.rig import World, world
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
    assert [event["jti"] for event in here.events("callback_quarantined")] == ["c-stale"]
