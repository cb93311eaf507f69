"""Our own OPC UA listener: it ends when it is told to, and nobody gets more of it than its limits (T8)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvloop
from asyncua import Client, Server, ua

from adapters.opcua.listener import CONNECTIONS, MESSAGE_BYTES, build, listening
from tests.adapters.fault_proxy import fault_proxy
from tests.system.rig import until

URI = "urn:test:listener"


def _something_waits(server: Server) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return any(transport.get_write_buffer_size() for transport in server.iserver.asyncio_transports)

    return probe


@asynccontextmanager
async def _client_that_stopped_reading(server: Server, port: int) -> AsyncIterator[None]:
    """A client with more on its way to it than the network holds: its computer sleeps, its connection is open."""
    node = await server.nodes.objects.add_variable(2, "text", "")
    async with fault_proxy("127.0.0.1", port) as proxy:
        client = Client(f"opc.tcp://127.0.0.1:{proxy.port}", timeout=30)
        await client.connect()
        proxy.freeze(answers_only=True)
        await server.write_attribute_value(node.nodeid, ua.DataValue(ua.Variant("x" * (MESSAGE_BYTES - 1000))))
        asking = [asyncio.create_task(client.get_node(node.nodeid).read_value()) for _ in range(20)]
        await until(_something_waits(server))
        try:
            yield
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            client.disconnect_socket()


async def _ours() -> None:
    server = await build(URI, "test")
    async with AsyncExitStack() as stack:
        async with listening(server, "127.0.0.1", 0) as port:
            await stack.enter_async_context(_client_that_stopped_reading(server, port))
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", port)


async def _naive() -> None:
    server = await build(URI, "test")
    server.set_endpoint("opc.tcp://127.0.0.1:0")
    server.socket_address = ("127.0.0.1", 0)
    await server.start()
    assert server.bserver is not None
    async with _client_that_stopped_reading(server, server.bserver.port):
        await asyncio.wait_for(server.stop(), 3)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_it_ends_with_a_client_that_stopped_reading(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """What cannot be sent any more is cut off; leaving never waits for a client."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(_ours(), 60))


def test_the_librarys_own_stop_hangs_under_uvloop() -> None:
    """Why `listening` is not simply `async with server`; when this fails, the library was mended."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(TimeoutError):
        runner.run(_naive())


async def test_connections_beyond_the_limit_are_refused() -> None:
    """One site needs few; the one too many is closed, those before it are served."""
    server = await build(URI, "test")
    async with listening(server, "127.0.0.1", 0) as port, asyncio.timeout(30):
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        for _, each in [*held, (reader, writer)]:
            each.transport.abort()


async def test_a_message_beyond_the_limit_ends_its_connection() -> None:
    """A client that says it will send 2 MiB is not listened to; the next one is."""
    server = await build(URI, "test")
    async with listening(server, "127.0.0.1", 0) as port, asyncio.timeout(30):
        client = Client(f"opc.tcp://127.0.0.1:{port}", timeout=5)
        await client.connect()
        node = await server.nodes.objects.add_variable(2, "text", "")
        await node.set_writable()
        with pytest.raises((ConnectionError, TimeoutError, ua.UaError)):
            await client.get_node(node.nodeid).write_value("x" * (2 * MESSAGE_BYTES))
        assert await node.read_value() == ""
        client.disconnect_socket()
        async with Client(f"opc.tcp://127.0.0.1:{port}", timeout=5) as other:
            await other.get_node(node.nodeid).write_value("y")


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"HELF", b"GET / HTTP/1.1\r\n\r\n", b"HELF" + struct.pack("<I", 8), b"\xff" * 64]
)
async def test_rubbish_costs_only_its_own_connection(data: bytes) -> None:
    """And a client beside it is served."""
    server = await build(URI, "test")
    async with listening(server, "127.0.0.1", 0) as port, asyncio.timeout(30):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        async with Client(f"opc.tcp://127.0.0.1:{port}", timeout=5) as client:
            assert await client.nodes.server_state.read_value() == 0
        writer.transport.abort()
