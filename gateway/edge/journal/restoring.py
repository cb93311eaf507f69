"""Putting a backup in the place of a journal: what it cannot know is said, and nothing is sent that may have been sent.

Rules
-----
* A backup knows nothing of what came after it. What it has as SENDING or IN_DOUBT is resolved by asking the SMP, as
  after any restart, and what is AWAITING by its verdict: the SMP can be asked for the ids of their submissions.
* Rows that no submission carries may have gone since, in one whose id nobody knows: their messages are PARKED, and so
  are units that would go on now, and messages that those of the backup set off, once they are made. People compare
  with the SMP, and let them go or refuse them.
* Result sequences of mailboxes begin again from what is found at the site, which may have read results since.
* The file that was there is moved aside, never deleted. The backup is made ready beside it and takes its place when it
  is on disk, under the lock that keeps gateways out.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gateway.core.record import Changed
from gateway.core.transaction import Event
from gateway.edge.journal import moving
from gateway.edge.journal.connection import create_file, create_folder
from gateway.edge.journal.copying import sync
from gateway.edge.journal.lock import lock_file, locked
from gateway.edge.journal.moving import UNSURE, Cause
from gateway.edge.journal.statements import Commit
from gateway.errors import JournalError

_BESIDE = ("", "-wal", "-shm")


def distrust(commit: Commit) -> Sequence[Changed]:
    """Park what the SMP may have by now, and remember which messages were open in the backup."""
    commit.run("doubt_open_messages")
    commit.run("forget_result_seqs")
    commit.run("forget_result_seqs_of_relays")
    cause = Cause(event=Event.POISON, detail=UNSURE)
    unsent = [ident for (ident,) in commit.all("messages_unsent")]
    parked = [moving.move_unsent(commit, ident, cause) for ident in unsent]
    return [each for each in parked if each is not None]


def make_ready(backup: Path, path: Path) -> Path:
    """Copy a backup beside the journal that it will replace; the copy's path.

    Raises:
        JournalError: it cannot be read, or there is no room.
    """
    create_folder(path)
    part = path.with_name(f"{path.name}.restoring")
    discard(part)
    try:
        create_file(part)
        shutil.copyfile(backup, part)
    except OSError as error:
        raise JournalError(f"{backup} cannot be copied to {part}: {error.strerror}") from error
    return part


def put_in_place(part: Path, path: Path, now: int) -> Path | None:
    """Put a copy that is ready where the journal is, at this time (µs UTC); where the file that was there is now.

    Raises:
        JournalLocked: a gateway has the journal.
        JournalError: a file cannot be moved.
    """
    with locked(path):
        aside = None
        try:
            sync(part)
            if path.exists():
                aside = path.with_name(f"{path.name}.before-{datetime.fromtimestamp(now / 1e6, UTC):%Y%m%dT%H%M%SZ}")
                for ending in _BESIDE:
                    if (old := path.with_name(path.name + ending)).exists():
                        old.rename(aside.with_name(aside.name + ending))
            part.rename(path)
            sync(path.parent)
        except OSError as error:
            raise JournalError(f"{path} cannot be replaced: {error.strerror}") from error
    discard(part)
    return aside


def discard(part: Path) -> None:
    """Remove a copy and whatever SQLite and we put beside it."""
    for each in (*(part.with_name(part.name + ending) for ending in _BESIDE), lock_file(part)):
        each.unlink(missing_ok=True)
