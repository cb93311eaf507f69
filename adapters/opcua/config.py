"""What the YAML says of an OPC UA connection and its nodes; no I/O, and quick to import.

With ``role: client`` we call the site's server at ``endpoint``; with ``role: server`` the site calls us at ``listen``.
``security`` is always written: ``None`` needs a ``plain:`` reason unless the server is on this machine, everything else
needs our certificate and key and a list of certificates to trust, since a channel to whoever answers protects nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from adapters.opcua.addresses import BrowsePath, Node, NodeAddress
from gateway.core.secret import Reference, SecretReference

POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
MODES = ("Sign", "SignAndEncrypt")
NO_SECURITY = "None"
_SECURITY = (NO_SECURITY, *(f"{policy}/{mode}" for policy in POLICIES for mode in MODES))
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)")
_MICROSECONDS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000}
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]:/]+)):([0-9]{1,5})")
_PORTS = 0xFFFF
# What only one of the roles has a use for.
_OF_CLIENT = ("endpoint", "user_certificate", "user_key", "publish", "sampling", "queue", "timeout", "silence")
_OF_SERVER = ("listen", "latest")


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


def parse_endpoint(value: object) -> str:
    """Read the URL of a server.

    Raises:
        ValueError: another scheme, no host, a login in it.
    """
    if not isinstance(value, str):
        raise ValueError("expected an endpoint, such as opc.tcp://10.20.1.6:4840")  # noqa: TRY004 - for pydantic
    try:
        parts = urlsplit(value)
        fits = parts.scheme == "opc.tcp" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
        parts = urlsplit("")
    if not fits or re.search(r"[\s?#\\]", value):
        raise ValueError(f"{value!r} is not an endpoint; write opc.tcp://host:port/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an endpoint must not hold a login; write username: and password: file:PATH")
    return value


def parse_security(value: object) -> str:
    """Read ``None`` or ``POLICY/MODE``.

    Raises:
        ValueError: none that is supported.
    """
    if not isinstance(value, str) or value not in _SECURITY:
        raise ValueError(f"{value!r} is not one of {', '.join(_SECURITY)}")
    return value


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
    if match is None or int(match[3]) > _PORTS:
        raise ValueError(f"{value!r} is no address to listen at; write HOST:PORT, such as 0.0.0.0:4840")
    return ListenAddress(match[1] or match[2], int(match[3]))


PointType = Literal[
    "Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double", "String"
]
Duration = Annotated[
    int, PlainValidator(parse_duration), WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"})
]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Endpoint = Annotated[
    str, PlainValidator(parse_endpoint), WithJsonSchema({"type": "string", "pattern": "^opc\\.tcp://.+$"})
]
Security = Annotated[str, PlainValidator(parse_security), WithJsonSchema({"type": "string", "enum": [*_SECURITY]})]


Listen = Annotated[
    ListenAddress,
    PlainValidator(parse_listen),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$", "examples": ["0.0.0.0:4840"]}),
]


class OpcuaConnection(BaseModel):
    """A session with one OPC UA server, or a server of our own that one site calls."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Annotated[
        Literal["client", "server"], Field(description="client: we call the site's server; server: the site calls ours")
    ] = "client"
    endpoint: Annotated[Endpoint, Field(description="the site's server")] = ""
    listen: Annotated[Listen | None, Field(description="where our server listens")] = None
    latest: Annotated[bool, Field(description="overwrite a result that the site has not acknowledged")] = False
    security: Annotated[Security, Field(description="None, or policy/mode such as Basic256Sha256/SignAndEncrypt")]
    plain: Annotated[str | None, Field(min_length=1, description="why security: None is good enough")] = None
    certificate: Annotated[SecretReference | None, Field(description="our application certificate, DER or PEM")] = None
    key: Annotated[SecretReference | None, Field(description="its private key")] = None
    trust: Annotated[
        SecretReference | None,
        Field(description="the other side's certificate, or the CAs it may come from; PEM or DER"),
    ] = None
    username: Annotated[
        str | None, Field(min_length=1, description="with which we log in, or the site at our server")
    ] = None
    password: SecretReference | None = None
    user_certificate: Annotated[SecretReference | None, Field(description="log in by certificate")] = None
    user_key: SecretReference | None = None
    publish: Annotated[Duration, Field(description="how often the server tells changes")] = 500_000
    sampling: Annotated[Duration | None, Field(description="how often it looks for them; without it, as publish")] = (
        None
    )
    queue: Annotated[int, Field(ge=1, le=10_000, description="changes kept per node between two publishes")] = 10
    timeout: Annotated[Duration, Field(description="longest wait for one answer")] = 5_000_000
    silence: Annotated[Duration, Field(description="how long the server may say nothing at all")] = 15_000_000

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        needed, useless = ("endpoint", _OF_SERVER) if self.role == "client" else ("listen", _OF_CLIENT)
        if not getattr(self, needed):
            raise ValueError(f"role: {self.role} needs {needed}")
        for name in useless:
            if name in self.model_fields_set:
                raise ValueError(f"{name} means nothing with role: {self.role}; leave it out")
        return self

    @model_validator(mode="after")
    def _protected_or_plain(self) -> Self:
        keys = {"certificate": self.certificate, "key": self.key, "trust": self.trust}
        host = urlsplit(self.endpoint).hostname if self.listen is None else self.listen.host
        if self.security == NO_SECURITY:
            if self.plain is None and host not in _HERE:
                raise ValueError("security: None protects nothing; write plain: with the reason why it is good enough")
            return self
        missing = [name for name, given in keys.items() if given is None]
        if missing:
            raise ValueError(
                f"security: {self.security} needs certificate, key and trust; missing: {', '.join(missing)}"
            )
        return self

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        if (self.user_certificate is None) != (self.user_key is None):
            raise ValueError("user_certificate and user_key belong together")
        if self.username is not None and self.user_certificate is not None:
            raise ValueError("log in by username or by user_certificate, not both")
        if self.username is not None and self.security == NO_SECURITY and self.plain is None:
            raise ValueError(
                "a password over security: None is open to everybody on the wire; write plain: if it may be"
            )
        return self

    @model_validator(mode="after")
    def _silence_is_longer(self) -> Self:
        if self.silence < 2 * self.publish:
            raise ValueError("silence must be at least twice publish, or every pause of the server is a lost link")
        return self

    def application_files(self) -> tuple[Reference, Reference] | None:
        """Where our certificate and its key are; `smp-gateway keys generate` makes them where they are missing."""
        if self.certificate is None or self.key is None:
            return None
        return self.certificate, self.key


class OpcuaPoint(BaseModel):
    """Which node a point is; its type is the node's own, and is written only where the node is ours.

    With ``object`` and ``method`` it is a method of the site's server, which a relay calls.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    node: Annotated[Node | None, Field(description="a variable")] = None
    object: Annotated[Node | None, Field(description="the object whose method it is")] = None
    method: Annotated[
        Node | None, Field(description="a method, called with a relay's arguments: call: {POINT: [...]}")
    ] = None
    type: Annotated[PointType | None, Field(description="of a node of our own server")] = None
    sampling: Duration | None = None
    queue: Annotated[int | None, Field(ge=1, le=10_000)] = None

    @model_validator(mode="after")
    def _a_variable_or_a_method(self) -> Self:
        if (self.object is None) != (self.method is None):
            raise ValueError("object and method belong together: the object's node, and its method's")
        if (self.node is None) == (self.method is None):
            raise ValueError("write node: of a variable, or object: and method:")
        for name in ("type", "sampling", "queue") if self.called else ():
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is for variables; leave it out of a method")
        return self

    @property
    def called(self) -> bool:
        """Whether it is a method."""
        return self.method is not None

    @property
    def where(self) -> NodeAddress:
        """The variable's node, or the method's.

        Raises:
            ValueError: it has neither, which is never validated.
        """
        where = self.node or self.method
        if where is None:
            raise ValueError("a point without a node")
        return where


class OpcuaTrigger(BaseModel):
    """What makes a message: `Submit(id, payload)` of our server, or an event of the site's server.

    ``event`` is the type, ``source`` the object that tells such events. ``fields`` names what is picked from one: its
    members as a message's `{path: NAME}` finds them. Without ``id``, one of these, the EventId says which event it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: Annotated[Node | None, Field(description="the type of event that makes it; its subtypes do as well")] = None
    source: Annotated[Node | None, Field(description="the object that tells of it; the Server object without it")] = (
        None
    )
    fields: Annotated[
        dict[FieldName, BrowsePath] | None, Field(min_length=1, description="what is picked from the event, by name")
    ] = None
    id: Annotated[str | None, Field(description="the field that is the id of the message; the EventId without it")] = (
        None
    )
    refresh: Annotated[bool, Field(description="ask for what is still so after a connect: conditions and alarms")] = (
        False
    )

    @model_validator(mode="after")
    def _of_an_event(self) -> Self:
        if self.event is None:
            for name in ("source", "fields", "id", "refresh"):
                if name in self.model_fields_set:
                    raise ValueError(f"{name} belongs to event: the type of an event of the site's server")
            return self
        if self.fields is None:
            raise ValueError("event needs fields: {NAME: PATH}, such as {name: Message, mw: '2:ExportLimit'}")
        if self.id is not None and self.id not in self.fields:
            raise ValueError(f"id: {self.id} is none of fields: {', '.join(self.fields)}")
        return self

    @property
    def carries_id(self) -> bool:
        """Whether the site's messages bring an id; see `ports.AdapterSpec`."""
        return True

    @property
    def answers(self) -> bool:
        """Whether whoever sent it waits for an answer; the source of an event does not."""
        return self.event is None

    @property
    def members(self) -> frozenset[str] | None:
        """What `{path: ...}` of the message may begin with; None where the site says."""
        return None if self.fields is None else frozenset(self.fields)
