"""The command line as people use it: a process of its own beside whatever a test runs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

from tests.conftest import REPOSITORY


async def smp_gateway(*arguments: str, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run a command to its end, beside whatever this test runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *arguments),
        cwd=REPOSITORY,
        env={**os.environ, **(environ or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return await process.wait(), out.decode(), err.decode()
