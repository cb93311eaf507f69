"""The process of the peers: a site and an SMP for each of the two that are measured, and the loop that drives them.

    python -m tests.bench.peers FOLDER MESSAGES WARM_UP BLOCK POLL_MS SEED

It prints its ports as one line of JSON, reads the two callback ports as another, and prints the samples as a last one.
It runs on the standard event loop, whose transports write to the socket at once: a stamp beside a write is then true.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench import material
from tests.bench.conversation import HANG_S, Lost, Partner
from tests.bench.plc import Plc
from tests.bench.smp import Caller, Smp

NAMES = ("gateway", "floor")


async def run(folder: Path, *, messages: int, warm_up: int, block: int, poll_s: float, seed: int) -> None:
    """Serve, measure, print.

    Raises:
        Lost: a message did not come through.
    """
    plcs, smps = {name: Plc() for name in NAMES}, {name: Smp() for name in NAMES}
    tls = material.server_tls(folder)
    ports = {name: {"modbus": await plcs[name].serve(), "smp": await smps[name].serve(tls)} for name in NAMES}
    _say(ports)
    callbacks: dict[str, int] = json.loads(await asyncio.to_thread(sys.stdin.readline))
    partners = {name: await _partner(name, plcs[name], smps[name], folder, callbacks[name]) for name in NAMES}
    dice, key = random.Random(seed), material.read_key(folder / material.SMP_KEY)
    gc.freeze()  # what lives by now lives to the end; a full collection would stamp late
    for name in NAMES:
        for _ in range(warm_up):
            await partners[name].converse(dice, poll_s, key)
        partners[name].forget()
    for name, count in blocks(messages, block):
        for _ in range(count):
            await partners[name].converse(dice, poll_s, key)
    for partner in partners.values():
        partner.check_evidence(material.read_key(folder / material.PARTICIPANT_KEY).public_key())
    _say({name: dataclasses.asdict(partner.samples) for name, partner in partners.items()})


def blocks(messages: int, block: int) -> Iterator[tuple[str, int]]:
    """Turn about, and the order turned round each time, so that a drifting machine hurts both alike."""
    order = NAMES
    for first in range(0, messages, block):
        for name in order:
            yield name, min(block, messages - first)
        order = order[1], order[0]


async def _partner(name: str, plc: Plc, smp: Smp, folder: Path, port: int) -> Partner:
    try:
        async with asyncio.timeout(HANG_S):
            caller = await Caller.open(port, material.client_tls(folder))
            await plc.connected.wait()
    except TimeoutError:
        raise Lost(f"{name}: nobody connects to its site") from None
    return Partner(name=name, plc=plc, smp=smp, caller=caller)


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Return 1 when something got lost."""
    folder, messages, warm_up, block, poll_ms, seed = arguments
    work = run(
        Path(folder),
        messages=int(messages),
        warm_up=int(warm_up),
        block=int(block),
        poll_s=float(poll_ms) / 1000,
        seed=int(seed),
    )
    try:
        asyncio.run(work)
    except Lost as lost:
        sys.stderr.write(f"{lost}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
