"""What a pro-forma is made of besides the YAML's words: certificates and public keys, and everything that is missing.

Each fault is one entry that says what is missing and what mends it: a command, or the member of a YAML file.
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from gateway.core import keyset
from gateway.core.certificate import Certificate, read_certificates
from gateway.core.jwk import KeyRecord, PublicKey, read_jwks
from gateway.errors import SecretError, SignatureRefused, StrictJsonError
from gateway.settings.configuration import Configuration, KeysAddress, Participant, SmpEnvironment
from gateway.settings.secrets import SecretRef, SecretSource, read_secret

_T = TypeVar("_T")
# Names that RFC 2606 and RFC 6761 keep for examples: nobody can be reached there.
_EXAMPLES = (".example", ".invalid", ".example.com", ".example.net", ".example.org")


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """One thing that NGESO will ask for and that is not there, and what mends it."""

    what: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How the command was called: what its advice repeats."""

    gateway: Path
    state: Path | None

    def keys_generate(self, *options: str) -> str:
        """The command that makes the keys of this configuration."""
        state = () if self.state is None else ("--state", str(self.state))
        return shlex.join(("smp-gateway", "keys", "generate", str(self.gateway), *state, *options))


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What could be read; empty or None where it is missing."""

    chain: tuple[Certificate, ...]
    authorities: tuple[Certificate, ...]
    shown: tuple[Certificate, ...]
    key: KeyRecord | None
    callback_keys: tuple[KeyRecord, ...]
    missing: tuple[Missing, ...]


def gather(
    configuration: Configuration, participant: Participant, origin: Origin, *, now: int, environ: Mapping[str, str]
) -> Material:
    """Read certificates and public keys, and note what is missing; ``now`` is µs UTC."""
    gathering = _Gathering(configuration, participant, origin, now, environ, [])
    gathering.contacts()
    authorities = gathering.smp()
    shown = gathering.shown()
    chain = gathering.certificate()
    key = gathering.key()
    callback_keys = gathering.callback_keys()
    return Material(
        chain=chain,
        authorities=authorities,
        shown=shown,
        key=key,
        callback_keys=callback_keys,
        missing=tuple(gathering.missing),
    )


@dataclass(frozen=True, slots=True)
class _Gathering:
    configuration: Configuration
    participant: Participant
    origin: Origin
    now: int
    environ: Mapping[str, str]
    missing: list[Missing]

    def contacts(self) -> None:
        wanted = (
            (self.configuration.contacts, "of the host's developers", self.origin.gateway),
            (self.participant.contacts, f"at {self.participant.name}", self.participant.file),
        )
        for there, whose, file in wanted:
            if not there:
                self._lack(
                    f"contacts {whose}",
                    f"{file}: contacts: [{{role: ROLE, name: NAME, email: ADDRESS, phone: NUMBER}}]",
                )

    def smp(self) -> tuple[Certificate, ...]:
        """The authorities that the SMP's certificate must come from."""
        smp = self._environment
        member = f"smp.{smp.name}"
        if _is_example(smp.base_url):
            self._lack(
                f"the SMP's address: {smp.base_url} is an example's",
                f"{self.origin.gateway}: {member}.base_url: the address that NGESO gave for {smp.name}",
            )
        if smp.ca is None:
            return ()
        mend = f"{self.origin.gateway}: {member}.ca: the CA certificate (PEM) that NGESO gave, at {smp.ca}"
        authorities = self._read(smp.ca, read_certificates, "the CA of the SMP's certificate", mend)
        for authority in authorities or ():
            self._valid(authority, "the CA of the SMP's certificate", mend)
        return authorities or ()

    def shown(self) -> tuple[Certificate, ...]:
        """The chain that the SMP is shown, where the configuration has one."""
        smp = self._environment
        if smp.certificate is None:
            return ()
        what = "the TLS certificate that the SMP is shown"
        mend = (
            f"a client certificate, with its chain (PEM), at {smp.certificate} ({self.origin.gateway}: "
            f"smp.{smp.name}.certificate); to practise: {self.origin.keys_generate('--practice')}"
        )
        chain = self._read(smp.certificate, read_certificates, what, mend)
        if chain:
            self._valid(chain[0], what, mend)
        return chain or ()

    def certificate(self) -> tuple[Certificate, ...]:
        """The chain with which the callback endpoint serves TLS."""
        here = self.configuration.callbacks
        host = urlsplit(here.public_url).hostname or ""
        if _is_example(here.public_url) or _is_this_machine(host):
            self._lack(
                f"an address that NGESO can reach: {here.public_url} is an example's, or this machine's own",
                f"{self.origin.gateway}: callbacks.public_url: https:// and the host's public name",
            )
        mend = (
            f"a certificate for {host}, with its chain (PEM), at {here.certificate} "
            f"({self.origin.gateway}: callbacks.certificate); to practise: {self.origin.keys_generate('--practice')}"
        )
        chain = self._read(here.certificate, read_certificates, "the TLS certificate of the callback endpoint", mend)
        if not chain:
            return ()
        self._valid(chain[0], "the TLS certificate of the callback endpoint", mend)
        if not chain[0].covers(host):
            names = ", ".join(chain[0].hosts) or "no host at all"
            self._lack(f"a TLS certificate for {host}: the one that is there is for {names}", mend)
        return chain

    def key(self) -> KeyRecord | None:
        """The public half of the participant's signing key."""
        member = self.participant
        ref = member.signing_key
        absent = ref.source is SecretSource.FILE and not Path(ref.name).exists()
        mend = (
            self.origin.keys_generate()
            if absent
            else f"an unencrypted PEM private key for {member.algorithm} at {ref} ({member.file}: signing.key)"
        )
        return self._read(ref, self._public_record, "the public signing key", mend)

    def callback_keys(self) -> tuple[KeyRecord, ...]:
        """The SMP's public keys, as the participant's callbacks are verified with them."""
        smp = self._environment
        where = self.participant.callback_keys or smp.callback_keys
        if isinstance(where, KeysAddress):
            return self._fetched(where)

        def read(document: bytes) -> tuple[KeyRecord, ...]:
            return tuple(read_jwks(document, smp.name, "callback").values())

        member = f"{self.origin.gateway}: smp.{smp.name}.callback_keys"
        mend = f"{member}: the key set (JWKS) that NGESO gave, at {where}"
        return self._read(where, read, "the SMP's public keys for callbacks", mend) or ()

    def _fetched(self, where: KeysAddress) -> tuple[KeyRecord, ...]:
        """What a running gateway fetched last."""
        try:
            kept = keyset.from_json(
                where.kept.read_bytes(), address=where.url, issuer=self._environment.name, purpose="callback"
            )
        except (OSError, SignatureRefused, StrictJsonError):
            self._lack(
                f"the SMP's public keys for callbacks: not fetched from {where.url} yet",
                "smp-gateway run fetches them when it starts, and keeps them",
            )
            return ()
        return tuple(kept.current.values())

    @property
    def _environment(self) -> SmpEnvironment:
        return self.configuration.environments[self.participant.environment]

    def _read(self, ref: SecretRef, read: Callable[[bytes], _T], what: str, mend: str) -> _T | None:
        try:
            data = read_secret(ref, environ=self.environ)
        except SecretError as error:
            self._lack(f"{what}: {error}", mend)
            return None
        try:
            return read(data)
        except (SecretError, SignatureRefused, StrictJsonError) as error:
            self._lack(f"{what}: {ref}: {error}", mend)
            return None

    def _public_record(self, pem: bytes) -> KeyRecord:
        """The record of a private key's public half; nothing else of it is kept."""
        try:
            public = serialization.load_pem_private_key(pem, password=None).public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SecretError("not an unencrypted PEM private key") from error
        if not isinstance(public, PublicKey):
            raise SecretError(f"not a key for {self.participant.algorithm}")
        return KeyRecord(
            key_id=self.participant.key_id,
            algorithm=self.participant.algorithm,
            key=public,
            issuer=self.participant.participant,
            purpose="request",
        )

    def _valid(self, certificate: Certificate, what: str, mend: str) -> None:
        if self.now > certificate.not_after:
            self._lack(f"{what}: {certificate.subject} expired at {moment(certificate.not_after)}", mend)
        if self.now < certificate.not_before:
            self._lack(f"{what}: {certificate.subject} is not valid before {moment(certificate.not_before)}", mend)

    def _lack(self, what: str, mend: str) -> None:
        self.missing.append(Missing(what=what, mend=mend))


def moment(at: int) -> str:
    """A time in µs UTC as RFC 3339 writes it, to the second."""
    return datetime.fromtimestamp(at // 1_000_000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_example(url: str) -> bool:
    return f".{urlsplit(url).hostname or ''}".lower().endswith(_EXAMPLES)


def _is_this_machine(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
