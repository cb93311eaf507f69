"""The journal's SQL by name, and the one way in which commands and readings reach a database.

Commands (`intake`, `sending`, `verdicts`, `relaying`) and readings (`listing`) are written against :class:`Statements`
and say nothing of the engine; a driver brings `rows`, which runs one named statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol

from gateway.core.evidence import Entry
from gateway.errors import JournalBroken, LeaseEnded

Row = tuple[Any, ...]  # columns in the order in which the statement lists them
Parameter = int | str | bytes | None

_NAME = re.compile(r"^-- :name (\w+)$", re.MULTILINE)
PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")


def load_queries(*more: str) -> Mapping[str, str]:
    """Read ``queries.sql`` and whatever else of its kind is named: each ``-- :name x`` line begins the statement x.

    Raises:
        ValueError: a name stands there twice.
    """
    names = ("queries.sql", *more)
    text = "\n".join(files(__package__).joinpath(each).read_text(encoding="utf-8") for each in names)
    _, *pieces = _NAME.split(text)
    queries: dict[str, str] = {}
    for name, block in zip(pieces[::2], pieces[1::2], strict=True):
        if name in queries:
            raise ValueError(f"queries.sql has {name} twice")
        lines = (line for line in block.splitlines() if not line.startswith("--"))
        queries[name] = "\n".join(lines).strip()
    return queries


class Statements(Protocol):
    """One database connection that knows the named statements."""

    def rows(self, name: str, parameters: Mapping[str, Parameter]) -> Sequence[Row]:
        """Run the statement and return all its rows."""

    def each(self, name: str, many: Sequence[Mapping[str, Parameter]]) -> None:
        """Run the statement once for each of these, in their order; it returns no rows."""


class Reading:
    """Ask the journal; every method of it runs one statement."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def all(self, name: str, /, **parameters: Parameter) -> Sequence[Row]:
        """All rows."""
        return self._statements.rows(name, parameters)

    def one(self, name: str, /, **parameters: Parameter) -> Row | None:
        """The first row, or None."""
        rows = self._statements.rows(name, parameters)
        return rows[0] if rows else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What every statement inside a commit is given: the time of the commit, which gateway it is, and its epoch.

    ``holder`` is the node whose leases it may change something of, where several gateways share a journal.
    """

    now: int
    epoch: int
    node: int
    holder: int | None = None


class Commit(Reading):
    """Ask and change the journal inside one transaction.

    ``entries`` is its evidence, which `chain.seal` writes, and ``hops`` the stations that it tells of, which the writer
    does: nothing of a transaction asks for them, so that each is written by one statement for all commands.
    """

    def __init__(self, statements: Statements, stamp: Stamp) -> None:
        super().__init__(statements)
        self.now = stamp.now
        self.epoch = stamp.epoch
        self.entries: list[Entry] = []
        self.hops: list[tuple[str, str, int]] = []
        self._given = {"now": stamp.now, "epoch": stamp.epoch, "node": stamp.node, "holder": stamp.holder}

    def all(self, name: str, /, **parameters: Parameter) -> Sequence[Row]:
        """All rows; ``:now``, ``:epoch``, ``:node`` and ``:holder`` are given to every statement."""
        return self._statements.rows(name, {**self._given, **parameters})

    def one(self, name: str, /, **parameters: Parameter) -> Row | None:
        """The first row, or None."""
        rows = self.all(name, **parameters)
        return rows[0] if rows else None

    def run(self, name: str, /, **parameters: Parameter) -> None:
        """Run a statement whose rows do not matter."""
        self.all(name, **parameters)

    def each(self, name: str, many: Iterable[Mapping[str, Parameter]]) -> None:
        """Run a statement that returns no rows once for each of these."""
        given = self._given
        self._statements.each(name, [{**given, **parameters} for parameters in many])

    def must(self, name: str, /, **parameters: Parameter) -> Row:
        """Run an UPDATE that must change its row.

        Raises:
            JournalBroken: it changed none, because another gateway has taken over this journal.
            LeaseEnded: it changed none, because another gateway serves this participant.
        """
        row = self.one(name, **parameters)
        if row is None:
            self.fence()
            raise LeaseEnded(f"{name} changed nothing: this gateway does not serve that participant now")
        return row

    def fence(self) -> None:
        """Make sure that this gateway still owns the journal; stands first in every transaction.

        Raises:
            JournalBroken: another gateway has taken over.
        """
        row = self.one("node_epoch")
        if row is None or row[0] != self.epoch:
            raise JournalBroken(f"epoch {self.epoch} is over: another gateway has this journal")
