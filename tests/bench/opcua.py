"""OPC UA: monitored items over many servers, the adapter as the gateway runs it beside the bare library.

Both watch the same nodes of the same servers in the same run, one after the other: how long until every node was told
once, and then how long and how much CPU until a number of changes of each was taken.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass

from tests.bench.subject import ROOT, NotStarted

SERVERS, CHANGES = 20, 5  # of each node
_HANG_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one of the two needed."""

    connected_s: float
    changes_per_s: float
    cpu_us_per_change: float
    peak_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Both, on so many items."""

    items: int
    servers: int
    gateway: Taken
    bare: Taken


def measure(items: int, servers: int = SERVERS) -> Watched:
    """Watch so many items in all.

    Raises:
        NotStarted: a process did not come up, or a change was lost.
    """
    return asyncio.run(_measure(items // servers, servers))


async def _measure(items: int, servers: int) -> Watched:
    command = (sys.executable, "-m", "tests.bench.opcua_servers", str(servers), str(items))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    try:
        async with asyncio.timeout(_HANG_S):
            ports: list[int] = json.loads(await _line(process))
            bare = await _taken(process, "bare", items, ports, first=1)
            gateway = await _taken(process, "adapter", items, ports, first=1 + CHANGES)
    finally:
        process.kill()
        await process.wait()
    return Watched(items=items * servers, servers=servers, gateway=gateway, bare=bare)


async def _taken(servers: Process, who: str, items: int, ports: list[int], *, first: int) -> Taken:
    last = first + CHANGES - 1
    began = time.monotonic()
    command = (sys.executable, "-m", "tests.bench.opcua_taker", who, str(items), str(last), *map(str, ports))
    taker = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE)
    try:
        await _line(taker)
        connected = time.monotonic()
        if servers.stdin is None:
            raise NotStarted("the OPC UA servers cannot be told anything")
        servers.stdin.write("".join(f"{value}\n" for value in range(first, last + 1)).encode())
        cpu, peak = map(float, (await _line(taker)).split())
        took, changes = time.monotonic() - connected, CHANGES * items * len(ports)
        await taker.wait()
    finally:
        if taker.returncode is None:
            taker.kill()
            await taker.wait()
    return Taken(
        connected_s=connected - began,
        changes_per_s=changes / took,
        cpu_us_per_change=cpu / changes * 1e6,
        peak_mb=peak,
    )


async def _line(process: Process) -> str:
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise NotStarted("a process of the OPC UA bench ended before its time")
    return line.decode()
