"""mbpoll, a Modbus master by other people, reads at a simulated site what our adapter wrote there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from gateway.core.mailbox import Role
from gateway.ports import Committed, RoleWrite
from tests.adapters.modbus.rig import request, running

_LINE = re.compile(r"^\[(\d+)\]:\s+(-?\d+)", re.MULTILINE)


async def holding(mbpoll: str, port: int, address: int, count: int) -> list[int]:
    """Read holding registers once, addressed from 0, as unsigned numbers."""
    arguments = ["-m", "tcp", "-p", str(port), "-a", "1", "-0", "-1", "-q", "-t", "4"]
    process = await asyncio.create_subprocess_exec(
        mbpoll, *arguments, "-r", str(address), "-c", str(count), "127.0.0.1", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    found = {int(register): int(value) & 0xFFFF for register, value in _LINE.findall(output.decode())}
    return [found[register] for register in range(address, address + count)]


async def test_an_independent_master_reads_the_result(peer: Callable[[str], str]) -> None:
    """After the verdict the result block says the same to everybody on the wire."""
    mbpoll = peer("mbpoll")
    async with asyncio.timeout(60), running() as rig, rig.adapter().connect() as session:
        sequence = await rig.site.request(1, [500])
        await session.confirm((await request(session)).receipt, Committed())
        await session.write(
            [
                RoleWrite(mailbox="plc", role=Role.RESULT_FOR, value=sequence),
                RoleWrite(mailbox="plc", role=Role.STATE, value=3),
                RoleWrite(mailbox="plc", role=Role.ERROR_COUNT, value=40000),
                RoleWrite(mailbox="plc", role=Role.TEXT, value="row 17 id: check digit"),
                RoleWrite(mailbox="plc", role=Role.RESULT_SEQ, value=9),
            ]
        )
        acknowledged, result_seq, result_for, state, errors, _, *text = await holding(mbpoll, rig.site.port, 1200, 38)
        assert (acknowledged, result_seq, result_for, state, errors) == (sequence, 9, sequence, 3, 40000)
        letters = b"".join(register.to_bytes(2, "big") for register in text)
        assert letters.rstrip(b"\0") == b"row 17 id: check digit"
        assert await holding(mbpoll, rig.site.port, 1000, 3) == [sequence, 1, 1]
