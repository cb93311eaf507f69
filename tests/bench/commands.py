"""The processes that people run, started for a measurement and ended after it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.subject import ROOT, NotStarted

_START_S = 60.0


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Run a command of the gateway to its end.

    Raises:
        NotStarted: it failed.
    """
    command = [sys.executable, "-m", "gateway", *arguments]
    done = subprocess.run(command, env={**os.environ, **environ}, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotStarted(f"{arguments[0]} ended with {done.returncode}: {done.stderr[-500:]}")


@contextmanager
def process(
    arguments: Sequence[str], environ: Mapping[str, str], log: Path, *, until: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of the gateway until left, from when its log says this.

    Raises:
        NotStarted: it ended or did not say it in time.
    """
    with log.open("wb") as stream:
        running = subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            env={**os.environ, **environ},
            cwd=ROOT,
            stdout=stream,
            stderr=stream,
        )
    try:
        deadline = time.monotonic() + _START_S
        while until not in log.read_text(encoding="utf-8"):
            if running.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{arguments[0]} did not come up: {log.read_text(encoding='utf-8')[-500:]}")
            time.sleep(0.05)
        yield running
    finally:
        running.terminate()
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
