"""`smp-gateway simulate smp` as a process."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

PROGRAM = "from gateway.cli.simulate import app; app()"


async def test_the_command_says_what_it_wrote_and_ends_cleanly(tmp_path: Path) -> None:
    """Pins the packaged profile, the printed paths, and exit 0 on SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, "smp", "--state", str(tmp_path), "--listen", "127.0.0.1:0"),
        *("--callback-url", "https://127.0.0.1:9"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        said = [(await process.stdout.readline()).decode() for _ in range(5)]
        process.send_signal(signal.SIGTERM)
        rest = (await process.stdout.read()).decode()
        code = await process.wait()
    assert "https://127.0.0.1:" in said[-1]
    assert str(tmp_path / "pki" / "smp-ca.pem") in said[0]
    assert (rest, code) == ("ended\n", 0)
