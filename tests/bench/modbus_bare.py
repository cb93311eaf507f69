"""The Modbus bench's other side: bare pymodbus, a client per site on its own grid, nothing done with what comes.

python -m tests.bench.modbus_bare PORT SITES
"""

from __future__ import annotations

import asyncio
import random
import sys

from pymodbus.client import AsyncModbusTcpClient

from tests.bench.modbus import PERIOD_S, REGISTERS


async def site(port: int) -> None:
    """Poll one site for ever."""
    client = AsyncModbusTcpClient("127.0.0.1", port=port, retries=0, reconnect_delay=0, timeout=5)
    await client.connect()
    loop = asyncio.get_running_loop()
    due = loop.time() + PERIOD_S * random.random()
    while True:
        await asyncio.sleep(max(due - loop.time(), 0))
        await client.read_holding_registers(0, count=REGISTERS, device_id=1)
        due += PERIOD_S


async def main(port: int, sites: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(sites):
            group.create_task(site(port))


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
