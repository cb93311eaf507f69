"""What was tried, line by line: a file of JSON lines per promise in docs/assurance, which only ever grows.

A line is one round: it is appended and synced when the round is over, so that whoever interrupts a run loses one round.
Which code a round was run on is what ``code`` says: the SHA-256 of every file of the product that the promise is about.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.deep.rounds import Round

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "assurance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One round: ``n`` trials with this seed, and every failure among them as a sentence."""

    promise: str
    at: str
    commit: str
    code: str
    machine: str
    seed: int
    n: int
    failures: tuple[str, ...]
    seconds: float
    reached: Mapping[str, int] = field(default_factory=dict)


class Ledger:
    """The lines of one promise; ``concerned`` are the patterns of the code that it is about."""

    def __init__(self, folder: Path, promise: str, concerned: Sequence[str]) -> None:
        self._path = folder / f"{promise}.jsonl"
        self.promise = promise
        self.code = fingerprint(concerned)

    def lines(self) -> Iterator[Line]:
        """Every line that is whole; the last one may have been cut by a crash."""
        if not self._path.exists():
            return
        for text in self._path.read_text(encoding="utf-8").splitlines(keepends=True):
            if text.endswith("\n"):
                found = json.loads(text)
                yield Line(**{**found, "failures": tuple(found["failures"])})

    def counted(self) -> list[Line]:
        """The lines that count for the code as it is."""
        return [line for line in self.lines() if line.code == self.code]

    def next_seed(self) -> int:
        """A seed that was never used, so that a run goes on where the last one ended."""
        return max((line.seed for line in self.lines()), default=0) + 1

    def add(self, seed: int, done: Round, seconds: float) -> Line:
        """Append a round, and put it on disk."""
        line = Line(
            promise=self.promise,
            at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",  # noqa: TID251 - for people
            commit=_commit(),
            code=self.code,
            machine=_machine(),
            seed=seed,
            n=done.n,
            failures=tuple(done.failures),
            seconds=round(seconds, 1),
            reached=done.reached,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._mend()
        with self._path.open("a", encoding="utf-8") as file:
            told = {name: value for name, value in asdict(line).items() if name != "reached" or value}
            file.write(json.dumps(told, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return line

    def _mend(self) -> None:
        """Take away a last line that a crash has cut."""
        whole = self._path.read_bytes() if self._path.exists() else b""
        if not whole.endswith(b"\n") and whole:
            self._path.write_bytes(whole[: whole.rfind(b"\n") + 1])


def fingerprint(patterns: Sequence[str]) -> str:
    """What stands for these files as they are now, in twelve hexadecimal characters."""
    state = hashlib.sha256()
    for path in sorted({each for pattern in patterns for each in ROOT.glob(pattern) if each.is_file()}):
        state.update(f"{path.relative_to(ROOT)}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()[:12]


def _commit() -> str:
    told = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, check=False)
    return told.stdout.decode().strip() or "unknown"


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
