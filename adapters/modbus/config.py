"""What the YAML says of a Modbus connection and its points; no I/O, and quick to import.

``transport`` is ``tcp`` only; TLS and RTU over TCP are named and refused until they exist. ``plain`` is the operator's
reason for trusting an unprotected link: Modbus has no signature, so whoever reaches the wire can raise a request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    field_validator,
    model_validator,
)

ADDRESSES = 0x10000

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)")
_MICROSECONDS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000}


class Table(StrEnum):
    """The four tables of a Modbus device."""

    HOLDING = "holding"
    INPUT = "input"
    COIL = "coil"
    DISCRETE = "discrete"

    @property
    def bits(self) -> bool:
        """Whether an address of this table holds one bit instead of one register."""
        return self in (Table.COIL, Table.DISCRETE)


class PointType(StrEnum):
    """How the registers of a point are read."""

    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"
    BOOL = "bool"


# Registers of each type; a string's length is its own.
SIZES = {
    PointType.INT16: 1,
    PointType.UINT16: 1,
    PointType.INT32: 2,
    PointType.UINT32: 2,
    PointType.INT64: 4,
    PointType.UINT64: 4,
    PointType.FLOAT32: 2,
    PointType.FLOAT64: 4,
    PointType.BOOL: 1,
}
Order = Literal["big", "little"]


@dataclass(frozen=True, slots=True)
class Address:
    """A place in a device, such as ``holding:1006``: the address on the wire, counted from 0."""

    table: Table
    register: int

    def __str__(self) -> str:
        return f"{self.table}:{self.register}"


def parse_address(value: object) -> Address:
    """Read ``table:register``.

    Raises:
        ValueError: another shape, an unknown table, or a register outside 0..65535.
    """
    if isinstance(value, Address):
        return value
    table, colon, register = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not re.fullmatch(r"-?[0-9]+", register):
        raise ValueError(f"{value!r} is not an address; write table:register, such as holding:1006")
    if table not in set(Table):
        raise ValueError(f"{table} is not one of {', '.join(Table)}")
    if not 0 <= int(register) < ADDRESSES:
        raise ValueError(f"{register} is outside 0..{ADDRESSES - 1}")
    return Address(Table(table), int(register))


def parse_duration(value: object) -> int:
    """Read a duration with its unit, such as ``250ms``, as µs.

    Raises:
        ValueError: another shape, or nothing at all.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and its unit, such as 250ms or 1s")
    duration = round(float(match[1]) * _MICROSECONDS[match[2]])
    if duration == 0:
        raise ValueError(f"{value!r} is no time at all")
    return duration


Duration = Annotated[
    int, PlainValidator(parse_duration), WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"})
]
AddressField = Annotated[
    Address,
    PlainValidator(parse_address),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(Table)}):[0-9]+$", "examples": ["holding:1006"]}),
]


class ModbusConnection(BaseModel):
    """A link to one unit of a Modbus TCP device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    transport: Annotated[str, WithJsonSchema({"type": "string", "enum": ["tcp"]})] = "tcp"
    poll: Annotated[Duration, Field(description="time between two polls")] = 1_000_000
    timeout: Annotated[Duration, Field(description="longest wait for one answer")] = 1_000_000
    word_order: Annotated[Order, Field(description="which register of a number comes first")] = "big"
    byte_order: Annotated[Order, Field(description="which byte of a register comes first")] = "big"
    plain: Annotated[str | None, Field(min_length=1, description="why an unprotected link is good enough")] = None

    @field_validator("transport")
    @classmethod
    def _only_tcp(cls, value: str) -> str:
        if value in ("tls", "rtu-over-tcp"):
            raise ValueError(f"{value} is not supported yet; only tcp is")
        if value != "tcp":
            raise ValueError(f"{value} is not a transport; only tcp is supported")
        return value

    def warnings(self) -> tuple[str, ...]:
        """What is allowed but should not stay as it is, for ``check`` to show."""
        if self.plain is not None or self.host in ("localhost", "127.0.0.1", "::1"):
            return ()
        return ("Modbus TCP is not protected on the wire; write `plain:` with the reason why this link may be trusted",)


class ModbusPoint(BaseModel):
    """Where a point lives in the device, and how its registers are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: AddressField
    type: PointType | None = None
    length: Annotated[int | None, Field(ge=1, le=123, description="registers of a string")] = None
    word_order: Order | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.address.table.bits:
            if self.type not in (None, PointType.BOOL):
                raise ValueError(f"a {self.address.table} is a bool, not {self.type}")
        elif self.type is None:
            raise ValueError(f"type is missing; a {self.address.table} register can be {', '.join(PointType)}")
        if (self.type is PointType.STRING) != (self.length is not None):
            raise ValueError("length is for strings, and every string needs it: the number of registers")
        if self.address.register + self.size > ADDRESSES:
            raise ValueError(f"{self.address} with {self.size} registers is outside 0..{ADDRESSES - 1}")
        return self

    @property
    def kind(self) -> PointType:
        """The type, also where the table says it already."""
        return self.type or PointType.BOOL

    @property
    def size(self) -> int:
        """How many registers, or bits, the point takes."""
        return self.length or SIZES[self.kind]

    @property
    def window(self) -> range:
        """The addresses of the point in its table."""
        return range(self.address.register, self.address.register + self.size)
