"""The composition root: the only module that knows every concrete part and how they nest.

Lifecycle is nesting: journal and SMP clients outermost; inside, the sender, which drains when it is left; inside that
the callback server, the reconciler, the accounts and one runtime per site. Leaving unwinds in the reverse order.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points, version
from pathlib import Path

from gateway.core.control import STATUS, GatewayStatus
from gateway.core.relay import CallbackRule
from gateway.core.secret import Reference
from gateway.edge.callbacks import CallbackRoute, callback_server
from gateway.edge.clock import SystemClock, SystemEntropy
from gateway.edge.control import actor_of, control_server
from gateway.edge.control_client import ControlClient, answers
from gateway.edge.health import Readiness, health_server
from gateway.edge.journal.reader import JournalReader, KeptCallback, MessageStory
from gateway.edge.journal.sqlite import SqliteJournal
from gateway.edge.keys import PemSigner
from gateway.edge.smp import smp_client
from gateway.edge.tls import client_context
from gateway.errors import ControlUnreachable, JournalBroken, JournalError, JournalLocked
from gateway.flow.acceptance import Services
from gateway.flow.account import Account, Identity
from gateway.flow.desk import Desk
from gateway.flow.gate import Gate
from gateway.flow.imports import Imports, Tenant
from gateway.flow.operator import Operator
from gateway.flow.outage import OutageWatch
from gateway.flow.receiver import Receiver
from gateway.flow.reconciler import Reconciler
from gateway.flow.registrar import Registrar
from gateway.flow.requests import Requests
from gateway.flow.sender import Sender
from gateway.flow.signals import Signals
from gateway.flow.site import SiteRuntime
from gateway.flow.unmatched import UnmatchedWatch
from gateway.ports import (
    AdapterSpec,
    Call,
    Clock,
    Control,
    Entropy,
    Journal,
    KeyRing,
    OperationHandlers,
    Resources,
    Transport,
)
from gateway.settings.configuration import Configuration, Participant, SmpEnvironment
from gateway.settings.secrets import SecretRef, located, read_secret, secret_path
from gateway.telemetry import Telemetry
from gateway.upkeep import Upkeep

__all__ = [
    "Gateway",
    "KeptCallback",
    "MessageStory",
    "adapters",
    "gateway",
    "open_control",
    "open_control_or_journal",
    "open_reader",
]


def adapters() -> dict[str, AdapterSpec]:
    """Every installed adapter by protocol, found by the entry point ``smp_gateway.adapters``."""
    found = (point.load() for point in entry_points(group="smp_gateway.adapters"))
    return {spec.protocol: spec for spec in found}


def open_reader(path: Path) -> AbstractContextManager[JournalReader]:
    """Read a journal, also beside a running gateway.

    Raises:
        JournalError: there is no journal of ours at this path (on entering).
    """
    return JournalReader.open(path)


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
    if not configuration.journal.is_file():
        raise JournalError(f"there is no journal at {configuration.journal}, and no gateway runs here")
    async with AsyncExitStack() as stack:
        try:
            journal = await stack.enter_async_context(_journal(configuration, SystemClock(), telemetry))
        except JournalLocked as error:
            raise ControlUnreachable(f"{error}, which does not answer operators (yet, or any more)") from error
        operator = Operator(journal, {}, sender=None, signals=Signals(), clock=SystemClock(), telemetry=telemetry)
        registrar = Registrar(journal, {}, signals=Signals(), telemetry=telemetry)
        imports = Imports(journal, _tenants(configuration), sender=None, clock=SystemClock(), telemetry=telemetry)
        yield Desk({**operator.handlers(), **registrar.handlers(), **imports.handlers()}, actor_of(os.geteuid()))


def _tenants(configuration: Configuration) -> dict[str, Tenant]:
    return {
        name: Tenant(environment=each.environment, profile=configuration.environments[each.environment].profile)
        for name, each in configuration.participants.items()
    }


def _journal(
    configuration: Configuration, clock: Clock, telemetry: Telemetry
) -> AbstractAsyncContextManager[SqliteJournal]:
    return SqliteJournal.open(
        configuration.journal,
        clock=clock,
        pipeline_after_verdict={
            name: smp.profile.pipeline == "after_verdict" for name, smp in configuration.environments.items()
        },
        event=telemetry.emit,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway: what its surroundings may look at; ``renew`` reads exchanged files again (SIGHUP)."""

    journal: Journal
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
    parts = _Parts(configuration, environ, telemetry, clock or SystemClock(), entropy or SystemEntropy())
    state = _State(started_at=parts.clock.now())
    async with AsyncExitStack() as stack:
        journal = await stack.enter_async_context(_journal(configuration, parts.clock, telemetry))
        state.newest = journal.newest_at or 0
        health_port = await stack.enter_async_context(parts.health(journal, state))
        state.upkeep = upkeep = parts.upkeep()
        state.accounts = accounts = await parts.accounts(stack, upkeep)
        signals = Signals()
        sender = Sender(
            journal,
            accounts,
            signals=signals,
            clock=parts.clock,
            entropy=parts.entropy,
            telemetry=telemetry,
        )
        receiver = Receiver(
            journal,
            accounts,
            signals=signals,
            clock=parts.clock,
            telemetry=telemetry,
            others=parts.callback_rules(),
        )
        reconciler = Reconciler(
            journal,
            accounts,
            sender=sender,
            signals=signals,
            clock=parts.clock,
            entropy=parts.entropy,
            telemetry=telemetry,
        )
        services = Services(journal=journal, sender=sender, signals=signals, clock=parts.clock, telemetry=telemetry)
        state.sites = parts.sites(services)
        broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await stack.enter_async_context(sender.running())
        callback_port = await stack.enter_async_context(parts.callbacks(receiver, broken, upkeep))
        start = await stack.enter_async_context(_background())
        start(_failure(broken), "journal watch")
        start(journal.integrity(), "journal integrity")
        start(reconciler.run(), "reconciler")
        for gate in state.gates:
            start(OutageWatch(gate, journal, telemetry).run(), f"outages of {gate.environment}")
        upkeep.begin(start)
        state.unmatched = UnmatchedWatch(journal, signals=signals, clock=parts.clock, telemetry=telemetry)
        start(state.unmatched.run(), "unmatched callbacks")
        for account in accounts.values():
            start(account.run(), f"account {account.identity.participant}")
        for site in state.sites:
            start(site.run(), f"site {site.site.site}")
        operator = Operator(journal, accounts, sender=sender, signals=signals, clock=parts.clock, telemetry=telemetry)
        registrar = Registrar(journal, accounts, signals=signals, telemetry=telemetry)
        imports = Imports(journal, _tenants(configuration), sender=sender, clock=parts.clock, telemetry=telemetry)
        handlers: OperationHandlers = {
            STATUS: partial(_status, state, parts.clock),
            **operator.handlers(),
            **registrar.handlers(),
            **imports.handlers(),
            **Requests({site.site.site: site for site in state.sites}).handlers(),
        }
        await stack.enter_async_context(parts.control(handlers, broken))
        telemetry.emit("gateway_started", callbacks=callback_port, health=health_port, sites=len(state.sites))
        state.phase = None
        try:
            yield Gateway(journal=journal, callback_port=callback_port, health_port=health_port, renew=upkeep.hint)
        finally:
            state.phase = "draining"
    telemetry.emit("gateway_stopped")


@dataclass(slots=True)
class _State:
    """What `/readyz` looks at: ``phase`` is the reason for not being ready, None while running."""

    started_at: int
    phase: str | None = "starting"
    newest: int = 0
    accounts: Mapping[str, Account] = field(default_factory=dict)
    sites: Sequence[SiteRuntime] = ()
    upkeep: Upkeep | None = None
    unmatched: UnmatchedWatch | None = None

    def readiness(self, now: int) -> Readiness:
        reasons = [self.phase] if self.phase is not None else []
        if now < self.newest:
            reasons.append(f"clock: {(self.newest - now) / 1_000_000:.0f} s behind the newest row of the journal")
        held = [line for account in self.accounts.values() for line in account.degraded]
        away = [line for gate in self.gates for line in gate.degraded]
        down = [line for site in self.sites for line in site.degraded]
        stale = self.upkeep.degraded if self.upkeep is not None else ()
        lost = self.unmatched.degraded if self.unmatched is not None else ()
        return Readiness(reasons=tuple(reasons), degraded=(*away, *stale, *held, *lost, *down))

    @property
    def gates(self) -> Sequence[Gate]:
        """One gate per environment."""
        return tuple({account.gate.environment: account.gate for account in self.accounts.values()}.values())


async def _status(state: _State, clock: Clock, _call: Call) -> GatewayStatus:
    """Answer core.control.STATUS."""
    now = state.readiness(clock.now())
    return GatewayStatus(
        version=version("smp-gateway"),
        process=os.getpid(),
        started_at=state.started_at,
        status=now.word,
        reasons=now.reasons,
        degraded=now.degraded,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """Builds the concrete parts from the configuration."""

    configuration: Configuration
    environ: Mapping[str, str]
    telemetry: Telemetry
    clock: Clock
    entropy: Entropy

    def secret(self, reference: SecretRef) -> bytes:
        return read_secret(reference, environ=self.environ)

    def upkeep(self) -> Upkeep:
        """What must be kept fresh; the others add to it."""
        return Upkeep(environ=self.environ, clock=self.clock, entropy=self.entropy, telemetry=self.telemetry)

    async def accounts(self, stack: AsyncExitStack, upkeep: Upkeep) -> dict[str, Account]:
        """One account per participant; participants of one environment share its connections, keys and gate."""
        built: dict[str, Account] = {}
        for name, smp in self.configuration.environments.items():
            members = [p for p in self.configuration.participants.values() if p.environment == name]
            if not members:
                continue
            tls = upkeep.trust(smp)
            transport = await stack.enter_async_context(smp_client(smp.base_url, smp.profile, tls, self.clock))
            keys = await upkeep.keys(smp.callback_keys, name, tls, stack)
            gate = Gate(
                name,
                clock=self.clock,
                entropy=self.entropy,
                event=self.telemetry.emit,
                rate_per_s=smp.rate_limit_per_s,
            )
            for member in members:
                own = keys
                if member.callback_keys is not None:
                    issuer = f"{name}/{member.participant}"
                    own = await upkeep.keys(member.callback_keys, issuer, tls, stack)
                built[member.participant] = self._account(member, smp, transport, own, gate)
        return built

    def _account(
        self, member: Participant, smp: SmpEnvironment, transport: Transport, keys: KeyRing, gate: Gate
    ) -> Account:
        path = smp.profile.paths.callback_of(member.participant)
        return Account(
            Identity(
                participant=member.participant,
                environment=member.environment,
                profile=smp.profile,
                base_url=smp.base_url,
                callback_audience=self.configuration.callbacks.public_url + path,
                username=member.username,
                password=self.secret(member.password).decode("utf-8").rstrip("\r\n"),
            ),
            transport=transport,
            signer=PemSigner(self.secret(member.signing_key), key_id=member.key_id, algorithm=member.algorithm),
            callback_keys=keys,
            gate=gate,
            clock=self.clock,
            entropy=self.entropy,
            event=self.telemetry.emit,
        )

    def client_tls(self, ca: Reference | None, certificate: Reference | None, key: Reference | None) -> ssl.SSLContext:
        """See `ports.Resources`."""
        state = self.configuration.state
        own = None
        if certificate is not None and key is not None:
            shown, secret = (secret_path(located(each, state), environ=self.environ) for each in (certificate, key))
            own = (shown, secret)
        return client_context(self.secret(located(ca, state)) if ca is not None else None, own)

    def callback_rules(self) -> dict[str, list[tuple[str, CallbackRule]]]:
        """What each participant's sites want to know of callbacks that are no verdicts."""
        wanted: dict[str, list[tuple[str, CallbackRule]]] = {}
        for site in self.configuration.sites.values():
            wanted.setdefault(site.participant, []).extend((site.site, rule) for rule in site.callback_rules)
        return wanted

    def sites(self, services: Services) -> list[SiteRuntime]:
        """One runtime per site, each connection with the adapter of its protocol."""
        specs = adapters()
        resources = Resources(
            clock=self.clock,
            entropy=self.entropy,
            event=self.telemetry.emit,
            secret=lambda reference: self.secret(located(reference, self.configuration.state)),
            client_tls=self.client_tls,
        )
        return [
            SiteRuntime(
                site,
                self.configuration.environments[site.environment].profile,
                {name: specs[link.protocol].build(link.config, resources) for name, link in site.connections.items()},
                services=services,
                entropy=self.entropy,
            )
            for site in self.configuration.sites.values()
        ]

    @asynccontextmanager
    async def callbacks(self, receiver: Receiver, broken: asyncio.Future[None], upkeep: Upkeep) -> AsyncIterator[int]:
        """The listener that the SMP calls."""
        here = self.configuration.callbacks
        identity = upkeep.identity(here)
        routes = [
            CallbackRoute(
                path=smp.profile.paths.callback,
                signature_header=smp.profile.headers.signature,
                size_limit=smp.profile.limits.callback_bytes,
            )
            for smp in self.configuration.environments.values()
        ]
        async with callback_server(
            here.listen.host,
            here.listen.port,
            identity.context,
            routes=routes,
            handler=receiver.receive,
            clock=self.clock,
            event=self.telemetry.emit,
            broken=_reporter(broken),
        ) as door:
            identity.shown_by(door.show)
            yield door.port

    def control(self, handlers: OperationHandlers, broken: asyncio.Future[None]) -> AbstractAsyncContextManager[None]:
        """The operators' socket."""
        path = self.configuration.control
        return control_server(path, handlers, event=self.telemetry.emit, broken=_reporter(broken))

    @asynccontextmanager
    async def health(self, journal: Journal, state: _State) -> AsyncIterator[int]:
        """The supervisor's and Prometheus' listener."""

        def readiness() -> Readiness:
            return state.readiness(self.clock.now())

        async def metrics() -> bytes:
            depth = await journal.depth()
            self.telemetry.depth(depth.messages, depth.relays)
            for gate in state.gates:
                self.telemetry.available(gate.environment, available=gate.available)
            self.telemetry.certificates(state.upkeep.ends if state.upkeep is not None else {})
            return self.telemetry.exposition()

        here = self.configuration.health
        async with health_server(here.host, here.port, readiness=readiness, metrics=metrics) as port:
            yield port


@asynccontextmanager
async def _background() -> AsyncIterator[Callable[[Coroutine[object, object, None], str], None]]:
    """Run tasks beside the body until it is left; the first that fails ends the body."""
    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[None]] = []

        def start(work: Coroutine[object, object, None], name: str) -> None:
            tasks.append(group.create_task(work, name=name))

        try:
            yield start
        finally:
            for task in tasks:
                task.cancel()


def _reporter(broken: asyncio.Future[None]) -> Callable[[JournalBroken], None]:
    def report(error: JournalBroken) -> None:
        if not broken.done():
            broken.set_exception(error)

    return report


async def _failure(broken: asyncio.Future[None]) -> None:
    """Wait for the journal to break somewhere outside of our tasks; then end them all."""
    await broken
