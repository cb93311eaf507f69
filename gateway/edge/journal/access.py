"""The three ways to a store: commands go to the writer, questions to one of two readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from gateway.edge.journal.engine import Asking, Beside
from gateway.edge.journal.statements import Commit, Reading
from gateway.edge.journal.writer import Writer
from gateway.errors import JournalBroken

T = TypeVar("T")


class Access:
    """Reaches what `writer`, ``lookups`` and ``lists`` reach; ``name`` is what people call this journal.

    ``lookups`` answers what a few rows by key tell, ``lists`` what may look at many.
    """

    def __init__(self, name: str, writer: Writer, lookups: Asking, lists: Asking, event: Callable[..., None]) -> None:
        self.name = name
        self._writer = writer
        self._lookups = lookups
        self._lists = lists
        self._event = event
        self._was_broken = False

    async def still_ours(self) -> None:
        """See `ports.Journal`; a file's lock cannot be lost."""

    async def _commit(self, command: Callable[[Commit], T], *, intake: bool = False, beside: Beside | None = None) -> T:
        with self._telling():
            return await self._writer.commit(command, intake=intake, beside=beside)

    async def _lookup(self, read: Callable[[Reading], T]) -> T:
        """Read a few rows by key."""
        await self.still_ours()
        with self._telling():
            return await self._lookups.read(read)

    async def _list(self, read: Callable[[Reading], T]) -> T:
        """Read what may be many rows."""
        await self.still_ours()
        with self._telling():
            return await self._lists.read(read)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell once that the journal is broken."""
        try:
            yield
        except JournalBroken as broken:
            if not self._was_broken:
                self._event("journal_broken", path=self.name, reason=str(broken))
            self._was_broken = True
            raise
