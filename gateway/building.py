"""The part of the composition root that builds the concrete parts from a configuration."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path

from gateway.core.jwk import KeyRecord, public_key_from_jwk
from gateway.core.secret import Reference
from gateway.edge.callbacks import CallbackRoute, callback_server
from gateway.edge.control import control_server
from gateway.edge.health import Readiness, health_server
from gateway.edge.keys import PemSigner
from gateway.edge.smp import smp_client
from gateway.edge.tls import client_context, server_context
from gateway.errors import JournalBroken, SecretError
from gateway.flow.acceptance import Services
from gateway.flow.account import Account, Identity
from gateway.flow.gate import Gate
from gateway.flow.notary import Seal
from gateway.flow.receiver import Receiver
from gateway.flow.site import SiteRuntime
from gateway.ports import (
    AdapterSpec,
    Clock,
    Entropy,
    KeyRing,
    OperationHandlers,
    Resources,
    Transport,
)
from gateway.settings.configuration import Configuration, Participant, SiteConfig
from gateway.settings.secrets import SecretRef, located, read_secret, secret_path
from gateway.standing import Standing
from gateway.telemetry import Telemetry
from gateway.upkeep import Upkeep


def adapters() -> dict[str, AdapterSpec]:
    """Every installed adapter by protocol, found by the entry point ``smp_gateway.adapters``."""
    found = (point.load() for point in entry_points(group="smp_gateway.adapters"))
    return {spec.protocol: spec for spec in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the participants of one environment share."""

    transport: Transport
    keys: KeyRing
    gate: Gate


@dataclass(frozen=True, slots=True)
class Parts:
    """Builds the concrete parts from the configuration."""

    configuration: Configuration
    environ: Mapping[str, str]
    telemetry: Telemetry
    clock: Clock
    entropy: Entropy
    surroundings: dict[str, Surroundings] = field(default_factory=dict)  # of each environment that has participants

    def secret(self, reference: SecretRef) -> bytes:
        """Read a secret as its file is now; raises SecretError."""
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
            transport = await stack.enter_async_context(
                smp_client(smp.base_url, smp.profile, tls, self.clock, smp.proxy)
            )
            keys = await upkeep.keys(smp.callback_keys, name, tls, stack, smp.proxy)
            gate = Gate(
                name,
                clock=self.clock,
                entropy=self.entropy,
                event=self.telemetry.emit,
                rate_per_s=smp.rate_limit_per_s,
            )
            self.surroundings[name] = Surroundings(transport=transport, keys=keys, gate=gate)
            for member in members:
                own = keys
                if member.callback_keys is not None:
                    issuer = f"{name}/{member.participant}"
                    own = await upkeep.keys(member.callback_keys, issuer, tls, stack, smp.proxy)
                built[member.participant] = self.account(*self.credentials(member), keys=own)
        return built

    def credentials(self, member: Participant) -> tuple[Identity, PemSigner]:
        """Who a participant is at the SMP, and its signing key, from the files as they are now.

        Raises:
            SecretError: the password or the key is missing or unusable.
        """
        smp = self.configuration.environments[member.environment]
        path = smp.profile.paths.callback_of(member.participant)
        identity = Identity(
            participant=member.participant,
            environment=member.environment,
            profile=smp.profile,
            base_url=smp.base_url,
            callback_audience=self.configuration.callbacks.public_url + path,
            username=member.username,
            password=self.secret(member.password).decode("utf-8").rstrip("\r\n"),
        )
        signer = PemSigner(self.secret(member.signing_key), key_id=member.key_id, algorithm=member.algorithm)
        return identity, signer

    def account(self, identity: Identity, signer: PemSigner, *, keys: KeyRing | None = None) -> Account:
        """A participant's account, with the callback keys of its environment unless it has its own."""
        shared = self.surroundings[identity.environment]
        return Account(
            identity,
            transport=shared.transport,
            signer=signer,
            callback_keys=keys or shared.keys,
            gate=shared.gate,
            clock=self.clock,
            entropy=self.entropy,
            event=self.telemetry.emit,
        )

    def client_tls(self, ca: Reference | None, certificate: Reference | None, key: Reference | None) -> ssl.SSLContext:
        """See `ports.Resources`."""
        own = None if certificate is None or key is None else (self._file(certificate), self._file(key))
        return client_context(self._content(ca), own)

    def server_tls(self, certificate: Reference | None, key: Reference | None, ca: Reference | None) -> ssl.SSLContext:
        """See `ports.Resources`."""
        if certificate is None or key is None or ca is None:
            raise SecretError("a listener with TLS needs a certificate, its key, and the CA of its callers")
        return server_context(self._file(certificate), self._file(key), self._content(ca))

    def _file(self, reference: Reference) -> Path:
        return secret_path(located(reference, self.configuration.state), environ=self.environ)

    def _content(self, reference: Reference | None) -> bytes | None:
        return None if reference is None else self.secret(located(reference, self.configuration.state))

    def resources(self) -> Resources:
        """What every adapter is given."""
        return Resources(
            clock=self.clock,
            entropy=self.entropy,
            event=self.telemetry.emit,
            secret=lambda reference: self.secret(located(reference, self.configuration.state)),
            client_tls=self.client_tls,
            server_tls=self.server_tls,
        )

    def sites(self, services: Services) -> Callable[[SiteConfig], SiteRuntime]:
        """How a site's runtime is built, each connection with the adapter of its protocol."""
        specs, resources = adapters(), replace(self.resources(), still_ours=services.journal.still_ours)

        def build(site: SiteConfig) -> SiteRuntime:
            return SiteRuntime(
                site,
                self.configuration.environments[site.environment].profile,
                lambda link: specs[link.protocol].build(link.config, resources),
                services=services,
                entropy=self.entropy,
            )

        return build

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
            broken=reporter(broken),
        ) as door:
            identity.shown_by(door.show)
            yield door.port

    def control(self, handlers: OperationHandlers, broken: asyncio.Future[None]) -> AbstractAsyncContextManager[None]:
        """The operators' socket."""
        path = self.configuration.control
        return control_server(path, handlers, event=self.telemetry.emit, broken=reporter(broken))

    @asynccontextmanager
    async def health(self, state: Standing) -> AsyncIterator[int]:
        """The supervisor's and Prometheus' listener."""

        def readiness() -> Readiness:
            return state.readiness(self.clock.now())

        async def metrics() -> bytes:
            if state.journal is not None:
                depth = await state.journal.depth()
                self.telemetry.depth(depth.messages, depth.relays)
            for gate in state.gates:
                self.telemetry.available(gate.environment, available=gate.available)
            self.telemetry.certificates(state.upkeep.ends if state.upkeep is not None else {})
            return self.telemetry.exposition()

        here = self.configuration.health
        async with health_server(here.host, here.port, readiness=readiness, metrics=metrics) as port:
            yield port


@asynccontextmanager
async def background() -> AsyncIterator[Callable[[Coroutine[object, object, None], str], None]]:
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


def reporter(broken: asyncio.Future[None]) -> Callable[[JournalBroken], None]:
    """How a listener passes on that the journal broke under it."""

    def report(error: JournalBroken) -> None:
        if not broken.done():
            broken.set_exception(error)

    return report


async def failure(broken: asyncio.Future[None]) -> None:
    """Wait for the journal to break somewhere outside of our tasks; then end them all."""
    await broken


def seals_of(configuration: Configuration, environ: Mapping[str, str] = os.environ) -> dict[str, Seal]:
    """The keys that sign the chains of evidence, as far as they can be read here; without a gateway."""
    found: dict[str, Seal] = {}
    for name, each in configuration.participants.items():
        with suppress(SecretError):  # whoever asks for it is told that there is none
            pem = read_secret(each.signing_key, environ=environ)
            signer = PemSigner(pem, key_id=each.key_id, algorithm=each.algorithm)
            found[name] = Seal(environment=each.environment, signer=signer, keys=[signer.public_jwk])
    return found


def trusted_keys(configuration: Configuration) -> dict[tuple[str, str], dict[str, KeyRecord]]:
    """The participants' public keys as they are configured now, by (environment, participant) and key id."""
    return {
        (seal.environment, name): {
            jwk["kid"]: public_key_from_jwk(jwk, issuer=name, purpose="evidence") for jwk in seal.keys
        }
        for name, seal in seals_of(configuration).items()
    }
