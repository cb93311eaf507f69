"""`smp-gateway assets`: adoption on the journal itself while no gateway runs, and what the list shows of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner

from gateway.cli import app
from gateway.edge.clock import SystemClock
from gateway.edge.journal.sqlite import SqliteJournal
from tests.settings.folder import Folder


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["assets", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def journal(folder: Folder) -> None:
    """A journal that nobody has open."""

    async def make() -> None:
        path = folder.load().journal
        options = {"clock": SystemClock(), "pipeline_after_verdict": False}
        async with SqliteJournal.open(path, event=lambda *_, **__: None, **options):  # type: ignore[arg-type]
            pass

    asyncio.run(make())


def test_adoption_is_all_or_nothing_and_the_same_again_is_nothing_new(folder: Folder, tmp_path: Path) -> None:
    """A wrong line keeps every line out; mended, the file is kept once, however often it is told."""
    journal(folder)
    config, file = folder.path / "gateway.yaml", tmp_path / "fleet.csv"
    file.write_text("name,smp_id,gsp_group\nOLD 1,SMP-7,_H\n,SMP-8\n", "utf-8")
    code, _, told = run("adopt", config, file, "--participant", "exstor")
    assert code == 1
    assert "fleet.csv:3: the name is missing" in told
    assert run("list", config)[1] == "no asset or unit is known\n"
    file.write_text("name,smp_id,gsp_group\nOLD 1,SMP-7,_H\nOLD 2\n", "utf-8")
    assert run("adopt", config, file, "--participant", "exstor")[:2] == (0, "2 assets adopted, 0 were known\n")
    assert run("adopt", config, file, "--participant", "exstor")[:2] == (0, "0 assets adopted, 2 were known\n")
    first, second = json.loads(run("list", config, "--json")[1])
    assert (first["name"], first["smp_id"], first["origin"]) == ("OLD 1", "SMP-7", "adopted")
    assert (second["name"], second["smp_id"], second["there"]) == ("OLD 2", None, True)


def test_a_line_that_contradicts_the_registry_is_told(folder: Folder, tmp_path: Path) -> None:
    """Another id for a known asset is the file's mistake, with its line; nothing of the file is kept."""
    journal(folder)
    config, file = folder.path / "gateway.yaml", tmp_path / "fleet.csv"
    file.write_text("OLD 1,SMP-7\n", "utf-8")
    assert run("adopt", config, file, "--participant", "exstor")[0] == 0
    file.write_text("NEW\nOLD 1,SMP-9\n", "utf-8")
    code, _, told = run("adopt", config, file, "--participant", "exstor")
    assert code == 1
    assert "fleet.csv:2: 'OLD 1' is known as SMP-7, not SMP-9" in told
    assert "NEW" not in run("list", config)[1]


def test_wrong_usage_is_told_apart(folder: Folder, tmp_path: Path) -> None:
    """An unknown participant, a file that is not there, and a journal that is not there."""
    config, file = folder.path / "gateway.yaml", tmp_path / "fleet.csv"
    assert run("adopt", config, file, "--participant", "exstor")[0] == 2
    file.write_text("OLD 1\n", "utf-8")
    assert run("adopt", config, file, "--participant", "nobody")[0] == 2
    assert run("adopt", config, file, "--participant", "exstor")[0] == 3
