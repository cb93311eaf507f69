"""A plant of node-opcua, in a process of its own that can be killed, stopped and started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.opcua.translation import Kind
from gateway.core.binding import HOST_ROLES, SITE_ROLES
from tests.adapters.opcua.rig import KINDS, WRITABLE
from tests.ports import free_ports

SCRIPT = Path(__file__).with_name("opcua_server.js")
_EMPTY: Mapping[Kind, object] = {Kind.BOOLEAN: False, Kind.STRING: ""}
_NAMES = {
    Kind.BOOLEAN: "Boolean",
    Kind.STRING: "String",
    Kind.INT16: "Int16",
    Kind.UINT16: "UInt16",
    Kind.FLOAT: "Float",
}
_ROLE_TYPES = {"crc": "UInt32", "text": "String"}


def declared() -> dict[str, tuple[str, object, bool]]:
    """Every node: its type, its first value, and whether clients may write it."""
    nodes = {name: (_NAMES[kind], _EMPTY.get(kind, 0), name in WRITABLE) for name, kind in KINDS.items()}
    for word in (*SITE_ROLES, *HOST_ROLES):
        kind = _ROLE_TYPES.get(word, "UInt16")
        nodes[f"m_{word}"] = (kind, "" if kind == "String" else 0, word in HOST_ROLES)
    return nodes


class NodeOpcuaPlant:
    """``values`` is what the nodes hold, as far as it said; a killed one starts again with them."""

    def __init__(self, node: str, folder: Path, nodes: Mapping[str, tuple[str, object, bool]] | None = None) -> None:
        self._node = node
        self._folder = folder
        (self.port,) = free_ports(1)
        self._nodes = declared() if nodes is None else nodes
        self.values: dict[str, object] = {name: value for name, (_, value, _) in self._nodes.items()}
        self._done = asyncio.Event()
        self._calls: deque[list[object]] = deque()
        self._changed = asyncio.Event()
        self._listening = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run it until it listens."""
        nodes = {name: (kind, self.values[name], free) for name, (kind, _, free) in self._nodes.items()}
        task = {"port": self.port, "folder": str(self._folder), "nodes": nodes}
        self._listening.clear()
        self._process = await asyncio.create_subprocess_exec(
            self._node,
            str(SCRIPT),
            json.dumps(task),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._reader = asyncio.create_task(self._read(self._process))
        await self._listening.wait()

    async def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None and self._reader is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            await self._reader
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: every connection stays open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    async def put(self, **values: object) -> None:
        """Change nodes as the plant's own program would, in this order."""
        self.values |= values
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps({"set": values}).encode() + b"\n")
            await self._process.stdin.drain()

    async def order(self, **words: object) -> None:
        """Have it raise an event, or answer the next calls with a status; it has done so when this returns."""
        if self._process is not None and self._process.stdin is not None:
            self._done.clear()
            self._process.stdin.write(json.dumps(words).encode() + b"\n")
            await self._done.wait()

    async def called(self) -> list[object]:
        """Wait until its method was called; the arguments of the oldest call not asked for yet."""
        while not self._calls:
            self._changed.clear()
            await self._changed.wait()
        return self._calls.popleft()

    async def holds(self, name: str, value: object) -> None:
        """Wait until a client has written this."""
        while self.values[name] != value:
            self._changed.clear()
            await self._changed.wait()

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if not line.startswith(b'{"event"'):
                continue  # node-opcua has things to say about its own keys
            said = json.loads(line)
            if said["event"] == "listening":
                self._listening.set()
            elif said["event"] == "changed":
                self.values[said["name"]] = said["value"]
                self._changed.set()
            elif said["event"] == "done":
                self._done.set()
            elif said["event"] == "called":
                self._calls.append(said["arguments"])
                self._changed.set()
            else:
                raise AssertionError(said)


@asynccontextmanager
async def node_opcua_plant(
    node: str, folder: Path, nodes: Mapping[str, tuple[str, object, bool]] | None = None
) -> AsyncIterator[NodeOpcuaPlant]:
    plant = NodeOpcuaPlant(node, folder, nodes)
    try:
        async with asyncio.timeout(60):
            await plant.start()
        yield plant
    finally:
        await plant.kill()
