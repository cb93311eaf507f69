"""Modbus in both roles: mailboxes, points that are polled or written by the site, writes that are read back."""

from __future__ import annotations

from collections.abc import Iterable

from adapters.modbus.config import ModbusConnection, ModbusPoint
from gateway.core.mailbox import BOUND
from gateway.core.request_plan import RequestPlan
from gateway.ports import Adapter, AdapterSpec, ConnectionConfig, Resources


def _build(config: ConnectionConfig, resources: Resources) -> Adapter:
    # so that reading a configuration needs no pymodbus
    if getattr(config.settings, "role", None) == "server":
        from adapters.modbus.server import ModbusServerAdapter  # noqa: PLC0415

        return ModbusServerAdapter(config, resources)
    from adapters.modbus.client import ModbusAdapter  # noqa: PLC0415

    return ModbusAdapter(config, resources)


def _contradictions(config: ConnectionConfig) -> Iterable[tuple[tuple[str, ...], str]]:
    from adapters.modbus.contradictions import contradictions  # noqa: PLC0415 - only where a site file is read

    return contradictions(config)


def _plan(config: ConnectionConfig) -> RequestPlan | None:
    from adapters.modbus.request_plan import request_plan  # noqa: PLC0415 - only where a plan is shown

    return request_plan(config)


spec = AdapterSpec(
    protocol="modbus",
    connection_model=ModbusConnection,
    point_model=ModbusPoint,
    mailbox_layouts=frozenset({"standard", BOUND}),
    build=_build,
    contradictions=_contradictions,
    plan=_plan,
)
