"""The part of the composition root that builds what must be kept fresh: public keys, certificates, and their files."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from gateway.core.certificate import read_certificates
from gateway.edge.clock import SystemClock, SystemEntropy
from gateway.edge.jwks import DiskShelf, key_source
from gateway.edge.keys import PemSigner
from gateway.edge.tls import ClientIdentity, ServerIdentity, client_context
from gateway.edge.watch import changes
from gateway.errors import SecretError
from gateway.flow.keyring import FetchedKeys, FiledKeys
from gateway.flow.renewal import Renewable, Renewals
from gateway.ports import Clock, Entropy, KeyRing
from gateway.settings.configuration import CallbackListener, Configuration, KeysAddress, Participant, SmpEnvironment
from gateway.settings.secrets import SecretRef, SecretSource, read_secret, secret_path
from gateway.telemetry import Telemetry


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """Keys that are fetched, and files that may be exchanged, while the gateway runs."""

    environ: Mapping[str, str]
    clock: Clock
    entropy: Entropy
    telemetry: Telemetry
    _fetched: list[FetchedKeys] = field(default_factory=list)
    _renewables: list[Renewable] = field(default_factory=list)
    _files: set[Path] = field(default_factory=set)
    _renewals: Renewals | None = None

    def trust(self, smp: SmpEnvironment) -> ssl.SSLContext:
        """Whom we believe to be the SMP, and what we show it.

        Raises:
            SecretError: the CA, or our certificate or its key, cannot be used.
        """
        authority = None if smp.ca is None else read_secret(smp.ca, environ=self.environ)
        context = client_context(authority)
        if authority is not None:
            chain = read_certificates(authority)
            what = f"smp.{smp.name}.ca"
            self._renewables.append(Renewable(what=what, renew=lambda: False, certificates=lambda: chain))
        if smp.certificate is not None and smp.key is not None:
            files = [secret_path(each, environ=self.environ) for each in (smp.certificate, smp.key)]
            own = ClientIdentity(context, files[0], files[1])
            what = f"smp.{smp.name}.certificate"
            self._renewables.append(Renewable(what=what, renew=own.renew, certificates=lambda: own.chain))
            self._files.update(files)
        return context

    async def keys(
        self,
        where: SecretRef | KeysAddress,
        issuer: str,
        tls: ssl.SSLContext,
        stack: AsyncExitStack,
        proxy: str | None = None,
    ) -> KeyRing:
        """The public keys of one issuer of callbacks; those of an address come through the proxy, if there is one.

        Raises:
            SecretError: the file is no set of keys; an address is asked later.
        """
        if isinstance(where, KeysAddress):
            fetched = FetchedKeys(
                await stack.enter_async_context(key_source(where.url, tls, proxy)),
                DiskShelf(where.kept),
                issuer=issuer,
                clock=self.clock,
                entropy=self.entropy,
                event=self.telemetry.emit,
            )
            self._fetched.append(fetched)
            return fetched
        filed = FiledKeys(lambda: read_secret(where, environ=self.environ), issuer=issuer)
        self._renewables.append(Renewable(what=f"callback keys {issuer}", renew=filed.renew))
        if where.source is not SecretSource.ENV:
            self._files.add(secret_path(where, environ=self.environ))
        return filed

    def identity(self, here: CallbackListener) -> ServerIdentity:
        """The certificate that our listener shows.

        Raises:
            SecretError: it or its key cannot be used.
        """
        files = [secret_path(each, environ=self.environ) for each in (here.certificate, here.key)]
        client_ca = None if here.client_ca is None else read_secret(here.client_ca, environ=self.environ)
        identity = ServerIdentity(files[0], files[1], client_ca)
        what = "callbacks.certificate"
        self._renewables.append(Renewable(what=what, renew=identity.renew, certificates=lambda: identity.chain))
        self._files.update(files)
        return identity

    @property
    def renewals(self) -> Renewals:
        """Everything that may be exchanged, once all of it was built."""
        if self._renewals is None:
            self._renewals = Renewals(self._renewables, clock=self.clock, event=self.telemetry.emit)
        return self._renewals

    def hint(self) -> None:
        """Read exchanged files again soon, whether or not their change was noticed."""
        self.renewals.hint()

    @property
    def degraded(self) -> tuple[str, ...]:
        """What is old, spoilt, or ends soon, for `/readyz`."""
        stale = [line for keys in self._fetched for line in keys.degraded]
        return (*stale, *(self._renewals.degraded if self._renewals is not None else ()))

    @property
    def ends(self) -> Mapping[str, int]:
        """When certificates end (µs UTC), by their member in the YAML."""
        return self._renewals.ends if self._renewals is not None else {}

    def begin(self, start: Callable[[Coroutine[object, object, None], str], None]) -> None:
        """Start the tasks that keep everything fresh."""
        start(self.renewals.obey(), "renewals asked for")
        start(self.renewals.watch(changes(self._files)), "renewals noticed")
        for keys in self._fetched:
            start(keys.run(), "callback keys")


def unusable(configuration: Configuration, environ: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each key, certificate or set of keys that is there and that `run` would stumble over.

    What cannot be read at all is not told: see `settings.references.unreadable`.
    """
    attempts = [*_trusts(configuration, environ), *_signers(configuration, environ)]
    return tuple(f"{what}: {said}" for what, refs, use in attempts if (said := _fault(refs, environ, use)) is not None)


_Attempt = tuple[str, tuple[SecretRef | None, ...], Callable[[], object]]


def _trusts(configuration: Configuration, environ: Mapping[str, str]) -> Iterator[_Attempt]:
    here = configuration.callbacks
    upkeep = Upkeep(
        environ=environ, clock=SystemClock(), entropy=SystemEntropy(), telemetry=Telemetry(level="critical")
    )
    yield "callbacks", (here.certificate, here.key, here.client_ca), partial(upkeep.identity, here)
    for name, smp in configuration.environments.items():
        yield f"smp.{name}", (smp.ca, smp.certificate, smp.key), partial(upkeep.trust, smp)
        yield from _published(f"smp.{name}.callback_keys", smp.callback_keys, environ)
    for name, participant in configuration.participants.items():
        yield from _published(f"participant {name}: callback_keys", participant.callback_keys, environ)


def _published(what: str, where: SecretRef | KeysAddress | None, environ: Mapping[str, str]) -> Iterator[_Attempt]:
    if isinstance(where, SecretRef):
        yield what, (where,), lambda: FiledKeys(lambda: read_secret(where, environ=environ), issuer=what)


def _signers(configuration: Configuration, environ: Mapping[str, str]) -> Iterator[_Attempt]:
    for name, participant in configuration.participants.items():
        yield f"participant {name}: signing key", (participant.signing_key,), partial(_signer, participant, environ)


def _signer(participant: Participant, environ: Mapping[str, str]) -> PemSigner:
    pem = read_secret(participant.signing_key, environ=environ)
    return PemSigner(pem, key_id=participant.key_id, algorithm=participant.algorithm)


def _fault(refs: Iterable[SecretRef | None], environ: Mapping[str, str], use: Callable[[], object]) -> str | None:
    for ref in refs:
        try:
            if ref is not None:
                read_secret(ref, environ=environ)
        except SecretError:
            return None
    try:
        use()
    except SecretError as error:
        return str(error)
    return None
