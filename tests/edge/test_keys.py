"""Signing keys: what is accepted, and that a refusal shows nothing of the key."""

from __future__ import annotations

import jwt.algorithms
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from gateway.cli.certificates import private_pem
from gateway.edge.keys import PemSigner
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
