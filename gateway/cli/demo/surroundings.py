"""Everything around the gateway that the demo needs: a simulated SMP, one plant per site, keys, and addresses.

The configuration is a copy of the example, with one more site of its `examples/` whose EMS calls the gateway; only its
`${NAME:-default}` places are filled, with loopback addresses.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.modbus.simulator import ModbusSite
from adapters.mqtt.simulator import MqttSite, PracticeBroker
from adapters.opcua.simulator import OpcuaEms, OpcuaSite, argument_kinds
from gateway.app import adapters
from gateway.cli.keys import generate_keys
from gateway.cli.practice import HOST, free_ports, write_passwords
from gateway.cli.simulate.story import Plant
from gateway.settings.configuration import Configuration, SiteConfig, load
from gateway.simulator import SimulatedSmp

CALLING = "cowes-bess.yaml"
_POLL = "50ms"  # of the demo's plants, so that a newcomer does not watch a poll period


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What runs around the gateway, and the configuration that points at it."""

    configuration: Configuration
    environ: Mapping[str, str]
    smp: SimulatedSmp
    plants: Mapping[str, Plant]
    depots: Mapping[str, MqttSite]
    callers: Mapping[str, OpcuaEms]  # they wait for the gateway's listeners, so whoever runs it enters them
    broker: PracticeBroker


@asynccontextmanager
async def surroundings(example: Path, state: Path) -> AsyncIterator[Surroundings]:
    """Start the SMP and the plants on free loopback ports; leaving stops them.

    Raises:
        ConfigError: the example was edited and is wrong now.
    """
    gateway_yaml = _copied(example, state / "config")
    sites = load(gateway_yaml, adapters=adapters(), state=state, environ={}).sites
    environ = _environ(list(sites))
    configuration = load(gateway_yaml, adapters=adapters(), state=state, environ=environ)
    write_passwords(configuration)
    generate_keys(configuration, practice=True)
    async with AsyncExitStack() as stack:
        smp = SimulatedSmp(
            profile_path=gateway_yaml.parent / "profiles" / "smp-v1.yaml",
            state=state,
            callback_url=environ["PUBLIC_URL"],
            callback_ca=state / "pki" / "host-ca.pem",
            port=int(environ["SMP_URL"].rpartition(":")[2]),
        )
        await stack.enter_async_context(smp)
        broker = await stack.enter_async_context(PracticeBroker(int(environ["BROKER_PORT"])))
        plants, depots, callers = {}, {}, {}
        for name, site in configuration.sites.items():
            if site.mailboxes:
                plants[name] = await stack.enter_async_context(_plant(site, state, environ))
            elif any(link.protocol == "opcua" for link in site.connections.values()):
                (link,) = site.connections.values()
                callers[name] = OpcuaEms(link.config)
            else:
                listen = f"{name.partition('-')[0]}/#"
                depot = MqttSite.connected(broker.host, broker.port, listen=(listen,))
                depots[name] = await stack.enter_async_context(depot)
        yield Surroundings(
            configuration=configuration,
            environ=environ,
            smp=smp,
            plants=plants,
            depots=depots,
            callers=callers,
            broker=broker,
        )


def _copied(example: Path, folder: Path) -> Path:
    """Copy the example's files into the folder, with the site whose EMS calls us; returns its gateway.yaml."""
    shutil.copytree(example, folder, dirs_exist_ok=True)
    shutil.copy(folder / "examples" / CALLING, folder / "sites" / CALLING)
    return folder / "gateway.yaml"


def _environ(sites: list[str]) -> dict[str, str]:
    """Fill the places of the example's YAML: where the SMP, the listeners and each site's plant are."""
    smp, callbacks, health, broker, *plants = free_ports(4 + len(sites))
    environ = {
        "SMP_URL": f"https://{HOST}:{smp}",
        "CALLBACK_LISTEN": f"{HOST}:{callbacks}",
        "PUBLIC_URL": f"https://{HOST}:{callbacks}",
        "HEALTH_LISTEN": f"{HOST}:{health}",
        "POLL": _POLL,
        "BROKER_PORT": str(broker),
    }
    for site, port in zip(sites, plants, strict=True):
        name = site.upper().replace("-", "_")
        environ |= {f"{name}_HOST": HOST, f"{name}_PORT": str(port), f"{name}_SECURITY": "None"}
        environ |= {f"{name}_BROKER": f"mqtt://{HOST}:{broker}", f"{name}_MQTT": "3.1.1"}  # what amqtt speaks
    return environ


def _plant(site: SiteConfig, state: Path, environ: Mapping[str, str]) -> AbstractAsyncContextManager[Plant]:
    """The plant of one site; a PLC has a memory that outlives a demo on the same state folder."""
    (box,) = site.mailboxes.values()
    link = site.connections[box.connection]
    port = int(environ[f"{site.site.upper().replace('-', '_')}_PORT"])
    if link.protocol == "opcua":
        memory, methods = state / f"plant-{site.site}.json", argument_kinds(site.relays)
        return OpcuaSite(link.config, host=HOST, port=port, memory=memory, methods=methods)
    return ModbusSite(box, host=HOST, port=port, memory=state / f"plant-{site.site}.json")
