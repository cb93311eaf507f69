"""An SQLite VFS that writes down every write, truncation and sync, and what a disk may hold after the power went."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import apsw

_REAL = "unix"  # by its name, since ours may be the default
_SECTOR = 512  # bytes that a disk writes whole
_KEPT = {apsw.SQLITE_OPEN_MAIN_DB: "journal.db", apsw.SQLITE_OPEN_WAL: "journal.db-wal"}


@dataclass(frozen=True, slots=True)
class Write:
    file: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    file: str


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody was told that this is on disk."""

    what: str


Act = Write | Truncate | Sync | Said


@dataclass(slots=True)
class Tape:
    """Everything that happened, in its order; a sync takes ``slow_s`` longer than it would."""

    acts: list[Act] = field(default_factory=list)
    slow_s: float = 0.0

    def say(self, what: str) -> None:
        self.acts.append(Said(what))

    def disk(self, end: int, dice: random.Random) -> Mapping[str, bytes]:
        """What the disk may hold when the power goes after ``end`` acts.

        What was synced is there. Of the rest each write is there, missing, or torn at a sector, whatever its order.
        """
        files: dict[str, bytearray] = {}
        last = {act.file: place for place, act in enumerate(self.acts[:end]) if isinstance(act, Sync)}
        for place, act in enumerate(self.acts[:end]):
            if isinstance(act, Sync | Said):
                continue
            image = files.setdefault(act.file, bytearray())
            synced = place < last.get(act.file, -1)
            if isinstance(act, Truncate):
                if synced or dice.random() < 0.5:
                    del image[act.size :]
                continue
            fate = 1.0 if synced else dice.random()
            data = act.data if fate > 0.4 else act.data[: dice.randrange(len(act.data) // _SECTOR + 1) * _SECTOR]
            if fate > 0.2:
                image.extend(bytes(max(act.offset + len(data) - len(image), 0)))
                image[act.offset : act.offset + len(data)] = data
        return {name: bytes(image) for name, image in files.items()}

    def said(self, end: int) -> Sequence[str]:
        """What people had been told by then."""
        return [act.what for act in self.acts[:end] if isinstance(act, Said)]


class _File(apsw.VFSFile):
    def __init__(self, name: object, flags: list[int], tape: Tape) -> None:
        super().__init__(_REAL, name, flags)  # type: ignore[arg-type]  # a name with its parameters, handed on as it came
        self._file = next((kept for flag, kept in _KEPT.items() if flags[0] & flag), None)
        self._tape = tape

    def _note(self, act: Act) -> None:
        if self._file is not None:
            self._tape.acts.append(act)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # SQLite's name
        super().xWrite(data, offset)
        self._note(Write(self._file or "", offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  # SQLite's name
        super().xTruncate(newsize)
        self._note(Truncate(self._file or "", newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802  # SQLite's name
        super().xSync(flags)
        time.sleep(self._tape.slow_s)
        self._note(Sync(self._file or ""))


class _Vfs(apsw.VFS):
    def __init__(self, name: str, tape: Tape, *, default: bool) -> None:
        super().__init__(name, _REAL, default)
        self._tape = tape

    def xOpen(self, name: object, flags: list[int]) -> _File:  # noqa: N802  # SQLite's name
        return _File(name, flags, self._tape)


@contextmanager
def taping(name: str, *, slow_s: float = 0.0, default: bool = False) -> Iterator[Tape]:
    """Register such a VFS under this name for a while; ``default`` makes it everybody's who names none."""
    tape = Tape(slow_s=slow_s)
    vfs = _Vfs(name, tape, default=default)
    try:
        yield tape
    finally:
        vfs.unregister()
