"""P4: I/O errors and a full disk fail closed: nothing is reported that is not on disk, and nothing is tried again."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from gateway.core.message import Hop
from gateway.core.record import MessageFilter
from gateway.core.transaction import TERMINAL, State
from gateway.edge.journal.sqlite import SqliteJournal
from gateway.errors import JournalBroken, JournalError, JournalFull
from gateway.ports import Journal
from tests.contracts.journal.scenario import Place, accepted, callback, draft, evidence, outgoing, sqlite
from tests.edge.journal.failing import Disk, failing_vfs

FAULTS = 20  # the CI size of P4
_MESSAGES = 120  # enough for the log to be written back, so that the database fails too


def opened(place: Place, *, vfs: str | None = None, reserve: int = 0) -> AbstractAsyncContextManager[SqliteJournal]:
    def event(name: str, **fields: object) -> None:
        place.events.append((name, fields))

    return SqliteJournal.open(
        place.path, clock=place.clock, pipeline_after_verdict=False, event=event, reserve_bytes=reserve, vfs=vfs
    )


async def _append(journal: Journal, told: list[str]) -> None:
    """Append two at a time, and note what was reported; a refusal or failure ends it."""
    for first in range(1, _MESSAGES, 2):
        both = [draft(first, content=b"x" * 3000), draft(first + 1, content=b"y" * 3000)]
        for each in await asyncio.gather(*map(journal.append, both), return_exceptions=True):
            if isinstance(each, BaseException):
                raise each
            told.append(each.message_id)


async def _fill(journal: Journal, told: list[str], content: bytes) -> None:
    """Append until it is refused, and note what was reported."""
    for number in range(1, 100_000):
        appended = await journal.append(draft(number, content=content), outgoing(f"s{number}"))
        told.append(appended.message_id)


async def acts(folder: Path) -> tuple[int, int]:
    """How many writes and syncs the opening makes, and how many everything."""
    with failing_vfs("counted") as disk:
        async with opened(sqlite(folder), vfs="counted") as journal:
            opening = disk.acts
            await _append(journal, [])
            return opening, disk.acts


async def fail_once(folder: Path, at: int, again: int) -> list[str]:
    """Let this write or sync fail, and so many in all; what was promised and does not hold."""
    place = sqlite(folder)
    told: list[str] = []
    found: list[str] = []
    with failing_vfs(f"failing {at}") as disk:
        disk.fails_at, disk.again = at, again
        try:
            async with opened(place, vfs=f"failing {at}") as journal:
                await _append(journal, told)
                found.append("no error came through")
        except JournalBroken:
            tried = disk.failed
        except JournalError as error:
            return [f"{type(error).__name__} in the place of JournalBroken"]
        else:
            return found
    if not tried or tried > 2:  # the failed act, and at most the one of rolling back
        found.append(f"{tried} acts were tried on a broken disk")
    broken = [name for name, _ in place.events].count("journal_broken")
    if broken != 1:
        found.append(f"it was told {broken} times")
    async with opened(place) as journal:
        kept = {each.id for each in await journal.history(MessageFilter(limit=10_000))}
        found += [f"{each} was reported" for each in told if each not in kept]
    with place.look() as reader:
        return found + reader.examine({})


async def test_an_io_error_anywhere_ends_it_without_a_false_report(tmp_path: Path) -> None:
    """At 20 writes and syncs: JournalBroken, told once, nothing tried again; and all that was reported is there."""
    opening, everything = await acts(tmp_path / "counted")
    dice, found = random.Random(4), []
    for number in range(FAULTS):
        at = dice.randrange(opening + 1, everything)
        found += [f"act {at}: {each}" for each in await fail_once(tmp_path / str(number), at, dice.choice((1, 1000)))]
    assert found == []


async def test_after_a_broken_sync_nothing_is_answered(tmp_path: Path) -> None:
    """Whoever waits and whoever comes later hears JournalBroken, readers too go on reading what is on disk only."""
    place = sqlite(tmp_path)
    with failing_vfs("breaking") as disk:
        async with opened(place, vfs="breaking") as journal:
            await journal.append(draft(1))
            disk.fails_at = disk.acts + 1
            for number in (2, 3):
                with pytest.raises(JournalBroken):
                    await journal.append(draft(number))
            assert await journal.message(draft(2).id) is None
            assert await journal.message(draft(1).id) is not None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Disk | None, str | None]]:
    """A file system of 6 MB where root may mount one; elsewhere a VFS with as much room."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "smp-small", str(folder)]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield folder, None, None
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    else:
        with failing_vfs("small") as disk:
            disk.room = 6 * 1024 * 1024
            yield folder, disk, "small"


async def test_a_full_disk_refuses_and_loses_nothing(small_disk: tuple[Path, Disk | None, str | None]) -> None:
    """Intake is refused, what was reported is there, and with room again it goes on where it was."""
    folder, disk, vfs = small_disk
    place = sqlite(folder)
    told: list[str] = []
    async with opened(place, vfs=vfs) as journal:
        with pytest.raises(JournalFull):
            await _fill(journal, told, content=b"x" * 20_000)
        kept = {each.id for each in await journal.history(MessageFilter(limit=10_000))}
        assert kept == set(told)
        assert journal.full
    if disk is not None:
        disk.room = None
    else:
        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=40m", str(folder)], check=True)
    async with opened(place, vfs=vfs) as journal:
        await journal.append(draft(len(told) + 2))
        assert {each.id for each in await journal.history(MessageFilter(limit=10_000))} > set(told)
        assert not journal.full
    with place.look() as reader:
        assert reader.examine({}) == []
    assert [name for name, _ in place.events].count("journal_full") == 1


async def test_what_was_accepted_is_finished_on_a_nearly_full_disk(
    small_disk: tuple[Path, Disk | None, str | None],
) -> None:
    """The reserve stops intake, with an event, before the disk is full; every message under way comes to its end."""
    folder, disk, vfs = small_disk
    place = sqlite(folder)
    if disk is not None:
        pytest.skip("only root can mount a small file system; a nearly full one is then tried in test_sqlite.py")
    told: list[str] = []
    async with opened(place, vfs=vfs, reserve=3 * 1024 * 1024) as journal:
        with pytest.raises(JournalFull):
            await _fill(journal, told, content=b"x" * 8_000)
        count = len(told)
        assert [name for name, _ in place.events].count("journal_full") == 1
        assert count > 20
        for number in range(1, count + 1):
            message = await journal.message(draft(number).id)
            assert message is not None
            if message.state is State.ACCEPTED:
                assert await journal.take(message.id, outgoing(f"s{number}")) is not None
            await journal.settle(f"s{number}", 1, accepted(f"TX-{number}"))
            await journal.receive(evidence(f"c{number}"), callback(f"TX-{number}"), None)
            relay = await journal.next_relay("hams-bess", "plc")
            assert relay is not None
            await journal.relayed(relay[0].id, {Hop.READ_BACK: 9}, written=b"[]")
        ended = await journal.history(MessageFilter(limit=10_000))
        assert len(ended) == count
        assert all(each.state in TERMINAL for each in ended)
