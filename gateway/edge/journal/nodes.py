"""Which gateways share a journal, and what each of them serves, for people."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.sharing import Owner
from gateway.edge.journal.statements import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One gateway; ``serves`` is what it has leases of. Times are µs UTC, ``seen_at`` by the database's own clock."""

    id: int
    host: str
    process: int
    started_at: int
    seen_at: int
    shares: int
    leaving: bool
    serves: tuple[Owner, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """Every gateway, the participants that none of them serves, and the database's time of this look (µs UTC)."""

    at: int
    nodes: tuple[NodeRow, ...]
    unserved: tuple[Owner, ...]


def nodes(reading: Reading) -> Nodes:
    """Look at a journal that gateways may share."""
    ((at,),) = reading.all("database_time")
    leases = [((environment, participant), node) for environment, participant, node, *_ in reading.all("leases")]
    found = tuple(
        NodeRow(
            id=ident,
            host=host,
            process=process,
            started_at=started_at,
            seen_at=seen_at,
            shares=shares,
            leaving=bool(leaving),
            serves=tuple(owner for owner, node in leases if node == ident),
        )
        for ident, _, shares, leaving, _, process, host, started_at, seen_at in reading.all("nodes")
    )
    return Nodes(at=at, nodes=found, unserved=tuple(owner for owner, node in leases if node is None))
