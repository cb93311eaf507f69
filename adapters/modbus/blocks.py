"""Which requests read a set of points: neighbours share a request, within what one Modbus answer can carry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from adapters.modbus.config import Table
from adapters.modbus.translation import Point

REGISTERS_PER_READ = 125  # Modbus application protocol V1.1b3, 6.3
BITS_PER_READ = 2000  # ibid., 6.1
# Reading over a gap of this many unused addresses is cheaper than another round trip.
_GAP = {Table.HOLDING: 8, Table.INPUT: 8, Table.COIL: 64, Table.DISCRETE: 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBlock:
    """One read request and the points it brings."""

    table: Table
    window: range
    points: tuple[Point, ...]

    def split(self) -> tuple[ReadBlock, ...]:
        """One block per point: a device may refuse a request for the sake of a single address in it."""
        return tuple(_block((point,)) for point in self.points)


def plan(points: Iterable[Point]) -> tuple[ReadBlock, ...]:
    """Few requests that bring all the points, in the order of tables and addresses."""
    blocks: list[ReadBlock] = []
    for point in sorted(points, key=lambda point: (point.table, point.place.window.start, point.place.window.stop)):
        if blocks and _joins(blocks[-1], point):
            blocks[-1] = _block((*blocks[-1].points, point))
        else:
            blocks.append(_block((point,)))
    return tuple(blocks)


def _joins(block: ReadBlock, point: Point) -> bool:
    window, limit = point.place.window, BITS_PER_READ if point.table.bits else REGISTERS_PER_READ
    near = window.start - block.window.stop <= _GAP[point.table]
    return block.table is point.table and near and max(window.stop, block.window.stop) - block.window.start <= limit


def _block(points: tuple[Point, ...]) -> ReadBlock:
    windows = [point.place.window for point in points]
    window = range(min(each.start for each in windows), max(each.stop for each in windows))
    return ReadBlock(table=points[0].table, window=window, points=points)
