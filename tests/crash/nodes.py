"""A run of several gateways on one database: killed, paused, stopped, and the database killed under them, in traffic.

Every gateway is a process with a state folder of its own. What the SMP calls back goes to any of them that is not
paused, as a load balancer would have it.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psycopg

from gateway.core.transaction import State
from tests.crash.checker import Violation, check
from tests.crash.kills import alarms
from tests.crash.processes import Child, child, python
from tests.crash.records import read_journal, read_ledger
from tests.crash.spies import Spy, first
from tests.crash.world import REPOSITORY, World
from tests.ports import free_ports
from tests.postgres import PostgresServer

NODES = 2
_LEAD = 3  # requests of a plant on their way, so that a run's end is soon reached
_OPEN = """SELECT (SELECT COUNT(*) FROM sequel) + (SELECT COUNT(*) FROM message WHERE state IN
    ('accepted', 'waiting', 'sending', 'in_doubt', 'awaiting', 'escalated', 'parked'))"""


class Stroke(StrEnum):
    """What happens to a gateway, or to all of them."""

    KILL = "killed"
    PAUSE = "paused beyond its lease"
    RESTART = "database killed"
    LEAVE = "stopped"


_STROKES = tuple(Stroke)  # each in its turn, so that a short run has them all
_CODES = {Stroke.KILL: -signal.SIGKILL, Stroke.PAUSE: 3, Stroke.LEAVE: 0, None: 0}


@dataclass(slots=True, kw_only=True)
class NodesOutcome:
    """What a run was like, and what it broke.

    ``late`` counts rows that a gateway wrote, and ``late_writes`` what it asked plants to take, after it was replaced.
    ``slow`` counts those that the others took for dead without our doing, on a machine that left them no time.
    """

    seed: int
    strokes: Counter[Stroke] = field(default_factory=Counter)
    handed_over: int = 0
    told: int = 0  # verdicts that came to a gateway which did not serve the participant
    late: int = 0
    late_writes: int = 0
    slow: int = 0
    drained: bool = False
    alarms: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    messages: Mapping[State, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        strokes = ", ".join(f"{count} {stroke}" for stroke, count in self.strokes.items())
        ends = ", ".join(f"{count} {state}" for state, count in sorted(self.messages.items()))
        return (
            f"seed {self.seed}: {strokes}; leases were taken {self.handed_over} times, {self.told} verdicts came to "
            f"another gateway, {self.late} rows and {self.late_writes} writes after a takeover, "
            f"{self.slow} were too slow; {sum(self.messages.values())} messages ({ends}); "
            f"{len(self.violations)} violations; {self.seconds:.0f} s"
        )


@dataclass(slots=True, eq=False)
class Node:
    """One gateway's place: its folder and ports stay, its processes come and go."""

    state: Path
    environ: dict[str, str]
    callbacks: int
    spies: list[Spy]  # on its ways to the plants
    process: Child | None = None
    paused: bool = False

    @property
    def lives(self) -> bool:
        """Whether the SMP's callbacks may be sent there."""
        return self.process is not None and self.process.process.returncode is None and not self.paused


class Cluster(World):
    """The surroundings of the crash suite, with several gateways; made by :func:`cluster` only."""

    def __init__(self, folder: Path, dice: random.Random, url: str) -> None:
        super().__init__(folder, REPOSITORY, dice, lead=_LEAD)
        self.environ["POLL"] = "100ms"
        self.url = url
        ports = free_ports(2 * NODES)
        self.nodes = [
            Node(
                folder / f"node{number}",
                {**self.environ, "CALLBACK_LISTEN": f"127.0.0.1:{callbacks}", "HEALTH_LISTEN": f"127.0.0.1:{health}"},
                callbacks,
                [Spy("127.0.0.1", port) for port in self.plant_ports.values()],
            )
            for number, (callbacks, health) in enumerate(zip(ports[::2], ports[1::2], strict=True), start=1)
        ]

    async def drain(self, *, quiet_s: float) -> bool:
        """See `World`; the database counts, since this loop also carries what the SMP calls back."""
        return await self.until(
            lambda: all(plant.settled for plant in self.plants.values()) and not _rows(self.url, _OPEN), quiet_s=quiet_s
        )

    @property
    def configuration(self) -> str:
        """The example's, with its journal in the database."""
        return str(self.state / "config" / "gateway.yaml")

    async def prepare(self) -> None:
        """See `World`; every gateway has the same keys and secrets in a folder of its own."""
        shutil.copytree(self.source / "config", self.state / "config", ignore=shutil.ignore_patterns("state"))
        path = self.state / "config" / "gateway.yaml"
        path.write_text(path.read_text().replace("sqlite:state/journal.db", "file:secrets/journal.url", 1))
        await super().prepare()
        (self.state / "secrets" / "journal.url").write_text(self.url)

    async def spy(self, stack: AsyncExitStack) -> None:
        """Stand between every gateway and every plant."""
        for node in self.nodes:
            for site, spy in zip(self.plant_ports, node.spies, strict=True):
                await spy.open()
                stack.push_async_callback(spy.close)
                node.environ[f"{site.upper().replace('-', '_')}_PORT"] = str(spy.port)

    async def start(self, stack: AsyncExitStack, node: Node) -> Child:
        """Begin a life of this gateway, and wait until it works."""
        if not node.state.is_dir():
            node.state.mkdir()
            for shared in ("secrets", "keys", "pki"):
                (node.state / shared).symlink_to(self.state / shared)
        command = python(self.source, "run", self.configuration, "--state", str(node.state))
        started = await stack.enter_async_context(child(command, environ=node.environ, heard=self.notice))
        self.gateways.append(started)
        node.process, node.paused = started, False
        await started.until("gateway_started")
        return started

    async def balance(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection of the SMP to any gateway that lives."""
        living = [node for node in self.nodes if node.lives]
        self._dice.shuffle(living)
        for node in living:
            with suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", node.callbacks)
                await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))
                return
        writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def cluster(folder: Path, server: PostgresServer, dice: random.Random) -> AsyncIterator[Cluster]:
    """Build the surroundings in an empty folder, with all gateways running; leaving kills what still runs."""
    here = Cluster(folder, dice, server.fresh())
    await here.prepare()
    async with AsyncExitStack() as stack:
        port = int(here.environ["CALLBACK_LISTEN"].rpartition(":")[2])
        balancer = await stack.enter_async_context(await asyncio.start_server(here.balance, "127.0.0.1", port))
        await here.enter(stack, answer_delay="60ms", misbehaving=())
        await here.spy(stack)
        yield here
        balancer.close()


async def node_run(
    folder: Path, server: PostgresServer, *, seed: int, strokes: int, quiet_s: float = 60.0
) -> NodesOutcome:
    """Strike so often, let everything drain, and compare; ``quiet_s`` of silence ends the draining."""
    began, outcome, dice = time.monotonic(), NodesOutcome(seed=seed), random.Random(seed)
    async with cluster(folder, server, dice) as here, AsyncExitStack() as stack:
        await asyncio.gather(*(here.start(stack, node) for node in here.nodes))
        here.begin()
        for number in range(strokes):
            await _some(here, dice)
            for node in (each for each in here.nodes if not each.lives):
                await _end(here, node, None, outcome)
                await here.start(stack, node)
            stroke = _STROKES[number % len(_STROKES)]
            outcome.strokes[stroke] += 1
            if stroke is Stroke.RESTART:
                server.kill()
                await asyncio.sleep(dice.uniform(0.0, 0.5))
                await asyncio.to_thread(server.start)
            else:
                await here.start(stack, await _strike(here, stroke, dice, outcome))
        here.stop_asking()
        outcome.drained = await here.drain(quiet_s=quiet_s)
        for node in here.nodes:
            await _end(here, node, None, outcome)
        outcome.alarms += [f"it ended with {code}" for code in await here.end() if code]
        plants = [plant.record() for plant in here.plants.values()]
        ledger, journal = read_ledger(here.ledger), read_journal(here.url)
    outcome.violations = check(plants, ledger, journal)
    outcome.messages = Counter(message.state for message in journal.messages)
    lines = [line for each in here.gateways for line in each.lines]
    outcome.handed_over = sum('"participant_taken_up"' in line for line in lines)
    outcome.told = _told(here.gateways)
    outcome.seconds = time.monotonic() - began
    return outcome


async def _some(here: Cluster, dice: random.Random) -> None:
    await _more(here, dice.randint(3, 12))
    await asyncio.sleep(dice.uniform(0.0, 0.1))


async def _more(here: Cluster, count: int) -> None:
    """Wait until so many more requests were acknowledged."""
    goal = here.acknowledged + count
    if not await here.until(lambda: here.acknowledged >= goal, quiet_s=30.0):
        said = [line for each in here.gateways[-NODES:] for line in each.lines[-15:]]
        raise TimeoutError("the plants hear nothing any more:\n" + "\n".join(said))


async def _strike(here: Cluster, stroke: Stroke, dice: random.Random, outcome: NodesOutcome) -> Node:
    """Let one gateway, which it is, come to its end."""
    if stroke is Stroke.PAUSE:
        struck = await _pause(here, outcome)
    else:
        struck = dice.choice(here.nodes)
    await _end(here, struck, stroke, outcome)
    return struck


async def _end(here: Cluster, node: Node, stroke: Stroke | None, outcome: NodesOutcome) -> None:
    """See a gateway end as it should, by this stroke or by itself, and look at what it said."""
    if node.process is None:
        raise RuntimeError("it does not run")
    if stroke is not Stroke.PAUSE:
        node.process.signal(signal.SIGKILL if stroke is Stroke.KILL else signal.SIGTERM)
    code = await node.process.ended()
    if code == _CODES[Stroke.PAUSE] and await _was_buried(here, node.process):
        outcome.slow += stroke is not Stroke.PAUSE
        return
    outcome.alarms += alarms([node.process])
    if code != _CODES[stroke]:
        outcome.alarms.append(f"{stroke}: it ended with {code}: {node.process.lines[-1]}")


async def _was_buried(here: Cluster, process: Child) -> bool:
    epoch = await _epoch(process)
    return any(_burial(epoch) in line for each in here.gateways for line in each.lines)


async def _epoch(process: Child) -> int:
    return int(json.loads(await process.until('"journal_opened"'))["epoch"])


def _burial(epoch: int) -> str:
    return f'"node":{epoch},"event":"node_buried"'


async def _pause(here: Cluster, outcome: NodesOutcome) -> Node:
    """Stop a gateway in the middle of a write into a plant until another one has taken over, and let it wake.

    The plant's answer waits for it then; it must end without having done anything.
    """
    long = outcome.strokes[Stroke.PAUSE] % 2  # every other time a result of which only a part is written yet
    caught = await first([spy for node in here.nodes for spy in node.spies], 2 if long else 1)
    (struck,) = (node for node in here.nodes if caught in node.spies)
    (other,) = (node for node in here.nodes if node is not struck)
    if struck.process is None or other.process is None:
        raise RuntimeError("both must run")
    epoch = await _epoch(struck.process)
    struck.paused = True
    struck.process.signal(signal.SIGSTOP)
    caught.release()
    await other.process.until(_burial(epoch))
    await _more(here, 4)
    rows, writes = _rows(here.url, "SELECT COALESCE(MAX(id), 0) FROM audit"), sum(spy.writes for spy in struck.spies)
    struck.process.signal(signal.SIGCONT)
    await struck.process.ended()
    outcome.late += _rows(here.url, f"SELECT COUNT(*) FROM audit WHERE epoch = {epoch} AND id > {rows}")
    outcome.late_writes += sum(spy.writes for spy in struck.spies) - writes
    return struck


def _rows(url: str, question: str) -> int:
    with psycopg.connect(url) as raw:
        row = raw.execute(question.encode()).fetchone()
    return 0 if row is None else int(row[0])


def _told(gateways: list[Child]) -> int:
    """How many callbacks came to a gateway that did not serve their participant then, by its own log."""
    count = 0
    for gateway in gateways:
        served: set[str] = set()
        for line in gateway.lines:
            with suppress(ValueError, KeyError):
                said = json.loads(line)
                match said["event"]:
                    case "participant_taken_up":
                        served.add(said["participant"])
                    case "participant_handed_over":
                        served.discard(said["participant"])
                    case "callback_received":
                        count += said["participant"] not in served
    return count
