"""Lies on the wire end as faults or lost links, and nothing outside the allow-list is ever written."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.modbus.simulator import ModbusSite
from adapters.modbus.translation import bind_all
from adapters.modbus.writing import point_run, role_runs
from gateway.core.mailbox import Role
from gateway.core.point import Quality, Reading, Value
from gateway.errors import LinkLost, PointRejected
from gateway.ports import Adapter, PointWrite, RoleWrite
from tests.adapters.fault_proxy import FaultProxy
from tests.adapters.modbus.rig import MAILBOX, WRITABLE, Rig

_ANSWERS = 3_000


class Liar(FaultProxy):
    """Changes, cuts, doubles and swaps what the device answers."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._dice = random.Random(20261125)
        self.answers = 0

    def passing(self, data: bytes) -> bytes:
        self.answers += 1
        if self._dice.random() < 0.5:
            return data
        at = self._dice.randrange(len(data))
        kind = self._dice.randrange(4)
        if kind == 0:
            return data[:at] + bytes([self._dice.randrange(256)]) + data[at + 1 :]
        if kind == 1:
            return data[:at] + self._dice.randbytes(3)
        return data + data if kind == 2 else data[:at] + data


async def test_three_thousand_answers_half_of_them_lies() -> None:
    """P17: no exception but LinkLost leaves the session, every reading is a value or a fault, nothing is written."""
    async with asyncio.timeout(280), ModbusSite(MAILBOX) as site:  # a busy machine takes its time for so many
        liar = Liar(site.host, site.port)
        await liar.open()
        try:
            adapter = Rig(site, poll="1ms", timeout="5ms", settings={"port": liar.port}).adapter()
            while liar.answers < _ANSWERS:
                await _listen(adapter)
            assert all(access.values is None for access in site.log)
        finally:
            await liar.close()


async def _listen(adapter: Adapter) -> None:
    try:
        async with adapter.connect() as session:
            while True:
                for item in await session.read():
                    if isinstance(item, Reading):
                        assert (item.quality is Quality.GOOD) == (item.value is not None)
    except LinkLost:
        pass


VALUES: st.SearchStrategy[Value] = st.one_of(
    st.decimals(allow_nan=True, allow_infinity=True), st.booleans(), st.text(max_size=80)
)


@settings(max_examples=500)
@given(name=st.sampled_from([*WRITABLE, "level", "sensor", "breaker", "export_limit", "nothing"]), value=VALUES)
def test_a_point_is_written_as_it_was_declared_or_not_at_all(name: str, value: Value) -> None:
    """P20: only declared places, only in tables that can be written, only values that read back as the same."""
    points = bind_all(Rig(ModbusSite(MAILBOX, port=1)).connection())
    try:
        run = point_run(points.get(name), PointWrite(point=name, value=value))
    except PointRejected:
        return
    assert name in WRITABLE - {"gauge"}
    assert (run.table, run.window) == (points[name].table, points[name].place.window)
    assert not isinstance(value, Decimal) or list(run.cells) == [int(value)]


@settings(max_examples=500)
@given(
    role=st.sampled_from(Role),
    value=st.one_of(st.integers(), st.text(max_size=80), st.lists(st.integers(), max_size=4).map(tuple)),
)
def test_a_mailbox_lets_us_write_its_result_block_only(role: Role, value: int | str | tuple[int, ...]) -> None:
    """P20: whatever the role and the value, every register lies in the block that is ours, and holds 16 bits."""
    try:
        runs = role_runs("plc", MAILBOX, [RoleWrite(mailbox="plc", role=role, value=value)])
    except PointRejected:
        return
    for run in runs:
        assert set(run.window) <= set(MAILBOX.host_block)
        assert all(0 <= cell < 0x10000 for cell in run.cells)
