"""Which gateway serves which participant, of several on one journal: what each decides from what all of them see.

Rules
-----
* A *node* is one life of one gateway. A *lease* gives a participant, with all its sites and lanes, to one node. It ends
  by that node's own commit, or with the node: nobody takes anything from a node that lives.
* All look at the same rows and plan alike, so nobody has to be asked. Plans that differ for a moment cost a detour at
  most, since a lease is only ever taken where it is free.
* A node is dead when it has counted no turn for :data:`LEASE_S`, as seen by somebody who looked all the while, by one
  steady clock of its own. No two clocks are compared.
* Each node may use one share of what the SMP allows our address: the rate, divided by as many as it knows of. Whoever
  comes takes nothing before all others divide by its number too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.core.record import Changed

LEASE_S = 5.0
LOOK_S = 1.0  # between two looks, when nothing is told meanwhile
_BLINK_S = 2.5 * LOOK_S  # who has not looked for longer than this has seen nothing
_PATIENCE_S = 3.0  # a lease that is free for so long is anybody's, whoever should have had it

Owner = tuple[str, str]  # environment, participant


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One gateway: ``turn`` counts its transactions, ``shares`` is what it divides the SMP's rate by.

    ``leaving`` hands over everything; ``gone`` is known to have ended, without a look at its turns.
    """

    id: int
    turn: int
    shares: int = 1
    leaving: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A participant, the node that serves it (None: nobody), and how often that has changed."""

    owner: Owner
    node: int | None
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one look shows; ``me`` is the node that looks."""

    me: int
    nodes: tuple[Node, ...]
    leases: tuple[Lease, ...]

    @property
    def mine(self) -> frozenset[Owner]:
        """The participants that the looking node serves."""
        return frozenset(lease.owner for lease in self.leases if lease.node == self.me)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What another node says: that leases or nodes changed (``owner`` None), or what moved of a participant.

    Without ``changed`` anything of that participant may have moved. With ``missed`` something may have been said that
    was not heard.
    """

    owner: Owner | None = None
    changed: tuple[Changed, ...] = ()
    missed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What waits in the journal, whoever serves it: relays by site and connection, messages after others by site."""

    relays: Sequence[tuple[str, str]] = ()
    sequels: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the looking node should take, and what it should hand over; of what it takes, ``left`` was another one's."""

    claim: tuple[Lease, ...] = ()
    left: frozenset[Owner] = frozenset()
    release: frozenset[Owner] = frozenset()


@dataclass(slots=True)
class Watch:
    """Remembers what earlier looks showed; ``now`` is a steady clock in seconds."""

    _looked_at: float = float("-inf")
    _turns: dict[int, tuple[int, float]] = field(default_factory=dict)  # node -> turn, and since when it stands there
    _free: dict[Owner, float] = field(default_factory=dict)  # since when nobody has a lease

    def dead(self, sight: Sight, now: float) -> tuple[Node, ...]:
        """Learn from one look, and say which nodes have died."""
        if now - self._looked_at > _BLINK_S:
            self._turns.clear()
            self._free.clear()
        self._looked_at = now
        self._turns = {
            node.id: known if (known := self._turns.get(node.id, (-1, now)))[0] == node.turn else (node.turn, now)
            for node in sight.nodes
        }
        self._free = {each.owner: self._free.get(each.owner, now) for each in sight.leases if each.node is None}
        others = (node for node in sight.nodes if node.id != sight.me)
        return tuple(node for node in others if node.gone or now - self._turns[node.id][1] >= LEASE_S)

    def forsaken(self, now: float) -> frozenset[Owner]:
        """The participants that nobody has taken for too long."""
        return frozenset(owner for owner, since in self._free.items() if now - since >= _PATIENCE_S)


def plan(sight: Sight, weights: Mapping[Owner, int], forsaken: Collection[Owner] = ()) -> Plan:
    """Spread what is known here (``weights``: how much work each participant is, at least 1) evenly over all nodes.

    What is free goes to whoever has least; then single participants move to the emptiest node, as long as that levels.
    """
    load = {node.id: 0 for node in sight.nodes if not node.leaving}
    if sight.me not in load:
        return Plan(release=sight.mine)
    known = [lease for lease in sight.leases if lease.owner in weights]
    target = {lease.owner: lease.node for lease in known if lease.node in load}
    for lease in known:
        if lease.node in load:
            load[lease.node] += weights[lease.owner]
    free = sorted((each for each in known if each.node is None), key=lambda each: (-weights[each.owner], each.owner))
    for lease in free:
        target[lease.owner] = emptiest = min(load, key=lambda node: (load[node], node))
        load[emptiest] += weights[lease.owner]
    _level(target, load, weights)
    may_claim = all(node.shares >= len(sight.nodes) for node in sight.nodes)
    claim = [each for each in free if target[each.owner] == sight.me or each.owner in forsaken] if may_claim else []
    return Plan(
        claim=tuple(claim),
        left=frozenset(each.owner for each in claim if target[each.owner] != sight.me),
        release=frozenset(owner for owner in sight.mine if owner in target and target[owner] != sight.me),
    )


def _level(target: dict[Owner, int], load: dict[int, int], weights: Mapping[Owner, int]) -> None:
    """Move participants to the emptiest node, whichever move levels most, until none does; then no move helps."""
    while True:
        low = min(load, key=lambda node: (load[node], node))
        gain = {
            owner: weights[owner] * (load[node] - load[low] - weights[owner])
            for owner, node in target.items()
            if weights[owner] < load[node] - load[low]
        }
        if not gain:
            return
        moved = max(sorted(gain), key=gain.__getitem__)
        load[target[moved]] -= weights[moved]
        load[low] += weights[moved]
        target[moved] = low
