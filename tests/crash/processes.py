"""Child processes on real pipes and signals: their lines as they come, their death as it happens."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

HANG_S = 60.0  # a guard against a hanging test, never a measure


def python(source: Path, *arguments: str) -> list[str]:
    """The command that runs `smp-gateway` from this source folder, with the packages of this interpreter."""
    program = f"import sys; sys.path.insert(0, {str(source)!r}); from gateway.__main__ import main; main()"
    return [sys.executable, "-c", program, *arguments]


class Child:
    """One process; ``lines`` is what it wrote so far, and ``heard`` is called with each line of it."""

    def __init__(self, process: asyncio.subprocess.Process, heard: Callable[[str], None]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._heard = heard
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read(), name=f"lines of {process.pid}")

    def say(self, line: str) -> None:
        """Type a line."""
        if self.process.stdin is not None:
            self.process.stdin.write(f"{line}\n".encode())

    async def until(self, part: str, count: int = 1) -> str:
        """The line that holds this for the first time, or for the ``count``-th.

        Raises:
            EOFError: it ended without one.
        """
        async with asyncio.timeout(HANG_S):
            while True:
                found = [line for line in self.lines if part in line]
                if len(found) >= count:
                    return found[count - 1]
                if self._reader.done():
                    raise EOFError("\n".join(["ended, having said", *self.lines]))
                self._news.clear()
                await self._news.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still lives."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, once everything that it wrote was read."""
        async with asyncio.timeout(HANG_S):
            await self._reader
            return await self.process.wait()

    async def _read(self) -> None:
        if self.process.stdout is None:
            raise RuntimeError("started without a pipe")
        while line := await self.process.stdout.readline():
            text = line.decode("utf-8", "replace").rstrip("\n")
            self.lines.append(text)
            self._heard(text)
            self._news.set()
        self._news.set()


@asynccontextmanager
async def child(
    command: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    heard: Callable[[str], None] = lambda _line: None,
    errors: int = asyncio.subprocess.STDOUT,
) -> AsyncIterator[Child]:
    """Run a process and hear its lines; leaving kills it if it still lives."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **(environ or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        limit=1 << 20,
    )
    running = Child(process, heard)
    try:
        yield running
    finally:
        running.signal(signal.SIGKILL)
        running.signal(signal.SIGCONT)
        await running.ended()
