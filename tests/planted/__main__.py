"""Every planted fault, or the named ones: `python -m tests.planted [NAME...]`; exit code 1 when one is not seen."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.planted.faults import faults, judged


def main(names: list[str]) -> int:
    """Try them one after the other, and say what was seen."""
    wanted = [fault for fault in faults() if not names or fault.name in names]
    missed = 0
    for fault in wanted:
        with tempfile.TemporaryDirectory(prefix="smp-gateway-planted-") as folder:
            red, said = judged(fault, Path(folder))
        missed += not red
        sys.stdout.write(f"{'seen' if red else 'MISSED':<7} {fault.promise:<4} {fault.name}: {fault.what}\n")
        sys.stdout.write("" if red else said)
        sys.stdout.flush()
    sys.stdout.write(f"{len(wanted) - missed} of {len(wanted)} planted faults are seen\n")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
