"""Whose turn it is, for any crowd: nobody is starved, nobody is delayed by another's number, order in a lane stays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.turns import Errand, Turns, Urgency


@dataclass(frozen=True)
class Come:
    participant: str
    lane: str
    urgency: Urgency
    endpoint: str


@dataclass(frozen=True)
class Go:
    usable: frozenset[str]


ENDPOINTS = ("assets", "unit", "status")
come = st.builds(
    Come,
    st.sampled_from(["exstor", "exflex", "third"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([Urgency.FRESH, Urgency.BACKLOG, Urgency.ENQUIRY]),
    st.sampled_from(ENDPOINTS),
)
go = st.builds(Go, st.frozensets(st.sampled_from(ENDPOINTS)))


def errand(participant: str, lane: str = "a", urgency: Urgency = Urgency.FRESH, endpoint: str = "assets") -> Errand:
    return Errand(participant=participant, lane=lane, urgency=urgency, endpoint=endpoint)


def play(steps: list[Come | Go]) -> tuple[list[Errand], list[Errand]]:
    """Everybody who came and everybody who went, each in order; in the end all endpoints are usable."""
    turns, came, went = Turns(), [], []
    for step in steps:
        if isinstance(step, Come):
            one = errand(step.participant, step.lane, step.urgency, step.endpoint)
            came.append(one)
            turns.add(one)
        elif (gone := turns.next(step.usable.__contains__)) is not None:
            assert gone.endpoint in step.usable
            went.append(gone)
    while (gone := turns.next(lambda _: True)) is not None:
        went.append(gone)
    assert not turns
    return came, went


@given(st.lists(come | go, max_size=60))
def test_everybody_goes_once_and_a_lane_keeps_its_order(steps: list[Come | Go]) -> None:
    """Whatever endpoints are usable when: nobody is lost or doubled; within a lane and an urgency, first come first."""
    came, went = play(steps)
    assert sorted(map(id, came)) == sorted(map(id, went))
    place = {id(one): number for number, one in enumerate(went)}
    for lane in {(one.participant, one.lane, one.urgency) for one in came}:
        own = [place[id(one)] for one in came if (one.participant, one.lane, one.urgency) == lane]
        assert own == sorted(own)


@given(
    st.dictionaries(st.sampled_from(["exstor", "exflex", "third"]), st.integers(1, 40), min_size=2),
    st.integers(0, 30),
)
def test_participants_who_wait_get_turns_alike(crowd: dict[str, int], turns_first: int) -> None:
    """While two of them wait, neither is more than one turn ahead, whatever they bring and whoever came later."""
    turns = Turns()
    names = list(crowd)
    for number in range(crowd[names[0]] + turns_first):
        turns.add(errand(names[0], f"lane {number}"))
    for _ in range(turns_first):  # the first has been served alone for a while
        turns.next(lambda _: True)
    for name in names[1:]:
        for number in range(crowd[name]):
            turns.add(errand(name, f"lane {number}"))
    had: Counter[str] = Counter()
    while (gone := turns.next(lambda _: True)) is not None:
        had[gone.participant] += 1
        waiting = {one.participant for one in turns}
        counts = [had[name] for name in names if name in waiting]
        assert not counts or max(counts) - min(counts) <= 1


@given(st.integers(1, 30), st.integers(1, 30))
def test_lanes_of_a_participant_get_turns_alike(first: int, second: int) -> None:
    """One lane's many requests delay another lane of the same participant by one turn each."""
    turns = Turns()
    for lane, count in (("a", first), ("b", second)):
        for _ in range(count):
            turns.add(errand("exstor", lane))
    order = [gone.lane for gone in iter(lambda: turns.next(lambda _: True), None)]
    both = order[: 2 * min(first, second)]
    assert both == ["a", "b"] * min(first, second)


@given(st.lists(st.sampled_from([Urgency.FRESH, Urgency.BACKLOG, Urgency.ENQUIRY]), min_size=1, max_size=80))
def test_the_urgent_goes_first_and_nobody_is_passed_over_for_long(crowd: list[Urgency]) -> None:
    """What waits is passed over three times, and then at most until the others that were have gone."""
    turns = Turns()
    for number, urgency in enumerate(crowd):
        turns.add(errand("exstor", f"lane {number}", urgency))
    waits = dict.fromkeys(Urgency, 0)
    while True:
        waiting = {one.urgency for one in turns}
        gone = turns.next(lambda _: True)
        if gone is None:
            break
        if gone.urgency is not min(waiting):
            assert waits[gone.urgency] >= 3
        for urgency in waiting:
            waits[urgency] = 0 if urgency is gone.urgency else waits[urgency] + 1
            assert waits[urgency] <= 3 + 2


def test_who_has_waited_when_the_smp_returns_is_backlog() -> None:
    """A fresh message of another lane goes ahead of it; one of the same lane does not overtake its own."""
    turns = Turns()
    turns.add(errand("exstor", "old"))
    turns.demote()
    turns.add(errand("exstor", "new"))
    assert [gone.lane for gone in iter(lambda: turns.next(lambda _: True), None)] == ["new", "old"]


def test_one_who_gives_up_leaves_the_others_in_order() -> None:
    """Cancelled in the middle of a lane, and as the last of a participant."""
    turns = Turns()
    crowd = [errand("exstor", "a"), errand("exstor", "a"), errand("exflex", "b"), errand("exstor", "a")]
    for one in crowd:
        turns.add(one)
    turns.remove(crowd[1])
    turns.remove(crowd[2])
    assert list(iter(lambda: turns.next(lambda _: True), None)) == [crowd[0], crowd[3]]


def test_an_unusable_endpoint_costs_nobody_a_place() -> None:
    """Passed over while units may not be sent, the unit goes first of its participant when they may."""
    turns = Turns()
    turns.add(errand("exstor", "a", endpoint="unit"))
    turns.add(errand("exstor", "b"))
    turns.add(errand("exstor", "c"))
    passing = turns.next(lambda endpoint: endpoint != "unit")
    assert passing is not None
    assert [passing.lane, *(gone.lane for gone in iter(lambda: turns.next(lambda _: True), None))] == ["b", "a", "c"]
