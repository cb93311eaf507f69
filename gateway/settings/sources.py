"""The files that a configuration is read from: which there are, and whether any of them is another than before."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

Fingerprint = frozenset[tuple[str, int, int, int]]


def matching(pattern: str) -> list[Path]:
    """The files that match, in the order of their names."""
    return sorted(Path(found) for found in glob.glob(pattern))  # noqa: PTH207 -- pathlib's glob raises on patterns that people may write


def only(path: Path) -> str:
    """The pattern that matches this file and nothing else."""
    return glob.escape(str(path))


def fingerprint(patterns: Iterable[str]) -> Fingerprint:
    """What tells a changed file from one that was only looked at: name, number, size and time of its last change."""
    found = set()
    for path in (path for pattern in patterns for path in matching(pattern)):
        try:
            stat = path.stat()
        except OSError:  # it went away meanwhile, which is a change
            continue
        found.add((str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return frozenset(found)
