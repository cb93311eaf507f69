"""OPC UA, client role: subscriptions, a mailbox of nodes, writes that are read back."""

from __future__ import annotations

from adapters.opcua.config import OpcuaConnection, OpcuaPoint
from gateway.core.mailbox import BOUND
from gateway.ports import Adapter, AdapterSpec, ConnectionConfig, Resources


def _build(config: ConnectionConfig, resources: Resources) -> Adapter:
    from adapters.opcua.client import OpcuaAdapter  # noqa: PLC0415 - asyncua takes a second to import

    return OpcuaAdapter(config, resources)


spec = AdapterSpec(
    protocol="opcua",
    connection_model=OpcuaConnection,
    point_model=OpcuaPoint,
    mailbox_layouts=frozenset({BOUND}),
    build=_build,
)
