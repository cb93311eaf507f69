"""A fleet from a CSV file to the SMP: as a whole, again, interrupted, and with rows that the SMP does not take."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import signal
from asyncio.subprocess import PIPE
from functools import partial
from pathlib import Path

import pytest

from gateway.app import open_control
from gateway.core.asset_control import TAKE_BATCH, BatchOrder
from gateway.errors import ControlRefused
from gateway.simulator.ledger import Ledger
from tests.conftest import REPOSITORY
from tests.crash.processes import child, python
from tests.system import fleet
from tests.system.commands import smp_gateway
from tests.system.rig import World, world


def options(here: World) -> tuple[str, ...]:
    return ("--participant", "exflex", "--gateway", str(here.folder / "gateway.yaml"), "--state", str(here.state))


def import_command(here: World, file: Path) -> list[str]:
    return python(REPOSITORY, "import", str(file), *options(here))


async def run_import(here: World, file: Path, *arguments: str) -> tuple[int, str, str]:
    return await smp_gateway("import", str(file), *options(here), *arguments, environ=here.environ)


async def test_ten_thousand_batteries_are_created_once(tmp_path: Path) -> None:
    """Each exists at the SMP, in the file's order, with its line and id in the results; run again: nothing more."""
    file = fleet.write(tmp_path / "fleet.csv", 10_000)
    async with world(tmp_path / "w") as here, here.gateway():
        first = await run_import(here, file, "--wait", "--json")
        again = await run_import(here, file, "--json")
    assert first[0] == 0, first
    told, repeated = json.loads(first[1]), json.loads(again[1])
    assert (told["rows"], told["taken"], told["there"]) == (10_000, 10_000, 0)
    assert told["states"] == {"completed": 10_000}
    assert (repeated["taken"], repeated["there"]) == (0, 10_000)
    assert here.effects() == [fleet.name(number) for number in range(1, 10_001)]
    with (tmp_path / "fleet.results.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["line"] for row in rows[:2]] == ["2", "3"]
    assert {(row["state"], row["error"]) for row in rows} == {("completed", "")}
    assert len({row["smpId"] for row in rows}) == 10_000
    assert len(Ledger.read(here.smp.ledger.path)) == 10


async def test_killed_in_the_middle_and_run_again_each_asset_is_created_once(tmp_path: Path) -> None:
    """kill -9 of the importing command and of the gateway while batches leave; the same command again ends it."""
    file = fleet.write(tmp_path / "fleet.csv", 10_000)
    async with world(tmp_path / "w") as here:
        run = python(REPOSITORY, "run", str(here.folder / "gateway.yaml"), "--state", str(here.state))
        async with child(run, environ=here.environ) as gateway:
            await gateway.until("gateway_started")
            async with child(import_command(here, file), environ=here.environ):
                await here.smp.arrived(3)
        assert len(here.effects()) < 10_000
        async with child(run, environ=here.environ) as gateway:
            await gateway.until("gateway_started")
            code, out, err = await run_import(here, file, "--wait", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["there"] >= 2000
    assert told["taken"] + told["there"] == 10_000
    assert here.effects() == [fleet.name(number) for number in range(1, 10_001)]


async def test_stopped_by_ctrl_c_it_says_how_far_it_came_and_that_it_goes_on(tmp_path: Path) -> None:
    """SIGINT while the verdicts are waited for: exit code 130, one sentence, and the same again ends it."""
    file = fleet.write(tmp_path / "fleet.csv", 20)
    never = {"poll_first": "60s", "poll_longest": "60s"}
    async with world(tmp_path / "w", timings=never) as here, here.gateway():
        here.smp.faults.hold_callbacks()
        command = [*import_command(here, file), "--wait"]
        waiting = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **here.environ},
            stderr=PIPE,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
        )
        await here.smp.arrived(1)
        waiting.send_signal(signal.SIGINT)
        _, err = await waiting.communicate()
        here.smp.faults.release_callbacks()
        code, *_ = await run_import(here, file, "--wait")
    assert waiting.returncode == 130
    assert re.search(r"stopped: at least (0|20) of 20 rows are taken.* run the same command again", err.decode())
    assert code == 0


@pytest.mark.parametrize("results", ["nowhere/out.csv", ""])
async def test_results_that_cannot_be_written_are_told_before_anything_is_sent(tmp_path: Path, results: str) -> None:
    """A folder that is not there, or a folder's own name: wrong usage, not a traceback after hours of waiting."""
    file = fleet.write(tmp_path / "fleet.csv", 2)
    async with world(tmp_path / "w") as here, here.gateway() as running:
        code, _, err = await run_import(here, file, "--wait", "--results", str(tmp_path / results))
        assert not await running.messages()
    assert (code, "Traceback" in err, "--results" in err) == (2, False, True)


async def test_a_row_that_the_smp_has_already_keeps_no_other_out(tmp_path: Path) -> None:
    """One name exists there: its line is told, it fails in the SMP's words, the others are completed, exit code 1."""
    file = fleet.write(tmp_path / "fleet.csv", 30)
    async with world(tmp_path / "w") as here, here.gateway():
        one = tmp_path / "one.csv"
        one.write_text("\n".join([fleet.HEADINGS, fleet.row(7), ""]), encoding="utf-8")
        assert (await run_import(here, one, "--wait"))[0] == 0
        code, out, _ = await run_import(here, file, "--wait", "--results", str(tmp_path / "out.csv"))
    assert code == 1, out
    assert "1 of them exist at the SMP already, which may refuse them as duplicates: line 8" in out
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert rows[fleet.name(7)]["state"] == "failed"
    assert "exists already" in rows[fleet.name(7)]["error"]
    assert {row["state"] for name, row in rows.items() if name != fleet.name(7)} == {"completed"}
    assert sorted(here.effects()) == [fleet.name(number) for number in range(1, 31)]


async def test_mistakes_are_told_before_anything_is_sent(tmp_path: Path) -> None:
    """Two wrong rows, by line and heading, all at once: exit code 1, and the journal has nothing."""
    file = tmp_path / "fleet.csv"
    wrong = fleet.row(3).replace("Battery", "Batery"), fleet.row(4).replace(",Import,", ",Inport,")
    file.write_text("\n".join([fleet.HEADINGS, fleet.row(1), *wrong, fleet.row(1), ""]), encoding="utf-8")
    async with world(tmp_path / "w") as here, here.gateway() as running:
        code, out, err = await run_import(here, file)
        assert not await running.messages()
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[0].startswith(f"{file}: line 3, technology: 'Batery' is not one of Battery")
    assert lines[1].startswith(f"{file}: line 4, meterPoints[0].direction: 'Inport' is not one of")
    assert lines[2] == f"{file}: line 5, assetName: 'BATT-00001' stands in line 2 already"
    assert lines[3] == "3 mistakes; nothing was sent"


async def test_without_a_gateway_the_fleet_waits_in_the_journal(tmp_path: Path) -> None:
    """Taken while none runs, created once one starts."""
    file = fleet.write(tmp_path / "fleet.csv", 1500)
    async with world(tmp_path / "w") as here:
        nobody = await run_import(here, file)
        async with here.gateway():
            pass
        taken = await run_import(here, file, "--json")
        async with here.gateway():
            done = await run_import(here, file, "--wait", "--json")
    assert (nobody[0], "there is no journal at" in nobody[2]) == (3, True)
    assert json.loads(taken[1])["states"] == {"accepted": 1500}
    assert (json.loads(done[1])["there"], json.loads(done[1])["states"]) == (1500, {"completed": 1500})


async def test_a_batch_that_does_not_belong_is_refused_whole(tmp_path: Path) -> None:
    """A caller of the API cannot store wrong rows, other rows under a known number, or anything for a stranger."""
    members = '"technology":"CHP","bmUnitId":"T_A-1","connection":{"gspGroup":"_A"},"capacity":{"maxExportMw":1}'
    asset = f'{{"assetName":"A",{members}}}'
    where = {"participant": "exflex", "import_id": "a" * 24, "batch": "0"}

    def order(content: str) -> BatchOrder:
        return BatchOrder(content=content, file="f.csv", sha256="0" * 64, first_line=2, last_line=2)

    async with world(tmp_path / "w") as here, here.gateway() as running, open_control(here.configuration) as control:

        async def code(content: str, **changed: str) -> str:
            with pytest.raises(ControlRefused) as refused:
                await control.ask(TAKE_BATCH, order(content), **{**where, **changed})
            return refused.value.code

        assert await code("[]") == "invalid"
        assert await code('{"assets":[]}') == "invalid"
        assert await code("[1]") == "invalid"
        assert await code('[{"assetName":"A"}]') == "invalid"
        assert await code(f"[{asset},{asset}]") == "invalid"
        assert await code(f"[{asset}]", participant="nobody") == "not_found"
        assert await code(f"[{asset}]", import_id="A" * 24) == "invalid"
        assert await code(f"[{asset}]", batch="-1") == "invalid"
        assert not await running.messages()
        taken = await control.ask(TAKE_BATCH, order(f"[{asset}]"), **where)
        again = await control.ask(TAKE_BATCH, order(f"[{asset}]"), **where)
        assert (taken.existed, again.existed, again.message) == (False, True, taken.message)
        assert await code("[" + asset.replace('"A"', '"B"') + "]") == "other_content"
