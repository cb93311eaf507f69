"""Many OPC UA servers in one process, for the bench: each number on stdin is written to every node.

python -m tests.bench.opcua_servers SERVERS ITEMS; prints the ports as JSON when they listen, ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import AsyncExitStack

from asyncua import Server, ua

from adapters.opcua.listener import build, listening

_TURN = 10  # nodes


async def serve(servers: int, items: int) -> None:
    """Listen and write."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    async with AsyncExitStack() as stack:
        made: list[tuple[Server, list[ua.NodeId]]] = []
        ports = []
        for number in range(servers):
            server = await build(f"urn:bench:{number}", "Bench")
            folder = await server.nodes.objects.add_folder(2, "Plant")
            nodes = [
                (await folder.add_variable(ua.NodeId(f"P{item}", 2), f"P{item}", 0.0)).nodeid  # type: ignore[arg-type]
                for item in range(items)
            ]
            ports.append(await stack.enter_async_context(listening(server, "127.0.0.1", 0)))
            made.append((server, nodes))
        print(json.dumps(ports), flush=True)  # noqa: T201 - to the bench
        while line := await asyncio.to_thread(sys.stdin.readline):
            value = ua.DataValue(ua.Variant(float(line), ua.VariantType.Double))
            for server, nodes in made:
                for number, node in enumerate(nodes):
                    await server.write_attribute_value(node, value)
                    if number % _TURN == 0:  # whoever connects and publishes has to be served meanwhile
                        await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
