"""`smp-gateway commission`: what passes, what fails and how that is said, with the real gateway and simulated SMP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app

CONFIG = Path(__file__).parents[2] / "config" / "gateway.yaml"
ASSET = """assetName: "REHEARSED ${RUN}"
        technology: Battery
        meterPoints: [{type: MPAN, id: "2000000000200", direction: Import}]
        connection: {gspGroup: _H}
        capacity: {maxExportMw: 1}"""


def commission(*options: str) -> Result:
    return CliRunner().invoke(app, ["commission", str(CONFIG), "--against", "simulator", *options])


def scenario(folder: Path, *steps: str) -> str:
    path = folder / "scenario.yaml"
    path.write_text("steps:\n" + "".join(f"  - {step}\n" for step in steps))
    return str(path)


@pytest.mark.parametrize("participant", ["exstor", "exflex"])
def test_every_flow_of_the_example_passes(tmp_path: Path, participant: str) -> None:
    """Pins the ten steps that come with the product, and that nothing outside of the given folder is written."""
    done = commission("--participant", participant, "--state", str(tmp_path / "state"), "--json")
    told = json.loads(done.output)
    assert [(step["name"], step["failures"]) for step in told["steps"]] == [
        ("login", []),
        ("assets, completed", []),
        ("assets, failed by the SMP", []),
        ("assets, refused before sending", []),
        ("a unit, completed", []),
        ("the verdict by status call", []),
        ("the answer lost, the doubt resolved", []),
        ("a callback before the answer", []),
        ("forged callbacks", []),
        ("a callback replayed", []),
    ]
    assert (done.exit_code, told["passed"], told["participant"]) == (0, True, participant)
    assert not (CONFIG.parent / "keys").exists() or (tmp_path / "state" / "keys").is_dir()


@pytest.mark.parametrize(
    ("circumstances", "expect", "failure"),
    [
        ("{}", "{state: failed}", "it is completed, not failed"),
        ("{}", "{state: completed, error: DUPLICATE_ASSET}", "its first error is none, not DUPLICATE_ASSET"),
        ("{}", "{state: completed, by: status}", "its verdict came by callback, not by status"),
        ("{}", "{state: completed, doubts: true}", "it was never in doubt"),
        ("{}", "{state: completed, forgeries: 1}", "forged callbacks were answered never, not 1 times 401"),
        ("{}", "{state: completed, replays: 1}", "0 callbacks came again, not 1"),
        ("{callback-twice: 1}", "{state: completed}", "1 callbacks came again, not 0"),
        ("{callback-never: 1}", "{state: completed, by: callback}", "its verdict came by status, not by callback"),
    ],
)
def test_a_step_fails_for_each_thing_that_is_otherwise(
    tmp_path: Path, circumstances: str, expect: str, failure: str
) -> None:
    """Pins that every expectation can fail, what is said then, and exit code 1."""
    step = f"name: one\n    assets:\n      - {ASSET}\n    smp: {circumstances}\n    expect: {expect}"
    done = commission("--scenario", scenario(tmp_path, step), "--json")
    (told,) = json.loads(done.output)["steps"]
    assert (done.exit_code, told["passed"], told["failures"]) == (1, False, [failure])


def test_what_does_not_end_has_failed(tmp_path: Path) -> None:
    """Pins the limit of a step: a verdict that is never given is said with the state that the message is in."""
    step = (
        f"name: one\n    assets:\n      - {ASSET}\n    smp: {{callback-never: 1, fail-status: 1}}\n"
        "    expect: {state: completed}"
    )
    done = commission("--scenario", scenario(tmp_path, step), "--limit", "1")
    assert done.exit_code == 1
    assert "still awaiting after 1 s" in " ".join(done.output.split())


def test_every_mistake_of_a_scenario_is_told_with_its_place(tmp_path: Path) -> None:
    """Pins file:line:column and a sentence for each mistake, all at once, exit code 1 and nothing tried."""
    path = scenario(
        tmp_path,
        "name: one\n    login: refused",
        "name: two\n    unit: {unitName: A}\n    expect: {state: completed}",
        "name: three\n    assets: [{assetName: A}]\n    expect: {state: done}",
        "name: four\n    assets: [{assetName: A}]\n    smp: {lose-replay: 1}\n    expect: {state: completed}",
        "name: five\n    login: granted\n    smp: {callback-twice: 2}",
    )
    done = commission("--scenario", path)
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert [line.split(": ")[0].removeprefix(f"{path}:") for line in lines] == ["3:12", "4:5", "9:21"]


@pytest.mark.parametrize("options", [("--participant", "nobody"), ("--scenario", "/nowhere/scenario.yaml")])
def test_what_is_not_there_is_named(options: tuple[str, str]) -> None:
    """Pins exit code 2 for a participant or a file that does not exist, naming it."""
    done = commission(*options)
    assert done.exit_code == 2
    assert options[1] in done.output
