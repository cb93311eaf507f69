"""`make deep`: try promises for as long as somebody likes, and keep what came of it.

Each round is kept when it is over; a run that is interrupted, or killed, is gone on with by the next. The exit code is
1 when a round failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.deep import table
from tests.deep.ledger import FOLDER, Ledger
from tests.deep.promises import PROMISES, Promise


def main(arguments: Sequence[str]) -> int:
    """Run rounds until the time is over, promise by promise."""
    options = _options().parse_args(arguments)
    failed = 0
    try:
        for promise in [PROMISES[name] for name in options.promise or PROMISES]:
            failed += _run(promise, options.ledger, 60 * options.minutes)
    except KeyboardInterrupt:
        print("interrupted: the next run goes on from here", flush=True)  # noqa: T201 - to people
    finally:
        table.write(options.ledger.with_suffix(".md"), options.ledger, PROMISES.values())
    return min(failed, 1)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.deep", description=__doc__)
    parser.add_argument("--promise", action="append", choices=sorted(PROMISES), help="which; default: all, in turn")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each (default %(default)s)")
    parser.add_argument("--ledger", type=Path, default=FOLDER, help="where the ledger is (default %(default)s)")
    return parser


def _run(promise: Promise, folder: Path, seconds: float) -> int:
    """At least one round; how many trials failed."""
    ledger, end, failed = Ledger(folder, promise.name, promise.concerned), time.monotonic() + seconds, 0
    while True:
        seed, began = ledger.next_seed(), time.monotonic()
        with tempfile.TemporaryDirectory(prefix="smp-deep-") as here:
            done = promise.run(seed, Path(here))
        line = ledger.add(seed, done, time.monotonic() - began)
        failed += len(line.failures)
        n = sum(each.n for each in ledger.counted())
        print(  # noqa: T201 - to people
            f"{promise.name} seed {seed}: {line.n} {promise.unit}, {len(line.failures)} failures, "
            f"{line.seconds:.0f} s; {n} of {promise.goal} so far",
            *line.failures,
            sep="\n  ",
            flush=True,
        )
        if time.monotonic() >= end:
            return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
