import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
import typer
from typer.testing import CliRunner

from gateway.cli import check
from gateway.settings.example import example_configuration
from tests.settings.folder import Folder

app = typer.Typer()
app.command()(check.check)


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_the_example_passes(tmp_path: Path) -> None:
    """Pins exit code 0, the summary, and a warning for each secret that is not there yet."""
    code, output = run(example_configuration() / "gateway.yaml", "--state", tmp_path)
    *lines, summary = output.splitlines()
    warnings = [line for line in lines if not line.startswith(("plan: ", "tests: "))]
    assert code == 0
    assert summary.endswith("2 participants, 5 sites, 8 messages; 0 errors, 11 warnings")
    assert len(warnings) == 11
    for line in warnings:
        assert line.startswith("warning: ")


def test_a_failed_test_of_a_site_ends_with_1(folder: Folder) -> None:
    """Pins that a site's own test that fails is an error with its place, and is counted."""
    folder.edit("sites/hams-bess.test.yaml", "maxExportMw: 12.5", "maxExportMw: 13")
    code, output = run(folder.path / "gateway.yaml")
    assert code == 1
    assert "capacity.maxExportMw: expected 13, found 12.5" in output
    assert "tests: 2 tests of sites, 1 wrong" in output
    assert "1 error" in output.splitlines()[-1]


def test_mistakes_end_with_1(folder: Folder) -> None:
    """Pins exit code 1, one line per mistake with its place, and the count."""
    folder.edit("sites/hams-bess.yaml", '"holding:1029"', '"holding:70000"')
    folder.edit("sites/trent-chp.yaml", "kind: assets", "kind: unit")
    code, output = run(folder.path / "gateway.yaml")
    first, second, summary = output.splitlines()
    assert code == 1
    assert first.endswith(": points.export_limit.address: 70000 is outside 0..65535")
    assert second.endswith(": messages.chp: assets belongs to kind: assets, and this is kind: unit")
    assert summary.endswith("2 errors, 0 warnings")


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_an_unreadable_path_ends_with_2(tmp_path: Path, name: str) -> None:
    """Pins that a wrong path is wrong usage, not a wrong configuration."""
    code, output = run(tmp_path / name)
    assert code == 2
    assert "there is no file" in output


def test_json_is_one_document(folder: Folder) -> None:
    """Pins the members that programs read."""
    code, output = run(folder.path / "gateway.yaml", "--json")
    document = json.loads(output)
    assert code == 0
    assert document["ok"] is True
    assert document["sites"] == ["hams-bess", "soar-ev", "solent-bess", "trent-chp", "wight-bess"]
    assert len(document["secrets"]) == 11
    folder.edit("sites/hams-bess.yaml", "technology: Battery", "technology: Batery")
    code, output = run(folder.path / "gateway.yaml", "--json")
    document = json.loads(output)
    (problem,) = document["problems"]
    assert (code, document["ok"], problem["warning"]) == (1, False, False)
    assert problem["path"] == "messages.battery.assets.0.technology"
    assert Path(problem["file"]).name == "hams-bess.yaml"
    assert isinstance(problem["line"], int)


def test_a_certificate_that_ends_soon_is_a_warning(tmp_path: Path) -> None:
    """Pins that `check` tells of the listener's certificate while there is time, and still ends with 0."""
    authority = trustme.CA()
    soon = datetime.fromtimestamp(time.time() + 86_400, UTC)
    (tmp_path / "pki").mkdir()
    authority.issue_cert("127.0.0.1", not_after=soon).cert_chain_pems[0].write_to_path(tmp_path / "pki" / "host.pem")
    code, output = run(example_configuration() / "gateway.yaml", "--state", tmp_path)
    assert code == 0
    (line,) = [line for line in output.splitlines() if "expires on" in line]
    assert line.startswith("warning: callbacks.certificate: ")


def test_the_plan_says_what_is_asked_for_and_how_long_it_takes(folder: Folder) -> None:
    """Pins a line per connection that asks, with --plan the points of each request, and the same for programs."""
    _, output = run(folder.path / "gateway.yaml")
    told = [line for line in output.splitlines() if line.startswith("plan: hams-bess")]
    assert told == ["plan: hams-bess/plc: 3 requests every 250ms, which take about 60ms"]
    _, output = run(folder.path / "gateway.yaml", "--plan")
    assert "plan:   holding:1000-1124 every 250ms: mailbox plc, asset_name, mpan, export_limit, import_limit" in output
    _, output = run(folder.path / "gateway.yaml", "--json")
    (first, *_) = json.loads(output)["plans"]["hams-bess/plc"]
    assert first == {"what": "holding:1200-1201", "every": 250_000, "takes": 20_000, "points": ["mailbox plc"]}


def test_a_period_that_cannot_be_met_is_a_warning(folder: Folder) -> None:
    """Pins the sentence, with both times and what to do."""
    folder.edit("sites/hams-bess.yaml", "${POLL:-250ms}", "50ms")
    code, output = run(folder.path / "gateway.yaml")
    assert code == 0
    assert (
        "warning: hams-bess/plc: a period of 50ms cannot be met: 3 requests take about 60ms; poll more slowly" in output
    )


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("keys/exstor.pem", b"no key", "error: participant exstor: signing key: "),
        ("pki/smp.jwks.json", b'{"keys": [], "keys": []}', "error: smp.test.callback_keys: "),
        (
            "pki/smp.jwks.json",
            b'{"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]}',
            "error: smp.test.callback_keys: ",
        ),
        ("pki/smp-ca.pem", b"-----BEGIN CERTIFICATE-----", "error: smp.test: "),
    ],
)
def test_what_run_could_not_use_is_an_error(tmp_path: Path, file: str, content: bytes, said: str) -> None:
    """Pins that a key, set of keys or CA that is there and no good ends with 1; what is missing stays a warning."""
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_bytes(content)
    (tmp_path / file).chmod(0o600)
    code, output = run(example_configuration() / "gateway.yaml", "--state", tmp_path)
    assert code == 1
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert line.startswith(said)
    assert "1 error," in output


def test_a_key_that_is_not_the_certificates_is_an_error(tmp_path: Path) -> None:
    """Pins that the listener's certificate and key are tried together."""
    authority, pki = trustme.CA(), tmp_path / "pki"
    pki.mkdir()
    authority.issue_cert("127.0.0.1").cert_chain_pems[0].write_to_path(pki / "host.pem")
    authority.issue_cert("127.0.0.1").private_key_pem.write_to_path(pki / "host.key")
    code, output = run(example_configuration() / "gateway.yaml", "--state", tmp_path)
    assert (code, "error: callbacks: " in output) == (1, True)
    code, output = run(example_configuration() / "gateway.yaml", "--state", tmp_path, "--json")
    assert (code, json.loads(output)["ok"], len(json.loads(output)["unusable"])) == (1, False, 1)
