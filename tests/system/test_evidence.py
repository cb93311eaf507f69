"""One message's evidence, from real conversations: exported beside the running gateway, checked without our code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from gateway.core.transaction import State
from gateway.simulator.faults import CUT
from tests.conftest import REPOSITORY
from tests.edge.journal import attested
from tests.system.commands import smp_gateway
from tests.system.rig import World, world
from tests.system.test_doubts import QUICK, only
from tests.system.wire import Wire


async def export(here: World, message_id: str, target: Path) -> Mapping[str, Any]:
    """Export by the command line, as people do; the file as JSON."""
    code, out, err = await smp_gateway(
        *("evidence", "export", str(here.folder / "gateway.yaml"), message_id),
        *("--state", str(here.state), "--out", str(target)),
        environ=here.environ,
    )
    assert (code, err) == (0, ""), out + err
    return read(target)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def verify(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the verifier alone: its one file, in a folder of its own, with nothing of ours to import."""
    source = subprocess.run(
        [sys.executable, "-m", "gateway", "evidence", "verifier"], check=True, capture_output=True
    ).stdout
    (folder / "verifier.py").write_bytes(source)
    done = subprocess.run(
        [sys.executable, "-I", "verifier.py", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def exhibits(file: Mapping[str, Any]) -> dict[str, str]:
    """What the message's entries attest, by name; of several the last."""
    lines = [json.loads(entry) for entry in file["entries"] if isinstance(entry, str)]
    return {name: digest for line in lines for name, digest in line.get("exhibits", {}).items()}


async def test_a_message_is_proved_by_one_file(tmp_path: Path, wire: Wire) -> None:
    """What came in, body, signature, answer, callback and writes are there, and verify; with known keys too."""
    async with world(tmp_path, wire=wire) as here, here.gateway() as running:
        sequence = await here.ask("hams-bess", "HAMS 1")
        await here.ask("solent-bess", "SOLENT 1")  # another message of the same chain
        await here.plants["hams-bess"].result(sequence)
        await running.reaches("solent-bess", State.COMPLETED)
        await running.relayed()
        (message,) = await running.messages("hams-bess")
        file = await export(here, message.id[:8], tmp_path / "e.json")
        keys = json.loads((here.state / "pki" / "participants.jwks.json").read_text())["keys"]
        keys += json.loads((here.state / "pki" / "smp.jwks.json").read_text())["keys"]
    code, out = verify(tmp_path, "e.json")
    assert (code, out.splitlines()[-1][:5]) == (0, "GOOD:"), out
    named = exhibits(file)
    assert {"raw", "content", "body", "signature", "answer", "callback", "callbackSignature", "written"} <= set(named)
    assert set(named.values()) <= set(file["exhibits"])
    story = here.story(message.id)
    assert file["exhibits"][named["body"]] == {"utf8": story.submissions[0].body.decode()}
    assert any(not isinstance(entry, str) for entry in file["entries"])
    assert "SOLENT" not in (tmp_path / "e.json").read_text()
    (tmp_path / "known.json").write_text(json.dumps({"keys": keys}))
    (tmp_path / "others.json").write_text(json.dumps({"keys": [k for k in keys if k.get("participant") != "exstor"]}))
    assert verify(tmp_path, "e.json", "--keys", "known.json")[0] == 0
    assert "none of yours" in verify(tmp_path, "e.json", "--keys", "others.json")[1]


async def test_what_the_smp_was_asked_is_evidence_too(tmp_path: Path) -> None:
    """A doubt that a status call resolved: the signed question and its answer are in the file."""
    profile = only("status_by_submission")
    async with world(tmp_path, profile=profile, timings=QUICK) as here, here.gateway() as running:
        here.smp.faults.after_commit.append(CUT)
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.COMPLETED)
        file = await export(here, message.id, tmp_path / "e.json")
    assert {"request", "requestSignature", "reply"} <= set(exhibits(file))
    code, out = verify(tmp_path, "e.json")
    assert code == 0, out


def by_hand(folder: Path, file: Path, language: str) -> str:
    """Do what docs/evidence.md says in this language, to a file."""
    text = (REPOSITORY / "docs" / "evidence.md").read_text("utf-8")
    (block,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    command = {"sh": ["bash", "-euc", block], "python": [sys.executable, "-c", block]}[language]
    work = folder / f"{language} {file.stem}"
    work.mkdir()
    done = subprocess.run(
        command,
        cwd=work,
        env={**os.environ, "FILE": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + (f"ended with {done.returncode}: {done.stderr}" if done.returncode else "")


def test_the_documentation_checks_by_hand(tmp_path: Path) -> None:
    """openssl computes the signed link, joserfc verifies every signature; both notice what is spoilt."""
    data = attested.export(asyncio.run(attested.story(tmp_path)))
    good, spoilt = tmp_path / "good.json", tmp_path / "spoilt.json"
    good.write_bytes(data)
    spoilt.write_bytes(data.replace(b"TX-", b"TY-").replace(b"callback c-", b"callback d-"))
    computed, signed, *more = by_hand(tmp_path, good, "sh").splitlines()
    assert (computed.removeprefix("computed "), more) == (signed.removeprefix("signed   "), [])
    computed, signed, *more = by_hand(tmp_path, spoilt, "sh").splitlines()
    assert computed.removeprefix("computed ") != signed.removeprefix("signed   ")
    assert [line.rpartition(" was ")[2] for line in more] == ["altered"]
    verified = [line.split(" ")[0] for line in by_hand(tmp_path, good, "python").splitlines()]
    assert verified == ["checkpoint", "entry", "entry"]
    assert "BadSignatureError" in by_hand(tmp_path, spoilt, "python")


async def test_a_whole_journal_is_checked_and_copied_beside_the_gateway(tmp_path: Path) -> None:
    """A sound journal and its copy pass; with one word of its audit changed it does not, and that is said."""
    async with world(tmp_path) as here, here.gateway() as running:
        await here.ask("hams-bess", "HAMS 1")
        await running.reaches("hams-bess", State.COMPLETED)
        await running.relayed()
        where = (str(here.folder / "gateway.yaml"), "--state", str(here.state))
        code, out, err = await smp_gateway("journal", "check", *where, environ=here.environ)
        assert (code, out[:6]) == (0, "sound:"), out + err
        copy = tmp_path / "copy.db"
        code, out, err = await smp_gateway("journal", "backup", where[0], str(copy), *where[1:], environ=here.environ)
        assert code == 0, out + err
    journal = here.configuration.journal
    assert isinstance(journal, Path)
    with closing(apsw.Connection(str(journal))) as raw:
        raw.execute("DROP TRIGGER audit_unchanged; UPDATE audit SET actor = 'nobody' WHERE event = 'success'")
    code, out, err = await smp_gateway("journal", "check", *where, environ=here.environ)
    assert (code, "is not what was written there" in out) == (1, True), out + err
