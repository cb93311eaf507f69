"""An SQLite VFS whose disk fails: at the n-th write or sync with an I/O error, or for want of space beyond a quota."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import apsw

_STORED = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL


@dataclass(slots=True)
class Disk:
    """``fails_at`` is the number of the first act that fails, ``again`` how many do; ``room`` is for all files."""

    fails_at: int | None = None
    again: int = 1
    room: int | None = None
    acts: int = 0
    failed: int = 0
    sizes: dict[str, int] = field(default_factory=dict)

    def act(self) -> None:
        """Count a write or sync, and fail it if its time has come."""
        self.acts += 1
        if self.fails_at is not None and self.fails_at <= self.acts < self.fails_at + self.again:
            self.failed += 1
            raise apsw.IOError("planted")

    def grow(self, file: str, end: int) -> None:
        """Take the room that a write needs, if there is any."""
        grown = {**self.sizes, file: max(self.sizes.get(file, 0), end)}
        if self.room is not None and sum(grown.values()) > self.room:
            self.failed += 1
            raise apsw.FullError("planted")
        self.sizes = grown


class _File(apsw.VFSFile):
    def __init__(self, name: object, flags: list[int], disk: Disk) -> None:
        super().__init__("", name, flags)  # type: ignore[arg-type]  # a name with its parameters, handed on as it came
        self._disk = disk
        self._name = str(flags[0] & _STORED)
        self._stored = bool(flags[0] & _STORED)

    def xSync(self, flags: int) -> None:  # noqa: N802  # SQLite's name
        if self._stored:
            self._disk.act()
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # SQLite's name
        if self._stored:
            self._disk.act()
            self._disk.grow(self._name, offset + len(data))
        super().xWrite(data, offset)


class _Vfs(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        super().__init__(name, "")
        self._disk = disk

    def xOpen(self, name: object, flags: list[int]) -> _File:  # noqa: N802  # SQLite's name
        return _File(name, flags, self._disk)


@contextmanager
def failing_vfs(name: str) -> Iterator[Disk]:
    """Register such a VFS under this name for a while."""
    disk = Disk()
    vfs = _Vfs(name, disk)
    try:
        yield disk
    finally:
        vfs.unregister()
