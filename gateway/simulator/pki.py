"""The simulated SMP's own keys, made when they are first needed and read again at every later start.

Files, all in ``DIR/pki``: ``smp-ca.pem`` (what a gateway trusts) with ``smp-ca.key``; ``smp-server.pem`` with
``smp-server.key``, shown to clients and to the hosts that are called back, issued anew at each start so that it never
expires; ``smp.jwks.json`` (what a gateway verifies
callbacks with) and the private half of its first key, ``smp-signing.pem``; ``smp-token.key`` for the bearer tokens.
Private files have mode 0600. A private half is written before its public one, so that a start which was cut short
begins again; a rotation publishes first and then replaces the private half, so that one cut short has changed nothing.
A key that no longer signs stays in the set until its member ``exp`` (seconds UTC), so that what it signed can still be
verified.
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

CA_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=90)
BACKDATE = timedelta(hours=1)  # a peer's clock may be a little behind
RSA_BITS = 2048
NEW_KEYS: Mapping[str, Callable[[], PrivateKeyTypes]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "PS256": lambda: rsa.generate_private_key(65537, RSA_BITS),
    "RS256": lambda: rsa.generate_private_key(65537, RSA_BITS),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
KEY_CLASSES: Mapping[str, type[ECKey | RSAKey | OKPKey]] = {
    "ES256": ECKey,
    "PS256": RSAKey,
    "RS256": RSAKey,
    "EdDSA": OKPKey,
}
SIGNING_FILE = "smp-signing.pem"
TOKEN_FILE = "smp-token.key"  # noqa: S105 -- the name of a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Pki:
    """What the simulator signs, serves and seals its tokens with, and the two public files it hands out."""

    ca_path: Path
    jwks_path: Path
    tls: ssl.SSLContext
    signing: Key
    token: OctKey


def prepare(folder: Path, *, host: str, now_us: int, algorithm: str = "ES256", client_ca: Path | None = None) -> Pki:
    """Read the keys in this folder, or make those that are missing; the certificate names this host and localhost.

    ``algorithm`` is what callbacks and answers are signed with; with ``client_ca`` a client needs a certificate of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moment = datetime.fromtimestamp(now_us / 1e6, tz=UTC)
    ca_path = folder / "smp-ca.pem"
    ca_key = _private_key(folder / "smp-ca.key")
    if not ca_path.exists():
        _publish(ca_path, _ca(ca_key, moment).public_bytes(serialization.Encoding.PEM))
    authority = x509.load_pem_x509_certificate(ca_path.read_bytes())
    signing = _signing_key(folder / SIGNING_FILE, algorithm)
    jwks_path = folder / "smp.jwks.json"
    _publish_keys(jwks_path, signing, _retired(jwks_path, now_us))
    tls = _server_context(folder, ca_key, authority, host, moment)
    if client_ca is not None:
        tls.load_verify_locations(client_ca)
        tls.verify_mode = ssl.CERT_REQUIRED
    return Pki(
        ca_path=ca_path,
        jwks_path=jwks_path,
        tls=tls,
        signing=signing,
        token=OctKey.import_key(_token_secret(folder / TOKEN_FILE)),
    )


def rotate(current: Pki, *, overlap_s: float, now_us: int) -> Pki:
    """Sign with a new key from now on, and leave the old one published for so long."""
    algorithm = str(current.signing.alg)
    fresh = _pem(NEW_KEYS[algorithm]())
    signing = _signing_jwk(fresh, algorithm)
    retiring = {**current.signing.as_dict(private=False), "exp": int(now_us / 1e6 + overlap_s) + 1}
    _publish_keys(current.jwks_path, signing, [retiring, *_retired(current.jwks_path, now_us)])
    _keep_secret(current.jwks_path.with_name(SIGNING_FILE), fresh)
    return replace(current, signing=signing)


def withdraw(current: Pki, *, now_us: int) -> None:
    """Publish only the keys whose time is not over."""
    _publish_keys(current.jwks_path, current.signing, _retired(current.jwks_path, now_us))


def forget_tokens(current: Pki) -> Pki:
    """Seal tokens with another secret from now on, so that every earlier one is refused."""
    path = current.jwks_path.with_name(TOKEN_FILE)
    _keep_secret(path, secrets.token_bytes(32))
    return replace(current, token=OctKey.import_key(path.read_bytes()))


def _retired(jwks_path: Path, now_us: int) -> list[dict[str, Any]]:
    if not jwks_path.exists():
        return []
    keys: list[dict[str, Any]] = json.loads(jwks_path.read_bytes())["keys"]
    return [key for key in keys if key.get("exp", 0) > now_us / 1e6]


def _publish_keys(path: Path, signing: Key, retired: list[dict[str, Any]]) -> None:
    own = signing.as_dict(private=False)
    document = {"keys": [own, *(key for key in retired if key["kid"] != own["kid"])]}
    _publish(path, json.dumps(document, indent=2).encode() + b"\n")


def _server_context(
    folder: Path, ca_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, host: str, moment: datetime
) -> ssl.SSLContext:
    key_path, chain_path = folder / "smp-server.key", folder / "smp-server.pem"
    key = _private_key(key_path)
    _publish(chain_path, _server(key, ca_key, authority, host, moment).public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(chain_path, key_path)
    return context


def _ca(key: ec.EllipticCurvePrivateKey, moment: datetime) -> x509.Certificate:
    name = _name("Simulated SMP certificate authority")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _certificate(name, name, key.public_key(), moment, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server(
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    host: str,
    moment: datetime,
) -> x509.Certificate:
    names = [_general_name(name) for name in dict.fromkeys(("localhost", "127.0.0.1", host))]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _certificate(_name("Simulated SMP"), authority.subject, key.public_key(), moment, SERVER_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(issuer, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, moment: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - BACKDATE)
        .not_valid_after(moment + life)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        _keep_secret(path, _pem(ec.generate_private_key(ec.SECP256R1())))
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} does not hold an elliptic curve key")
    return key


def _signing_key(path: Path, algorithm: str) -> Key:
    if not path.exists():
        _keep_secret(path, _pem(NEW_KEYS[algorithm]()))
    return _signing_jwk(path.read_bytes(), algorithm)


def _signing_jwk(pem: bytes, algorithm: str) -> Key:
    kind = KEY_CLASSES[algorithm]
    key = kind.import_key(pem, {"alg": algorithm, "use": "sig"})
    kid = f"smp-{key.thumbprint()[:12]}"
    return kind.import_key({**key.as_dict(private=True), "kid": kid})


def stranger(algorithm: str, kid: str) -> Key:
    """A key of nobody's, under somebody's id."""
    kind = KEY_CLASSES[algorithm]
    return kind.import_key(_pem(NEW_KEYS[algorithm]()), {"alg": algorithm, "kid": kid})


def _token_secret(path: Path) -> bytes:
    if not path.exists():
        _keep_secret(path, secrets.token_bytes(32))
    return path.read_bytes()


def _pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _keep_secret(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    fresh.replace(path)


def _publish(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_bytes(content)
    fresh.replace(path)
