"""Everything around the gateway that the demo needs: a simulated SMP, one plant per site, keys, and addresses.

The configuration is the example's own; only its `${NAME:-default}` places are filled with loopback addresses.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.modbus.simulator import ModbusSite
from gateway.app import adapters
from gateway.cli.keys import generate_keys
from gateway.settings.configuration import Configuration, SiteConfig, load
from gateway.settings.secrets import secret_path
from gateway.simulator import SimulatedSmp

_HOST = "127.0.0.1"
_POLL = "50ms"  # of the demo's plants, so that a newcomer does not watch a poll period


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What runs around the gateway, and the configuration that points at it."""

    configuration: Configuration
    environ: Mapping[str, str]
    smp: SimulatedSmp
    plants: Mapping[str, ModbusSite]


@asynccontextmanager
async def surroundings(gateway_yaml: Path, state: Path) -> AsyncIterator[Surroundings]:
    """Start the SMP and the plants on free loopback ports; leaving stops them.

    Raises:
        ConfigError: the example was edited and is wrong now.
    """
    sites = load(gateway_yaml, adapters=adapters(), state=state, environ={}).sites
    environ = _environ(list(sites))
    configuration = load(gateway_yaml, adapters=adapters(), state=state, environ=environ)
    _write_passwords(configuration)
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
        plants = {
            name: await stack.enter_async_context(_plant(site, state, environ))
            for name, site in configuration.sites.items()
        }
        yield Surroundings(configuration=configuration, environ=environ, smp=smp, plants=plants)


def _environ(sites: list[str]) -> dict[str, str]:
    """Fill the places of the example's YAML: where the SMP, the listeners and each site's plant are."""
    smp, callbacks, health, *plants = _free_ports(3 + len(sites))
    environ = {
        "SMP_URL": f"https://{_HOST}:{smp}",
        "CALLBACK_LISTEN": f"{_HOST}:{callbacks}",
        "PUBLIC_URL": f"https://{_HOST}:{callbacks}",
        "HEALTH_LISTEN": f"{_HOST}:{health}",
        "POLL": _POLL,
    }
    for site, port in zip(sites, plants, strict=True):
        name = site.upper().replace("-", "_")
        environ |= {f"{name}_HOST": _HOST, f"{name}_PORT": str(port)}
    return environ


def _plant(site: SiteConfig, state: Path, environ: Mapping[str, str]) -> ModbusSite:
    """The PLC of one site, with a memory that outlives a demo on the same state folder."""
    (box,) = site.mailboxes.values()
    port = int(environ[f"{site.site.upper().replace('-', '_')}_PORT"])
    return ModbusSite(box, host=_HOST, port=port, memory=state / f"plant-{site.site}.json")


def _write_passwords(configuration: Configuration) -> None:
    """Make up each participant's SMP password where there is none yet; the simulated SMP reads the same files."""
    for participant in configuration.participants.values():
        path = secret_path(participant.password, environ={})
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24), encoding="utf-8")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; taken together, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((_HOST, 0))
        return [each.getsockname()[1] for each in sockets]
