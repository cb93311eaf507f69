"""Sites to practise against, one for each way in which a site may use Modbus; all of them real servers or masters."""

from __future__ import annotations

import ssl
from pathlib import Path

from adapters.modbus.config import ModbusConnection, Transport
from adapters.modbus.simulator.bound import BoundModbusSite, put_beside, show
from adapters.modbus.simulator.plant import (
    REGISTERS,
    Access,
    ModbusSite,
    SerialGateway,
    payload_of,
)
from adapters.modbus.simulator.scada import ModbusScada
from adapters.modbus.simulator.shown import Page, Result
from gateway.core.mailbox import MailboxSpec
from gateway.ports import ConnectionConfig

__all__ = [
    "REGISTERS",
    "Access",
    "BoundModbusSite",
    "ModbusScada",
    "ModbusSite",
    "Page",
    "Result",
    "SerialGateway",
    "partner",
    "payload_of",
    "put_beside",
    "show",
    "wants_tls",
]


def wants_tls(config: ConnectionConfig) -> bool:
    """Whether a connection's partner must speak TLS."""
    return isinstance(config.settings, ModbusConnection) and config.settings.transport is Transport.TLS


def partner(
    config: ConnectionConfig,
    box: MailboxSpec,
    listen: tuple[str, int],
    memory: Path | None = None,
    tls: ssl.SSLContext | None = None,
) -> ModbusSite | BoundModbusSite | ModbusScada:
    """The site behind one mailbox of a connection: a plant at ``listen``, or the master that calls us.

    Raises:
        TypeError: the connection is another protocol's.
        ValueError: it cannot be simulated.
    """
    settings = config.settings
    if not isinstance(settings, ModbusConnection):
        raise TypeError(f"{config.name}: {type(settings).__name__} is not a Modbus connection")
    if settings.listen is not None:
        if box.bound:
            raise ValueError(f"mailbox {box.name} lies in points of a register map, and no simulated SCADA uses those")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.listen.host, settings.listen.host)  # noqa: S104 - compared with, not listened on
        return ModbusScada(config, box, host=host, port=settings.listen.port, tls=tls)
    host, port = listen
    serial = settings.transport is Transport.RTU_OVER_TCP
    site = ModbusSite(box, host=host, port=port, unit=settings.unit, serial_frames=serial, tls=tls, memory=memory)
    return BoundModbusSite(config, box, site) if box.bound else site
