"""A site on MQTT as its own engineer would build it, and a broker inside this process, so that nothing is installed.

:class:`PracticeBroker` is amqtt: MQTT 3.1.1, for demo and tests. :class:`MqttSite` works with any broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import warnings
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self, cast

import aiomqtt
import orjson
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from adapters.mqtt.config import MqttConnection, MqttPoint, MqttTrigger
from adapters.mqtt.topics import check_topic, results_beside
from adapters.mqtt.translation import value_payload
from gateway.core import codec
from gateway.core.point import Access, Value, raw_of
from gateway.ports import ConnectionConfig

_LOG_LENGTH = 10_000
_MEMBERS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")  # JMESPath that is a way through objects
_GOODBYE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One message that the site received."""

    topic: str
    payload: bytes
    retained: bool
    correlation: bytes | None

    @property
    def json(self) -> dict[str, Any]:
        """The payload as an object."""
        members: dict[str, Any] = orjson.loads(self.payload)
        return members


class MqttSite:
    """A site's own client: it publishes, and keeps everything that arrives on the topics that it listens to."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._heard: deque[Heard] = deque(maxlen=_LOG_LENGTH)
        self._count = 0  # of all that was ever heard
        self._changed = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def connected(
        cls,
        host: str,
        port: int,
        *,
        listen: tuple[str, ...],
        version: str = "3.1.1",
        **options: Any,  # noqa: ANN401 - aiomqtt's own
    ) -> AsyncIterator[Self]:
        """Connect as a site; ``listen`` are the filters on which results and values come.

        Raises:
            aiomqtt.MqttError: there is no such broker.
        """
        modern = version == "5"
        protocol = aiomqtt.ProtocolVersion.V5 if modern else aiomqtt.ProtocolVersion.V311
        async with aiomqtt.Client(host, port, protocol=protocol, **options) as client, asyncio.TaskGroup() as group:
            site = cls(client)
            await client.subscribe([(pattern, 1) for pattern in listen])
            listening = group.create_task(site._listen(), name="mqtt site")
            try:
                yield site
            finally:
                listening.cancel()

    async def publish(
        self,
        topic: str,
        payload: bytes | str | Mapping[str, object],
        *,
        qos: int = 1,
        retain: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> None:
        """Publish; with QoS 1 the broker has it when this returns. A mapping goes out as JSON."""
        data = orjson.dumps(payload) if isinstance(payload, Mapping) else payload
        properties = None
        if response_topic is not None or correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            for name, value in (("ResponseTopic", response_topic), ("CorrelationData", correlation)):
                if value is not None:
                    setattr(properties, name, value)
        await self._client.publish(topic, data, qos=qos, retain=retain, properties=properties)

    def heard(self, topic: str) -> list[Heard]:
        """Everything that came on this topic, oldest first."""
        return [each for each in self._heard if each.topic == topic]

    async def hears(self, topic: str, condition: Callable[[Heard], bool] = lambda _: True) -> Heard:
        """Wait until something came on this topic for which the condition holds; the newest of it."""
        while True:
            self._changed.clear()
            found = [each for each in self.heard(topic) if condition(each)]
            if found:
                return found[-1]
            await self._changed.wait()

    async def hears_below(self, level: str, after: int) -> tuple[int, Heard]:
        """Wait for the next message below this level; ``after`` is the number of the one before it, 0 for the first."""
        while True:
            self._changed.clear()
            for number, each in enumerate(self._heard, self._count - len(self._heard) + 1):
                if number > after and each.topic.startswith(f"{level}/"):
                    return number, each
            await self._changed.wait()

    async def _listen(self) -> None:
        async for message in self._client.messages:
            payload = bytes(message.payload)
            correlation = getattr(message.properties, "CorrelationData", None)
            self._heard.append(
                Heard(topic=str(message.topic), payload=payload, retained=message.retain, correlation=correlation)
            )
            self._count += 1
            self._changed.set()


def request_topic(connection: ConnectionConfig, message: str) -> tuple[str, str]:
    """The topic on which a site publishes a message, and the member that holds its id.

    Raises:
        ValueError: the message does not come over this connection, or its topic has wildcards.
    """
    trigger = connection.triggers.get(message)
    if not isinstance(trigger, MqttTrigger) or trigger.id is None:
        raise ValueError(f"{message} is no message of {connection.name} that brings an id")
    return check_topic(trigger.topic), trigger.id.text


def results_level(connection: ConnectionConfig, message: str) -> str:
    """Below which topic the results of a message are published, each on its id."""
    trigger = connection.triggers[message]
    if not isinstance(trigger, MqttTrigger):
        raise TypeError(f"{message} does not come over MQTT")
    return trigger.results or results_beside(trigger.topic)


def payloads_of(connection: ConnectionConfig, values: Mapping[str, Value]) -> Mapping[str, bytes]:
    """What the site publishes so that points have these values: a payload for each topic.

    Raises:
        ValueError: no such point, or one whose topic or path does not say where its value stands.
    """
    documents: dict[str, dict[str, object]] = {}
    payloads: dict[str, bytes] = {}
    for name, value in values.items():
        spec, place = connection.points.get(name, (None, None))
        if spec is None or not isinstance(place, MqttPoint) or spec.access is Access.WRITE:
            raise ValueError(f"{connection.name} has no point {name} that the site publishes")
        topic = check_topic(place.topic)
        raw = raw_of(spec, value) if isinstance(value, Decimal) else value
        if place.path is None:
            payloads[topic] = value_payload(raw)
        elif _MEMBERS.fullmatch(place.path.text):
            *groups, last = place.path.text.split(".")
            node = documents.setdefault(topic, {})
            for group in groups:
                node = cast("dict[str, object]", node.setdefault(group, {}))
            node[last] = raw
        else:
            raise ValueError(f"{name}: {place.path.text} does not say where in a payload the value stands")
    return payloads | {topic: codec.dumps(document) for topic, document in documents.items()}


def plain_broker(connection: ConnectionConfig) -> tuple[str, int]:
    """Where the broker is that the connection names.

    Raises:
        ValueError: it takes TLS or a password, which a simulated site has none of.
    """
    settings = connection.settings
    if not isinstance(settings, MqttConnection) or settings.broker.tls or settings.username is not None:
        raise ValueError(f"{connection.name}: only a broker on mqtt:// without a login can be joined")
    return settings.broker.host, settings.broker.port


def status_topic(connection: ConnectionConfig) -> str | None:
    """Where the gateway says whether it is there."""
    settings = connection.settings
    return settings.status if isinstance(settings, MqttConnection) else None


def is_spoken(connection: ConnectionConfig) -> bool:
    """Whether :class:`PracticeBroker` speaks what the connection does: no TLS, and MQTT 3.1.1."""
    settings = connection.settings
    return isinstance(settings, MqttConnection) and settings.version == "3.1.1" and not settings.broker.tls


class PracticeBroker:
    """A broker on loopback inside this process; ``async with`` starts it, and it forgets everything when it stops."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = port
        self._broker: Any = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen.

        Raises:
            RuntimeError: the port is taken.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own deprecations
            from amqtt.broker import Broker  # noqa: PLC0415 - it takes long to import
            from amqtt.errors import BrokerError  # noqa: PLC0415

        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # a demo's screen is not its diary
        self._broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        try:
            await self._broker.start()
        except BrokerError as error:
            raise RuntimeError(f"{self.host}:{self.port}: the practice broker cannot listen: {error}") from error

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._broker is not None:
            broker, self._broker = self._broker, None
            with contextlib.suppress(TimeoutError):  # whoever is still connected does not keep it
                async with asyncio.timeout(_GOODBYE_S):
                    await broker.shutdown()
