"""The composition root: the only module that knows every concrete part and how they nest.

Lifecycle is nesting: journal and SMP clients outermost; inside, the sender, which drains when it is left; inside that
the callback server, the reconciler, the accounts and one runtime per site. Leaving unwinds in the reverse order.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.building import Parts, adapters, background, failure, seals_of, trusted_keys
from gateway.core.control import STATUS
from gateway.core.point import Reading, Snapshot
from gateway.core.record import Debts
from gateway.edge.clock import SystemClock, SystemEntropy
from gateway.edge.control import actor_of
from gateway.edge.control_client import ControlClient, answers
from gateway.edge.journal.copying import back_up, file_faults
from gateway.edge.journal.nodes import NodeRow, Nodes
from gateway.edge.journal.reader import KeptCallback, MessageStory, ParticipantAudit
from gateway.edge.journal.stored import StoredJournal
from gateway.edge.watch import changes
from gateway.errors import ControlUnreachable, JournalError, JournalLocked
from gateway.flow.acceptance import Services
from gateway.flow.account import Account
from gateway.flow.attention import AttentionWatch
from gateway.flow.desk import Desk
from gateway.flow.holds import Holds
from gateway.flow.imports import Imports
from gateway.flow.notary import Notary, Seal
from gateway.flow.operator import Operator
from gateway.flow.outage import OutageWatch
from gateway.flow.points import Points
from gateway.flow.receiver import Receiver
from gateway.flow.reconciler import Reconciler
from gateway.flow.registrar import Registrar
from gateway.flow.reload import Reloads
from gateway.flow.requests import Requests
from gateway.flow.retention import Retention
from gateway.flow.sender import Sender
from gateway.flow.serving import Serving
from gateway.flow.signals import Signals
from gateway.flow.sites import Sites
from gateway.flow.unmatched import UnmatchedWatch
from gateway.flow.wellbeing import Wellbeing
from gateway.journals import open_journal, open_reader
from gateway.journals import restore as restore_journal
from gateway.ports import (
    Clock,
    Control,
    Entropy,
    Journal,
    OperationHandlers,
)
from gateway.rereading import applying, callback_rules, read_again, tenants_of
from gateway.settings.configuration import Configuration, DatabaseAddress, SiteConnection
from gateway.standing import Standing
from gateway.telemetry import Telemetry
from gateway.upkeep import unusable

__all__ = [
    "Gateway",
    "KeptCallback",
    "MessageStory",
    "NodeRow",
    "Nodes",
    "ParticipantAudit",
    "adapters",
    "back_up",
    "file_faults",
    "gateway",
    "open_control",
    "open_control_or_journal",
    "open_reader",
    "read_once",
    "restore_journal",
    "trusted_keys",
    "unusable",
]


def open_control(configuration: Configuration) -> AbstractAsyncContextManager[Control]:
    """Reach the gateway that runs on this configuration; asking raises ControlUnreachable when none does."""
    return ControlClient.open(configuration.control)


@asynccontextmanager
async def open_control_or_journal(configuration: Configuration, telemetry: Telemetry) -> AsyncIterator[Control]:
    """Reach the gateway that runs on this configuration or, when none does, act on its journal ourselves.

    Raises:
        ControlUnreachable: one has the journal and does not answer.
        JournalError: there is no journal, or it cannot be used.
    """
    if await answers(configuration.control):
        async with open_control(configuration) as control:
            yield control
        return
    if isinstance(configuration.journal, Path) and not configuration.journal.is_file():
        raise JournalError(f"there is no journal at {configuration.journal}, and no gateway runs here")
    async with AsyncExitStack() as stack:
        try:
            journal = await stack.enter_async_context(open_journal(configuration, os.environ, SystemClock(), telemetry))
        except JournalLocked as error:
            raise ControlUnreachable(f"{error}, which does not answer operators (yet, or any more)") from error
        tenants = tenants_of(configuration)
        operator = Operator(
            journal, {}, tenants, sender=None, signals=Signals(), clock=SystemClock(), telemetry=telemetry
        )
        registrar = Registrar(journal, {}, signals=Signals(), telemetry=telemetry)
        imports = Imports(journal, tenants, sender=None, clock=SystemClock(), telemetry=telemetry)
        notary = Notary(journal, lambda: seals_of(configuration), clock=SystemClock(), telemetry=telemetry)
        holds = Holds(journal, telemetry, configuration.sites)
        handlers = {**operator.handlers(), **registrar.handlers(), **imports.handlers(), **notary.handlers()}
        handlers |= holds.handlers()
        yield Desk(handlers, actor_of(os.geteuid()))


def _retain(
    start: Callable[[Coroutine[object, object, None], str], None],
    parts: Parts,
    journal: Journal,
    accounts: Mapping[str, Account],
) -> None:
    """Remove what is older than the configuration wants it kept, if it says so."""
    if (keep := parts.configuration.retention_us) is not None:
        seals = partial(_seals, accounts)
        retention = Retention(journal, seals, keep_us=keep, clock=parts.clock, telemetry=parts.telemetry)
        start(retention.run(), "retention")


def _seals(accounts: Mapping[str, Account]) -> dict[str, Seal]:
    return {
        name: Seal(environment=each.identity.environment, signer=each.signer, keys=each.public_keys)
        for name, each in accounts.items()
    }


async def read_once(
    configuration: Configuration, telemetry: Telemetry, link: SiteConnection, wanted: frozenset[str]
) -> Snapshot:
    """Connect as the gateway would, read until each of these points was told, and leave.

    Raises:
        LinkLost: the site's system cannot be reached, or went away.
    """
    parts = Parts(configuration, os.environ, telemetry, SystemClock(), SystemEntropy())
    adapter = adapters()[link.protocol].build(link.config, parts.resources())
    found: dict[str, Reading] = {}
    async with adapter.connect() as session:
        while not wanted <= found.keys():
            found |= {item.point: item for item in await session.read() if isinstance(item, Reading)}
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway: what its surroundings may look at; ``renew`` reads files again (SIGHUP)."""

    journal: StoredJournal
    callback_port: int
    health_port: int
    renew: Callable[[], None]


@asynccontextmanager
async def gateway(
    configuration: Configuration,
    *,
    environ: Mapping[str, str],
    telemetry: Telemetry,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> AsyncIterator[Gateway]:
    """Run a gateway until left.

    Raises:
        SecretError: a key, password or certificate is missing or unusable; nothing was started.
        JournalError: the journal is locked, foreign or broken.
    """
    parts = Parts(configuration, environ, telemetry, clock or SystemClock(), entropy or SystemEntropy())
    state = Standing(started_at=parts.clock.now())
    async with AsyncExitStack() as stack:
        journal, health_port = await stack.enter_async_context(_journal(parts, state))
        state.upkeep = upkeep = parts.upkeep()
        state.accounts = accounts = await parts.accounts(stack, upkeep)
        notary = await stack.enter_async_context(
            Notary(journal, lambda: _seals(accounts), clock=parts.clock, telemetry=telemetry).attending()
        )
        signals, served = Signals(), dict[str, Account]()  # served: the participants whose lease is ours
        sender = Sender(
            journal,
            served,
            signals=signals,
            clock=parts.clock,
            entropy=parts.entropy,
            telemetry=telemetry,
        )
        tenants, others = tenants_of(configuration), callback_rules(configuration)
        receiver = Receiver(
            journal,
            accounts,
            signals=signals,
            clock=parts.clock,
            telemetry=telemetry,
            others=others,
        )
        reconciler = Reconciler(
            journal,
            served,
            sender=sender,
            signals=signals,
            clock=parts.clock,
            entropy=parts.entropy,
            telemetry=telemetry,
        )
        services = Services(
            journal=journal,
            sender=sender,
            signals=signals,
            clock=parts.clock,
            telemetry=telemetry,
            wellbeing=Wellbeing(accounts, journal),
        )
        holds = Holds(journal, telemetry)
        sites = Sites(holds.building(parts.sites(services)), telemetry)
        state.sites = holds.running = sites.running
        broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await stack.enter_async_context(sender.running())
        callback_port = await stack.enter_async_context(parts.callbacks(receiver, broken, upkeep))
        start = await stack.enter_async_context(background())
        start(failure(broken), "journal watch")
        start(journal.integrity(), "journal integrity")
        start(reconciler.expire(), "not-after")
        for gate in state.gates:
            start(OutageWatch(gate, journal, telemetry).run(), f"outages of {gate.environment}")
        _retain(start, parts, journal, served)
        upkeep.begin(start)
        await stack.enter_async_context(sites.open({}))
        serving = Serving(
            journal,
            journal.leases,
            accounts=accounts,
            served=served,
            sites=sites,
            sender=sender,
            reconciler=reconciler,
            signals=signals,
            gates=lambda: state.gates,
            learn=holds.load,
            telemetry=telemetry,
        )
        await stack.enter_async_context(serving.running(configuration.sites))
        _watch(state, journal, served, configured=accounts, signals=signals, parts=parts, start=start)
        state.reloads = reloads = Reloads(
            configuration,
            read=partial(read_again, configuration, environ),
            apply=applying(
                parts,
                serving=serving,
                accounts=accounts,
                tenants=tenants,
                others=others,
            ),
            clock=parts.clock,
            telemetry=telemetry,
        )
        start = await stack.enter_async_context(background())  # ends before the sites that it would change
        start(reloads.obey(), "reloads")
        start(reloads.watch(changes), "configuration files")
        operator = Operator(
            journal,
            accounts,
            tenants,
            sender=sender,
            signals=signals,
            clock=parts.clock,
            telemetry=telemetry,
            see_to=serving.see_to,
        )
        imports = Imports(
            journal, tenants, sender=sender, clock=parts.clock, telemetry=telemetry, see_to=serving.see_to
        )
        handlers: OperationHandlers = {
            STATUS: partial(state.status, parts.clock),
            **operator.handlers(),
            **Registrar(journal, accounts, signals=signals, telemetry=telemetry, see_to=serving.see_to).handlers(),
            **imports.handlers(),
            **notary.handlers(),
            **Requests(sites.running).handlers(),
            **Points(sites.running, parts.clock).handlers(),
            **holds.handlers(),
        }
        await stack.enter_async_context(parts.control(handlers, broken))
        telemetry.emit("gateway_started", callbacks=callback_port, health=health_port, sites=len(state.sites))
        state.phase = None

        def renew() -> None:
            upkeep.hint()
            reloads.hint()

        try:
            yield Gateway(journal=journal, callback_port=callback_port, health_port=health_port, renew=renew)
        finally:
            state.phase = "draining"
    telemetry.emit("gateway_stopped")


@asynccontextmanager
async def _journal(parts: Parts, state: Standing) -> AsyncIterator[tuple[StoredJournal, int]]:
    """The journal, held as ours, and the port of the health listener."""
    where = parts.configuration.journal

    def standing_by() -> None:
        state.stand_by()
        parts.telemetry.emit("journal_standing_by", path=str(where))

    opening = open_journal(parts.configuration, parts.environ, parts.clock, parts.telemetry, standing_by)
    async with AsyncExitStack() as stack:
        if isinstance(where, Path):
            journal = await stack.enter_async_context(opening)
            port = await stack.enter_async_context(parts.health(state))
        else:  # who stands by is asked how it is, too
            port = await stack.enter_async_context(parts.health(state))
            journal = await stack.enter_async_context(opening)
        state.journal, state.newest, state.phase = journal, journal.newest_at or 0, "starting"
        state.debts = await asyncio.to_thread(_debts, where)
        start = await stack.enter_async_context(background())
        start(journal.hold(), "journal hold")
        yield journal, port


def _debts(where: Path | DatabaseAddress) -> Debts:
    with open_reader(where) as reader:
        return reader.debts()


def _watch(
    state: Standing,
    journal: StoredJournal,
    served: Mapping[str, Account],
    *,
    configured: Mapping[str, Account],
    signals: Signals,
    parts: Parts,
    start: Callable[[Coroutine[object, object, None], str], None],
) -> None:
    """Start what tells people of messages and callbacks that do not go on by themselves."""
    clock, telemetry = parts.clock, parts.telemetry
    state.unmatched = UnmatchedWatch(journal, signals=signals, clock=clock, telemetry=telemetry)
    state.attention = AttentionWatch(
        journal, served, configured=configured, signals=signals, clock=clock, telemetry=telemetry
    )
    start(state.unmatched.run(), "unmatched callbacks")
    start(state.attention.run(), "attention")
