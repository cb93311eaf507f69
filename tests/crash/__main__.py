"""A longer kill run by hand: `python -m tests.crash --kills 200 --seed 7`; exit code 1 when a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from tests.crash.kills import kill_run


def main() -> int:
    """Run it, and say what was found."""
    options = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="smp-gateway-crash-") as folder:
        outcome = asyncio.run(kill_run(Path(folder), seed=chosen.seed, kills=chosen.kills))
    for line in (*outcome.violations, *outcome.alarms, *outcome.noise, outcome):
        sys.stdout.write(f"{line}\n")
    return 0 if outcome.drained and not outcome.violations and not outcome.alarms else 1


if __name__ == "__main__":
    sys.exit(main())
