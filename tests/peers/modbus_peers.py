"""modbus-serial as plant and as SCADA, each in a process of its own that can be killed, stopped and started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.core.mailbox import Role, crc32
from tests.ports import free_ports

_HERE = Path(__file__).parent
_ROLES = {Role.ACKNOWLEDGE: 1200, Role.RESULT_SEQ: 1201, Role.RESULT_FOR: 1202, Role.STATE: 1203}


class Process:
    """One script of this folder, which talks in lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def run(cls, node: str, script: str, task: Mapping[str, object]) -> Process:
        return cls(
            await asyncio.create_subprocess_exec(
                node,
                str(_HERE / script),
                json.dumps(task),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        )

    async def event(self) -> dict[str, object]:
        """The next thing it says; {} when it has ended."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        said: dict[str, object] = json.loads(line) if line else {}
        return said

    async def tell(self, what: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        await self._process.stdin.drain()

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self._process.wait()


class SerialPlant:
    """A plant of modbus-serial with a standard mailbox at 1000 and 1200; killed, it starts again with its registers."""

    def __init__(self, node: str) -> None:
        self._node = node
        (self.port,) = free_ports(1)
        self.registers: dict[int, int] = {}
        self._process: Process | None = None
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run it until it listens."""
        task = {"port": self.port, "registers": self.registers}
        self._process = await Process.run(self._node, "modbus_server.js", task)
        said = await self._process.event()
        assert said == {"event": "listening"}, said
        self._reader = asyncio.create_task(self._read(self._process))

    async def put(self, address: int, values: Sequence[int]) -> None:
        """Change registers as the plant's own program does."""
        changed = dict(enumerate(values, start=address))
        self.registers |= changed
        if self._process is not None:
            await self._process.tell({"set": changed})

    async def ask(self, sequence: int, payload: Sequence[int]) -> None:
        """Raise a request: the block first, its number last."""
        crc = crc32([sequence, 1, len(payload), *payload])
        await self.put(1001, [1, len(payload), crc >> 16, crc & 0xFFFF, 0, *payload])
        await self.put(1000, [sequence])

    async def shows(self, role: Role, value: int) -> None:
        """Wait until the gateway has written this."""
        await self.holds(_ROLES[role], value)

    async def holds(self, address: int, value: int) -> None:
        """Wait until a register is this."""
        while self.registers.get(address) != value:
            self._changed.clear()
            await self._changed.wait()

    async def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None and self._reader is not None:
            await self._process.kill()
            await self._reader
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: every connection stays open, nothing is answered."""
        if self._process is not None:
            self._process.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        if self._process is not None:
            self._process.signal(signal.SIGCONT)

    async def _read(self, process: Process) -> None:
        while said := await process.event():
            if said["event"] == "changed":
                self.registers[int(str(said["address"]))] = int(str(said["value"]))
                self._changed.set()


@asynccontextmanager
async def serial_plant(node: str) -> AsyncIterator[SerialPlant]:
    plant = SerialPlant(node)
    await plant.start()
    try:
        yield plant
    finally:
        plant.go_on()
        await plant.kill()
