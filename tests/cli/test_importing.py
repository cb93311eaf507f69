"""`smp-gateway import` before anything is sent: headings, the template, encodings, dialects, and bounded mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.system import fleet
from tests.system.commands import smp_gateway

OPTIONS = ("--gateway", str(REPOSITORY / "config" / "gateway.yaml"), "--participant", "exflex")


async def check(file: Path, *arguments: str) -> tuple[int, str, str]:
    return await smp_gateway("import", str(file), *OPTIONS, "--check", *arguments)


async def test_the_headings_are_explained(tmp_path: Path) -> None:
    """Every heading with what it holds, for people and programs; the template has them all and overwrites nothing."""
    told = json.loads((await smp_gateway("import", "headings", *OPTIONS, "--json"))[1])
    shown = (await smp_gateway("import", "headings", *OPTIONS))[1]
    template = tmp_path / "template.csv"
    written = await smp_gateway("import", "headings", *OPTIONS, "--template", str(template))
    again = await smp_gateway("import", "headings", *OPTIONS, "--template", str(template))
    headings = [entry["heading"] for entry in told]
    assert {"assetName", "meterPoints[0].id", "capacity.maxExportMw"} <= set(headings)
    assert next(entry for entry in told if entry["heading"] == "technology")["holds"].startswith("one of Battery, CHP")
    assert next(entry for entry in told if entry["heading"] == "assetName")["needed"] == "yes"
    assert all(heading in shown for heading in headings)
    assert template.read_text(encoding="utf-8-sig").splitlines() == [",".join(headings)]
    assert (written[0], again[0]) == (0, 2)


@pytest.mark.parametrize(
    ("encoding", "arguments", "said"),
    [
        ("utf-8", (), "2 rows in 1 batches: no mistakes"),
        ("utf-8-sig", (), "2 rows in 1 batches: no mistakes"),
        ("cp1252", ("--encoding", "cp1252"), "2 rows in 1 batches: no mistakes"),
        ("cp1252", (), "line 3: byte 6 (0xfc) is not utf-8: save the file as 'CSV UTF-8', or say --encoding cp1252"),
        ("utf-16", (), "line 1: this is UTF-16: save it as 'CSV UTF-8'"),
    ],
)
async def test_the_encoding_is_right_or_named(
    tmp_path: Path, encoding: str, arguments: tuple[str, ...], said: str
) -> None:
    """UTF-8 with and without a mark, cp1252 where it is said; anything else is named with what to do."""
    file = tmp_path / "fleet.csv"
    text = "\n".join([fleet.HEADINGS, fleet.row(1), fleet.row(2).replace("BATT-", "BATT\u00fc"), ""])
    text = text.replace("BATT\u00fc", "BATT-\u00fc")
    file.write_bytes(text.encode(encoding))
    code, out, err = await check(file, *arguments)
    assert said in out + err
    assert code == (0 if "no mistakes" in said else 1)


async def test_many_mistakes_are_counted_and_some_are_shown(tmp_path: Path) -> None:
    """2,000 wrong rows: fifty lines and the number of the others; for programs at most a thousand."""
    file = tmp_path / "fleet.csv"
    wrong = [fleet.row(number).replace("Battery", "Batery") for number in range(1, 2001)]
    file.write_text("\n".join([fleet.HEADINGS, *wrong]), encoding="utf-8")
    code, _, err = await check(file)
    told = json.loads((await check(file, "--json"))[1])
    assert code == 1
    assert err.splitlines()[-1] == "2000 mistakes, of which 1950 are not shown; nothing was sent"
    assert len(err.splitlines()) == 51
    assert (told["mistakes"], len(told["shown"]), told["shown"][0]["line"]) == (2000, 1000, 2)


async def test_wrong_usage_is_no_mistake_of_the_file(tmp_path: Path) -> None:
    """No such file, an unknown participant: exit code 2 with the known ones."""
    missing = await check(tmp_path / "none.csv")
    file = fleet.write(tmp_path / "fleet.csv", 1)
    stranger = await smp_gateway("import", str(file), "--gateway", OPTIONS[1], "--participant", "nobody")
    empty = tmp_path / "empty.csv"
    empty.write_text(fleet.HEADINGS + "\n", encoding="utf-8")
    assert (missing[0], stranger[0], (await check(empty))[0]) == (2, 2, 1)
    assert "exstor" in stranger[2]
