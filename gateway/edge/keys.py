"""Private keys for signing, read from PEM bytes."""

from __future__ import annotations

from collections.abc import Mapping

import jwt.algorithms
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from gateway.core.jwk import jwk_of
from gateway.errors import SecretError, SigningFailed

_PrivateKey = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey
_KEY_TYPES: Mapping[str, type[_PrivateKey]] = {
    "ES256": EllipticCurvePrivateKey,
    "PS256": RSAPrivateKey,
    "RS256": RSAPrivateKey,
    "EdDSA": Ed25519PrivateKey,
}


class PemSigner:
    """A private key from a PKCS#8 PEM, bound to one algorithm and key id."""

    def __init__(self, pem: bytes, *, key_id: str, algorithm: str) -> None:
        """Read the key.

        Raises:
            SecretError: not a private key, or not one of this algorithm; the message holds nothing of the key.
        """
        self.key_id = key_id
        self.algorithm = algorithm
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SecretError(f"signing key {key_id} is not an unencrypted PEM private key") from error
        if not isinstance(key, _KEY_TYPES[algorithm]):
            raise SecretError(f"signing key {key_id} is a {type(key).__name__}, which does not sign {algorithm}")
        self._key = key
        self._algorithm = jwt.algorithms.get_default_algorithms()[algorithm]

    @property
    def public_jwk(self) -> Mapping[str, str]:
        """See `ports.Signer`."""
        return jwk_of(self._key.public_key(), self.key_id, self.algorithm)

    def sign(self, data: bytes) -> bytes:
        """The raw JWS signature (RFC 7518 section 3)."""
        try:
            return self._algorithm.sign(data, self._key)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SigningFailed(f"key {self.key_id} does not sign: {type(error).__name__}") from error
