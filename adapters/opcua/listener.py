"""An OPC UA server with small limits that ends when it is told to.

Limits are those of a listener for one site: a message of at most 1 MiB, few connections, and a minute to log in. Ending
cuts every connection first: asyncua waits for its clients, and under uvloop it would wait forever.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType

from asyncua import Server, ua
from asyncua.common.connection import TransportLimits
from asyncua.server.address_space import AddressSpace, NodeData, NodeManagementService
from asyncua.server.standard_address_space import standard_address_space
from asyncua.server.user_managers import UserManager

from adapters.opcua.entrance import GuardedServer

logging.getLogger("asyncua").addHandler(logging.NullHandler())

MESSAGE_BYTES = 1024 * 1024
CONNECTIONS = 10
_BUFFER_BYTES = 65_535
_SESSION_MS = 60_000
_WAITING_MESSAGES = 50  # of one connection
_LOGIN_S = 10.0
_FAREWELL_S = 2.0


async def build(uri: str, name: str, user_manager: UserManager | None = None) -> Server:
    """Make a server that does not listen yet, with limits; the first one takes seconds of the processor."""
    server = Server(iserver=_SharingServer(user_manager=user_manager))
    server.name = name
    server.manufacturer_name = "SMP gateway"
    server.limits = TransportLimits(
        max_recv_buffer=_BUFFER_BYTES,
        max_send_buffer=_BUFFER_BYTES,
        max_chunk_count=MESSAGE_BYTES // _BUFFER_BYTES + 1,
        max_message_size=MESSAGE_BYTES,
    )
    server.iserver.max_connections = CONNECTIONS
    server.iserver.max_pending_messages_per_connection = _WAITING_MESSAGES
    server.iserver.max_pending_activation_seconds = _LOGIN_S
    server.iserver.max_session_timeout_ms = _SESSION_MS
    await server.init()
    await server.set_application_uri(uri)
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    return server


@asynccontextmanager
async def listening(server: Server, host: str, port: int, path: str = "") -> AsyncIterator[int]:
    """Listen until left; yields the port, which is a free one for 0.

    Raises:
        OSError: the address is taken.
    """
    server.set_endpoint(f"opc.tcp://{host}:{port}/{path}")
    server.socket_address = (host, port)
    try:
        await server.start()
        bound = server.bserver
        if bound is None:
            raise OSError(f"nothing listens at {host}:{port}")
        yield bound.port
    finally:
        await _end(server)


async def _end(server: Server) -> None:
    """Stop listening, cut what is connected, and let the server put itself away."""
    bound = server.bserver
    if bound is not None and bound._server is not None:  # noqa: SLF001 - its own stop waits for clients
        bound._server.close()  # noqa: SLF001
        for transport in list(server.iserver.asyncio_transports):
            transport.abort()
    with contextlib.suppress(TimeoutError, OSError, RuntimeError):
        async with asyncio.timeout(_FAREWELL_S):
            await server.stop()


class _SharingServer(GuardedServer):
    """A server whose standard nodes, thousands of them, are made once for all servers of this process."""

    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:  # noqa: ARG002 - asyncua's own
        nodes = _CopiedNodes(await asyncio.to_thread(_standard_nodes))
        self.aspace._nodes = nodes  # type: ignore[assignment]  # noqa: SLF001 - asyncua's own shelf does the same

    async def stop(self) -> None:
        """Put the server away at once; the library would wait for its clock's next second."""
        if self.time_task is not None:
            self.time_task.cancel()
            await asyncio.wait([self.time_task])
            self.time_task = None
        await super().stop()


class _CopiedNodes(MutableMapping[ua.NodeId, NodeData]):
    """A server's own nodes, and copies of the standard ones made when they are first asked for."""

    def __init__(self, standard: Mapping[ua.NodeId, NodeData]) -> None:
        self._standard = standard
        self._own: dict[ua.NodeId, NodeData] = {}

    def __getitem__(self, key: ua.NodeId) -> NodeData:
        if key not in self._own:
            self._own[key] = copy.deepcopy(self._standard[key])
        return self._own[key]

    def __setitem__(self, key: ua.NodeId, value: NodeData) -> None:
        self._own[key] = value

    def __delitem__(self, key: ua.NodeId) -> None:
        del self._own[key]

    def __contains__(self, key: object) -> bool:
        return key in self._own or key in self._standard

    def __iter__(self) -> Iterator[ua.NodeId]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)


@cache
def _standard_nodes() -> Mapping[ua.NodeId, NodeData]:
    """The address space that OPC 10000-5 gives to every server; never changed, only copied."""
    space = AddressSpace()
    standard_address_space.fill_address_space(NodeManagementService(space))  # type: ignore[no-untyped-call]
    return MappingProxyType(space._nodes)  # noqa: SLF001 - it has no other way to be read as a whole


def on_change(server: Server, node: ua.NodeId, call: Callable[[ua.DataValue], None]) -> None:
    """Call back whenever a node's value is written, by whomever."""

    async def written(_: int, value: ua.DataValue) -> None:
        call(value)

    server.iserver.aspace.add_datachange_callback(node, ua.AttributeIds.Value, written)
