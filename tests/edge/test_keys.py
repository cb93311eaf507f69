"""Signing keys and the SMP's public keys: what is accepted, and that a refusal shows nothing of the key."""

from __future__ import annotations

import json

import jwt.algorithms
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from gateway.cli.certificates import private_pem
from gateway.edge.keys import JwksKeyRing, PemSigner
from gateway.errors import SecretError

KEYS: dict[str, PrivateKeyTypes] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "PS256": rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
KEYS["RS256"] = KEYS["PS256"]


@pytest.mark.parametrize("algorithm", sorted(KEYS))
def test_a_signature_verifies_with_the_public_half(algorithm: str) -> None:
    """The raw JWS signature of each algorithm verifies with another object of the same algorithm."""
    signer = PemSigner(private_pem(KEYS[algorithm]), key_id="kid", algorithm=algorithm)
    public = KEYS[algorithm].public_key()
    assert jwt.algorithms.get_default_algorithms()[algorithm].verify(b"data", public, signer.sign(b"data"))


@pytest.mark.parametrize(("algorithm", "other"), [("ES256", "PS256"), ("PS256", "ES256"), ("EdDSA", "ES256")])
def test_a_key_of_another_kind_is_refused(algorithm: str, other: str) -> None:
    """A key that does not fit its algorithm: SecretError that names the key id."""
    with pytest.raises(SecretError, match="kid-1"):
        PemSigner(private_pem(KEYS[other]), key_id="kid-1", algorithm=algorithm)


def test_a_key_that_cannot_be_read_shows_nothing_of_itself() -> None:
    """Encrypted, cut or no PEM at all: the error holds the key id and no byte of the file."""
    encrypted = KEYS["ES256"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    for pem in (encrypted, private_pem(KEYS["ES256"])[:100], b"s3cret", b""):
        with pytest.raises(SecretError) as caught:
            PemSigner(pem, key_id="kid-1", algorithm="ES256")
        assert "kid-1" in str(caught.value)
        assert "s3cret" not in str(caught.value)


def jwks(*changes: dict[str, object]) -> bytes:
    members = []
    for change in changes:
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
        members.append({**jwk, "kid": "one", "alg": "ES256", "use": "sig", **change})
    return json.dumps({"keys": members}).encode()


def test_keys_are_found_by_their_id() -> None:
    """The record says algorithm and issuer; an unknown id is nobody's."""
    ring = JwksKeyRing(jwks({}, {"kid": "two"}), issuer="test")
    found = ring.find("two")
    assert found is not None
    assert (found.key_id, found.algorithm, found.issuer) == ("two", "ES256", "test")
    assert ring.find("three") is None


@pytest.mark.parametrize("document", [b"", b"[]", b'{"keys": []}', b'{"keys": [7]}', jwks({}, {}), jwks({"d": "AAAA"})])
def test_a_document_that_is_no_key_set_is_refused(document: bytes) -> None:
    """Not JSON, no keys, an id twice, a private key published: SecretError at the start, not at the first callback."""
    with pytest.raises(SecretError, match="callback keys of test"):
        JwksKeyRing(document, issuer="test")
