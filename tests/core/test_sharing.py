from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sharing import LEASE_S, LOOK_S, Lease, Node, Owner, Sight, Watch, plan

_OWNERS = st.integers(0, 11).map(lambda n: ("test", f"p{n}"))


@st.composite
def clusters(draw: st.DrawFn) -> tuple[Sight, Mapping[Owner, int]]:
    """Up to five gateways, each of which divides by their number, and participants of any of them or of nobody."""
    count = draw(st.integers(1, 5))
    nodes = tuple(Node(id=n, turn=0, shares=count) for n in range(1, count + 1))
    weights = draw(st.dictionaries(_OWNERS, st.integers(1, 20), max_size=12))
    leases = tuple(
        Lease(owner=owner, node=draw(st.sampled_from([None, *(node.id for node in nodes)])), epoch=0)
        for owner in weights
    )
    return Sight(me=1, nodes=nodes, leases=leases), weights


def settle(sight: Sight, weights: Mapping[Owner, int]) -> tuple[Sight, int]:
    """Let all gateways act on what they see, round by round, until nobody has anything to do; and how many rounds."""
    for rounds in range(1, 20):
        leases = {lease.owner: lease for lease in sight.leases}
        for node in sight.nodes:
            found = plan(replace(sight, me=node.id), weights)
            for lease in found.claim:
                assert leases[lease.owner].node is None  # nobody else wanted it
                leases[lease.owner] = replace(lease, node=node.id)
            for owner in found.release:
                assert leases[owner].node == node.id
                leases[owner] = replace(leases[owner], node=None)
        after = replace(sight, leases=tuple(leases.values()))
        if after == sight:
            return sight, rounds
        sight = after
    raise AssertionError("they never agree")


@given(clusters())
def test_all_agree_within_three_looks_and_share_evenly(cluster: tuple[Sight, Mapping[Owner, int]]) -> None:
    """Nobody wants what another one wants; in the end all is served, and no single move makes the fullest emptier."""
    sight, weights = cluster
    settled, rounds = settle(sight, weights)
    assert rounds <= 3  # hand over and take what is free, take what was handed over, nothing more
    load = dict.fromkeys((node.id for node in settled.nodes), 0)
    for lease in settled.leases:
        assert lease.node is not None
        load[lease.node] += weights[lease.owner]
    gap = max(load.values()) - min(load.values())
    fullest = [node for node in load if load[node] == max(load.values())]
    assert all(weights[lease.owner] >= gap for lease in settled.leases if lease.node in fullest)


def seen(*leases: int | None, nodes: int = 2, me: int = 1, shares: int | None = None) -> Sight:
    """Participants p0, p1 ... and who serves each."""
    return Sight(
        me=me,
        nodes=tuple(Node(id=n, turn=0, shares=nodes if shares is None else shares) for n in range(1, nodes + 1)),
        leases=tuple(Lease(owner=("test", f"p{n}"), node=node, epoch=0) for n, node in enumerate(leases)),
    )


def weights(sight: Sight) -> Mapping[Owner, int]:
    return {lease.owner: 1 for lease in sight.leases}


def test_what_is_even_is_left_alone() -> None:
    """Two and one, or two and two, of equal participants move nobody: a handover is never made for its own sake."""
    for sight in (seen(1, 1, 2), seen(1, 2, 1, 2)):
        assert settle(sight, weights(sight)) == (sight, 1)


def test_whoever_comes_takes_nothing_before_all_divide_by_its_number() -> None:
    """With one that still uses a greater share of the rate, what is free stays free."""
    sight = seen(None, None, me=2, shares=1)
    assert not plan(sight, weights(sight)).claim
    assert plan(replace(sight, nodes=seen(nodes=2).nodes), weights(sight)).claim


def test_who_leaves_hands_over_everything_and_gets_nothing() -> None:
    """Its leases are to be released, what is free goes to the other, and nothing moves towards it."""
    sight = seen(1, 1, None)
    leaving = replace(sight, nodes=(replace(sight.nodes[0], leaving=True), sight.nodes[1]))
    assert plan(leaving, weights(sight)).release == {("test", "p0"), ("test", "p1")}
    other = plan(replace(leaving, me=2), weights(sight))
    assert [lease.owner for lease in other.claim] == [("test", "p2")]


def test_what_only_others_know_is_theirs() -> None:
    """A participant that is not configured here is neither taken nor handed over for the sake of balance."""
    sight = seen(1, 1, 1, None)
    assert plan(sight, {("test", "p0"): 1}).release == frozenset()
    assert not plan(sight, {("test", "p0"): 1}).claim


def test_what_nobody_takes_is_anybodys_after_a_while() -> None:
    """A lease that should be the other one's is taken by whoever sees it free for seconds."""
    sight, watch = seen(1, None), Watch()
    watch.dead(sight, 0.0)
    assert plan(sight, weights(sight), watch.forsaken(0.0)).claim == ()
    for look in (1, 2, 3):
        watch.dead(sight, look * LOOK_S)
    found = plan(sight, weights(sight), watch.forsaken(3 * LOOK_S))
    assert found.claim == sight.leases[1:]
    assert found.left == {("test", "p1")}


def test_what_was_ours_to_take_is_not_left_by_others() -> None:
    """However long it was free: only what another node should have had is kept from it later."""
    sight = seen(None, None, nodes=1)
    found = plan(sight, weights(sight), forsaken=weights(sight))
    assert (found.claim, found.left) == (sight.leases, frozenset())


# ---------------------------------------------------------------- who is dead
def looks(watch: Watch, turns: Mapping[float, int]) -> list[tuple[float, int]]:
    """Look at these times and see these turns of node 2; when it was called dead."""
    found = []
    for at, turn in turns.items():
        sight = Sight(me=1, nodes=(Node(id=1, turn=0), Node(id=2, turn=turn)), leases=())
        found += [(at, node.id) for node in watch.dead(sight, at)]
    return found


def test_a_node_without_turns_is_dead_after_a_lease() -> None:
    """Not before: its last turn may have been right after the last look but one. Oneself is never dead."""
    at = [n * LOOK_S for n in range(9)]
    assert looks(Watch(), dict.fromkeys(at, 7)) == [(each, 2) for each in at if each >= LEASE_S]


def test_a_node_that_counts_a_turn_within_each_lease_lives() -> None:
    """However slow it is."""
    assert looks(Watch(), {float(second): second // 5 for second in range(40)}) == []


@pytest.mark.parametrize("gap", [3.0, 60.0])
def test_who_did_not_look_has_seen_nothing(gap: float) -> None:
    """After a pause of the watcher, or of the database, a whole lease is watched anew."""
    before, after = {float(n): 7 for n in range(5)}, {4.0 + gap + n: 7 for n in range(7)}
    assert looks(Watch(), before | after) == [(4.0 + gap + n, 2) for n in (5, 6)]


def test_a_process_that_is_seen_to_have_ended_is_dead_at_once() -> None:
    """Nobody waits for a lease to run out where the process table tells."""
    gone = Node(id=2, turn=7, gone=True)
    assert Watch().dead(Sight(me=1, nodes=(Node(id=1, turn=0), gone), leases=()), 0.0) == (gone,)
