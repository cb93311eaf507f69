"""Modbus TCP, client role: mailboxes, polled points, writes that are read back."""

from __future__ import annotations

from adapters.modbus.config import ModbusConnection, ModbusPoint
from gateway.ports import Adapter, AdapterSpec, ConnectionConfig, Resources


def _build(config: ConnectionConfig, resources: Resources) -> Adapter:
    from adapters.modbus.client import ModbusAdapter  # noqa: PLC0415 - so that reading a configuration needs no pymodbus

    return ModbusAdapter(config, resources)


spec = AdapterSpec(
    protocol="modbus",
    connection_model=ModbusConnection,
    point_model=ModbusPoint,
    mailbox_layouts=frozenset({"standard"}),
    build=_build,
)
