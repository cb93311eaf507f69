"""One life of a gateway on virtual time: the real flow code on a real journal, which may be killed at any moment."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gateway.core.control import ActOrder
from gateway.core.jwk import KeyRecord
from gateway.core.profile import Profile
from gateway.edge.journal.connection import Connection, create_file, open_reading, open_writing
from gateway.edge.journal.engine import Beside
from gateway.edge.journal.options import Options
from gateway.edge.journal.statements import Commit, Reading
from gateway.edge.journal.stored import StoredJournal
from gateway.edge.journal.writer import Writer
from gateway.errors import ControlRefused
from gateway.flow.acceptance import Services
from gateway.flow.account import Account, Identity
from gateway.flow.gate import Gate
from gateway.flow.imports import Tenant
from gateway.flow.operator import Operator
from gateway.flow.receiver import Receiver
from gateway.flow.reconciler import Reconciler
from gateway.flow.sender import Sender
from gateway.flow.signals import Signals
from gateway.flow.site import SiteRuntime
from gateway.ports import Call, CallbackReply, Entropy, Signer
from gateway.settings.configuration import SiteConfig, SiteConnection
from gateway.telemetry import Telemetry
from tests.flow.virtual import VirtualClock
from tests.simulation.plant import Plant
from tests.simulation.smp import Smp

T = TypeVar("T")
COMMIT_S = 0.005  # at most, before and after a commit

_life: contextvars.ContextVar[dict[asyncio.Task[Any], None] | None] = contextvars.ContextVar("life", default=None)


def remember(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:  # noqa: ANN401 - as asyncio has it
    """The loop's task factory: every task knows in which life of a gateway it was begun, if in one."""
    task = asyncio.Task(work, loop=loop, **more)
    if (life := _life.get()) is not None:
        life[task] = None  # a dict, since whoever dies dies in an order that a seed repeats
        task.add_done_callback(life.pop)
    return task


class Dice:
    """ports.Entropy of a seed."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def uuid(self) -> str:
        """See `ports.Entropy`."""
        digits = f"{self._dice.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"

    def jitter(self, spread: float) -> float:
        """See `ports.Entropy`."""
        return 1 + spread * (2 * self._dice.random() - 1)


@dataclass
class Mortal:
    """Whether this life goes on; who waits for anything durable when it does not waits for ever."""

    dice: random.Random
    dead: bool = False

    async def pause(self, longest_s: float) -> None:
        """A moment of virtual time, perhaps the last."""
        await asyncio.sleep(self.dice.random() * longest_s)
        if self.dead:
            await asyncio.Event().wait()


class _Writer(Writer):
    """Writes where it is asked, one transaction per command: no thread has a place in virtual time."""

    def mortal(self, life: Mortal) -> None:
        self._mortal, self._turn = life, asyncio.Lock()

    async def commit(self, command: Callable[[Commit], T], *, intake: bool = False, beside: Beside | None = None) -> T:
        async with self._turn:  # first come, first served, as the queue of the thread is
            await self._mortal.pause(COMMIT_S)
            committing = asyncio.ensure_future(super().commit(command, intake=intake, beside=beside))
            await asyncio.sleep(0)
            batch, _ = self._drain()
            self._serve(batch)
            for job in batch:
                job.deliver()
            self._rest()
        await self._mortal.pause(COMMIT_S)
        return await committing


@dataclass(frozen=True)
class _Asking:
    reading: Reading

    async def read(self, question: Callable[[Reading], T]) -> T:
        return question(self.reading)


@dataclass(frozen=True)
class _Keys:
    """ports.KeyRing of one key."""

    record: KeyRecord
    degraded: tuple[str, ...] = ()

    def find(self, key_id: str) -> KeyRecord | None:
        return self.record if key_id == self.record.key_id else None

    async def refresh(self) -> bool:
        return False


@dataclass
class Host:
    """What outlives every life of the gateway: its files, its configuration, and its partners."""

    path: Path
    profile: Profile
    sites: Mapping[str, SiteConfig]
    plants: Mapping[str, Plant]
    smp: Smp
    smp_key: KeyRecord
    signers: Mapping[str, Signer]
    dice: random.Random
    telemetry: Telemetry
    lives: int = 0
    act: Callable[[str, ActOrder], Awaitable[None]] | None = None  # what an operator can do; None while nobody lives
    journal: StoredJournal | None = None
    _reading: Connection | None = None
    _mortal: Mortal = field(init=False)
    _tasks: dict[asyncio.Task[Any], None] = field(default_factory=dict)

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Live until left; leaving is sudden death: no draining, nothing is said or written any more."""
        self.lives += 1
        self._mortal, self._tasks = Mortal(self.dice), {}
        create_file(self.path)
        clock = VirtualClock()
        with (
            closing(open_writing(self.path, now=clock.now())) as writing,
            closing(open_reading(self.path)) as reading,
        ):
            writer = _Writer(writing, clock=clock)
            writer.mortal(self._mortal)
            asking = _Asking(Reading(reading))
            options = Options(after_verdict=False, is_full=lambda: False)
            self._reading = reading
            token = _life.set(self._tasks)
            try:
                self.journal = StoredJournal(
                    str(self.path), writer, asking, asking, options=options, event=self.telemetry.emit
                )
                main = asyncio.ensure_future(self._live(self.journal, Dice(self.dice)))
            finally:
                _life.reset(token)
            try:
                yield
                assert not main.done(), main.result()
            finally:
                await self._die()

    def rows(self, statement: str, *values: str) -> list[tuple[str, ...]]:
        """What the journal holds now."""
        assert self._reading is not None
        return list(self._reading.raw.execute(statement, values))

    async def _die(self) -> None:
        self._mortal.dead, self.smp.call, self.act = True, None, None
        while self._tasks:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.sleep(0)

    async def _live(self, journal: StoredJournal, entropy: Entropy) -> None:
        """What `gateway.app` does, without sockets."""
        clock, signals = VirtualClock(), Signals()
        await journal.begin()
        gate = Gate("test", clock=clock, entropy=entropy, event=self.telemetry.emit)
        accounts = {name: self._account(name, gate, entropy) for name in self.signers}
        sender = Sender(journal, accounts, signals=signals, clock=clock, entropy=entropy, telemetry=self.telemetry)
        receiver = Receiver(journal, accounts, signals=signals, clock=clock, telemetry=self.telemetry)
        reconciler = Reconciler(
            journal,
            accounts,
            sender=sender,
            signals=signals,
            clock=clock,
            entropy=entropy,
            telemetry=self.telemetry,
        )
        services = Services(journal=journal, sender=sender, signals=signals, clock=clock, telemetry=self.telemetry)
        async with sender.running(), asyncio.TaskGroup() as group:
            life = contextvars.copy_context()
            self.smp.call = partial(_called_back, life, receiver)
            operator = Operator(
                journal,
                accounts,
                {name: Tenant(environment="test", profile=self.profile) for name in accounts},
                sender=sender,
                signals=signals,
                clock=clock,
                telemetry=self.telemetry,
            )
            self.act = partial(_acted, life, operator)
            group.create_task(reconciler.expire())
            for account in accounts.values():
                group.create_task(account.run())
                group.create_task(reconciler.attend(account))
            for name, site in self.sites.items():
                build = partial(self._plant, name)
                runtime = SiteRuntime(site, self.profile, build, services=services, entropy=entropy)
                group.create_task(runtime.run())

    def _plant(self, site: str, _connection: SiteConnection) -> Plant:
        return self.plants[site]

    def _account(self, name: str, gate: Gate, entropy: Entropy) -> Account:
        identity = Identity(
            participant=name,
            environment="test",
            profile=self.profile,
            base_url=self.smp.base_url,
            callback_audience=self.smp.audience(name),
            username=name,
            password=name,
        )
        return Account(
            identity,
            transport=self.smp,
            signer=self.signers[name],
            callback_keys=_Keys(self.smp_key),
            gate=gate,
            clock=VirtualClock(),
            entropy=entropy,
            event=self.telemetry.emit,
        )


async def _called_back(  # noqa: PLR0917 - the last four are what the SMP calls with
    life: contextvars.Context, receiver: Receiver, participant: str, body: bytes, signature: str, at: int
) -> CallbackReply | None:
    """A callback as this life answers it; None when it dies meanwhile."""
    answering = life.run(asyncio.ensure_future, receiver.receive(participant, body, signature, at))
    await asyncio.wait({answering})
    return None if answering.cancelled() else answering.result()


async def _acted(life: contextvars.Context, operator: Operator, message_id: str, order: ActOrder) -> None:
    """Ask this life for something; what it does not do now it may do later."""
    call = Call(actor="operator:simulation", parameters={"message": message_id}, order=order)
    acting = life.run(asyncio.ensure_future, operator.act(call))
    await asyncio.wait({acting})
    if not acting.cancelled() and not isinstance(acting.exception(), ControlRefused):
        acting.result()
