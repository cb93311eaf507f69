"""A simulated Modbus site and the adapter that reads it, with everything a test wants to turn."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import adapters.modbus
from adapters.modbus.config import ModbusConnection, ModbusPoint
from adapters.modbus.simulator import ModbusSite
from gateway.core.mailbox import MailboxSpec
from gateway.core.point import Access, PointSpec, Reading
from gateway.core.secret import Reference
from gateway.errors import SecretError
from gateway.ports import Adapter, ConnectionConfig, MailboxStatus, Request, Resources, Session
from tests.adapters.tenure import Tenure

MAILBOX = MailboxSpec(name="plc", connection="plc", base=1000, results=1200)

POINTS: Mapping[str, Mapping[str, object]] = {
    "export_limit": {"address": "holding:1006", "type": "int16"},  # in the payload window
    "serial": {"address": "holding:1008", "type": "string", "length": 4},  # in the payload window
    "level": {"address": "holding:2000", "type": "uint16"},
    "energy": {"address": "holding:2001", "type": "uint32"},
    "sensor": {"address": "input:30", "type": "int16"},
    "breaker": {"address": "coil:2"},
    "smp_state": {"address": "holding:1300", "type": "uint16"},
    "smp_text": {"address": "holding:1310", "type": "string", "length": 32},
    "permit": {"address": "coil:5"},
    "gauge": {"address": "input:40", "type": "int16"},
}
WRITABLE = frozenset({"smp_state", "smp_text", "permit", "gauge"})
SCALES = {"export_limit": Decimal("0.1")}


class CountingClock:
    """Each look at this clock is one µs later, so that times tell the order of things."""

    def __init__(self) -> None:
        self._ticks = itertools.count(1)

    def now(self) -> int:
        return next(self._ticks)


class NoEntropy:
    """The Modbus adapter needs no ids; its first step between two polls is as long as every other here."""

    def uuid(self) -> str:
        raise AssertionError("the adapter asked for randomness")

    def jitter(self, spread: float) -> float:  # noqa: ARG002 - see ports.Entropy
        return 1.0


def no_secret(reference: Reference) -> bytes:
    """Plain Modbus has no secrets; whoever asks for one fails."""
    raise AssertionError(f"the adapter asked for {reference}")


def no_tls(*references: object) -> object:
    """Nor has it certificates."""
    raise SecretError(f"there is no {references[0]}")


@dataclass
class Rig:
    """``poll`` and ``timeout`` are YAML durations; a second poll should rarely decide a test, so they are short."""

    site: ModbusSite
    poll: str = "5ms"
    timeout: str = "5s"
    mailboxes: Mapping[str, MailboxSpec] = field(default_factory=lambda: {"plc": MAILBOX})
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    unit: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)  # further members of the connection
    client_tls: Callable[..., Any] = no_tls
    extra: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # points beside POINTS
    tenure: Tenure = field(default_factory=Tenure)

    def adapter(self, connection: ConnectionConfig | None = None) -> Adapter:
        resources = Resources(
            clock=CountingClock(),
            entropy=NoEntropy(),
            event=lambda name, **fields: self.events.append((name, fields)),
            secret=no_secret,
            client_tls=self.client_tls,
            still_ours=self.tenure,
        )
        return adapters.modbus.spec.build(connection or self.connection(), resources)

    def connection(self) -> ConnectionConfig:
        settings = ModbusConnection.model_validate(
            {
                "host": self.site.host,
                "port": self.site.port,
                "unit": self.unit,
                "poll": self.poll,
                "timeout": self.timeout,
                "retest": "20ms",
                **self.settings,
            }
        )
        points = {
            name: (
                PointSpec(
                    name=name,
                    connection="plc",
                    access=Access.WRITE if name in WRITABLE else Access.READ,
                    scale=SCALES.get(name, Decimal(1)),
                ),
                ModbusPoint.model_validate(members),
            )
            for name, members in {**POINTS, **self.extra}.items()
        }
        return ConnectionConfig(
            site="hams-bess", name="plc", settings=settings, points=points, mailboxes=self.mailboxes
        )


@asynccontextmanager
async def running(memory: Path | None = None) -> AsyncIterator[Rig]:
    """A site with a mailbox at 1000 and 1200, a set coil at 2 and 7 in input register 30."""
    async with ModbusSite(MAILBOX, inputs={30: 7}, coils=[False, False, True], memory=memory) as site:
        yield Rig(site)


async def request(session: Session) -> Request:
    """The next request that the session tells of, whatever else it tells before."""
    while True:
        for item in await session.read():
            if isinstance(item, Request):
                return item


async def status(session: Session) -> MailboxStatus:
    """The next change of a mailbox's numbers."""
    while True:
        for item in await session.read():
            if isinstance(item, MailboxStatus):
                return item


async def reading(session: Session, point: str) -> Reading:
    """The next reading of this point."""
    while True:
        for item in await session.read():
            if isinstance(item, Reading) and item.point == point:
                return item
