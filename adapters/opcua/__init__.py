"""OPC UA in both roles.

As client: subscriptions, a mailbox of nodes, writes that are read back. As server: a method per message, results.
"""

from __future__ import annotations

from adapters.opcua.config import OpcuaConnection, OpcuaPoint, OpcuaTrigger
from adapters.opcua.contradictions import contradictions
from gateway.core.mailbox import BOUND
from gateway.ports import Adapter, AdapterSpec, ConnectionConfig, Resources


def _build(config: ConnectionConfig, resources: Resources) -> Adapter:
    # asyncua takes a second to import
    if getattr(config.settings, "role", None) == "server":
        from adapters.opcua.server import OpcuaServerAdapter  # noqa: PLC0415

        return OpcuaServerAdapter(config, resources)
    from adapters.opcua.client import OpcuaAdapter  # noqa: PLC0415

    return OpcuaAdapter(config, resources)


spec = AdapterSpec(
    protocol="opcua",
    connection_model=OpcuaConnection,
    point_model=OpcuaPoint,
    mailbox_layouts=frozenset({BOUND}),
    build=_build,
    trigger_model=OpcuaTrigger,
    contradictions=contradictions,
)
