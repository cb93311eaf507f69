"""Few requests, none too long, and every point in exactly one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.blocks import BITS_PER_READ, REGISTERS_PER_READ, plan
from adapters.modbus.config import ModbusConnection, ModbusPoint
from adapters.modbus.translation import Point, bind
from gateway.core.point import PointSpec

CONNECTION = ModbusConnection(host="plc.example")


def point(address: str, kind: str = "uint16", length: int | None = None) -> Point:
    bits = address.startswith(("coil", "discrete"))
    place = ModbusPoint.model_validate({"address": address, "type": None if bits else kind, "length": length})
    return bind(PointSpec(name=f"{address} {kind}", connection="plc"), place, CONNECTION)


def windows(*points: Point) -> list[tuple[str, int, int]]:
    return [(block.table.value, block.window.start, block.window.stop) for block in plan(points)]


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
    blocks = plan(points)
    assert sorted(p.spec.name for block in blocks for p in block.points) == sorted(p.spec.name for p in points)
    for block in blocks:
        assert len(block.window) <= (BITS_PER_READ if block.table.bits else REGISTERS_PER_READ)
        for each in block.points:
            assert each.table is block.table
            assert block.window.start <= each.place.window.start
            assert each.place.window.stop <= block.window.stop
        assert all(len(part.points) == 1 for part in block.split())
