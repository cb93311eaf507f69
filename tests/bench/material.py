"""Throw-away certificates, keys and addresses of one bench run, in one folder that all its processes read."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key

from tests.bench.jose import b64url

PARTICIPANT = "exstor"
SMP_KEY_ID = "smp-bench"
PARTICIPANT_KEY_ID = "exstor-bench"
HOST = "127.0.0.1"
PUBLIC_URL = "https://host.example"  # callbacks are signed for this name; the bench calls the port directly
CALLBACK_PATH = f"/smp/v1/callbacks/{PARTICIPANT}"
CA, SERVER = "ca.pem", "server.pem"
SMP_KEY, PARTICIPANT_KEY = "smp-key.pem", "participant-key.pem"
JWKS, PASSWORD = "smp.jwks.json", "password"


def write(folder: Path) -> None:
    """Make everything new."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / CA)
    authority.issue_cert(HOST, "localhost").private_key_and_cert_chain_pem.write_to_path(folder / SERVER)
    smp = _write_key(folder / SMP_KEY)
    _write_key(folder / PARTICIPANT_KEY)
    point = smp.public_key().public_numbers()
    x, y = (b64url(value.to_bytes(32, "big")) for value in (point.x, point.y))
    jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": SMP_KEY_ID, "alg": "ES256", "use": "sig"}
    (folder / JWKS).write_text(json.dumps({"keys": [jwk]}), encoding="utf-8")
    (folder / PASSWORD).write_text("bench\n", encoding="utf-8")


def read_key(path: Path) -> EllipticCurvePrivateKey:
    """Read a private key that `write` made."""
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError(f"{path.name} is not a key on a curve")
    return key


def client_tls(folder: Path) -> ssl.SSLContext:
    """Trust the run's own CA."""
    return ssl.create_default_context(cafile=folder / CA)


def server_tls(folder: Path) -> ssl.SSLContext:
    """Serve with the run's own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / SERVER)
    return context


def _write_key(path: Path) -> EllipticCurvePrivateKey:
    key = generate_private_key(SECP256R1())
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return key
