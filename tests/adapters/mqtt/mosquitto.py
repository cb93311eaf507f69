"""A real mosquitto on a free loopback port, which a test may stop, freeze, kill and start again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.ports import free_ports


def program() -> str:
    """The broker's program; without it the test is skipped with the reason, or fails where peers are required."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is not None:
        return found
    reason = "mosquitto is not installed (Debian, Ubuntu: apt-get install mosquitto)"
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


class Mosquitto:
    """One broker with a memory on disk that outlives it; it writes that at each change, so also when it is killed."""

    def __init__(self, folder: Path, port: int, settings: Sequence[str]) -> None:
        self.port = port
        self.folder = folder
        self._program = program()
        self._process: Process | None = None
        self._configuration = folder / "mosquitto.conf"
        lines = [
            "user root",
            f"listener {port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            *(settings or ["allow_anonymous true"]),
        ]
        self._configuration.write_text("\n".join(lines) + "\n", "utf-8")

    async def start(self) -> None:
        """Start it and wait until it takes connections."""
        nothing = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            self._program, "-c", str(self._configuration), stdout=nothing, stderr=nothing
        )
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                assert self._process.returncode is None, "mosquitto did not start"
                await asyncio.sleep(0.01)
            else:
                writer.close()
                await writer.wait_closed()
                return

    def freeze(self) -> None:
        """SIGSTOP: its connections stay and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and wait for its end."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            if number != signal.SIGKILL:
                process.send_signal(signal.SIGCONT)
            await process.wait()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@asynccontextmanager
async def mosquitto(*settings: str, port: int = 0) -> AsyncIterator[Mosquitto]:
    """A broker that runs; ``settings`` are lines of its configuration, by default one that lets everybody in."""
    program()
    with tempfile.TemporaryDirectory(prefix="mosquitto-") as folder:
        broker = Mosquitto(Path(folder), port or free_ports(1)[0], settings)
        await broker.start()
        try:
            yield broker
        finally:
            await broker.stop()
