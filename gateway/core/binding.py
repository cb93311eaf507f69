"""A mailbox whose roles are points that the site already has, read and written by whatever protocol it speaks. Pure.

Rules
-----
* REQUEST, ACKNOWLEDGE, RESULT and RESULT_SEQUENCE are needed; every other role is told only where the site has it.
* Without KIND every request is of kind 1, without LENGTH all of the payload is filled, without RESULT_ACKNOWLEDGE only
  the latest result can be shown.
* REQUEST is read before everything else and again after it. The site writes its payload first and REQUEST last, so what
  was read in between is what belongs to the number, or the number has moved.
* LENGTH counts payload points. The CRC is CRC-32/ISO-HDLC over sequence, kind and length (two bytes each) and the first
  LENGTH payload values: a number as the bytes of its type, most significant first, a text as UTF-8.
* Without a CRC of the site's own ours over the same bytes tells whether a number was used again for something else.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from decimal import Decimal

from gateway.core import codec
from gateway.core.mailbox import SEQUENCES, Block, MailboxSpec, Role
from gateway.core.point import Quality, Reading, Snapshot, Value

# What YAML calls the roles, and which of them the site writes and which we do.
SITE_ROLES: Mapping[str, Role] = {
    "request": Role.REQUEST_SEQ,
    "kind": Role.KIND,
    "length": Role.LENGTH,
    "crc": Role.CRC,
    "result_acknowledge": Role.RESULT_ACKNOWLEDGE,
}
HOST_ROLES: Mapping[str, Role] = {
    "acknowledge": Role.ACKNOWLEDGE,
    "result": Role.STATE,
    "result_sequence": Role.RESULT_SEQ,
    "result_for": Role.RESULT_FOR,
    "error_count": Role.ERROR_COUNT,
    "text": Role.TEXT,
    "heartbeat": Role.HEARTBEAT,
}
NEEDED = ("request", "acknowledge", "result", "result_sequence")
ONLY_KIND = 1  # of a request in a mailbox without the role

_LIMITS: Mapping[Role, int] = {Role.CRC: 1 << 32}


def number_of(spec: MailboxSpec, role: Role, readings: Snapshot, default: int = 0) -> int:
    """The number that a role's point holds; ``default`` where the mailbox has no such role.

    Raises:
        ValueError: the point was not read, or holds no number of this role.
    """
    point = spec.roles.get(role)
    if point is None:
        return default
    reading = readings.get(point)
    if reading is None or reading.quality is not Quality.GOOD:
        raise ValueError(f"{role} is not readable: point {point}: {_why(reading)}")
    number, limit = reading.value, _LIMITS.get(role, SEQUENCES)
    if not isinstance(number, Decimal) or number != number.to_integral_value() or not 0 <= number < limit:
        raise ValueError(f"{role} is outside 0..{limit - 1}: point {point} is {number}")
    return int(number)


def read_block(spec: MailboxSpec, readings: Snapshot, raw: Mapping[str, bytes]) -> Block:
    """Put together what the roles and the payload show; ``raw`` holds the bytes of each payload value that was read.

    Raises:
        ValueError: a role that the mailbox has is not readable.
    """
    sequence = number_of(spec, Role.REQUEST_SEQ, readings)
    kind = number_of(spec, Role.KIND, readings, ONLY_KIND)
    length = number_of(spec, Role.LENGTH, readings, len(spec.payload))
    filled = spec.payload[:length]
    computed = zlib.crc32(struct.pack(">3H", sequence, kind, length) + b"".join(raw.get(name, b"") for name in filled))
    crc = number_of(spec, Role.CRC, readings, computed)
    values = {name: readings[name].value if name in readings else None for name in filled}
    evidence = {"request": sequence, "kind": kind, "length": length, "crc": crc, "payload": values}
    return Block(
        sequence=sequence,
        kind=kind,
        length=length,
        crc=crc,
        result_acknowledged=number_of(spec, Role.RESULT_ACKNOWLEDGE, readings),
        payload=(),
        computed=computed,
        raw=codec.dumps(evidence),
        complete=length <= len(spec.payload),
    )


def payload_of(spec: MailboxSpec, block: Block, readings: Snapshot) -> Snapshot:
    """The readings as this request brings them: a payload point beyond its LENGTH has no value."""
    missing = spec.payload[block.length :]
    return {**readings, **{name: _beyond(name, block.length, readings) for name in missing}}


def role_point(spec: MailboxSpec, role: Role, value: int | str | tuple[int, ...]) -> tuple[str, Value]:
    """The point that a host-to-site role is written to, and the value as points have them.

    Raises:
        ValueError: the role is the site's to write, or the mailbox does not have it.
    """
    if role not in HOST_ROLES.values() or isinstance(value, tuple):
        raise ValueError("is the site's to write")
    if role not in spec.roles:
        raise ValueError("is not a role of this mailbox")
    return spec.roles[role], value if isinstance(value, str) else Decimal(value)


def _beyond(name: str, length: int, readings: Snapshot) -> Reading:
    at = readings[name].at if name in readings else 0
    detail = f"the request fills {length} points, and {name} is not among them"
    return Reading(point=name, value=None, quality=Quality.BAD, at=at, fault="payload_too_short", detail=detail)


def _why(reading: Reading | None) -> str:
    if reading is None:
        return "was not read"
    return reading.detail or reading.fault or reading.quality.value
