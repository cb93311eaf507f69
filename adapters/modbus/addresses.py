"""Where things are and how long they take, as the YAML of a Modbus site writes it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

ADDRESSES = 0x10000

_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.%a-z]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")
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


@dataclass(frozen=True, slots=True)
class Address:
    """A place in a device, such as ``holding:1006``: the address on the wire, counted from 0."""

    table: Table
    register: int

    def __str__(self) -> str:
        return f"{self.table}:{self.register}"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Addresses of one table, such as ``holding:100-119``."""

    table: Table
    window: range

    def __str__(self) -> str:
        return f"{self.table}:{self.window.start}-{self.window.stop - 1}"


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


def parse_stretch(value: object) -> Stretch:
    """Read ``table:first-last``.

    Raises:
        ValueError: another shape, or no addresses.
    """
    if isinstance(value, Stretch):
        return value
    first, dash, last = value.rpartition("-") if isinstance(value, str) else ("", "", "")
    if not dash or not re.fullmatch(r"[0-9]+", last):
        raise ValueError(f"{value!r} is no stretch of addresses; write table:first-last, such as holding:100-119")
    start = parse_address(first)
    if not start.register <= int(last) < ADDRESSES:
        raise ValueError(f"{last} is outside {start.register}..{ADDRESSES - 1}")
    return Stretch(start.table, range(start.register, int(last) + 1))


Duration = Annotated[
    int, PlainValidator(parse_duration), WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"})
]
AddressField = Annotated[
    Address,
    PlainValidator(parse_address),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(Table)}):[0-9]+$", "examples": ["holding:1006"]}),
]


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where we listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(value: object) -> ListenAddress:
    """Read ``HOST:PORT``; port 0 is any free one.

    Raises:
        ValueError: another shape.
    """
    if isinstance(value, ListenAddress):
        return value
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[3]) >= ADDRESSES:
        raise ValueError(f"{value!r} is no address to listen at; write HOST:PORT, such as 0.0.0.0:502")
    return ListenAddress(match[1] or match[2], int(match[3]))


def parse_network(value: object) -> Network:
    """Read a network, or the address of one host.

    Raises:
        ValueError: neither, or an address with bits beyond its network's.
    """
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"{value!r} is no network; write 10.20.1.0/24, or the address of one host") from None


Listen = Annotated[
    ListenAddress,
    PlainValidator(parse_listen),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$", "examples": ["0.0.0.0:502"]}),
]
NetworkField = Annotated[
    Network,
    PlainValidator(parse_network),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["10.20.1.0/24"]}),
]
StretchField = Annotated[
    Stretch,
    PlainValidator(parse_stretch),
    PlainSerializer(str),
    WithJsonSchema(
        {"type": "string", "pattern": f"^({'|'.join(Table)}):[0-9]+-[0-9]+$", "examples": ["holding:100-119"]}
    ),
]
