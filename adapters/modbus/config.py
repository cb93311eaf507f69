"""What the YAML says of a Modbus connection and its points; no I/O, and quick to import.

With ``role: client`` we call the site's device at ``host``; with ``role: server`` the site's masters call us at
``listen``. ``plain`` is the operator's reason for trusting an unprotected link: Modbus has no signature, so whoever
reaches the wire can raise a request. With ``transport: rtu-over-tcp`` each unit behind a gateway is a connection of
its own, so that one that is silent costs the others nothing here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from adapters.modbus.addresses import (
    ADDRESSES,
    Address,
    AddressField,
    Duration,
    Listen,
    NetworkField,
    StretchField,
)
from gateway.core.secret import SecretReference


class Transport(StrEnum):
    """How frames travel."""

    TCP = "tcp"
    TLS = "tls"  # Modbus/TCP Security: the same frames inside TLS
    RTU_OVER_TCP = "rtu-over-tcp"  # serial frames, as many gateways of serial lines pass them on


_TCP_PORT, _TLS_PORT = 502, 802
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
# What means nothing in the other role.
_OF_SERVER = frozenset({"listen", "allow", "silence", "names"})
_OF_CLIENT = frozenset(
    {"host", "port", "baud", "latency", "timeout", "forbidden", "retest", "max_registers", "max_bits", "max_gap"}
)


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
    BCD16 = "bcd16"
    BCD32 = "bcd32"
    BCD64 = "bcd64"
    STRING = "string"
    BOOL = "bool"

    @property
    def number(self) -> bool:
        """Whether it is neither text nor a bit."""
        return self not in (PointType.STRING, PointType.BOOL)


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
    PointType.BCD16: 1,
    PointType.BCD32: 2,
    PointType.BCD64: 4,
    PointType.BOOL: 1,
}
# What a device holds where it has no value, as SunSpec's information model reference (section "Data types") says.
SUNSPEC_NOT_AVAILABLE = {
    PointType.INT16: 0x8000,
    PointType.UINT16: 0xFFFF,
    PointType.INT32: 0x80000000,
    PointType.UINT32: 0xFFFFFFFF,
    PointType.INT64: 0x8000000000000000,
    PointType.UINT64: 0xFFFFFFFFFFFFFFFF,
    PointType.FLOAT32: 0x7FC00000,
    PointType.FLOAT64: 0x7FF8000000000000,
}
REGISTERS_PER_READ = 125  # Modbus application protocol V1.1b3, 6.3
BITS_PER_READ = 2000  # ibid., 6.1
_REGISTER_BITS = 16
Order = Literal["big", "little"]


def parse_not_available(value: object) -> int | Literal["sunspec"]:
    """Read what stands for "no value": ``sunspec`` for the type's own, or the registers as one unsigned number.

    Raises:
        ValueError: neither.
    """
    if value == "sunspec":
        return "sunspec"
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError(f"{value!r} is not sunspec, nor the registers as a number such as 0x8000")
    return number


NotAvailable = Annotated[
    int | Literal["sunspec"],
    PlainValidator(parse_not_available),
    WithJsonSchema(
        {"anyOf": [{"const": "sunspec"}, {"type": "integer"}, {"type": "string", "pattern": "^0x[0-9A-Fa-f]+$"}]}
    ),
]


class ModbusConnection(BaseModel):
    """A link to one unit of a Modbus device, or a register map of our own that the masters of one site call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Annotated[
        Literal["client", "server"], Field(description="client: we call the site's device; server: its masters call us")
    ] = "client"
    host: Annotated[str, Field(description="the site's device")] = ""
    listen: Annotated[Listen | None, Field(description="where our register map listens")] = None
    allow: Annotated[
        tuple[NetworkField, ...], Field(description="the networks from which masters may call, such as 10.20.1.0/24")
    ] = ()
    names: Annotated[
        tuple[str, ...],
        Field(description="tls: the names in the masters' certificates; without it every certificate of ca will do"),
    ] = ()
    silence: Annotated[
        Duration, Field(description="how long all masters may ask nothing before the link counts lost")
    ] = 60_000_000
    port: Annotated[int | None, Field(ge=1, le=65535, description="502; with tls, 802")] = None
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    transport: Transport = Transport.TCP
    ca: Annotated[
        SecretReference | None,
        Field(description="tls: the CA that the device's certificate, or with role: server the masters', come from"),
    ] = None
    certificate: Annotated[SecretReference | None, Field(description="tls: the certificate that we show (PEM)")] = None
    key: Annotated[SecretReference | None, Field(description="tls: the private key of that certificate (PEM)")] = None
    baud: Annotated[int, Field(ge=300, le=4_000_000, description="rtu-over-tcp: the speed of the line behind it")] = (
        9600
    )
    latency: Annotated[Duration, Field(description="usual wait for an answer, for what `check` calculates")] = 20_000
    poll: Annotated[Duration, Field(description="time between two polls")] = 1_000_000
    timeout: Annotated[Duration, Field(description="longest wait for one answer")] = 1_000_000
    word_order: Annotated[Order, Field(description="which register of a number comes first")] = "big"
    byte_order: Annotated[Order, Field(description="which byte of a register comes first")] = "big"
    max_registers: Annotated[int, Field(ge=1, le=REGISTERS_PER_READ, description="registers that one answer holds")] = (
        REGISTERS_PER_READ
    )
    max_bits: Annotated[int, Field(ge=1, le=BITS_PER_READ, description="coils that one answer holds")] = BITS_PER_READ
    max_gap: Annotated[
        int, Field(ge=0, le=REGISTERS_PER_READ, description="unused registers read over to save a request")
    ] = 8
    forbidden: Annotated[
        tuple[StretchField, ...], Field(description="addresses that no request may touch, such as holding:100-119")
    ] = ()
    retest: Annotated[Duration, Field(description="how soon an address that was refused is tried again")] = 60_000_000
    plain: Annotated[str | None, Field(min_length=1, description="why an unprotected link is good enough")] = None

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        needed, useless = ("host", _OF_SERVER) if self.role == "client" else ("listen", _OF_CLIENT)
        if not getattr(self, needed):
            raise ValueError(f"role: {self.role} needs {needed}")
        for name in sorted(useless & self.model_fields_set):
            raise ValueError(f"{name} means nothing with role: {self.role}; leave it out")
        if self.listen is not None and not self.allow:
            raise ValueError("role: server needs allow: the networks from which masters may call, such as 10.20.1.0/24")
        if self.listen is not None and self.transport is Transport.RTU_OVER_TCP:
            raise ValueError("role: server speaks tcp or tls, not rtu-over-tcp")
        return self

    @model_validator(mode="after")
    def _only_tls_has_certificates(self) -> Self:
        given = [name for name in ("ca", "certificate", "key") if getattr(self, name) is not None]
        if given and self.transport is not Transport.TLS:
            raise ValueError(f"{given[0]} is for transport: tls, and this is {self.transport}")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        if self.names and self.transport is not Transport.TLS:
            raise ValueError(f"names is for transport: tls, and this is {self.transport}")
        if self.role == "server" and self.transport is Transport.TLS and len(given) < 3:
            raise ValueError("role: server with tls needs certificate and key, and ca: whose certificates masters show")
        return self

    @property
    def tcp_port(self) -> int:
        """The port, also where none is written (the standard's own numbers)."""
        return self.port or (_TLS_PORT if self.transport is Transport.TLS else _TCP_PORT)

    def warnings(self) -> tuple[str, ...]:
        """What is allowed but should not stay as it is, for ``check`` to show."""
        host = self.host if self.listen is None else self.listen.host
        if self.plain is not None or self.transport is Transport.TLS or host in _HERE:
            return ()
        what = "this link" if self.listen is None else "these networks"
        said = "Modbus is not protected on the wire; use transport: tls, or write `plain:` with the reason why"
        return (f"{said} {what} may be trusted",)


class ModbusPoint(BaseModel):
    """Where a point lives in the device, and how its registers are read.

    ``scale_factor`` is the address of an int16 that holds a power of ten (SunSpec's sunssf); it may change at run
    time, so it is read in the same request. ``bit`` 0 is a register's least significant bit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: AddressField
    type: PointType | None = None
    length: Annotated[int | None, Field(ge=1, le=123, description="registers of a string")] = None
    word_order: Order | None = None
    byte_order: Order | None = None
    bit: Annotated[int | None, Field(ge=0, lt=_REGISTER_BITS, description="which bit of a register a bool is")] = None
    scale_factor: Annotated[AddressField | None, Field(description="register with the power of ten (SunSpec)")] = None
    poll: Annotated[Duration | None, Field(description="time between two polls; without it, the connection's")] = None
    not_available: Annotated[
        NotAvailable | None, Field(description="what the registers hold when there is no value: sunspec, or 0x8000")
    ] = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.address.table.bits:
            if self.type not in (None, PointType.BOOL):
                raise ValueError(f"a {self.address.table} is a bool, not {self.type}")
        elif self.type is None:
            raise ValueError(f"type is missing; a {self.address.table} register can be {', '.join(PointType)}")
        if (self.type is PointType.STRING) != (self.length is not None):
            raise ValueError("length is for strings, and every string needs it: the number of registers")
        if self.bit is not None and (self.kind is not PointType.BOOL or self.address.table.bits):
            raise ValueError("bit is for type: bool in a holding or input register")
        if self.address.register + self.size > ADDRESSES:
            raise ValueError(f"{self.address} with {self.size} registers is outside 0..{ADDRESSES - 1}")
        return self

    @model_validator(mode="after")
    def _knows_its_scale(self) -> Self:
        if self.scale_factor is None:
            return self
        if not self.kind.number:
            raise ValueError(f"scale_factor is for numbers, not for {self.kind}")
        if self.scale_factor.table is not self.address.table:
            raise ValueError(f"scale_factor must be in the same table as the point, {self.address.table}")
        if len(self.reach) > REGISTERS_PER_READ:
            raise ValueError(
                f"{self.scale_factor} is too far from {self.address}: both must come in one answer, "
                f"of at most {REGISTERS_PER_READ} registers"
            )
        return self

    @model_validator(mode="after")
    def _knows_what_is_absent(self) -> Self:
        if self.not_available is None:
            return self
        if self.not_available == "sunspec":
            if self.kind not in SUNSPEC_NOT_AVAILABLE:
                raise ValueError(f"SunSpec has no such value for {self.kind}; write the registers as a number")
        elif not self.kind.number:
            raise ValueError(f"not_available is for numbers, not for {self.kind}")
        elif self.not_available >= 1 << _REGISTER_BITS * self.size:
            raise ValueError(f"{self.not_available:#x} does not fit into the {self.size} registers of {self.kind}")
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

    @property
    def reach(self) -> range:
        """The addresses that one answer must hold to read the point: with its scale factor, if it has one."""
        if self.scale_factor is None:
            return self.window
        other = self.scale_factor.register
        return range(min(self.window.start, other), max(self.window.stop, other + 1))

    def shifted(self, registers: int, element: range) -> Self:
        """The same point so many registers further on; a scale factor in ``element`` moves along, another is for all.

        Raises:
            ValueError: outside the table.
        """
        moved = {"address": _further(self.address, registers, self.size)}
        if self.scale_factor is not None and self.scale_factor.register in element:
            moved["scale_factor"] = _further(self.scale_factor, registers, 1)
        place = self.model_copy(update=moved)
        if len(place.reach) > REGISTERS_PER_READ:
            said = f"{place.scale_factor} is too far from {place.address}: both must come in one answer"
            raise ValueError(said)
        return place

    @property
    def absent(self) -> int | None:
        """The registers as one unsigned number, most significant first, when there is no value."""
        if self.not_available == "sunspec":
            return SUNSPEC_NOT_AVAILABLE[self.kind]
        return self.not_available


def _further(address: Address, registers: int, size: int) -> Address:
    if address.register + registers + size > ADDRESSES:
        raise ValueError(
            f"{address.table}:{address.register + registers} with {size} registers is outside 0..{ADDRESSES - 1}"
        )
    return Address(address.table, address.register + registers)
