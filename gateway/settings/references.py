"""Every secret that a configuration refers to, and which of them cannot be read here and now."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.core.certificate import ending, read_certificates
from gateway.core.secret import Reference
from gateway.errors import SecretError
from gateway.settings.resolved import Configuration
from gateway.settings.secrets import SecretRef, SecretSource, located, read_secret


def references(configuration: Configuration) -> Iterator[tuple[str, SecretRef]]:
    """Each reference with what it is for, in the order of the files."""
    for name, environment in configuration.environments.items():
        if environment.ca is not None:
            yield f"smp.{name}.ca", environment.ca
        if isinstance(environment.callback_keys, SecretRef):
            yield f"smp.{name}.callback_keys", environment.callback_keys
    yield "callbacks.certificate", configuration.callbacks.certificate
    yield "callbacks.key", configuration.callbacks.key
    for name, participant in configuration.participants.items():
        if isinstance(participant.callback_keys, SecretRef):
            yield f"participant {name}: callback_keys", participant.callback_keys
        yield f"participant {name}: password", participant.password
        yield f"participant {name}: signing key", participant.signing_key
    for site in configuration.sites.values():
        for name, link in site.connections.items():
            for member, value in link.config.settings:
                if isinstance(value, Reference):
                    yield f"site {site.site}, {name}: {member}", located(value, configuration.state)


def unreadable(configuration: Configuration, *, environ: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each secret that `run` could not read, and for each private file that others may read."""
    return tuple(sentence for what, ref in references(configuration) for sentence in _faults(what, ref, environ))


def ending_certificates(configuration: Configuration, *, environ: Mapping[str, str], now: int) -> tuple[str, ...]:
    """A sentence for each certificate that can be read and is not valid, or not for long; ``now`` is µs UTC."""
    certificates = {"callbacks.certificate": configuration.callbacks.certificate}
    certificates |= {f"smp.{name}.ca": smp.ca for name, smp in configuration.environments.items() if smp.ca is not None}
    sentences = []
    for what, ref in certificates.items():
        try:
            chain = read_certificates(read_secret(ref, environ=environ))
        except SecretError:
            continue  # told by `unreadable`, or by the program that needs it
        sentences += [f"{what}: {said}" for said in ending(chain, now)]
    return tuple(sentences)


def _faults(what: str, ref: SecretRef, environ: Mapping[str, str]) -> Iterator[str]:
    try:
        read_secret(ref, environ=environ)
    except SecretError as error:
        yield f"{what}: {error}"
        return
    private = what.endswith(("key", "password"))
    if private and ref.source is SecretSource.FILE and Path(ref.name).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield f"{what}: {ref} can be read by others on this machine (chmod 600)"
