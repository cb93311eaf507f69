"""The simulated plant keeps the mailbox's rules, so that a test of the gateway tests the gateway."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.modbus.simulator import ModbusSite, payload_of
from gateway.core.mailbox import Role, parse_block
from gateway.core.point import Value
from gateway.ports import Committed, RoleWrite, Session
from tests.adapters.modbus.rig import MAILBOX, Rig, request, running


async def answer(session: Session, sequence: int, result_seq: int) -> None:
    await session.write(
        [
            RoleWrite(mailbox="plc", role=Role.RESULT_FOR, value=sequence),
            RoleWrite(mailbox="plc", role=Role.STATE, value=2),
            RoleWrite(mailbox="plc", role=Role.ERROR_COUNT, value=0),
            RoleWrite(mailbox="plc", role=Role.TEXT, value="fine"),
            RoleWrite(mailbox="plc", role=Role.RESULT_SEQ, value=result_seq),
        ]
    )


async def test_a_whole_conversation(rig: Rig) -> None:
    """Request, acknowledgement, result, RESULT_ACK_SEQ; the plant refills only after the acknowledgement."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        first = await rig.site.request(1, [1, 2])
        second = asyncio.create_task(rig.site.request(1, [3]))
        asked = await request(session)
        assert (asked.sequence, second.done()) == (first, False)
        await session.confirm(asked.receipt, Committed())
        assert await second == first + 1
        await answer(session, first, 1)
        result = await rig.site.result(first)
        assert (result.state, result.text, result.result_seq) == (2, "fine", 1)
        assert rig.site.role(Role.RESULT_ACKNOWLEDGE) == 1


async def test_results_are_consumed_in_order_whoever_waits_first(rig: Rig) -> None:
    """Waiting for the second result consumes the first, which is still handed to whoever asks for it."""
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        later = asyncio.create_task(rig.site.result(8))
        await answer(session, 7, 1)
        await answer(session, 8, 2)
        assert (await later).result_seq == 2
        await answer(session, 9, 3)
        assert (await rig.site.result(9)).result_seq == 3


async def test_a_block_is_whole_before_its_sequence_shows(rig: Rig) -> None:
    """What the plant raises always checks."""
    await rig.site.request(2, [5, 6, 7])
    block = parse_block(rig.site.registers(1000, 20))
    assert (block.sequence, block.kind, block.payload, block.crc) == (1, 2, (5, 6, 7), block.computed)


async def test_the_sequence_skips_zero(rig: Rig) -> None:
    """After 65535 comes 1."""
    rig.site.set_registers(1000, [65535])
    rig.site.set_registers(1200, [65535])
    assert await rig.site.request(1, []) == 1


async def test_memory_survives_the_process(tmp_path: Path) -> None:
    """What was written, by the plant or by its master, is in the file before it is answered."""
    memory = tmp_path / "plc.json"
    async with asyncio.timeout(30), running(memory) as rig, rig.adapter().connect() as session:
        sequence = await rig.site.request(1, [77])
        await session.confirm((await request(session)).receipt, Committed())
        reborn = ModbusSite(MAILBOX, memory=memory)  # the first one was never told to stop
        assert reborn.role(Role.REQUEST_SEQ) == reborn.role(Role.ACKNOWLEDGE) == sequence
        assert reborn.registers(1006) == [77]


async def test_a_plant_without_battery_forgets(rig: Rig) -> None:
    """After a power cut every holding register is 0, and the next request is number 1 again."""
    await rig.site.request(1, [1], sequence=40)
    rig.site.forget()
    assert rig.site.role(Role.REQUEST_SEQ) == 0
    assert await rig.site.request(1, [1]) == 1


async def test_a_payload_is_made_of_engineering_values(rig: Rig) -> None:
    """What the plant lays into its registers is what the adapter reads there."""
    values: dict[str, Value] = {"serial": "ABC", "export_limit": Decimal("12.3")}
    payload = payload_of(rig.connection(), MAILBOX, values)
    assert payload == [123, 0, 0x4142, 0x4300, 0, 0]
    await rig.site.request(1, payload)
    async with asyncio.timeout(30), rig.adapter().connect() as session:
        snapshot = (await request(session)).snapshot
    assert {name: snapshot[name].value for name in values} == values
    assert payload_of(rig.connection(), MAILBOX, {}) == []
    assert payload_of(rig.connection(), MAILBOX, {"level": Decimal(1)}) == []  # not in the payload


async def test_a_taken_port_is_an_error(rig: Rig) -> None:
    """Two plants cannot share a port, and the second says so."""
    with pytest.raises(RuntimeError, match="Could not start listen"):
        await ModbusSite(MAILBOX, port=rig.site.port).start()
