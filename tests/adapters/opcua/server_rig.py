"""Our own OPC UA server as the adapter runs it, and a SCADA that calls it, by the library's own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from asyncua import Client, ua

import adapters.opcua
from adapters.opcua.config import OpcuaConnection, OpcuaPoint, OpcuaTrigger
from adapters.opcua.server import OpcuaServerAdapter
from gateway.core.point import Access, PointSpec, Reading
from gateway.core.secret import Reference
from gateway.errors import SecretError
from gateway.ports import Busy, Clock, Committed, ConnectionConfig, Refused, Resources, Session, Submitted
from tests.adapters.modbus.rig import CountingClock, NoEntropy

# name -> (type, whether the gateway writes it)
POINTS: Mapping[str, tuple[str, bool]] = {
    "soc": ("Double", False),
    "breaker": ("Boolean", False),
    "level": ("Int32", False),
    "serial": ("String", False),
    "limit": ("Float", True),
    "state": ("UInt16", True),
    "smp_state": ("UInt16", True),
    "text": ("String", True),
}


@dataclass
class ServerRig:
    """Everything a test wants to turn before it listens."""

    members: dict[str, object] = field(default_factory=lambda: {"security": "None"})
    secrets: dict[str, bytes] = field(default_factory=dict)
    clock: Clock = field(default_factory=CountingClock)
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    port: int = 0

    def connection(self) -> ConnectionConfig:
        settings = OpcuaConnection.model_validate(
            {"role": "server", "listen": f"127.0.0.1:{self.port}", **self.members}
        )
        points = {
            name: (
                PointSpec(name=name, connection="ems", access=Access.WRITE if ours else Access.READ),
                OpcuaPoint.model_validate({"node": f"ns=2;s=Plant.{name}", "type": kind}),
            )
            for name, (kind, ours) in POINTS.items()
        }
        return ConnectionConfig(
            site="cowes-bess",
            name="ems",
            settings=settings,
            points=points,
            mailboxes={},
            triggers={"battery": OpcuaTrigger(), "chp": OpcuaTrigger()},
        )

    def adapter(self) -> OpcuaServerAdapter:
        resources = Resources(
            clock=self.clock,
            entropy=NoEntropy(),
            event=lambda name, **fields: self.events.append((name, fields)),
            secret=self._secret,
        )
        made = adapters.opcua.spec.build(self.connection(), resources)
        assert isinstance(made, OpcuaServerAdapter)
        return made

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Session]:
        """Listen, on the same port as before if there was one; the greeting is taken."""
        adapter = self.adapter()
        async with asyncio.timeout(60), adapter.connect() as session:
            self.port = adapter.port
            await session.read()
            yield session

    def client(self, port: int | None = None) -> Client:
        return Client(f"opc.tcp://127.0.0.1:{port or self.port}", timeout=10)

    def _secret(self, reference: Reference) -> bytes:
        if reference.name not in self.secrets:
            raise SecretError(f"{reference}: there is no such file")
        return self.secrets[reference.name]


def call(
    client: Client, caller: object, payload: object, message: str = "battery"
) -> asyncio.Task[ua.CallMethodResult]:
    """Call `Submit` and give the whole answer, a refusal's too."""
    request = ua.CallMethodRequest()
    request.ObjectId = ua.NodeId.from_string(f"ns=2;s=SMP.Messages.{message}")
    request.MethodId = ua.NodeId.from_string(f"ns=2;s=SMP.Messages.{message}.Submit")
    request.InputArguments = [each if isinstance(each, ua.Variant) else ua.Variant(each) for each in (caller, payload)]

    async def answered() -> ua.CallMethodResult:
        (result,) = await client.uaclient.call([request])
        return result

    return asyncio.create_task(answered())


async def submitted(session: Session) -> Submitted:
    """The next message that the site submits."""
    while True:
        for item in await session.read():
            if isinstance(item, Submitted):
                return item


async def reading(session: Session, point: str) -> Reading:
    """The next reading of this point."""
    while True:
        for item in await session.read():
            if isinstance(item, Reading) and item.point == point:
                return item


async def put(client: Client, node: str, value: object, kind: ua.VariantType) -> None:
    """Write a node as a SCADA does."""
    await client.get_node(f"ns=2;s={node}").write_value(ua.DataValue(ua.Variant(value, kind)))


async def shows(client: Client, node: str) -> object:
    """What a node holds."""
    return await client.get_node(f"ns=2;s={node}").read_value()


async def serve(session: Session, outcome: Committed | Refused | Busy) -> None:
    """Confirm everything that is submitted, until cancelled."""
    while True:
        asked = await submitted(session)
        await session.confirm(asked.receipt, outcome)
