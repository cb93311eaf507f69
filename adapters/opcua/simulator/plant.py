"""A plant's OPC UA server with a mailbox of nodes, as its SCADA would behave: to practise against, and to misbehave.

The nodes are those of the site's own configuration. Their types are not in the YAML, since a gateway learns them from
the server; here a role is a UInt16 (CRC: UInt32, text: String), a point with a unit, a range or a deadband is a Double,
and any other a String, unless ``kinds`` says otherwise. Its methods and events are those of :mod:`program`.
"""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from asyncua import Server, ua

from adapters.opcua.addresses import NodeAddress
from adapters.opcua.config import OpcuaPoint
from adapters.opcua.listener import build, listening, on_change
from adapters.opcua.simulator.program import Program
from adapters.opcua.translation import Kind, value_bytes, write_value
from gateway.core.mailbox import MailboxSpec, Role, next_result_seq
from gateway.core.point import PointSpec, Value
from gateway.ports import ConnectionConfig

URI = "urn:smp-gateway:simulated-plant"
_KINDS = {Role.CRC: Kind.UINT32, Role.TEXT: Kind.STRING}
_EMPTY: Mapping[Kind, bool | float | str] = {Kind.BOOLEAN: False, Kind.STRING: "", Kind.DOUBLE: 0.0, Kind.FLOAT: 0.0}
_LOG_LENGTH = 1_000

Raw = bool | int | float | str  # a value as a node holds it


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the gateway wrote into the result nodes."""

    for_sequence: int
    result_seq: int
    state: int
    error_count: int
    text: str


class OpcuaSite:
    """An OPC UA server that is a site; ``async with`` starts it, and ``port`` 0 picks a free one.

    ``prepare`` may change the server before it listens, such as give it a certificate and users. With a ``memory`` file
    the values survive the plant's own death.
    """

    def __init__(
        self,
        connection: ConnectionConfig,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        kinds: Mapping[str, Kind] | None = None,
        prepare: Callable[[Server], Awaitable[None]] | None = None,
        memory: Path | None = None,
        methods: Mapping[str, Sequence[Kind]] | None = None,
    ) -> None:
        (self.mailbox,) = connection.mailboxes.values()
        self.host = host
        self.port = port
        self.log: deque[tuple[str, object]] = deque(maxlen=_LOG_LENGTH)  # every change of a node: (point, raw value)
        self._specs: dict[str, PointSpec] = {}
        self._nodes: dict[str, ua.NodeId] = {}
        self._addresses: dict[str, NodeAddress] = {}
        self._kinds: dict[str, Kind] = {}
        for name, (spec, place) in connection.points.items():
            if not isinstance(place, OpcuaPoint):
                raise TypeError(f"{name}: {type(place).__name__} is not an OPC UA point")
            if place.called:
                continue
            self._specs[name], self._addresses[name] = spec, place.where
            self._kinds[name] = (kinds or {}).get(name) or _kind(spec, self.mailbox)
        self.program = Program(connection, methods or {})
        self._raw: dict[str, bool | int | float | str] = {n: _EMPTY.get(k, 0) for n, k in self._kinds.items()}
        self._memory = memory
        if memory is not None and memory.exists():
            self._raw |= json.loads(memory.read_text("utf-8"))
        self._results: dict[int, Result] = {}
        self._changed = asyncio.Event()
        self._prepare = prepare
        self._stack = AsyncExitStack()
        self.server: Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before if there was one, with the values as they were.

        Raises:
            OSError: the port is taken.
        """
        self.server = server = await build(URI, "Simulated plant")
        folder = await server.nodes.objects.add_folder(2, "Plant")
        for name, address in self._addresses.items():
            node = await self._node_id(server, address)
            variable = await folder.add_variable(node, name, self._variant(name))
            await variable.set_writable(self._specs[name].access.value == "write")
            self._nodes[name] = node
            on_change(server, node, self._follower(name))
        await self.program.begin(server, self._node_id)
        if self._prepare is not None:
            await self._prepare(server)
        self.port = await self._stack.enter_async_context(listening(server, self.host, self.port))

    async def stop(self) -> None:
        """Close the listener and every connection; the values stay."""
        self.server = None
        await self._stack.aclose()

    # ------------------------------------------------------------ what the plant's own program does
    def raw(self, name: str) -> bool | int | float | str:
        """What a node holds."""
        return self._raw[name]

    async def set_value(self, name: str, value: Value) -> None:
        """Change a point as the plant's program would.

        Raises:
            ValueError: its type cannot hold the value.
        """
        await self.set_raw(name, write_value(self._specs[name], self._kinds[name], value))

    async def set_raw(self, name: str, value: Raw, status: int = 0) -> None:
        """Change a node, or give it a bad status."""
        self._raw[name] = value
        self._remember()
        if self.server is not None:
            data = ua.DataValue(self._variant(name), ua.StatusCode(ua.UInt32(status)))
            await self.server.write_attribute_value(self._nodes[name], data)

    def role(self, role: Role) -> int:
        """The number in one node of the mailbox."""
        return int(self._raw[self.mailbox.roles[role]]) if role in self.mailbox.roles else 0

    async def request(
        self, kind: int, values: Mapping[str, Value], *, sequence: int | None = None, crc: int | None = None
    ) -> int:
        """Raise a request once the one before is acknowledged: the payload first, the request last; returns it."""
        before = self.role(Role.REQUEST_SEQ)
        if before:
            await self.acknowledged(before)
        now = next_result_seq(before) if sequence is None else sequence
        for name, value in values.items():
            await self.set_value(name, value)
        if Role.CRC in self.mailbox.roles:
            await self._set_role(Role.CRC, self._crc(now, kind) if crc is None else crc)
        await self._set_role(Role.KIND, kind)
        await self._set_role(Role.LENGTH, len(self.mailbox.payload))
        await self._set_role(Role.REQUEST_SEQ, now)
        return now

    async def acknowledged(self, sequence: int) -> None:
        """Wait until the acknowledgement is ``sequence``."""
        await self._until(lambda: self.role(Role.ACKNOWLEDGE) == sequence)

    async def result(self, for_sequence: int) -> Result:
        """Wait for the result of a request; this and every one before it is consumed."""
        while for_sequence not in self._results:
            result = await self.next_result()
            self._results[result.for_sequence] = result
        return self._results.pop(for_sequence)

    async def next_result(self) -> Result:
        """Wait for the next result, of whatever request, and consume it."""
        await self._until(self._unread)
        result = self.showing()
        await self._set_role(Role.RESULT_ACKNOWLEDGE, result.result_seq)
        return result

    def showing(self) -> Result:
        """What the result nodes hold now, whether consumed or not."""
        text = self.mailbox.roles.get(Role.TEXT)
        return Result(
            for_sequence=self.role(Role.RESULT_FOR),
            result_seq=self.role(Role.RESULT_SEQ),
            state=self.role(Role.STATE),
            error_count=self.role(Role.ERROR_COUNT),
            text=str(self._raw[text]) if text is not None else "",
        )

    async def forget(self) -> None:
        """Lose every value, as a PLC without a battery does."""
        for name, kind in self._kinds.items():
            await self.set_raw(name, _EMPTY.get(kind, 0))

    # ------------------------------------------------------------ inside
    async def _set_role(self, role: Role, value: int) -> None:
        if role in self.mailbox.roles:
            await self.set_raw(self.mailbox.roles[role], value)

    def _crc(self, sequence: int, kind: int) -> int:

        payload = self.mailbox.payload
        header = struct.pack(">3H", sequence, kind, len(payload))
        return zlib.crc32(header + b"".join(value_bytes(self._kinds[name], self._raw[name]) for name in payload))

    def _unread(self) -> bool:
        return self.role(Role.RESULT_SEQ) not in {0, self.role(Role.RESULT_ACKNOWLEDGE)}

    def _variant(self, name: str) -> ua.Variant:
        return ua.Variant(self._raw[name], ua.VariantType(self._kinds[name]))

    def _follower(self, name: str) -> Callable[[ua.DataValue], None]:
        def follow(data: ua.DataValue) -> None:
            value = None if data.Value is None else data.Value.Value
            if value is not None:
                self._raw[name] = value
            self.log.append((name, value))
            self._remember()

        return follow

    def _remember(self) -> None:
        """Wake whoever waits for a change, after it is in the file."""
        if self._memory is not None:
            fresh = self._memory.with_suffix(".new")
            fresh.write_text(json.dumps(self._raw), "utf-8")
            fresh.replace(self._memory)
        self._changed.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    @staticmethod
    async def _node_id(server: Server, address: NodeAddress) -> ua.NodeId:
        index = address.namespace
        if isinstance(index, str):
            index = await server.register_namespace(index)
        while index >= len(await server.get_namespace_array()):
            await server.register_namespace(f"{URI}:{len(await server.get_namespace_array())}")
        return ua.NodeId(address.identifier, index)  # type: ignore[arg-type]  # asyncua's own integer and text types


def _kind(spec: PointSpec, mailbox: MailboxSpec) -> Kind:
    for role, point in mailbox.roles.items():
        if point == spec.name:
            return _KINDS.get(role, Kind.UINT16)
    measured = spec.unit is not None or spec.minimum is not None or spec.deadband is not None
    return Kind.DOUBLE if measured else Kind.STRING
