"""Run every suite by itself, over all cores, and print the minutes of each; what `make test` does.

Arguments go to pytest; with any, one process runs them as given.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
# From quick to slow, so that a mistake shows early. Every test belongs to exactly one of these folders.
SUITES = (
    *("core", "settings", "edge", "contracts", "adapters", "simulator", "flow", "cli", "peers", "bench"),
    *("planted", "simulation", "deep", "system", "crash"),
)
ALONE = {"bench"}  # it looks at times of its own, if only at their shape


def main(arguments: list[str]) -> int:
    """Return the number of suites that failed."""
    if arguments:
        return subprocess.call([sys.executable, "-m", "pytest", *arguments])
    folders = {folder.name for folder in HERE.iterdir() if any(folder.rglob("test_*.py"))}
    unlisted = folders - set(SUITES)
    if unlisted:
        sys.stderr.write(f"tests/run.py does not know {sorted(unlisted)}\n")
        return 1
    lines, failed, began = [], 0, time.monotonic()
    for suite in (name for name in SUITES if name in folders):
        sys.stdout.write(f"\n=== {suite}\n")
        sys.stdout.flush()
        start = time.monotonic()
        spread = [] if suite in ALONE else ["-n", "auto", "--dist", "worksteal"]
        code = subprocess.call(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *spread, str(HERE / suite)]
        )
        failed += code != 0
        lines.append(f"{suite:<12} {(time.monotonic() - start) / 60:6.2f} min  {'ok' if code == 0 else 'FAILED'}")
    total = (time.monotonic() - began) / 60
    sys.stdout.write("\nminutes per suite\n" + "\n".join(lines) + f"\n{'all':<12} {total:6.2f} min\n")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
