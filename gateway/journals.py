"""The part of the composition root that knows which engines a journal can be on, and opens it there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.edge.clock import SystemClock
from gateway.edge.journal.lock import locked
from gateway.edge.journal.reader import JournalReader
from gateway.edge.journal.restoring import discard, make_ready, put_in_place
from gateway.edge.journal.sqlite import SqliteJournal
from gateway.edge.journal.stored import StoredJournal
from gateway.ports import Clock
from gateway.settings.configuration import Configuration, DatabaseAddress
from gateway.settings.secrets import read_secret
from gateway.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """Where the replaced file is now, how many messages are parked, and how many submissions are in doubt."""

    aside: Path | None
    parked: int
    doubts: int


def open_journal(
    configuration: Configuration,
    environ: Mapping[str, str],
    clock: Clock,
    telemetry: Telemetry,
    standing_by: Callable[[], None] | None = None,
) -> AbstractAsyncContextManager[StoredJournal]:
    """Open the journal that the configuration names, as its gateway.

    Several gateways may be given one database: all but one call ``standing_by`` and wait, where that is given.

    Raises:
        SecretError: its address cannot be read.
        JournalError: it is locked, foreign, broken, or out of reach (on entering).
    """
    where = configuration.journal
    after_verdict = {name: smp.profile.pipeline == "after_verdict" for name, smp in configuration.environments.items()}
    if isinstance(where, Path):
        return SqliteJournal.open(where, clock=clock, pipeline_after_verdict=after_verdict, event=telemetry.emit)
    from gateway.edge.journal.postgres import PostgresJournal  # noqa: PLC0415 - 0.1 s that a file need not pay

    url = _url(where, environ)
    return PostgresJournal.open(
        url,
        clock=clock,
        pipeline_after_verdict=after_verdict,
        event=telemetry.emit,
        standing_by=standing_by,
    )


async def restore(path: Path, backup: Path, configuration: Configuration, telemetry: Telemetry) -> Restored:
    """Put a backup, which was checked, in the place of a journal that no gateway has.

    Raises:
        JournalLocked: a gateway has the journal.
        JournalError: the backup cannot be read, or a file cannot be written.
    """
    clock = SystemClock()
    with locked(path):
        part = make_ready(backup, path)
    try:
        ready = replace(configuration, journal=part)
        async with open_journal(ready, os.environ, clock, telemetry) as journal:
            parked = await journal.distrust() if isinstance(journal, SqliteJournal) else 0
            doubts = journal.doubts
        return Restored(aside=put_in_place(part, path, clock.now()), parked=parked, doubts=doubts)
    finally:
        discard(part)


@contextmanager
def open_reader(where: Path | DatabaseAddress) -> Iterator[JournalReader]:
    """Read a journal, also beside a running gateway.

    Raises:
        JournalError: there is no journal of ours at this place.
        SecretError: its address cannot be read.
    """
    if isinstance(where, Path):
        with JournalReader.open(where) as reader:
            yield reader
    else:
        from gateway.edge.journal.postgres import look  # noqa: PLC0415 - see open_journal

        with look(_url(where, os.environ)) as reader:
            yield reader


def _url(where: DatabaseAddress, environ: Mapping[str, str]) -> str:
    if isinstance(where.url, str):
        return where.url
    return read_secret(where.url, environ=environ).decode("utf-8", "replace").strip()
