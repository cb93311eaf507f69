"""P3: what was reported survives the power going at any moment; and the same run without syncs does not."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import apsw

from gateway.edge.journal.sqlite import SqliteJournal
from tests.contracts.journal.scenario import HandClock, draft
from tests.edge.journal.power import Said, Sync, Tape, taping

CUTS = 200  # the CI size of P3
_MESSAGES = 160  # enough for the log to be written back and begun anew


async def record(folder: Path, name: str, *, synced: bool) -> Tape:
    """Append messages, two at a time, and say each once the journal has reported it."""
    with taping(name) as tape:
        async with SqliteJournal.open(
            folder / "journal.db",
            clock=HandClock(),
            pipeline_after_verdict=False,
            event=lambda *_args, **_fields: None,
            vfs=name,
        ) as journal:
            if not synced:
                await journal._writer.commit(lambda _commit: None)
                journal._writer._database.raw.pragma("synchronous", "off")  # type: ignore[attr-defined]
            for first in range(1, _MESSAGES, 2):
                both = [draft(first), draft(first + 1)]
                await asyncio.gather(*map(journal.append, both))
                for each in both:
                    tape.say(each.id)
            return Tape(list(tape.acts))  # before the journal is closed: the power knows no orderly end


def lost(tape: Tape, folder: Path, seed: int) -> list[str]:
    """Cut the power so many times, and name what had been reported and is not there, or that the file is damaged."""
    dice, found = random.Random(seed), []
    first = next(place for place, act in enumerate(tape.acts) if isinstance(act, Said))
    for cut in range(CUTS):
        end = dice.randrange(first, len(tape.acts) + 1)
        here = folder / str(cut)
        here.mkdir()
        for name, image in tape.disk(end, dice).items():
            (here / name).write_bytes(image)
        found += _missing(here / "journal.db", tape.said(end))
        shutil.rmtree(here)
    return found


def _missing(path: Path, said: Sequence[str]) -> list[str]:
    try:
        with closing(apsw.Connection(str(path))) as raw:
            if raw.pragma("integrity_check") != "ok":
                return ["damaged"]
            kept = {ident for (ident,) in raw.execute("SELECT id FROM message")}
            chained = raw.execute("SELECT COUNT(*) FROM audit").get == raw.execute("SELECT SUM(length) FROM chain").get
    except apsw.Error as error:
        return [type(error).__name__]
    return [each for each in said if each not in kept] + ([] if chained else ["its chain"])


async def test_what_was_reported_survives_the_power_going(tmp_path: Path) -> None:
    """200 cuts at random moments, unsynced writes kept, dropped or torn: nothing reported is lost."""
    tape = await record(tmp_path, "taped", synced=True)
    assert {act.file for act in tape.acts if isinstance(act, Sync)} == {"journal.db", "journal.db-wal"}
    assert await asyncio.to_thread(lost, tape, tmp_path, 1) == []


async def test_the_same_without_syncs_loses(tmp_path: Path) -> None:
    """The control run: with synchronous=OFF the cuts must show what is lost, or they show nothing."""
    tape = await record(tmp_path, "careless", synced=False)
    assert await asyncio.to_thread(lost, tape, tmp_path, 1)


async def test_each_report_follows_a_sync(tmp_path: Path) -> None:
    """Between a message's last write to the log and the report of it stands a sync of the log."""
    tape = await record(tmp_path, "watched", synced=True)
    dirty = False
    for act in tape.acts:
        match act:
            case Sync(file="journal.db-wal"):
                dirty = False
            case Said():
                assert not dirty
            case _ if getattr(act, "file", "") == "journal.db-wal":
                dirty = True
