"""On one clock: what the journal writes and syncs, what the plants see acknowledged, and what the SMP is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from adapters.modbus.simulator import Access, ModbusSite
from gateway.core.mailbox import Role
from tests.edge.journal.power import Act, Said, Sync, Tape, Write, taping
from tests.system.front import Answer, Seen
from tests.system.rig import SITES, World, world

_REQUESTS = 3  # of each plant
_LOG = "journal.db-wal"


def _watch(tape: Tape, here: World, names: dict[tuple[str, int], str]) -> None:
    """Let plants and SMP say on the tape what reaches them, by what must be on disk for it."""

    def sent(seen: Seen) -> Answer | None:
        if seen.message_id:
            tape.say(f"sent {seen.message_id}")
        return None

    def watching(site: str, plant: ModbusSite) -> None:
        address = plant._address(Role.ACKNOWLEDGE)

        def access(access: Access) -> None:
            if access.values and access.address <= address < access.address + len(access.values):
                tape.say(f"acknowledged {names[site, access.values[address - access.address]]}")

        plant.on_access = access

    here.front.intercept = sent
    for site, plant in here.plants.items():
        watching(site, plant)


def unsynced(acts: Sequence[Act]) -> list[str]:
    """What was said without being in the log, written and then synced, before it."""
    found = []
    for place, act in enumerate(acts):
        if isinstance(act, Said):
            wanted = act.what.partition(" ")[2].encode()
            before = acts[:place]
            written = [at for at, each in enumerate(before) if isinstance(each, Write) and wanted in each.data]
            synced = max((at for at, each in enumerate(before) if each == Sync(_LOG)), default=-1)
            if not written or written[0] > synced:
                found.append(act.what)
    return found


async def test_nothing_is_acknowledged_or_sent_before_its_sync(tmp_path: Path) -> None:
    """The disk is slow: each ACK_SEQ and each POST follows a sync of the log with what it is about."""
    names: dict[tuple[str, int], str] = {}
    with taping("recording", slow_s=0.02, default=True) as tape:
        async with world(tmp_path) as here:
            _watch(tape, here, names)
            async with here.gateway():
                for number in range(1, _REQUESTS + 1):
                    async with asyncio.TaskGroup() as group:
                        for site in SITES:
                            name = f"RECORDED {site} {number}"
                            names[site, number] = name
                            group.create_task(_served(here, site, name, number))
    said = [act.what.split()[0] for act in tape.acts if isinstance(act, Said)]
    assert said.count("acknowledged") == _REQUESTS * len(SITES)
    assert said.count("sent") >= _REQUESTS * len(SITES)
    assert unsynced(tape.acts) == []


async def _served(here: World, site: str, name: str, number: int) -> None:
    plant = here.plants[site]
    assert await here.ask(site, name) == number
    await plant.acknowledged(number)
    await plant.result(number)


def test_the_judge_finds_what_came_too_early() -> None:
    """A fact before its sync, or never written, is named; one after it is not."""
    write, sync, said = Write(_LOG, 0, b"..id-1.."), Sync(_LOG), Said("sent id-1")
    assert unsynced([write, sync, said]) == []
    assert unsynced([write, said, sync]) == ["sent id-1"]
    assert unsynced([sync, said]) == ["sent id-1"]
    assert unsynced([write, Sync("journal.db"), said]) == ["sent id-1"]
