"""On what the numbers were measured."""

from __future__ import annotations

import os
import platform
import ssl
from pathlib import Path

import apsw


def describe(folder: Path) -> dict[str, str]:
    """What a reader needs to compare this run with another; ``folder`` is where both wrote."""
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "filesystem": filesystem(folder),
    }


def filesystem(folder: Path) -> str:
    """The type of the file system that holds a folder; on ``tmpfs`` a FULL commit costs nothing and proves nothing."""
    here = folder.resolve()
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    holding = [(len(point), kind) for _, point, kind, *_ in mounts if here.is_relative_to(point)]
    return max(holding, default=(0, "unknown"))[1]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
