"""A longer run by hand; exit code 1 when a promise was broken.

`python -m tests.crash --kills 200 --seed 7` kills the gateway so often; `--faults 2000` instead lets it live, takes so
many messages, and has the SMP do everything wrong; `--nodes 50` strikes two gateways on one PostgreSQL so often.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from tests.crash.faults import FaultOutcome, fault_run
from tests.crash.kills import Outcome, kill_run
from tests.crash.nodes import NodesOutcome, node_run
from tests.postgres import postgres_server


def main() -> int:
    """Run it, and say what was found."""
    options = argparse.ArgumentParser(
        prog="python -m tests.crash", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = options.add_mutually_exclusive_group()
    what.add_argument("--kills", type=int, default=20)
    what.add_argument("--faults", type=int, metavar="MESSAGES")
    what.add_argument("--nodes", type=int, metavar="STROKES")
    options.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="smp-gateway-crash-") as folder:
        outcome = asyncio.run(_run(Path(folder), chosen))
    noise = outcome.noise if isinstance(outcome, Outcome) else []
    for line in (*outcome.violations, *outcome.alarms, *noise, outcome):
        sys.stdout.write(f"{line}\n")
    late = outcome.late + outcome.late_writes if isinstance(outcome, NodesOutcome) else 0
    return 0 if outcome.drained and not outcome.violations and not outcome.alarms and not late else 1


async def _run(folder: Path, chosen: argparse.Namespace) -> Outcome | FaultOutcome | NodesOutcome:
    if chosen.nodes is not None:
        with postgres_server() as server:
            return await node_run(folder, server, seed=chosen.seed, strokes=chosen.nodes)
    if chosen.faults is None:
        return await kill_run(folder, seed=chosen.seed, kills=chosen.kills)
    return await fault_run(folder, seed=chosen.seed, messages=chosen.faults)


if __name__ == "__main__":
    sys.exit(main())
