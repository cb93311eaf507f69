"""`smp-gateway keys`: signing keys for the participants of a configuration, and certificates to practise with.

Nothing that exists is replaced without ``--force``. Private files have mode 0600 and appear whole or not at all.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable
from urllib.parse import urlsplit

import jwt.algorithms
import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.cli.certificates import application_certificate, practice_certificates, private_pem
from gateway.cli.configured import ConfigPath, StateFolder, fail, load
from gateway.core.secret import Reference
from gateway.errors import SecretError
from gateway.settings.configuration import Configuration, Participant
from gateway.settings.secrets import SecretSource, located, read_secret, secret_path

app = typer.Typer(no_args_is_help=True)

_RSA_BITS = 3072  # about the strength of the P-256 curve (NIST SP 800-57 part 1, table 2)


@runtime_checkable
class ShowsCertificate(Protocol):
    """A connection's model that may show a certificate of our own to the site's system."""

    def application_files(self) -> tuple[Reference, Reference] | None:
        """Where certificate and key are; None where the connection shows none."""


def _new_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)


_NEW_KEY: Mapping[str, Callable[[], PrivateKeyTypes]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "PS256": _new_rsa,
    "RS256": _new_rsa,
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@app.callback()
def keys() -> None:
    """Signing keys and practice certificates."""


@app.command()
def generate(
    path: ConfigPath,
    state: StateFolder = None,
    *,
    practice: Annotated[
        bool, typer.Option("--practice", help="Also certificates from authorities of our own.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace keys that exist. What they signed stays signed.")
    ] = False,
) -> None:
    """Make every participant's signing key, pki/participants.jwks.json with the public halves, and OPC UA certificates.

    Ends with 0 when every key is there, 1 when the configuration is wrong, 3 when a file cannot be read or written.
    """
    configuration = load(path, state)
    try:
        written = generate_keys(configuration, practice=practice, force=force)
    except SecretError as error:
        raise fail(error) from None
    except OSError as error:
        typer.echo(f"smp-gateway: {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(3) from None
    for file in written:
        typer.echo(f"wrote {file}")


def generate_keys(
    configuration: Configuration,
    *,
    practice: bool = False,
    force: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> list[Path]:
    """Write what is missing, and return the files written.

    Raises:
        SecretError: a key that exists cannot be used for its algorithm, or cannot be read.
        OSError: a file cannot be written.
    """
    written: list[Path] = []
    members = []
    for participant in configuration.participants.values():
        ref = participant.signing_key
        if ref.source is SecretSource.FILE and (force or not Path(ref.name).exists()):
            write_file(Path(ref.name), private_pem(_NEW_KEY[participant.algorithm]()), private=True)
            written.append(Path(ref.name))
        members.append(_public_member(participant, read_secret(ref, environ=environ)))
    document = configuration.state / "pki" / "participants.jwks.json"
    write_file(document, _jwks(document, members), private=False)
    written.append(document)
    written += _applications(configuration, force=force)
    return [*written, *_practice(configuration, force=force, environ=environ)] if practice else written


def write_file(path: Path, data: bytes, *, private: bool) -> None:
    """Put a file in place as a whole, on disk, readable by its owner only if it is private."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if private else 0o755)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _public_member(participant: Participant, pem: bytes) -> dict[str, object]:
    """The JWK (RFC 7517) of a signing key's public half, with our member that says whose it is."""
    algorithm = jwt.algorithms.get_default_algorithms()[participant.algorithm]
    try:
        public = serialization.load_pem_private_key(pem, password=None).public_key()
        key = json.loads(algorithm.to_jwk(public))
    except (ValueError, TypeError, UnsupportedAlgorithm, AttributeError, jwt.InvalidKeyError) as error:
        said = f"{participant.signing_key} is not an unencrypted PEM private key for {participant.algorithm}"
        raise SecretError(said) from error
    key.pop("key_ops", None)
    owner = {"kid": participant.key_id, "alg": participant.algorithm, "use": "sig"}
    return {**key, **owner, "participant": participant.participant}


def _jwks(path: Path, members: list[dict[str, object]]) -> bytes:
    """Our keys, and from the file what has another kid: a key that was rolled must stay known for a while."""
    try:
        before = json.loads(path.read_bytes())["keys"]
    except (OSError, ValueError, TypeError, KeyError):
        before = []
    kids = {member["kid"] for member in members}
    kept = [key for key in before if isinstance(key, dict) and key.get("kid") not in kids]
    return json.dumps({"keys": [*kept, *members]}, indent=2).encode() + b"\n"


def _applications(configuration: Configuration, *, force: bool) -> list[Path]:
    """The certificate and key of every connection that shows one of its own; several may share a pair.

    A key without its certificate, or the other way round, is not ours to complete: somebody else issues it.
    """
    written: list[Path] = []
    for site in configuration.sites.values():
        for link in site.connections.values():
            settings = link.config.settings
            wanted = settings.application_files() if isinstance(settings, ShowsCertificate) else None
            if wanted is None:
                continue
            files = [Path(located(ref, configuration.state).name) for ref in wanted]
            if any(ref.source != SecretSource.FILE for ref in wanted) or files[0] in written:
                continue
            if force or not any(file.exists() for file in files):
                key, uri = _new_rsa(), f"urn:smp-gateway:{site.participant}"
                now = datetime.fromtimestamp(time.time(), tz=UTC)
                write_file(files[1], private_pem(key), private=True)
                write_file(files[0], application_certificate(uri, key, now=now), private=False)
                written += files
    return written


def _practice(configuration: Configuration, *, force: bool, environ: Mapping[str, str]) -> list[Path]:
    """Certificates for the callback listener, and for each environment that wants to be shown one."""
    callbacks = configuration.callbacks
    hosts = (urlsplit(callbacks.public_url).hostname or "localhost", "localhost", "127.0.0.1", "::1")
    wanted = [(callbacks.certificate, callbacks.key, "host-ca.pem", ExtendedKeyUsageOID.SERVER_AUTH)]
    wanted += [
        (smp.certificate, smp.key, f"client-ca-{smp.name}.pem", ExtendedKeyUsageOID.CLIENT_AUTH)
        for smp in configuration.environments.values()
        if smp.certificate is not None and smp.key is not None
    ]
    written: list[Path] = []
    for certificate, key, name, purpose in wanted:
        pair = secret_path(certificate, environ=environ), secret_path(key, environ=environ)
        written += _certify(*pair, pair[0].with_name(name), hosts, purpose, force=force)
    return written


def _certify(
    certificate: Path, key: Path, authority: Path, hosts: Iterable[str], purpose: ObjectIdentifier, *, force: bool
) -> list[Path]:
    if not force and all(file.exists() for file in (certificate, key, authority)):
        return []
    if not force and any(file.exists() for file in (certificate, key)):
        raise SecretError(f"{certificate} or {key} exists already; --force replaces both")
    made = practice_certificates(hosts, now=datetime.fromtimestamp(time.time(), tz=UTC), purpose=purpose)
    write_file(key, made.key, private=True)
    write_file(certificate, made.certificate, private=False)
    write_file(authority, made.authority, private=False)
    return [key, certificate, authority]
