"""Which simulated site stands for a configured one: the plant or the SCADA behind its first mailbox."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adapters.modbus.simulator import partner, wants_tls
from gateway.cli.simulate.identity import site_context
from gateway.cli.simulate.story import Plant
from gateway.settings.configuration import SiteConfig


def simulated(
    site: SiteConfig, listen: tuple[str, int], memory: Path | None, *, state: Path, environ: Mapping[str, str]
) -> Plant:
    """Make it; it starts when it is entered.

    Raises:
        ValueError: no part of the site can be simulated, or its certificates cannot be used.
    """
    for box in site.mailboxes.values():
        link = site.connections[box.connection]
        if link.protocol == "modbus":
            serves = getattr(link.config.settings, "role", "client") == "client"
            secure = wants_tls(link.config)
            tls = site_context(link.config.settings, state, serves=serves, environ=environ) if secure else None
            return partner(link.config, box, listen, memory, tls)
        if link.protocol == "opcua":
            # asyncua takes a second to import
            from adapters.opcua.simulator import OpcuaSite, argument_kinds  # noqa: PLC0415

            methods = argument_kinds(site.relays)
            return OpcuaSite(link.config, host=listen[0], port=listen[1], memory=memory, methods=methods)
    raise ValueError(f"{site.site} has no mailbox on Modbus or OPC UA")
