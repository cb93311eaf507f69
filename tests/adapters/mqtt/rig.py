"""A depot on MQTT and the adapter that reads it, with everything a test wants to turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

import adapters.mqtt
from adapters.mqtt.config import MqttConnection, MqttPoint, MqttTrigger
from adapters.mqtt.simulator import MqttSite
from gateway.core.point import Access, PointSpec, Reading
from gateway.core.secret import Reference
from gateway.edge.clock import SystemClock, SystemEntropy
from gateway.errors import SecretError
from gateway.ports import Adapter, ConnectionConfig, News, Resources, Session, Submitted
from tests.adapters.tenure import Tenure

T = TypeVar("T")
HANG_GUARD_S = 60.0  # no assertion: far beyond what anything takes
POINTS: Mapping[str, Mapping[str, object]] = {
    "power": {"topic": "depot/telemetry", "path": "power.kw", "type": "number"},
    "limit": {"topic": "depot/limits/+", "qos": 1},
    "label": {"topic": "depot/label", "type": "text"},
    "name": {"topic": "depot/request", "path": "name", "type": "text"},
    "smp_state": {"topic": "depot/smp/state", "retain": True},
    "smp_text": {"topic": "depot/smp/text", "type": "text"},
}
WRITABLE = frozenset({"smp_state", "smp_text"})
TRIGGERS: Mapping[str, Mapping[str, object]] = {"chargers": {"topic": "depot/request", "id": "id"}}

VERSIONS = ("5", "3.1.1")


@dataclass
class Rig:
    """What a connection is made of; ``settings`` are members of its YAML beside the broker's address."""

    port: int
    settings: Mapping[str, object] = field(default_factory=dict)
    points: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: POINTS)
    triggers: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: TRIGGERS)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    client_tls: Callable[..., Any] | None = None
    max_age: int | None = None
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    tenure: Tenure = field(default_factory=Tenure)

    def adapter(self) -> Adapter:
        resources = Resources(
            clock=SystemClock(),
            entropy=SystemEntropy(),
            event=lambda name, **fields: self.events.append((name, fields)),
            secret=self._secret,
            client_tls=self.client_tls or _no_tls,
            still_ours=self.tenure,
        )
        return adapters.mqtt.spec.build(self.connection(), resources)

    def connection(self) -> ConnectionConfig:
        settings = {
            "broker": f"mqtt://127.0.0.1:{self.port}",
            "keepalive": "1s",
            "timeout": "1s",
            "receive_maximum": 3,
            **self.settings,
        }
        points = {
            name: (
                PointSpec(
                    name=name,
                    connection="mqtt",
                    access=Access.WRITE if name in WRITABLE else Access.READ,
                    scale=Decimal("0.001") if name == "power" else Decimal(1),
                    max_age=self.max_age,
                ),
                MqttPoint.model_validate(members),
            )
            for name, members in self.points.items()
        }
        return ConnectionConfig(
            site="depot",
            name="mqtt",
            settings=MqttConnection.model_validate(settings),
            points=points,
            mailboxes={},
            triggers={name: MqttTrigger.model_validate(members) for name, members in self.triggers.items()},
        )

    def site(self, **options: Any) -> AbstractAsyncContextManager[MqttSite]:  # noqa: ANN401 - aiomqtt's own
        return MqttSite.connected("127.0.0.1", self.port, listen=("depot/#",), **options)

    def told(self, name: str) -> list[dict[str, object]]:
        return [fields for event, fields in self.events if event == name]

    def _secret(self, reference: Reference) -> bytes:
        try:
            return self.secrets[str(reference)]
        except KeyError:
            raise SecretError(f"{reference}: no such file") from None


async def submitted(session: Session) -> Submitted:
    """The oldest message that the session tells of, whatever else it tells before."""
    return (await all_submitted(session))[0]


async def all_submitted(session: Session) -> list[Submitted]:
    """The messages that the session tells of together."""
    async with asyncio.timeout(HANG_GUARD_S):
        while True:
            found = [each for each in await session.read() if isinstance(each, Submitted)]
            if found:
                return found


async def reading(session: Session, point: str, condition: Callable[[Reading], bool] = lambda _: True) -> Reading:
    """The next reading of this point for which the condition holds."""
    async with asyncio.timeout(HANG_GUARD_S):
        while True:
            for found in await session.read():
                if isinstance(found, Reading) and found.point == point and condition(found):
                    return found


async def item(session: Session, kind: type[T]) -> T:
    """The last news of this kind that comes together."""
    async with asyncio.timeout(HANG_GUARD_S):
        while True:
            found: list[News] = [each for each in await session.read() if isinstance(each, kind)]
            if found:
                last = found[-1]
                assert isinstance(last, kind)
                return last


def _no_tls(*references: object) -> None:
    raise AssertionError(f"the adapter asked for TLS with {references}")


async def ask(site: MqttSite, ident: object, **members: object) -> None:
    await site.publish("depot/request", {"id": ident, **members})


async def nothing_more(site: MqttSite, session: Session) -> None:
    """Prove that no message is left, by a reading that was sent after it would have come."""
    await site.publish("depot/label", "the last one")
    while True:
        news = await session.read()
        assert not [each for each in news if isinstance(each, Submitted)]
        if any(getattr(each, "value", None) == "the last one" for each in news):
            return
