"""The tests' own PostgreSQL leaves nothing behind, however the tests end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import REPOSITORY

_PROGRAM = """
import sys, time
from tests.postgres import postgres_server
with postgres_server() as server:
    print(server.data, flush=True)
    time.sleep(600)
"""


def test_a_server_dies_with_the_tests_that_were_killed() -> None:
    """Its process and its folder are gone soon after its parent was killed with signal 9."""
    tests = subprocess.Popen([sys.executable, "-c", _PROGRAM], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert tests.stdout is not None
    data = Path(tests.stdout.readline().strip())
    number = (data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0]
    tests.kill()
    tests.communicate()
    while data.parent.exists() or _runs(number):
        time.sleep(0.05)  # pytest ends a test that hangs


def _runs(number: str) -> bool:
    try:
        words = Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except FileNotFoundError:
        return False
    return words[0] != "Z"
