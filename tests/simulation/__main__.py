"""Simulate: `python -m tests.simulation --first 0 --seeds 150 [--hours 1]`; a line per seed, exit code 1 if one broke.

With the same source a seed tells the same story again: PYTHONHASHSEED is set to 0 for that.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.simulation.story import Broken, simulate

_QUICK = Path("/dev/shm")  # the power never fails here: what is synced need not reach a disk


def main() -> int:
    """Tell each story, then how often each step was taken."""
    options = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--seeds", type=int, default=150)
    options.add_argument("--hours", type=float, default=1.0)
    chosen = options.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            os.environ | {"PYTHONHASHSEED": "0"},
        )
    steps: Counter[tuple[str, str]] = Counter()
    broken = 0
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        with tempfile.TemporaryDirectory(dir=_QUICK if _QUICK.is_dir() else None) as folder:
            try:
                outcome = simulate(seed, chosen.hours, Path(folder))
            except Broken as failure:
                broken += 1
                sys.stdout.write(f"BROKEN seed {seed}: {failure}\n")
                continue
        steps += outcome.steps
        sys.stdout.write(f"{outcome}\n")
        sys.stdout.flush()
    for (before, event), count in sorted(steps.items()):
        sys.stdout.write(f"{count:>7} {before} --{event}-->\n")
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
