"""An SQLite VFS over the real one that counts syncs, and can hold them up or fail them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import apsw


class Faults:
    """What happens to the next write or sync of the log."""

    def __init__(self) -> None:
        self.syncs = 0
        self.on_sync: type[apsw.Error] | None = None
        self.on_write: Callable[[str], Exception] | None = None
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.gate.set()


class _File(apsw.VFSFile):
    def __init__(self, name: object, flags: list[int], faults: Faults) -> None:
        super().__init__("", name, flags)  # type: ignore[arg-type]  # a name with its parameters, handed on as it came
        self._faults = faults if flags[0] & apsw.SQLITE_OPEN_WAL else Faults()

    def xSync(self, flags: int) -> None:  # noqa: N802  # SQLite's name
        self._faults.reached.set()
        self._faults.gate.wait()
        self._faults.syncs += 1
        if self._faults.on_sync is not None:
            raise self._faults.on_sync("planted")
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # SQLite's name
        if self._faults.on_write is not None:
            raise self._faults.on_write("planted")
        super().xWrite(data, offset)


class _Vfs(apsw.VFS):
    def __init__(self, name: str, faults: Faults) -> None:
        super().__init__(name, "")
        self._faults = faults

    def xOpen(self, name: object, flags: list[int]) -> _File:  # noqa: N802  # SQLite's name
        return _File(name, flags, self._faults)


@contextmanager
def faulty_vfs(name: str) -> Iterator[Faults]:
    """Register a VFS under this name for a while."""
    faults = Faults()
    vfs = _Vfs(name, faults)
    try:
        yield faults
    finally:
        vfs.unregister()
