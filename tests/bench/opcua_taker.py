"""One subscriber of the OPC UA bench: the adapter, or the bare library doing the same.

python -m tests.bench.opcua_taker adapter|bare ITEMS VALUE PORT...; prints a line when every node was told once, and one
when every node was told to be VALUE: the process's seconds of CPU, and its largest size in MB.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from asyncua import Client, Node, ua

import adapters.opcua
from adapters.opcua.config import OpcuaConnection, OpcuaPoint
from gateway.core.point import PointSpec, Reading
from gateway.edge.clock import SystemClock, SystemEntropy
from gateway.ports import ConnectionConfig, Resources

PUBLISH_MS = 500
Tell = Callable[[int, str, float], None]


@asynccontextmanager
async def adapter(number: int, port: int, items: int, tell: Tell) -> AsyncIterator[None]:
    """One server's nodes, as the gateway reads them."""
    members = {"security": "None", "publish": f"{PUBLISH_MS}ms", "timeout": "60s"}
    settings = OpcuaConnection.model_validate({"endpoint": f"opc.tcp://127.0.0.1:{port}", **members})
    points = {
        f"P{item}": (PointSpec(name=f"P{item}", connection="c"), OpcuaPoint.model_validate({"node": f"ns=2;s=P{item}"}))
        for item in range(items)
    }
    config = ConnectionConfig(site=f"s{number}", name="c", settings=settings, points=points, mailboxes={})
    resources = Resources(
        clock=SystemClock(), entropy=SystemEntropy(), event=lambda *_, **__: None, secret=lambda _: b""
    )
    async with adapters.opcua.spec.build(config, resources).connect() as session, asyncio.TaskGroup() as group:

        async def read() -> None:
            while True:
                for news in await session.read():
                    if isinstance(news, Reading) and news.value is not None:
                        tell(number, news.point, float(news.value))

        reading = group.create_task(read())
        yield
        reading.cancel()


class _Handler:
    def __init__(self, number: int, tell: Tell) -> None:
        self._number = number
        self._tell = tell

    def datachange_notification(self, node: Node, value: float, _data: object) -> None:
        self._tell(self._number, str(node.nodeid.Identifier), value)


@asynccontextmanager
async def bare(number: int, port: int, items: int, tell: Tell) -> AsyncIterator[None]:
    """One server's nodes, as the library's own examples read them."""
    async with Client(f"opc.tcp://127.0.0.1:{port}", timeout=60) as client:
        subscription = await client.create_subscription(PUBLISH_MS, _Handler(number, tell))
        nodes = [client.get_node(ua.NodeId(f"P{item}", 2)) for item in range(items)]  # type: ignore[arg-type]
        await subscription.subscribe_data_change(nodes)
        yield


async def main(who: str, items: int, value: float, ports: list[int]) -> None:
    """Take, and tell."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    take = {"adapter": adapter, "bare": bare}[who]
    started, done = asyncio.Event(), asyncio.Event()
    seen: set[tuple[int, str]] = set()
    last: set[tuple[int, str]] = set()
    wanted = items * len(ports)

    def tell(number: int, point: str, found: float) -> None:
        seen.add((number, point))
        if found == value:
            last.add((number, point))
        if len(seen) == wanted:
            started.set()
        if len(last) == wanted:
            done.set()

    async with AsyncExitStack() as stack:
        for number, port in enumerate(ports):
            await stack.enter_async_context(take(number, port, items, tell))
        await started.wait()
        print("ready", flush=True)  # noqa: T201 - to the bench
        before = resource.getrusage(resource.RUSAGE_SELF)
        await done.wait()
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(cpu, after.ru_maxrss / 1024, flush=True)  # noqa: T201 - to the bench
        os._exit(0)  # the library's own leaving may wait for answers that never come


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), [int(port) for port in sys.argv[4:]]))
