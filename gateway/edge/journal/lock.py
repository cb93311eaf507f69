"""One gateway per journal: an exclusive lock on a file beside it, which the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import JournalLocked


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a journal; the lock file stays, since removing it would let two gateways in.

    Raises:
        JournalLocked: another process, named by its id, has this journal open.
    """
    descriptor = os.open(lock_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise JournalLocked(f"{path} is in use by process {holder}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def lock_file(path: Path) -> Path:
    """Where the lock of a journal is."""
    return path.with_name(f"{path.name}.lock")
