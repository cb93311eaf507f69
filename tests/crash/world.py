"""Everything around one gateway that gets killed: an SMP, three plants of two participants, all in their own processes.

The configuration is the example's own; its `${NAME:-default}` places are filled with loopback addresses.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.transaction import State
from tests.crash.processes import Child, child, python
from tests.crash.records import PlantRecord, read_plant, unended
from tests.ports import free_ports

REPOSITORY = Path(__file__).resolve().parents[2]
SITES: Mapping[str, str] = {"hams-bess": "exstor", "solent-bess": "exstor", "trent-chp": "exflex"}
UNITS: Mapping[str, str] = {"hams-bess": "hams-1"}  # the message that each completed request sets off there
# What a plant types, the act that `simulate site` reports for it, and the end that it must come to.
ACTS: Mapping[str, str] = {"new": "a new asset", "again": "the same name again", "typo": "a mistyped MPAN"}
ENDS: Mapping[str, State] = {
    ACTS["new"]: State.COMPLETED,
    ACTS["again"]: State.FAILED,
    ACTS["typo"]: State.REFUSED,
}
_AHEAD = 2  # words a plant has waiting, so that it raises the next request at the very moment it may
_NEVER = 1 << 62
_LEDGER = "smp-ledger.db"


@dataclass(slots=True)
class Plant:
    """One plant's process, and what it said so far, counted."""

    site: str
    process: Child | None = None
    raised: int = 0
    typed: int = 0
    acknowledged: set[int] = field(default_factory=set)
    results: int = 0
    answered: int = 0  # of the results, those that the SMP had a part in
    said: list[str] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)  # what is no JSON: a traceback, a library's log

    def hear(self, line: str) -> None:
        """Count one line of `simulate site --json`."""
        if not line.startswith("{"):
            self.noise.append(line)
            return
        self.said.append(line)
        told = json.loads(line)
        match told["event"]:
            case "raised":
                self.raised += 1
            case "acknowledged":
                self.acknowledged.add(told["sequence"])
            case "result":
                self.results += 1
                self.answered += told["state"] in {State.COMPLETED, State.FAILED}
            case _:
                return

    @property
    def settled(self) -> bool:
        """Whether everything that was typed was raised, acknowledged and answered."""
        return self.typed == self.raised == len(self.acknowledged) <= self.results

    def record(self) -> PlantRecord:
        """What it did and saw."""
        return read_plant(self.said, site=self.site, participant=SITES[self.site], ends=ENDS, unit=UNITS.get(self.site))


class World:
    """The surroundings of the gateway under test; made by :func:`world` only."""

    def __init__(self, folder: Path, source: Path, dice: random.Random, *, lead: int = _NEVER) -> None:
        self.state = folder
        self.source = source
        self._lead = lead  # so many requests may a plant have without their results, and asks no more until then
        self.plants = {site: Plant(site) for site in SITES}
        self.gateways: list[Child] = []
        self.smp: Child | None = None
        self._dice = dice
        self._news = asyncio.Event()
        self._asking = False
        ports = free_ports(3 + len(SITES))
        self._smp_port, callbacks, health = ports[:3]
        self.plant_ports = dict(zip(SITES, ports[3:], strict=True))
        self.environ = {
            "SMP_URL": f"https://127.0.0.1:{self._smp_port}",
            "CALLBACK_LISTEN": f"127.0.0.1:{callbacks}",
            "PUBLIC_URL": f"https://127.0.0.1:{callbacks}",
            "HEALTH_LISTEN": f"127.0.0.1:{health}",
            "POLL": "20ms",
        }
        for site, port in self.plant_ports.items():
            name = site.upper().replace("-", "_")
            self.environ |= {f"{name}_HOST": "127.0.0.1", f"{name}_PORT": str(port)}

    @property
    def journal(self) -> Path:
        """Where the gateway keeps its journal."""
        return self.state / "state" / "journal.db"

    @property
    def ledger(self) -> Path:
        """Where the SMP keeps its ledger."""
        return self.state / _LEDGER

    @property
    def acknowledged(self) -> int:
        """How many requests were acknowledged so far."""
        return sum(len(plant.acknowledged) for plant in self.plants.values())

    @property
    def answered(self) -> int:
        """How many results that the SMP had a part in were read so far."""
        return sum(plant.answered for plant in self.plants.values())

    def command(self, *arguments: str) -> list[str]:
        """A command of `smp-gateway` on this state folder; the configuration is its first path."""
        return python(self.source, *arguments, "--state", str(self.state))

    def gateway(self) -> list[str]:
        """The command of the gateway under test."""
        return self.command("run", self.configuration)

    @property
    def configuration(self) -> str:
        """The example's gateway.yaml."""
        return str(self.source / "config" / "gateway.yaml")

    async def prepare(self) -> None:
        """Make passwords, keys and practice certificates."""
        secrets = self.state / "secrets"
        secrets.mkdir(parents=True)
        for participant in set(SITES.values()):
            (secrets / f"{participant}.password").write_text(f"{participant} in a test")
        command = self.command("keys", "generate", self.configuration, "--practice")
        async with child(command, environ=self.environ) as keys:
            if await keys.ended():
                raise RuntimeError("\n".join(keys.lines))

    async def enter(self, stack: AsyncExitStack, *, answer_delay: str, misbehaving: Sequence[str]) -> None:
        """Start the SMP and the plants."""
        self.smp = await stack.enter_async_context(
            child(
                self.command(
                    *("simulate", "smp", "--listen", f"127.0.0.1:{self._smp_port}", "--delay", "150ms"),
                    *("--callback-url", self.environ["PUBLIC_URL"], "--answer-delay", answer_delay),
                    *("--callback-ca", str(self.state / "pki" / "host-ca.pem")),
                    *misbehaving,
                ),
                environ=self.environ,
            )
        )
        begun = []
        for site, plant in self.plants.items():
            arguments = ("simulate", "site", self.configuration, site, "--json", "--listen")
            command = self.command(*arguments, f"127.0.0.1:{self.plant_ports[site]}")
            plant.process = await stack.enter_async_context(
                child(command, environ=self.environ, heard=self._hearing(plant))
            )
            begun.append(plant.process)
        await asyncio.gather(self.smp.until("listening on"), *(each.until("listening") for each in begun))

    @asynccontextmanager
    async def running(self, *, under: Sequence[str] = ()) -> AsyncIterator[Child]:
        """One life of the gateway; leaving kills it with signal 9 if it still lives; ``under`` is what runs it."""
        async with child([*under, *self.gateway()], environ=self.environ, heard=self.notice) as gateway:
            self.gateways.append(gateway)
            yield gateway

    def begin(self) -> None:
        """Let every plant ask from now on, as fast as its mailbox allows."""
        self._asking = True
        for plant in self.plants.values():
            self._ask(plant)

    def stop_asking(self) -> None:
        """Let the plants finish what they have asked for."""
        self._asking = False

    async def drain(self, *, quiet_s: float) -> bool:
        """Wait until every plant has its results and every unit its end; False once all were quiet for so long."""
        return await self.until(
            lambda: all(plant.settled for plant in self.plants.values()) and not unended(self.journal, UNITS),
            quiet_s=quiet_s,
        )

    async def until(self, holds: Callable[[], bool], *, quiet_s: float) -> bool:
        """Wait until this holds, judged whenever a plant or message moved; False once all were quiet for so long."""
        while not holds():
            self._news.clear()
            try:
                async with asyncio.timeout(quiet_s):
                    await self._news.wait()
            except TimeoutError:
                return holds()
        return True

    async def end(self) -> list[int]:
        """End the SMP and the plants with SIGTERM, and return their exit codes."""
        children = [self.smp, *(plant.process for plant in self.plants.values())]
        codes = []
        for each in children:
            if each is not None:
                each.signal(signal.SIGTERM)
                codes.append(await each.ended())
        return codes

    def notice(self, line: str) -> None:
        """Hear a line of a gateway's log."""
        if '"message_' in line:  # it was taken in, refused or moved
            self._news.set()

    def _hearing(self, plant: Plant) -> Callable[[str], None]:
        def hear(line: str) -> None:
            plant.hear(line)
            self._ask(plant)
            self._news.set()

        return hear

    def _ask(self, plant: Plant) -> None:
        """Type what the plant may have ahead of its acknowledgements, and of its results."""
        if not self._asking or plant.process is None:
            return
        while plant.typed < min(len(plant.acknowledged) + _AHEAD, plant.results + self._lead):
            plant.typed += 1
            plant.process.say(self._dice.choices(list(ACTS), weights=(3, 1, 1))[0])


@asynccontextmanager
async def world(
    folder: Path,
    *,
    source: Path = REPOSITORY,
    dice: random.Random,
    answer_delay: str = "60ms",
    misbehaving: Sequence[str] = (),
) -> AsyncIterator[World]:
    """Build the surroundings in an empty folder; leaving kills what still runs.

    ``misbehaving`` are further options of `simulate smp`, such as ``--fault lose-reply=0.1``.
    """
    here = World(folder, source, dice)
    await here.prepare()
    async with AsyncExitStack() as stack:
        await here.enter(stack, answer_delay=answer_delay, misbehaving=misbehaving)
        yield here
