"""The fewest requests, none too long, and every point in exactly one, whatever the device refuses."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.addresses import Table
from adapters.modbus.blocks import Limits, Planner, ReadBlock, plan
from adapters.modbus.config import BITS_PER_READ, REGISTERS_PER_READ, ModbusConnection, ModbusPoint
from adapters.modbus.translation import Point, bind
from gateway.core.point import PointSpec

CONNECTION = ModbusConnection(host="plc.example")


def point(address: str, kind: str = "uint16", length: int | None = None) -> Point:
    bits = address.startswith(("coil", "discrete"))
    place = ModbusPoint.model_validate({"address": address, "type": None if bits else kind, "length": length})
    return bind(PointSpec(name=f"{address} {kind}", connection="plc"), place, CONNECTION)


def windows(*points: Point, limits: Limits | None = None) -> list[tuple[str, int, int]]:
    blocks = plan(points, limits or Limits())
    return [(block.table.value, block.window.start, block.window.stop) for block in blocks]


def test_neighbours_share_a_request() -> None:
    """Adjacent, and across a small gap; not across a wide one, nor across tables."""
    assert windows(point("holding:10"), point("holding:12", "int32"), point("holding:20")) == [("holding", 10, 21)]
    assert windows(point("holding:10"), point("holding:20")) == [("holding", 10, 11), ("holding", 20, 21)]
    assert windows(point("holding:10"), point("input:11")) == [("holding", 10, 11), ("input", 11, 12)]


def test_points_may_overlap() -> None:
    """A long point that covers a short one keeps its end."""
    assert windows(point("holding:10", "string", 20), point("holding:12")) == [("holding", 10, 30)]


PLACES = st.builds(
    lambda table, address, kind: point(f"{table}:{address}", kind),
    st.sampled_from(["holding", "input", "coil", "discrete"]),
    st.integers(0, 600),
    st.sampled_from(["uint16", "int32", "float64"]),
)


@given(st.lists(PLACES, max_size=60))
def test_every_point_once_and_no_request_too_long(points: list[Point]) -> None:
    """Whatever the points, a plan is complete and legal."""
    blocks = plan(points, Limits())
    assert sorted(p.spec.name for block in blocks for p in block.points) == sorted(p.spec.name for p in points)
    for block in blocks:
        assert len(block.window) <= (BITS_PER_READ if block.table.bits else REGISTERS_PER_READ)
        for each in block.points:
            assert each.table is block.table
            assert block.window.start <= each.place.window.start
            assert each.place.window.stop <= block.window.stop
        halves = block.halves()
        assert (halves is None) == (len(block.points) == 1)
        assert halves is None or halves[0].points + halves[1].points == block.points


def test_a_device_may_carry_less() -> None:
    """Its own longest answer, its own gap, and what no request may touch."""
    row = [point(f"holding:{address}") for address in range(6)]
    assert windows(*row, limits=Limits(registers=4)) == [("holding", 0, 4), ("holding", 4, 6)]
    pair = [point("holding:10"), point("holding:13")]
    assert len(windows(*pair, limits=Limits(gap=1))) == 2
    assert len(windows(*pair, limits=Limits(gap=2))) == 1
    assert len(windows(*pair, limits=Limits(forbidden=((Table.HOLDING, range(12, 13)),)))) == 2
    assert len(windows(*pair, limits=Limits(forbidden=((Table.INPUT, range(12, 13)),)))) == 1


SMALL = Limits(registers=6, gap=2, forbidden=((Table.HOLDING, range(9, 11)),))


@given(st.lists(st.integers(0, 30).filter(lambda at: at not in {9, 10}), max_size=7, unique=True))
def test_no_plan_has_fewer_requests(places: list[int]) -> None:
    """Compared with every way to cut the row of points into requests."""
    points = [point(f"holding:{at}") for at in sorted(places)]
    cuts = itertools.chain.from_iterable(itertools.combinations(range(1, len(points)), n) for n in range(len(points)))
    ways = [[points[a:b] for a, b in itertools.pairwise((0, *cut, len(points)))] for cut in cuts]
    best = min((len(way) for way in ways if all(lawful(each) for each in way)), default=0)
    assert len(plan(points, SMALL)) == best


def lawful(points: Sequence[Point]) -> bool:
    """Whether one request may bring these, in order."""
    at = [each.place.window.start for each in points]
    steps = [range(one + 1, other) for one, other in itertools.pairwise(at)]
    return at[-1] - at[0] < 6 and all(len(step) <= 2 and not {9, 10} & set(step) for step in steps)


class Device:
    """A device of which some addresses are illegal; counts what it is asked."""

    def __init__(self, illegal: set[int]) -> None:
        self.illegal = illegal
        self.asked = 0

    def poll(self, planner: Planner, now: int) -> set[str]:
        """One poll as polling.py makes it; the points that were read."""
        found: set[str] = set()
        for block in planner.requests(now):
            self._read(planner, block, now, found)
        return found

    def _read(self, planner: Planner, block: ReadBlock, now: int, found: set[str]) -> bool:
        self.asked += 1
        if not self.illegal & set(block.window):
            found |= {each.spec.name for each in block.points}
            return True
        halves = block.halves()
        if halves is None:
            planner.leave_out(block.points, now)
            return False
        whole = [self._read(planner, half, now, found) for half in halves]  # both, whatever the first says
        if all(whole):
            planner.keep_apart(halves[1], now)
        return False


@given(
    places=st.lists(st.integers(0, 200), min_size=1, max_size=40, unique=True),
    illegal=st.sets(st.integers(0, 200), max_size=6),
)
def test_what_is_illegal_costs_only_itself(places: list[int], illegal: set[int]) -> None:
    """Every legal point is read in every poll, and after a few polls nothing is asked in vain."""
    points = [point(f"holding:{at}") for at in places]
    wanted = {each.spec.name for each in points if each.place.window.start not in illegal}
    planner, device = Planner(points, Limits(), retest=100), Device(illegal)
    for _ in range(20):
        assert device.poll(planner, 0) == wanted
    device.asked = 0
    device.poll(planner, 0)
    assert device.asked == len(planner.requests(0))
    device.illegal = set()
    assert device.poll(planner, 100) == {each.spec.name for each in points}
    assert planner.requests(100) == plan(points, Limits())


def test_one_illegal_address_is_found_in_few_requests() -> None:
    """Bisection: 64 neighbours and one bad one take two requests a level, and then two."""
    points = [point(f"holding:{at}") for at in range(64)]
    planner, device = Planner(points, Limits(gap=0), retest=100), Device({20})
    device.poll(planner, 0)
    assert device.asked == 13
    assert [(block.window.start, block.window.stop) for block in planner.requests(0)] == [(0, 20), (21, 64)]
