"""A site's EMS of node-opcua, in a process of its own, that calls our server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

SCRIPT = Path(__file__).with_name("opcua_client.js")


class NodeOpcuaEms:
    """``said`` is everything that it told, in its order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[dict[str, object]] = []
        self._changed = asyncio.Event()

    async def submit(self, message: str, caller: str, payload: object) -> dict[str, object]:
        """Call `Submit` and wait for its answer."""
        await self.order({"call": [message, caller, json.dumps(payload)]})
        return await self.tells("answered", id=caller)

    async def order(self, order: dict[str, object]) -> None:
        """Have it do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()

    async def tells(self, event: str, **members: object) -> dict[str, object]:
        """Wait until it told this."""
        wanted = {"event": event, **members}
        while True:
            for one in self.said:
                if wanted.items() <= one.items():
                    return one
            self._changed.clear()
            await self._changed.wait()

    def freeze(self) -> None:
        """SIGSTOP: its connection stays open, and it takes nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    async def read(self) -> None:
        """Take in what it says until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.startswith(b'{"event"'):  # node-opcua has things to say about its own keys
                self.said.append(json.loads(line))
                self._changed.set()


@asynccontextmanager
async def node_opcua_ems(node: str, folder: Path, port: int) -> AsyncIterator[NodeOpcuaEms]:
    """Run it until left; then it is killed."""
    process = await asyncio.create_subprocess_exec(
        node,
        str(SCRIPT),
        json.dumps({"port": port, "folder": str(folder)}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    ems = NodeOpcuaEms(process)
    reader = asyncio.create_task(ems.read())
    try:
        async with asyncio.timeout(60):
            await ems.tells("connected")
        yield ems
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reader
