"""A mailbox of points: what is read as a request, what its number covers, and what is written where."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.binding import HOST_ROLES, NEEDED, SITE_ROLES, number_of, payload_of, read_block, role_point
from gateway.core.mailbox import BOUND, FrameReader, MailboxSpec, Role, payload_window
from gateway.core.point import Quality, Reading, Value

ALL = {**SITE_ROLES, **HOST_ROLES}
FULL = MailboxSpec(
    name="ems",
    connection="scada",
    layout=BOUND,
    roles={role: f"p_{word}" for word, role in ALL.items()},
    payload=("limit", "serial"),
)
BARE = replace(FULL, roles={ALL[word]: f"p_{word}" for word in NEEDED}, crc=False, latest=True, payload=())
RAW = {"limit": b"\x01\xf4", "serial": b"AB"}


def readings(values: Mapping[str, Value], at: int = 5) -> dict[str, Reading]:
    return {name: Reading(point=name, value=value, at=at) for name, value in values.items()}


SHOWN = readings(
    {
        "p_request": Decimal(7),
        "p_kind": Decimal(2),
        "p_length": Decimal(2),
        "p_crc": Decimal(zlib.crc32(b"\0\x07\0\x02\0\x02\x01\xf4AB")),
        "p_result_acknowledge": Decimal(3),
        "limit": Decimal("50.0"),
        "serial": "AB",
    }
)


def test_every_role_is_read_where_the_site_has_it() -> None:
    """The CRC covers sequence, kind, length and the payload's own bytes; the evidence is readable and exact."""
    block = read_block(FULL, SHOWN, RAW)
    assert (block.sequence, block.kind, block.length, block.result_acknowledged) == (7, 2, 2, 3)
    assert block.crc == block.computed
    assert block.complete
    assert json.loads(block.raw, parse_float=str)["payload"] == {"limit": "50.0", "serial": "AB"}


def test_what_the_site_does_not_have_has_its_default() -> None:
    """Four points make a mailbox: kind 1, everything filled, our own CRC."""
    block = read_block(BARE, SHOWN, {})
    assert (block.sequence, block.kind, block.length, block.result_acknowledged, block.complete) == (7, 1, 0, 0, True)
    assert block.crc == block.computed == zlib.crc32(b"\0\x07\0\x01\0\0")


@pytest.mark.parametrize("value", [Decimal("7.5"), Decimal(-1), Decimal(65536), "7", True])
def test_a_role_that_is_no_number_is_refused_and_named(value: Value) -> None:
    """A sequence lives in 0..65535 whatever the node could hold."""
    with pytest.raises(ValueError, match=r"request_seq is outside 0\.\.65535: point p_request is"):
        read_block(FULL, {**SHOWN, **readings({"p_request": value})}, RAW)


def test_a_role_that_cannot_be_read_says_why() -> None:
    """Bad quality is not a zero."""
    bad = Reading(point="p_kind", value=None, quality=Quality.BAD, at=5, detail="BadOutOfService")
    with pytest.raises(ValueError, match="kind is not readable: point p_kind: BadOutOfService"):
        read_block(FULL, {**SHOWN, "p_kind": bad}, RAW)
    with pytest.raises(ValueError, match="was not read"):
        number_of(FULL, Role.CRC, {})


def test_a_point_beyond_length_has_no_value() -> None:
    """It would be the one of the request before; the others stay as they are."""
    block = read_block(FULL, {**SHOWN, **readings({"p_length": Decimal(1)})}, RAW)
    brought = payload_of(FULL, block, SHOWN)
    assert (brought["limit"], brought["serial"].fault) == (SHOWN["limit"], "payload_too_short")


def test_a_length_beyond_the_payload_is_refused_after_three_looks() -> None:
    """The frame half judges points as it judges registers."""
    reader = FrameReader(replace(FULL, crc=False))
    block = read_block(FULL, {**SHOWN, **readings({"p_length": Decimal(3)})}, RAW)
    found = [reader.observe(block, at, sequence_after=7, after_at=at) for at in (1, 2, 3)]
    assert [frame.fault if frame else None for frame in found] == [None, None, "bad_length"]


@given(changed=st.binary(min_size=2, max_size=2))
def test_any_other_payload_has_another_crc(changed: bytes) -> None:
    """So that a number used again for something else is noticed, and a torn payload refused."""
    block = read_block(FULL, SHOWN, {**RAW, "limit": changed})
    assert (block.computed == block.crc) == (changed == RAW["limit"])


def test_only_host_roles_that_are_there_are_written() -> None:
    """A number as points have it, a text as it is; everything else is refused."""
    assert role_point(FULL, Role.STATE, 2) == ("p_result", Decimal(2))
    assert role_point(FULL, Role.TEXT, "row 0") == ("p_text", "row 0")
    with pytest.raises(ValueError, match="is the site's to write"):
        role_point(FULL, Role.REQUEST_SEQ, 1)
    with pytest.raises(ValueError, match="is not a role of this mailbox"):
        role_point(BARE, Role.HEARTBEAT, 1)


_OF_BLOCKS = {Role.PAYLOAD, Role.DETAIL, Role.SMP_ID, Role.SMP_ROW, Role.PAGES, Role.PAGE}


def test_it_takes_no_registers() -> None:
    """Nothing of it can collide with, or be decoded from, a block of registers."""
    assert len(FULL.site_block) == len(FULL.host_block) == len(payload_window(FULL, 10)) == 0
    assert [role for role in Role if FULL.has(role)] == [role for role in Role if role not in _OF_BLOCKS]
