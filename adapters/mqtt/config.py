"""What the YAML says of an MQTT connection, its points and its messages; no I/O, and quick to import.

Requests are QoS 1 and nothing else: QoS 0 may be lost, and an unacknowledged QoS 2 is lost with the connection.
``plain`` is the operator's reason for trusting a link without TLS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from adapters.mqtt.topics import check_filter, check_topic
from gateway.core.document import JsonPath
from gateway.core.secret import SecretReference

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_MICROSECONDS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_SIZE = re.compile(r"([0-9]+)(KiB|MiB)")
_BYTES = {"KiB": 1024, "MiB": 1024 * 1024}
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_BESIDE_PAYLOAD = 256 * 1024  # bytes: the longest topic, properties, and a message that is a little too long
_CLIENT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and whether TLS leads there."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_broker(value: object) -> Broker:
    """Read ``mqtts://host:port`` or ``mqtt://host:port``.

    Raises:
        ValueError: another shape; credentials are never repeated.
    """
    if isinstance(value, Broker):
        return value
    expected = "expected mqtts://HOST:PORT (TLS) or mqtt://HOST:PORT, such as mqtts://broker.example:8883"
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        port = parts.port
    except ValueError as error:
        raise ValueError(expected) from error
    if parts.username is not None or parts.password is not None:
        raise ValueError("a user and password do not stand in the address; write username and password beside it")
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in {"", "/"} or parts.query or port == 0:
        raise ValueError(expected)
    return Broker(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "mqtts")


def parse_duration(value: object) -> int:
    """Read a duration with its unit, such as ``15s``, as µs.

    Raises:
        ValueError: another shape, or nothing at all.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    duration = round(float(match[1]) * _MICROSECONDS[match[2]]) if match is not None else 0
    if duration == 0:
        raise ValueError(f"{value!r} is not a duration; write a number and its unit, such as 15s or 7d")
    return duration


def parse_size(value: object) -> int:
    """Read a size with its unit, such as ``256KiB``, as bytes.

    Raises:
        ValueError: another shape, or outside 1 KiB to 4 MiB, which is what is ever parsed.
    """
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = int(match[1]) * _BYTES[match[2]] if match is not None else 0
    if not 1024 <= size <= 4 * _BYTES["MiB"]:
        raise ValueError(f"{value!r} is not a size from 1KiB to 4MiB, such as 256KiB")
    return size


def parse_path(value: object) -> JsonPath:
    """Read a JMESPath expression.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, JsonPath):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is not JMESPath, such as power.export_kw")
    return JsonPath(value)


def _topic(value: object) -> str:
    return check_topic(_text(value))


def _filter(value: object) -> str:
    return check_filter(_text(value))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a topic, found {value!r}; put it in quotes")  # noqa: TRY004 - pydantic passes on ValueErrors only
    return value


def _client_id(value: object) -> str:
    if not isinstance(value, str) or not _CLIENT_ID.fullmatch(value):
        raise ValueError(f"{value!r} is not a client id: 1 to 64 letters, digits and - _ . :")
    return value


def _request_qos(value: object) -> int:
    if value != 1 or isinstance(value, bool):
        raise ValueError(
            f"QoS {value} cannot carry requests: 0 may lose them, and 2 loses what is not acknowledged when the "
            "connection breaks; write qos: 1, or leave it out"
        )
    return 1


def _version(value: object) -> str:
    if value not in {5, "5", "3.1.1"} or isinstance(value, bool):
        raise ValueError(f"{value!r} is no version of MQTT that is spoken here; write 5 or 3.1.1")
    return str(value)


Version = Annotated[str, PlainValidator(_version), WithJsonSchema({"enum": [5, "3.1.1"]})]
_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"})
Duration = Annotated[int, PlainValidator(parse_duration), _DURATION_SCHEMA]
Size = Annotated[int, PlainValidator(parse_size), WithJsonSchema({"type": "string", "pattern": f"^{_SIZE.pattern}$"})]
Address = Annotated[
    Broker,
    PlainValidator(parse_broker),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": "^mqtts?://.+$", "examples": ["mqtts://broker.example:8883"]}),
]
Path = Annotated[
    JsonPath,
    PlainValidator(parse_path),
    PlainSerializer(lambda path: path.text),
    WithJsonSchema({"type": "string", "examples": ["power.export_kw"]}),
]
Topic = Annotated[str, PlainValidator(_topic), WithJsonSchema({"type": "string", "pattern": "^[^$+#][^+#]*$"})]
Filter = Annotated[str, PlainValidator(_filter), WithJsonSchema({"type": "string", "pattern": "^[^$]"})]
ClientId = Annotated[
    str, PlainValidator(_client_id), WithJsonSchema({"type": "string", "pattern": f"^{_CLIENT_ID.pattern}$"})
]


class MqttConnection(BaseModel):
    """One client of a broker, with a session that the broker keeps while we are away."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    broker: Annotated[Address, Field(description="mqtts://HOST:PORT, or mqtt://HOST:PORT without TLS")]
    version: Annotated[Version, Field(description="of MQTT")] = "5"
    client_id: Annotated[
        ClientId | None, Field(description="Under which the broker keeps our session; smp-SITE-CONNECTION without it")
    ] = None
    username: Annotated[str | None, Field(min_length=1)] = None
    password: SecretReference | None = None
    ca: Annotated[
        SecretReference | None, Field(description="The CA of the broker's certificate; else the system's")
    ] = None
    certificate: Annotated[SecretReference | None, Field(description="Our client certificate, PEM")] = None
    key: Annotated[SecretReference | None, Field(description="Its private key, PEM")] = None
    keepalive: Annotated[Duration, Field(description="how soon a silent broker counts as gone, whole seconds")] = (
        15_000_000
    )
    timeout: Annotated[Duration, Field(description="longest wait for one answer of the broker")] = 10_000_000
    session_expiry: Annotated[Duration, Field(description="how long the broker keeps our session; MQTT 5")] = (
        7 * _MICROSECONDS["d"]
    )
    receive_maximum: Annotated[
        int, Field(ge=1, le=1000, description="requests that the broker may send before the first is acknowledged")
    ] = 20
    payload_limit: Annotated[Size, Field(description="longest payload that is read")] = 1024 * 1024
    status: Annotated[
        Topic | None, Field(description="where we say online, and the broker offline when we are gone; retained")
    ] = None
    signed_by: Annotated[
        SecretReference | None,
        Field(description="JWKS of the site's public keys; then every request must be a compact JWS by one of them"),
    ] = None
    plain: Annotated[str | None, Field(min_length=1, description="why a link without TLS is good enough")] = None

    @property
    def packet_limit(self) -> int:
        """Longest packet in bytes; what lies between this and ``payload_limit`` is refused with its reason."""
        return self.payload_limit + _BESIDE_PAYLOAD

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        if self.password is not None and self.username is None:
            raise ValueError("password needs a username")
        if not self.broker.tls and (self.ca or self.certificate):
            raise ValueError("ca, certificate and key are for TLS: broker: mqtts://HOST:PORT")
        return self

    @model_validator(mode="after")
    def _keepalive_is_in_seconds(self) -> Self:
        if self.keepalive % _MICROSECONDS["s"] or not 1 <= self.keepalive // _MICROSECONDS["s"] <= 65_535:
            raise ValueError("keepalive is counted in whole seconds, 1s to 65535s")
        return self

    def warnings(self) -> tuple[str, ...]:
        """What is allowed but should not stay as it is, for ``check`` to show."""
        if self.broker.tls or self.plain is not None or self.broker.host in {"localhost", "127.0.0.1", "::1"}:
            return ()
        return ("mqtt:// is not protected on the wire; use mqtts://, or write `plain:` with the reason",)


class MqttPoint(BaseModel):
    """A value that the site publishes, or that we publish to it (``access: write``).

    On the topic of a message (``when: {message: ...}``) it is taken from that message only. Without ``path`` the whole
    payload is the value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: Annotated[Filter, Field(description="+ and # where it is read; in full where it is written")]
    path: Annotated[Path | None, Field(description="JMESPath into the payload's JSON")] = None
    type: Annotated[
        Literal["number", "text", "bool"] | None, Field(description="What it must be; else what it looks like")
    ] = None
    time: Annotated[
        Path | None, Field(description="JMESPath to when the value was true: RFC 3339, or seconds or ms since 1970")
    ] = None
    qos: Annotated[Literal[0, 1], Field(description="of the subscription")] = 0
    retain: Annotated[bool, Field(description="whether the broker shows what we wrote to whoever comes later")] = False


class MqttTrigger(BaseModel):
    """A topic on which the site publishes messages of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: Filter
    id: Annotated[Path | None, Field(description="JMESPath to the id that the site gave the message")] = None
    results: Annotated[
        Topic | None,
        Field(description="Results are published on RESULTS/ID; without it `result` takes the place of the last level"),
    ] = None
    qos: Annotated[int, PlainValidator(_request_qos), WithJsonSchema({"const": 1})] = 1

    @property
    def carries_id(self) -> bool:
        """Whether the site's messages bring an id; see `ports.AdapterSpec`."""
        return self.id is not None
