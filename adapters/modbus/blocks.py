"""Which requests read a set of points: the fewest, within what the device carries. Pure.

A :class:`Planner` also knows what the device refused. Refused as a whole, a request is bisected; a point that is
refused alone is left out, two halves that are answered apart only stay apart, and both are tried again after a while.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import ne

from adapters.modbus.addresses import Table
from adapters.modbus.config import BITS_PER_READ, REGISTERS_PER_READ, ModbusConnection
from adapters.modbus.translation import Point

_BITS_PER_GAP = 8  # bits that may lie unused for each register that may: they cost a sixteenth of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request of a device may span; ``gap`` is how many registers nobody wants may lie within it."""

    registers: int = REGISTERS_PER_READ
    bits: int = BITS_PER_READ
    gap: int = 8
    forbidden: tuple[tuple[Table, range], ...] = ()
    alone: bool = False  # each point by itself: in a map of our own a request costs nothing

    @classmethod
    def of(cls, connection: ModbusConnection) -> Limits:
        """The limits of a connection."""
        return cls(
            registers=connection.max_registers,
            bits=connection.max_bits,
            gap=connection.max_gap,
            alone=connection.role == "server",
            forbidden=tuple((stretch.table, stretch.window) for stretch in connection.forbidden),
        )

    def length(self, table: Table) -> int:
        """The most cells of one answer."""
        return self.bits if table.bits else self.registers

    def near(self, table: Table, gap: range) -> bool:
        """Whether one request may read across these unused cells."""
        most = self.gap * _BITS_PER_GAP if table.bits else self.gap
        return len(gap) <= most and not any(table is where and _meet(gap, window) for where, window in self.forbidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBlock:
    """One read request and the points it brings, and the cells of each one's reach in the answer.

    ``users`` are for each cell of the answer the points, by their place in ``points``, that it belongs to.
    """

    table: Table
    window: range
    points: tuple[Point, ...]
    parts: tuple[slice, ...]
    users: tuple[tuple[int, ...], ...]

    def halves(self) -> tuple[ReadBlock, ReadBlock] | None:
        """The same points in two requests; None when there is only one point."""
        if len(self.points) == 1:
            return None
        middle = len(self.points) // 2
        return _block(self.points[:middle]), _block(self.points[middle:])

    def moved(self, before: Sequence[int], now: Sequence[int]) -> set[int]:
        """The points, by their place in ``points``, whose cells are not the same in two answers."""
        return {point for users in compress(self.users, map(ne, before, now)) for point in users}


def plan(points: Iterable[Point], limits: Limits, apart: Collection[tuple[Table, int]] = ()) -> tuple[ReadBlock, ...]:
    """The fewest requests that bring all the points, in the order of tables and addresses.

    ``apart`` are addresses at which a request must begin anew.
    """
    groups: list[list[Point]] = []
    span = range(0)
    reaches = [(point.table, point.place.reach, point) for point in points]
    for table, reach, point in sorted(reaches, key=lambda each: (each[0], each[1].start, each[1].stop)):
        if groups and not limits.alone and _joins(groups[-1][0].table, span, table, reach, limits, apart):
            groups[-1].append(point)
            span = range(span.start, max(span.stop, reach.stop))
        else:
            groups.append([point])
            span = reach
    return tuple(_block(tuple(group)) for group in groups)


class Planner:
    """The requests of one poll class, as far as its device is known; times are µs."""

    def __init__(self, points: Iterable[Point], limits: Limits, retest: int) -> None:
        self._points = tuple(points)
        self._limits = limits
        self._retest = retest
        self._left_out: dict[str, int] = {}  # point -> when it is tried again
        self._apart: dict[tuple[Table, int], int] = {}  # where a request begins anew -> until when
        self._blocks = plan(self._points, limits)

    def requests(self, now: int) -> tuple[ReadBlock, ...]:
        """What to ask now; whatever was refused long enough ago is asked again."""
        if any(due <= now for known in (self._left_out, self._apart) for due in known.values()):
            self._left_out = {name: due for name, due in self._left_out.items() if due > now}
            self._apart = {place: due for place, due in self._apart.items() if due > now}
            self._replan()
        return self._blocks

    def leave_out(self, points: Iterable[Point], now: int) -> None:
        """Ask no more for these points, which the device refuses, for a while."""
        self._left_out.update((point.spec.name, now + self._retest) for point in points)
        self._replan()

    def keep_apart(self, second: ReadBlock, now: int) -> None:
        """Begin a request with this block for a while: with what lies before it, it was refused."""
        self._apart[second.table, second.window.start] = now + self._retest
        self._replan()

    def _replan(self) -> None:
        wanted = [point for point in self._points if point.spec.name not in self._left_out]
        self._blocks = plan(wanted, self._limits, self._apart)


def _joins(  # noqa: PLR0917 - two stretches of cells
    here: Table, span: range, table: Table, reach: range, limits: Limits, apart: Collection[tuple[Table, int]]
) -> bool:
    if here is not table or (reach.start > span.start and (table, reach.start) in apart):
        return False
    length = max(reach.stop, span.stop) - span.start
    return length <= limits.length(table) and limits.near(table, range(span.stop, reach.start))


def _block(points: tuple[Point, ...]) -> ReadBlock:
    windows = [point.place.reach for point in points]
    window = range(min(each.start for each in windows), max(each.stop for each in windows))
    parts = tuple(slice(each.start - window.start, each.stop - window.start) for each in windows)
    users: list[list[int]] = [[] for _ in window]
    for place, part in enumerate(parts):
        for cell in users[part]:
            cell.append(place)
    shared = tuple(tuple(each) for each in users)
    return ReadBlock(table=points[0].table, window=window, points=points, parts=parts, users=shared)


def _meet(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop
