"""A mailbox whose roles are points that the device already has, and what may not be written together."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

import adapters.modbus
from adapters.modbus.config import ModbusConnection, ModbusPoint
from adapters.modbus.simulator import Access
from gateway.core.mailbox import BOUND, MailboxSpec, Role, register_bytes
from gateway.core.point import Access as Mode
from gateway.core.point import PointSpec
from gateway.errors import LinkLost, PointRejected
from gateway.ports import Committed, ConnectionConfig, RoleWrite
from tests.adapters.modbus.rig import Rig, request, status

BOX = MailboxSpec(
    name="plc",
    connection="plc",
    layout=BOUND,
    roles={
        Role.REQUEST_SEQ: "b_request",
        Role.CRC: "b_crc",
        Role.LENGTH: "b_length",
        Role.RESULT_ACKNOWLEDGE: "b_consumed",
        Role.ACKNOWLEDGE: "b_ack",
        Role.STATE: "b_state",
        Role.RESULT_SEQ: "b_result",
        Role.TEXT: "b_text",
    },
    payload=("b_limit", "b_name"),
)
POINTS: Mapping[str, Mapping[str, object]] = {
    "b_request": {"address": "holding:4000", "type": "uint16"},
    "b_length": {"address": "holding:4001", "type": "uint16"},
    "b_limit": {"address": "holding:4100", "type": "int32", "word_order": "little"},
    "b_name": {"address": "holding:4102", "type": "string", "length": 4},
    "b_crc": {"address": "holding:4110", "type": "uint32"},
    "b_consumed": {"address": "holding:4112", "type": "uint16"},
    "b_ack": {"address": "holding:5000", "type": "uint16"},
    "b_state": {"address": "holding:5001", "type": "uint16"},
    "b_result": {"address": "holding:5002", "type": "uint16"},
    "b_text": {"address": "holding:5010", "type": "string", "length": 4},
}
OURS = ("b_ack", "b_state", "b_result", "b_text")


def bound(rig: Rig) -> ConnectionConfig:
    rig.extra, rig.mailboxes = POINTS, {"plc": BOX}
    connection = rig.connection()
    points = {
        name: (replace(spec, access=Mode.WRITE), place) if name in OURS else (spec, place)
        for name, (spec, place) in connection.points.items()
    }
    return replace(connection, points=points)


def ask(rig: Rig, sequence: int, limit: int = 500) -> None:
    """As a PLC would: everything else first, the number last; the CRC over the values as core/binding.py says."""
    crc = zlib.crc32(bytes([0, sequence, 0, 1, 0, 2]) + limit.to_bytes(4, "big") + b"HAMS")
    rig.site.set_registers(4100, [limit & 0xFFFF, limit >> 16, 0x4841, 0x4D53, 0, 0])
    rig.site.set_registers(4110, [crc >> 16, crc & 0xFFFF])
    rig.site.set_registers(4000, [sequence, 2])


async def test_a_request_is_whole_and_answered_in_the_sites_own_points(rig: Rig) -> None:
    """Read, acknowledged, answered: the text cut to its point, the result's number where the site looks for it."""
    async with asyncio.timeout(30), rig.adapter(bound(rig)).connect() as session:
        assert (await status(session)).request_seq == 0
        ask(rig, 7, 70000)
        asked = await request(session)
        assert (asked.sequence, asked.fault) == (7, None)
        assert {name: asked.snapshot[name].value for name in ("b_limit", "b_name", "level")} == {
            "b_limit": Decimal(70000),
            "b_name": "HAMS",
            "level": Decimal(0),
        }
        assert "b_request" not in asked.snapshot
        await session.confirm(asked.receipt, Committed())
        roles = ((Role.STATE, 3), (Role.TEXT, "check digit"), (Role.RESULT_SEQ, 1))
        await session.write([RoleWrite(mailbox="plc", role=role, value=value) for role, value in roles])
        with pytest.raises(PointRejected, match="is not a role of this mailbox"):
            await session.write([RoleWrite(mailbox="plc", role=Role.HEARTBEAT, value=1)])
        assert rig.site.registers(5000, 3) == [7, 3, 1]
        assert register_bytes(rig.site.registers(5010, 4)) == b"check..."
        rig.site.set_registers(4112, [1])
        while (found := await status(session)).result_acknowledged != 1:
            pass
        assert (found.acknowledged, found.result_seq) == (7, 1)


async def test_the_number_is_read_again_after_everything_else(rig: Rig) -> None:
    """Where it moved meanwhile nothing is believed; the next look tells the new request, whole."""
    ask(rig, 1)

    def change(access: Access) -> None:
        if access.address == 4100:
            rig.site.on_access = None
            ask(rig, 2, 900)

    rig.site.on_access = change
    async with asyncio.timeout(30), rig.adapter(bound(rig)).connect() as session:
        asked = await request(session)
    assert (asked.sequence, asked.fault, asked.snapshot["b_limit"].value) == (2, None, Decimal(900))


async def test_a_role_that_cannot_be_read_is_told_once(rig: Rig) -> None:
    """The points are read all the same, and the request comes when its role can be read again."""
    rig.site.refuse(4001)
    ask(rig, 1)
    async with asyncio.timeout(30), rig.adapter(bound(rig)).connect() as session:
        await session.read()
        rig.site.heal()
        assert (await request(session)).sequence == 1
    told = [name for name, fields in rig.events if fields["what"] == "mailbox plc"]
    assert told == ["point_read_failed", "point_read_recovered"]


async def test_an_acknowledgement_that_is_not_taken_is_a_lost_link(rig: Rig) -> None:
    """Whether the site knows is unknown: the request is seen again after the next connect."""
    rig.site.refuse(5000, reads=False)
    ask(rig, 1)
    async with asyncio.timeout(30), rig.adapter(bound(rig)).connect() as session:
        asked = await request(session)
        with pytest.raises(LinkLost, match="takes no acknowledgement"):
            await session.confirm(asked.receipt, Committed())


@pytest.mark.parametrize(
    ("members", "settings", "access", "words"),
    [
        ({"address": "input:5", "type": "int16"}, {}, "write", "access: Modbus only reads input"),
        ({"address": "holding:5", "type": "bool", "bit": 3}, {}, "write", "bit: a bit cannot be written alone"),
        ({"address": "holding:5", "type": "int16", "poll": "5s"}, {}, "write", "poll: a point that is written is not"),
        ({"address": "holding:1006", "type": "int16", "poll": "5s"}, {}, "read", "poll: the payload of mailbox plc"),
        (
            {"address": "holding:1006", "type": "int16", "scale_factor": "holding:1126"},
            {},
            "read",
            "scale_factor: it must lie in the payload of mailbox plc",
        ),
        (
            {"address": "holding:5", "type": "string", "length": 100},
            {"max_registers": 64},
            "read",
            "address: needs an answer of 100 registers, and the connection's max_registers is 64",
        ),
        (
            {"address": "holding:5", "type": "int16"},
            {"forbidden": ["holding:0-9"]},
            "read",
            "address: lies in holding:0-9, which is forbidden",
        ),
        (
            {"address": "holding:5", "type": "int16"},
            {"max_registers": 64},
            "read",
            "plc: its block is read in one answer of at most 64 registers: write capacity: 58",
        ),
        (
            {"address": "holding:5", "type": "int16"},
            {"forbidden": ["holding:1200-1200"]},
            "read",
            "plc: its registers lie in holding:1200-1200",
        ),
    ],
)
def test_what_contradicts_itself_is_told_with_its_place(
    members: dict[str, object], settings: dict[str, object], access: str, words: str
) -> None:
    """Each sentence names what does not fit, and where it stands."""
    config = ConnectionConfig(
        site="hams-bess",
        name="plc",
        settings=ModbusConnection.model_validate({"host": "plc.example", **settings}),
        points={"p": (PointSpec(name="p", connection="plc", access=Mode(access)), ModbusPoint.model_validate(members))},
        mailboxes={"plc": MailboxSpec(name="plc", connection="plc", base=1000, results=1200)},
    )
    tell = adapters.modbus.spec.contradictions
    assert tell is not None
    assert any(f"{path[-1]}: {said}".startswith(words) for path, said in tell(config)), list(tell(config))
