"""The example configuration with everything around it on loopback: each test opens a World and tells one story."""

from __future__ import annotations

import asyncio
import io
import json
import re
import secrets
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import aiohttp

from adapters.modbus.simulator import ModbusSite, payload_of
from adapters.opcua.simulator import OpcuaSite, argument_kinds
from gateway.app import Gateway, MessageStory, adapters, gateway, open_reader
from gateway.cli.keys import generate_keys
from gateway.core.message import Message
from gateway.core.point import Value
from gateway.core.record import MessageFilter
from gateway.core.transaction import State
from gateway.ports import Clock
from gateway.settings.configuration import Configuration, load
from gateway.settings.secrets import secret_path
from gateway.simulator import Redelivery, SimulatedSmp
from gateway.simulator.ledger import Ledger
from gateway.simulator.smp import now_us
from gateway.telemetry import Telemetry
from tests.ports import free_ports
from tests.system.front import Front
from tests.system.wire import SMP_V1, Wire, private_key

T = TypeVar("T")

HANG_GUARD_S = 60.0  # no assertion: far beyond what any story takes, on a busy machine too
EXAMPLE = Path(__file__).parents[2] / "config"
SITES = ("hams-bess", "solent-bess", "trent-chp")  # the example's plants on Modbus
OPCUA_SITES = ("wight-bess",)
OWNERS = {"hams-bess": "exstor", "solent-bess": "exstor", "trent-chp": "exflex"}
MPANS = {"hams-bess": "2000000000200", "solent-bess": "2000000000210", "trent-chp": "1100000000114"}
_MUTUAL = {
    "    ca: file:pki/smp-ca.pem": "    certificate: file:pki/client.pem\n    key: file:pki/client.key\n",
    "  certificate: file:pki/host.pem": "  client_ca: file:pki/smp-ca.pem\n",
}
_LIVE = """
  live:
    profile: profiles/smp-v1.yaml
    base_url: "${LIVE_SMP_URL:-https://smp.example/live}"
    ca: file:live/pki/smp-ca.pem
    callback_keys: file:live/pki/smp.jwks.json
"""


async def until(probe: Callable[[], Awaitable[T | None]]) -> T:
    """Look until there is something to see."""
    async with asyncio.timeout(HANG_GUARD_S):
        while not (found := await probe()):  # noqa: ASYNC110 - what is waited for is on disk or on another machine
            await asyncio.sleep(0.005)
    return found


async def holds(condition: Callable[[], object]) -> None:
    """Look until this is true."""

    async def probe() -> bool:
        return bool(condition())

    await until(probe)


@dataclass
class World:
    """Everything around the gateway, and the gateway itself when a story opens it."""

    folder: Path
    state: Path
    configuration: Configuration
    environ: Mapping[str, str]
    smps: Mapping[str, SimulatedSmp]
    fronts: Mapping[str, Front]
    plants: Mapping[str, ModbusSite]
    scadas: Mapping[str, OpcuaSite]
    wire: Wire = SMP_V1
    log: io.StringIO = field(default_factory=io.StringIO)

    @property
    def smp(self) -> SimulatedSmp:
        return self.smps["test"]

    @property
    def front(self) -> Front:
        return self.fronts["test"]

    @asynccontextmanager
    async def gateway(self, clock: Clock | None = None) -> AsyncIterator[Running]:
        """Open the gateway; opening it again is a restart on the same state. ``clock`` replaces the machine's."""
        telemetry = Telemetry(stream=self.log)
        async with gateway(self.configuration, environ=self.environ, telemetry=telemetry, clock=clock) as running:
            yield Running(self, running, telemetry)

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """What the log tells of one kind, of every gateway of this world."""
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [e for e in lines if e["event"] == name and all(e.get(key) == value for key, value in fields.items())]

    async def ask(
        self, site: str, name: str, *, mpan: str | None = None, kind: int = 1, sequence: int | None = None
    ) -> int:
        """Raise a request for one asset at a plant; returns its sequence."""
        config, plant = self.configuration.sites[site], self.plants[site]
        (box,) = config.mailboxes.values()
        values: dict[str, Value] = {
            "asset_name": name,
            "mpan": MPANS[site] if mpan is None else mpan,
            "export_limit": Decimal(1),
            "import_limit": Decimal(1),
        }
        present = {point: value for point, value in values.items() if point in config.points}
        payload = payload_of(config.connections[box.connection].config, box, present)
        return await plant.request(kind, payload, sequence=sequence)

    def drop_certificate(self) -> None:
        """Let the gateway forget, from its next opening on, what it shows the SMP."""
        found = {
            name: replace(smp, certificate=None, key=None) for name, smp in self.configuration.environments.items()
        }
        self.configuration = replace(self.configuration, environments=found)

    def reload(self, **environ: str) -> None:
        """Read the configuration again, with these variables changed."""
        self.environ = {**self.environ, **environ}
        path = self.folder / "gateway.yaml"
        self.configuration = load(path, adapters=adapters(), state=self.state, environ=self.environ)

    def effects(self, environment: str = "test") -> list[str]:
        """Every asset that exists at the SMP, in the order of its creation."""
        return [name for entry in Ledger.read(self.smps[environment].ledger.path) for name in entry.effects]

    def story(self, message_id: str) -> MessageStory:
        """Everything that the journal knows of a message."""
        with open_reader(self.configuration.journal) as reader:
            story = reader.story(message_id)
        assert story is not None
        return story


@dataclass
class Running:
    """A gateway that runs in this world."""

    world: World
    gateway: Gateway
    telemetry: Telemetry

    async def messages(self, site: str | None = None) -> Sequence[Message]:
        """Oldest first."""
        return list(reversed(await self.gateway.journal.history(MessageFilter(site=site, limit=1000))))

    async def reaches(self, site: str, *states: State, number: int = 0, message: str | None = None) -> Message:
        """Wait until the site's message of this number (from 0) is in one of these states."""

        async def probe() -> Message | None:
            found = [m for m in await self.messages(site) if message in {None, m.lane.message}]
            return found[number] if len(found) > number and found[number].state in states else None

        return await until(probe)

    async def relayed(self) -> None:
        """Wait until nothing is left to be written to any site."""

        async def probe() -> bool:
            return (await self.gateway.journal.depth()).relays == 0

        await until(probe)

    async def get(self, path: str) -> tuple[int, str]:
        """Ask the health listener."""
        url = f"http://127.0.0.1:{self.gateway.health_port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def ready(self) -> tuple[int, dict[str, Any]]:
        status, body = await self.get("/readyz")
        return status, json.loads(body)

    async def call_back(
        self,
        participant: str,
        body: bytes,
        signature: str | None,
        *,
        shown: bool = True,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, dict[str, Any]]:
        """POST bytes to the callback listener, as whoever finds it may; ``signature`` is a detached token.

        The SMP's certificate is shown, unless not ``shown``.
        """
        pki = self.world.state / "pki"
        trust = ssl.create_default_context(cafile=pki / "host-ca.pem")
        if shown:
            trust.load_cert_chain(pki / "smp-server.pem", pki / "smp-server.key")
        url = f"https://127.0.0.1:{self.gateway.callback_port}{self.world.wire.callback(participant)}"
        sent: tuple[bytes, Mapping[str, str]] = body, {}
        if signature is not None:
            sent = self.world.wire.pack(body, signature)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session,
            session.post(url, data=sent[0], headers={**sent[1], **headers}) as answer,
        ):
            return answer.status, await answer.json()


@asynccontextmanager
async def world(
    folder: Path,
    *,
    wire: Wire = SMP_V1,
    timings: Mapping[str, str] | None = None,
    profile: Callable[[str], str] = lambda text: text,
    sites: Callable[[str], str] = lambda text: text,
    live: Sequence[str] = (),
    processing_delay_s: float = 0.0,
    token_life_s: int = 1800,
    smp_up: bool = True,
    more_sites: Mapping[str, Mapping[str, str]] | None = None,
    smp_clock: Callable[[], int] = now_us,
    units: bool = False,
    opcua: bool = False,
) -> AsyncIterator[World]:
    """Start the SMP with its front, and the plants, all speaking ``wire``.

    ``timings`` replace the profile's; ``profile`` and ``sites`` edit the texts of the profile and of each site's YAML;
    ``live`` moves participants. Without ``units`` no battery sets off the example's unit, so that a story of assets has
    nothing else in it. With ``opcua`` the example's OPC UA site is there too; ``more_sites`` are further sites of the
    example, each with the values of its YAML's places. No other site of the example is there.
    """
    config, state = folder / "config", folder / "state"
    shutil.copytree(EXAMPLE, config)
    state.mkdir()
    if not units:
        _without_unit(config / "sites" / "hams-bess.yaml")
    path = config / "profiles" / wire.file.name
    path.write_text(profile(_timed(wire.file.read_text("utf-8"), timings or {})), "utf-8")
    for path in (config / "sites").glob("*.yaml"):
        if path.stem not in {*SITES, *(OPCUA_SITES if opcua else ()), *(more_sites or {})}:
            path.unlink()
            continue
        path.write_text(sites(path.read_text("utf-8")), "utf-8")
    _speak(wire, config, state)
    for participant in live:
        path = config / "participants" / f"{participant}.yaml"
        path.write_text(path.read_text("utf-8").replace("environment: test", "environment: live"), "utf-8")
    if live:
        path = config / "gateway.yaml"
        path.write_text(path.read_text("utf-8").replace("\ncallbacks:", _LIVE + "\ncallbacks:", 1), "utf-8")
    environments = ("test", "live") if live else ("test",)
    environ, front_ports = _environ(environments)
    for places in (more_sites or {}).values():
        environ |= places
    configuration = load(config / "gateway.yaml", adapters=adapters(), state=state, environ=environ)
    _write_passwords(configuration)
    generate_keys(configuration, practice=True, environ=environ)
    async with AsyncExitStack() as stack:
        smps, fronts = {}, {}
        for name in environments:
            home = state if name == "test" else _live_home(state)
            smps[name] = SimulatedSmp(
                profile_path=config / "profiles" / wire.file.name,
                state=home,
                callback_url=environ["PUBLIC_URL"],
                callback_ca=state / "pki" / "host-ca.pem",
                client_ca=state / "pki" / "client-ca-test.pem" if wire.mutual_tls else None,
                processing_delay_s=processing_delay_s,
                also_known_as=(f"https://127.0.0.1:{front_ports[name]}",),
                token_life_s=token_life_s,
                redelivery=Redelivery(first_s=0.02, longest_s=0.1, tries=10_000),
                clock=smp_clock,
            )
            await stack.enter_async_context(smps[name])
            fronts[name] = Front(smps[name], front_ports[name], wire)
            if smp_up:
                await fronts[name].open()
            stack.push_async_callback(fronts[name].close)
        plants = {site: await stack.enter_async_context(_plant(configuration, site, environ)) for site in SITES}
        scadas = {}
        for site in OPCUA_SITES if opcua else ():
            (box,) = configuration.sites[site].mailboxes.values()
            link = configuration.sites[site].connections[box.connection].config
            methods = argument_kinds(configuration.sites[site].relays)
            scadas[site] = await stack.enter_async_context(OpcuaSite(link, port=_port(environ, site), methods=methods))
        async with asyncio.timeout(2 * HANG_GUARD_S):
            yield World(config, state, configuration, environ, smps, fronts, plants, scadas, wire)


def _speak(wire: Wire, config: Path, state: Path) -> None:
    """Let gateway.yaml name the profile, give everybody a key for its algorithm, and both sides certificates."""
    if wire == SMP_V1:
        return
    path = config / "gateway.yaml"
    path.write_text(path.read_text("utf-8").replace("profiles/smp-v1.yaml", f"profiles/{wire.file.name}"), "utf-8")
    for path in (config / "participants").glob("*.yaml"):
        path.write_text(path.read_text("utf-8").replace("algorithm: ES256", f"algorithm: {wire.algorithm}"), "utf-8")
    path = config / "gateway.yaml"
    text = path.read_text("utf-8")
    for line, further in _MUTUAL.items():
        assert line in text
        text = text.replace(line, further + line, 1)
    path.write_text(text, "utf-8")
    for home in ("keys", "pki", "live/pki"):
        (state / home).mkdir(parents=True, exist_ok=True)
    for participant in sorted(set(OWNERS.values())):
        (state / "keys" / f"{participant}.pem").write_bytes(private_key(wire.algorithm, participant))
    for home in ("pki", "live/pki"):
        (state / home / "smp-signing.pem").write_bytes(private_key(wire.algorithm, home))


def _without_unit(path: Path) -> None:
    """Cut the unit and what tells of it from a site of the example."""
    before, unit, _ = path.read_text("utf-8").partition("\n  hams-1:")
    assert unit
    path.write_text(before, "utf-8")


def _timed(text: str, timings: Mapping[str, str]) -> str:
    for name, value in timings.items():
        text, count = re.subn(rf"^  {name}: .*$", f"  {name}: {value}", text, flags=re.MULTILINE)
        assert count == 1, name
    return text


def _environ(environments: Sequence[str]) -> tuple[dict[str, str], dict[str, int]]:
    sites = (*SITES, *OPCUA_SITES)
    callbacks, health, *rest = free_ports(2 + len(environments) + len(sites))
    fronts = dict(zip(environments, rest, strict=False))
    environ = {
        "CALLBACK_LISTEN": f"127.0.0.1:{callbacks}",
        "PUBLIC_URL": f"https://127.0.0.1:{callbacks}",
        "HEALTH_LISTEN": f"127.0.0.1:{health}",
        "POLL": "20ms",
        "SMP_URL": f"https://127.0.0.1:{fronts['test']}",
        "LIVE_SMP_URL": f"https://127.0.0.1:{fronts.get('live', 1)}",
    }
    for site, port in zip(sites, rest[len(environments) :], strict=True):
        name = site.upper().replace("-", "_")
        environ |= {f"{name}_HOST": "127.0.0.1", f"{name}_PORT": str(port), f"{name}_SECURITY": "None"}
    return environ, fronts


def _plant(configuration: Configuration, site: str, environ: Mapping[str, str]) -> ModbusSite:
    (box,) = configuration.sites[site].mailboxes.values()
    return ModbusSite(box, port=_port(environ, site))


def _port(environ: Mapping[str, str], site: str) -> int:
    return int(environ[f"{site.upper().replace('-', '_')}_PORT"])


def _write_passwords(configuration: Configuration) -> None:
    for participant in configuration.participants.values():
        path = secret_path(participant.password, environ={})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_urlsafe(24), encoding="utf-8")


def _live_home(state: Path) -> Path:
    """The live SMP's own folder: other keys, another ledger, the same participants."""
    home = state / "live"
    (home / "pki").mkdir(parents=True, exist_ok=True)
    shutil.copytree(state / "secrets", home / "secrets")
    shutil.copy(state / "pki" / "participants.jwks.json", home / "pki")
    return home
