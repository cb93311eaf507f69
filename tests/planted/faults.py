"""Mistakes on purpose: each is a patch, with the promise that it breaks and the test that must see it."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(__file__).with_name("patches")
_PARTS = ("gateway", "adapters", "config", "tests")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "node_modules", "state")
_HEAD = re.compile(r"(?P<promise>[PI]\d+): (?P<what>.+)\.\nRed: (?P<test>\S+)\n")
_RED = 1  # pytest's exit code for tests that failed; 2 and above are its own troubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One patch: ``promise`` is broken, in the words of ``what``, and ``test`` must be red."""

    name: str
    promise: str
    what: str
    test: str

    @property
    def patch(self) -> Path:
        """The patch's file."""
        return FOLDER / f"{self.name}.patch"


def faults() -> list[Fault]:
    """All of them.

    Raises:
        ValueError: a patch without the two lines that say what it is.
    """
    return [_read(path) for path in sorted(FOLDER.glob("*.patch"))]


def chosen(number: int) -> list[Fault]:
    """So many of them, others at each commit."""
    commit = _git("rev-parse", "HEAD", cwd=REPOSITORY).stdout
    return sorted(faults(), key=lambda fault: hashlib.sha256(f"{commit}{fault.name}".encode()).digest())[:number]


def fits(fault: Fault) -> str:
    """Why the patch does not fit the source any more; nothing when it does."""
    return _git("apply", "--check", "--recount", "-C1", str(fault.patch), cwd=REPOSITORY).stderr


def judged(fault: Fault, folder: Path) -> tuple[bool, str]:
    """Whether the fault's test is red in a copy of the product that has the fault, and what pytest said."""
    for part in _PARTS:
        shutil.copytree(REPOSITORY / part, folder / part, ignore=_LEFT_OUT)
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    _git("apply", "--recount", "-C1", str(fault.patch), cwd=folder)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", fault.test]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode == _RED and f"FAILED {fault.test}" in done.stdout, done.stdout[-2000:] + done.stderr


def _read(path: Path) -> Fault:
    found = _HEAD.match(path.read_text("utf-8"))
    if found is None:
        raise ValueError(f"{path.name} does not begin with its promise and its test")
    return Fault(name=path.stem, **found.groupdict())


def _git(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
