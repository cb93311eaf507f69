"""What a database engine brings to the journal: connections that run the named statements, and what their errors mean.

The journal itself (`stored.py`), its writer and its commands are written against this and know no engine. An engine
maps its library's errors where they are raised:

* StatementFailed: this statement failed, and nothing else; its command alone is refused.
* OutOfSpace: there is no room; the transaction is to be undone, and its commands tried one by one.
* ConnectionLost: whether the transaction is on disk is unknown; the engine can find out.
* JournalBroken: the connection or the store cannot be trusted any more.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gateway.edge.journal.statements import Commit, Reading, Statements
from gateway.errors import JournalError

T = TypeVar("T")


class StatementFailed(JournalError):
    """One statement could not be run."""


class OutOfSpace(JournalError):
    """The store has no room for this statement."""


class ConnectionLost(JournalError):
    """The database went away under a transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ward:
    """A participant for whom something is committed that another gateway may serve."""

    environment: str
    participant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grave:
    """A gateway on the same journal that has died, and is to be taken out of it."""

    node: int


Beside = Ward | Grave  # what of other gateways a transaction must hold


class Writing(Statements, Protocol):
    """The one connection that writes; used by the writer's thread only."""

    @property
    def epoch(self) -> int:
        """Which life of this gateway on this journal this is."""

    def begin(self, now: int, beside: Beside | None = None) -> Commit:
        """Begin a transaction, having made sure that the journal is still ours.

        ``beside`` is held until it ends, as far as an engine has several gateways at all.

        Raises:
            JournalBroken: another gateway has taken over.
        """

    def save(self) -> None:
        """Set a point to which :meth:`undo` returns."""

    def undo(self) -> None:
        """Take back everything since :meth:`save`."""

    def forget(self) -> None:
        """Keep everything since :meth:`save`."""

    def commit(self) -> None:
        """Put the transaction on disk."""

    def roll_back(self) -> None:
        """Leave the transaction, if there still is one."""

    def recover(self, lost: ConnectionLost) -> bool:
        """Reach the database again, and say whether the transaction that was lost is on disk.

        Raises:
            JournalBroken: it cannot be reached, or another gateway has taken over.
        """

    def rest(self) -> None:
        """Do what an engine must do between transactions, after the callers were answered."""


class Asking(Protocol):
    """A way to read, for the event loop."""

    async def read(self, question: Callable[[Reading], T]) -> T:
        """Ask; what is read in one call may come from several moments."""


class Looking(Statements, Protocol):
    """One connection that can only read, for people who look into a journal."""

    def moment(self) -> AbstractContextManager[None]:
        """See one state of the journal through several statements."""

    def close(self) -> None:
        """Give the connection back."""
