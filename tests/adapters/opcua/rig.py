"""A simulated OPC UA site behind a fault proxy, and the adapter that reads it, with everything a test wants to turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal

import adapters.opcua
from adapters.opcua.config import OpcuaConnection, OpcuaPoint, OpcuaTrigger
from adapters.opcua.simulator import OpcuaSite
from adapters.opcua.translation import Kind
from gateway.core.binding import HOST_ROLES, SITE_ROLES
from gateway.core.mailbox import BOUND, MailboxSpec, Role
from gateway.core.point import Access, PointSpec, Reading
from gateway.core.secret import Reference
from gateway.errors import SecretError
from gateway.ports import Adapter, Clock, ConnectionConfig, MailboxStatus, Request, Resources, Session
from tests.adapters.fault_proxy import FaultProxy, fault_proxy
from tests.adapters.modbus.rig import CountingClock, NoEntropy
from tests.adapters.tenure import Tenure

ROLES: Mapping[str, Role] = {**SITE_ROLES, **HOST_ROLES}
MAILBOX = MailboxSpec(
    name="plc",
    connection="scada",
    layout=BOUND,
    roles={role: f"m_{word}" for word, role in ROLES.items()},
    payload=("export_limit", "serial"),
)
KINDS: Mapping[str, Kind] = {
    "export_limit": Kind.INT16,
    "serial": Kind.STRING,
    "level": Kind.UINT16,
    "soc": Kind.FLOAT,
    "breaker": Kind.BOOLEAN,
    "smp_state": Kind.UINT16,
    "smp_text": Kind.STRING,
    "setpoint": Kind.FLOAT,
    "permit": Kind.BOOLEAN,
}
WRITABLE = frozenset({"smp_state", "smp_text", "setpoint", "permit"})
SCALES = {"export_limit": Decimal("0.1")}


@dataclass
class Rig:
    """``silence`` and ``timeout`` are YAML durations; a test that waits for them should not wait long."""

    site: OpcuaSite
    proxy: FaultProxy
    publish: str = "50ms"
    timeout: str = "5s"
    silence: str = "15s"
    queue: int = 10
    members: dict[str, object] = field(default_factory=dict)
    secrets: dict[str, bytes] = field(default_factory=dict)
    max_age: Mapping[str, int] = field(default_factory=dict)
    deadband: Mapping[str, Decimal] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)  # further points, by node
    mailboxes: Mapping[str, MailboxSpec] = field(default_factory=lambda: {"plc": MAILBOX})
    methods: Mapping[str, tuple[PointSpec, OpcuaPoint]] = field(default_factory=dict)
    triggers: Mapping[str, OpcuaTrigger] = field(default_factory=dict)
    clock: Clock = field(default_factory=CountingClock)
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    spoke: asyncio.Event = field(default_factory=asyncio.Event)  # set with each of them
    tenure: Tenure = field(default_factory=Tenure)

    def adapter(self) -> Adapter:
        resources = Resources(
            clock=self.clock,
            entropy=NoEntropy(),
            event=self._event,
            secret=self._secret,
            still_ours=self.tenure,
        )
        return adapters.opcua.spec.build(self.connection(), resources)

    def connection(self) -> ConnectionConfig:
        settings = OpcuaConnection.model_validate(
            {
                "endpoint": f"opc.tcp://127.0.0.1:{self.proxy.port}",
                "security": "None",
                "publish": self.publish,
                "timeout": self.timeout,
                "silence": self.silence,
                "queue": self.queue,
                **self.members,
            }
        )
        made = connection(settings, self.mailboxes, self.max_age, self.deadband, self.extra)
        return replace(made, points={**made.points, **self.methods}, triggers=self.triggers)

    def told(self, name: str) -> list[dict[str, object]]:
        return [fields for event, fields in self.events if event == name]

    def _event(self, name: str, **fields: object) -> None:
        self.events.append((name, fields))
        self.spoke.set()

    def _secret(self, reference: Reference) -> bytes:
        if reference.name not in self.secrets:
            raise SecretError(f"{reference}: there is no such file")
        return self.secrets[reference.name]


def connection(
    settings: OpcuaConnection,
    mailboxes: Mapping[str, MailboxSpec],
    max_age: Mapping[str, int] | None = None,
    deadband: Mapping[str, Decimal] | None = None,
    extra: Mapping[str, str] | None = None,
) -> ConnectionConfig:
    host = {f"m_{word}" for word in HOST_ROLES}
    nodes = {name: f"ns=2;s=Plant.{name}" for name in (*KINDS, *MAILBOX.roles.values())} | dict(extra or {})
    points = {
        name: (
            PointSpec(
                name=name,
                connection="scada",
                access=Access.WRITE if name in WRITABLE | host else Access.READ,
                scale=SCALES.get(name, Decimal(1)),
                max_age=(max_age or {}).get(name),
                deadband=(deadband or {}).get(name),
            ),
            OpcuaPoint.model_validate({"node": node}),
        )
        for name, node in nodes.items()
    }
    return ConnectionConfig(site="hams-bess", name="scada", settings=settings, points=points, mailboxes=mailboxes)


@asynccontextmanager
async def running() -> AsyncIterator[Rig]:
    """A site with nothing asked, reached through the proxy."""
    plain = OpcuaConnection(endpoint="opc.tcp://127.0.0.1:4840", security="None")
    async with (
        OpcuaSite(connection(plain, {"plc": MAILBOX}), kinds=KINDS) as site,
        fault_proxy(site.host, site.port) as proxy,
    ):
        yield Rig(site, proxy)


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
