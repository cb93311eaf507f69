"""Registers that hold what they held are not decoded again; nobody can tell the difference."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.modbus.addresses import Table
from adapters.modbus.config import ModbusConnection, ModbusPoint
from adapters.modbus.line import DeviceRefusal
from adapters.modbus.polling import Poller
from adapters.modbus.translation import bind_all, read_point
from gateway.core.point import PointSpec, Reading
from gateway.ports import ConnectionConfig, Resources
from tests.adapters.modbus.rig import CountingClock, NoEntropy, no_secret


class Registers:
    """A line to holding registers that a test holds, refusing some addresses."""

    def __init__(self) -> None:
        self.cells: list[int] = [0] * 6
        self.refused: frozenset[int] = frozenset()
        self._at = 0

    def now(self) -> int:
        self._at += 1
        return self._at

    async def idle(self, until: float) -> None:
        """Nothing is waited for."""

    @contextmanager
    def ahead(self) -> Iterator[None]:
        yield

    async def read(self, table: Table, window: range, *, ahead: bool = False) -> tuple[list[int], int]:  # noqa: ARG002
        if self.refused & frozenset(window):
            raise DeviceRefusal(2)
        return self.cells[window.start : window.stop], self.now()

    async def write(self, table: Table, address: int, cells: Sequence[int]) -> None:
        raise AssertionError((table, address, cells))


STATES = ([0, 1, 0, 7, 3, 1], [0, 0x8000, 0, 7, 3, 0x8000], [7, 1, 0, 8, 3, 2], [0, 0x8000, 0, 7, 3, 1])
LOOKS = st.lists(
    st.tuples(st.sampled_from(STATES), st.sampled_from([-1, -1, 0, 1, 3, 5])),  # the registers, and one that is refused
    min_size=2,
    max_size=10,
)


class Impatient(Poller):
    """Tries again with every poll what was refused."""

    ticks = 0

    def _monotonic(self) -> int:
        self.ticks += 1_000_000_000
        return self.ticks


@settings(max_examples=40)
@given(looks=LOOKS)
def test_what_stands_still_is_told_as_if_it_were_read_anew(looks: list[tuple[list[int], int]]) -> None:
    """Pins that leaving out what did not change changes nothing that is told: values, absences, refusals, returns."""
    asyncio.run(tells(looks))


async def tells(looks: list[tuple[list[int], int]]) -> None:
    places: Mapping[str, Mapping[str, object]] = {
        "plain": {"address": "holding:0", "type": "uint16"},
        "absent": {"address": "holding:1", "type": "int16", "not_available": "sunspec"},
        "long": {"address": "holding:2", "type": "uint32"},
        "scaled": {"address": "holding:4", "type": "int16", "scale_factor": "holding:5"},
    }
    points = {
        name: (PointSpec(name=name, connection="plc"), ModbusPoint.model_validate(place))
        for name, place in places.items()
    }
    link = ModbusConnection.model_validate({"host": "localhost", "retest": "1ms"})
    config = ConnectionConfig(site="s", name="plc", settings=link, points=points, mailboxes={})
    bound = bind_all(config)
    resources = Resources(
        clock=CountingClock(), entropy=NoEntropy(), event=lambda *_args, **_fields: None, secret=no_secret
    )
    line = Registers()
    poller = Impatient(line, config, link, bound, resources)
    told: dict[str, tuple[object, ...]] = {}
    for cells, refused in looks:
        line.cells, line.refused = cells, frozenset({refused} - {-1})
        news = (await poller.poll(poller.periods)).news
        wanted = {}
        for name, point in bound.items():
            reach = point.place.reach
            whole = line.refused.isdisjoint(reach)
            found = read_point(point, cells[reach.start : reach.stop], 0) if whole else None
            wanted[name] = (None, "device_exception") if found is None else (found.value, found.fault)
        seen = {item.point: (item.value, item.fault) for item in news if isinstance(item, Reading)}
        assert seen == {name: now for name, now in wanted.items() if told.get(name) != now}
        told |= wanted
