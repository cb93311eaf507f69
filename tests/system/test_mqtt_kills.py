"""A depot on MQTT, and kill -9: of the gateway among commits and acknowledgements, and of the broker behind it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.app import open_reader
from tests.adapters.mqtt.mosquitto import Mosquitto, mosquitto
from tests.bench import mqtt
from tests.system.rig import holds

REQUESTS = 800
FEW = 20


@asynccontextmanager
async def gateway(folder: Path, environ: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The gateway in a process of its own, which is killed when left."""
    state, log = folder / "state", (folder / "gateway.log").open("ab")
    arguments = ("-m", "gateway", "run", str(folder / "config" / "gateway.yaml"), "--state", str(state))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env={**os.environ, **environ}, stdout=log, stderr=log
    )
    try:
        yield process
    finally:
        log.close()
        if process.returncode is None:
            process.kill()
        await process.wait()


def stored(folder: Path) -> int:
    path = folder / "state" / "state" / "journal.db"
    if not path.exists():
        return 0
    with open_reader(path) as reader:
        return sum(reader.depth().messages.values())


async def publish(broker: Mosquitto, numbers: range) -> None:
    """Send requests, many at once, until the broker has said that it has them all."""
    sites = mqtt.SITES
    await mqtt.send(broker, [(f"depot-{n % sites}/smp/request", mqtt.request_of(n)) for n in numbers])


async def test_nothing_acknowledged_is_lost_whoever_is_killed(tmp_path: Path) -> None:
    """Killed while it commits and acknowledges, then the broker with what waits there: each request is there, once."""
    async with mosquitto() as broker, asyncio.timeout(240):
        environ = await asyncio.to_thread(mqtt.configure, tmp_path, broker)
        async with gateway(tmp_path, environ):
            log = tmp_path / "gateway.log"
            await holds(lambda: log.read_text("utf-8").count('"site_connected"') >= mqtt.SITES)
            sending = asyncio.create_task(publish(broker, range(REQUESTS)))
            await holds(lambda: stored(tmp_path) >= FEW)
        await sending
        assert await asyncio.to_thread(stored, tmp_path) >= FEW
        await publish(broker, range(REQUESTS, REQUESTS + FEW))
        memory = next(broker.folder.glob("*.db"))
        last = f'"R-{REQUESTS + FEW - 1}"'.encode()
        await holds(lambda: last in memory.read_bytes())  # its PUBACK comes before its own write
        await broker.stop(signal.SIGKILL)
        await broker.start()
        async with gateway(tmp_path, environ):
            await holds(lambda: stored(tmp_path) >= REQUESTS + FEW)
        assert await asyncio.to_thread(stored, tmp_path) == REQUESTS + FEW
