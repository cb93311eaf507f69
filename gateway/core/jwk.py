"""Public keys as JSON Web Keys (RFC 7517): reading a set that somebody publishes, and writing our own.

A key is bound to one algorithm when it is read; from then on nothing that arrives can change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from gateway.core import base64url, strict_json
from gateway.core.strict_json import Json
from gateway.errors import SignatureRefused

PublicKey: TypeAlias = EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey

KEY_TYPES: Mapping[str, type[PublicKey]] = {
    "ES256": EllipticCurvePublicKey,
    "PS256": RSAPublicKey,
    "RS256": RSAPublicKey,
    "EdDSA": Ed25519PublicKey,
}
# Where the key alone says which algorithm; an RSA key serves two and must say it itself.
_PINNED = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# RFC 7638 section 3.2; for OKP RFC 8037 section 2
_NECESSARY: Mapping[str, tuple[str, ...]] = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
_RSA_BITS = range(2048, 16385)  # at least RFC 7518 sections 3.3 and 3.5; at most what a verification may cost
_COORDINATE_BYTES = 32  # RFC 7518 section 6.2.1.2: full width, leading zeros included


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A public key we trust: for which algorithm, whose it is and what it may sign."""

    key_id: str
    algorithm: str
    key: PublicKey
    issuer: str
    purpose: str

    def __post_init__(self) -> None:
        """Refuse a key that does not fit its algorithm, so that nobody need ask again."""
        kind = KEY_TYPES.get(self.algorithm)
        if kind is None or not isinstance(self.key, kind):
            raise SignatureRefused("key", f"key {self.key_id!r} is not one for {self.algorithm!r}")
        if isinstance(self.key, EllipticCurvePublicKey) and not isinstance(self.key.curve, SECP256R1):
            raise SignatureRefused("key", f"key {self.key_id!r} is not on the curve P-256")
        if isinstance(self.key, RSAPublicKey) and self.key.key_size not in _RSA_BITS:
            raise SignatureRefused(
                "key", f"key {self.key_id!r} has {self.key.key_size} bits, 2048 to 16384 are accepted"
            )


def read_jwks(document: bytes, issuer: str, purpose: str) -> dict[str, KeyRecord]:
    """Read a key set: key id to record. Keys for other uses or algorithms are passed over, as RFC 7517 section 5 asks.

    Raises:
        StrictJsonError: the document is not JSON that we accept.
        SignatureRefused: it is not a key set, a key that we could use is broken, an id stands twice, a private or
            symmetric key was published, or no usable key is left.
    """
    parsed = strict_json.loads(document)
    keys = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(keys, list):
        raise SignatureRefused("key", "a key set is an object with a list of keys")
    records: dict[str, KeyRecord] = {}
    for jwk in keys:
        if not isinstance(jwk, dict):
            raise SignatureRefused("key", "a key of the set is not an object")
        if _PRIVATE & jwk.keys():
            raise SignatureRefused("key", f"key {jwk.get('kid')!r:.100} was published with its private part")
        if not _usable(jwk):
            continue
        record = public_key_from_jwk(jwk, issuer=issuer, purpose=purpose)
        if record.key_id in records:
            raise SignatureRefused("key", f"the key id {record.key_id!r:.100} stands twice")
        records[record.key_id] = record
    if not records:
        raise SignatureRefused("key", "the set holds no key for signing with an algorithm that we accept")
    return records


def public_key_from_jwk(jwk: Mapping[str, Json], *, issuer: str, purpose: str) -> KeyRecord:
    """Read one public signing key; its ``alg`` must be there or follow from its type.

    Raises:
        SignatureRefused: the key is not one that we may use.
    """
    key_id, algorithm = jwk.get("kid"), _algorithm(jwk)
    if not isinstance(key_id, str) or not key_id:
        raise SignatureRefused("key", "a key without an id")
    if algorithm is None or algorithm not in KEY_TYPES or not _usable(jwk):
        raise SignatureRefused("key", f"key {key_id!r:.100} is not for signing with an algorithm that we accept")
    read = _READERS.get(str(jwk.get("kty")))
    if read is None:
        raise SignatureRefused("key", f"key {key_id!r:.100} has an unknown type")
    try:
        key = read(jwk)
    except ValueError as error:
        raise SignatureRefused("key", f"key {key_id!r:.100} is no public key: {error}") from error
    return KeyRecord(key_id=key_id, algorithm=algorithm, key=key, issuer=issuer, purpose=purpose)


def jwk_of(public_key: PublicKey, key_id: str, algorithm: str) -> dict[str, str]:
    """Write a public key for a key set."""
    head = {"kid": key_id, "alg": algorithm, "use": "sig"}
    match public_key:
        case EllipticCurvePublicKey():
            point = public_key.public_numbers()
            x, y = (value.to_bytes(_COORDINATE_BYTES, "big") for value in (point.x, point.y))
            return {"kty": "EC", "crv": "P-256", "x": base64url.encode(x), "y": base64url.encode(y), **head}
        case Ed25519PublicKey():
            return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(public_key.public_bytes_raw()), **head}
        case RSAPublicKey():
            rsa = public_key.public_numbers()
            n, e = (value.to_bytes((value.bit_length() + 7) // 8, "big") for value in (rsa.n, rsa.e))
            return {"kty": "RSA", "n": base64url.encode(n), "e": base64url.encode(e), **head}


def thumbprint(jwk: Mapping[str, str]) -> str:
    """The SHA-256 thumbprint of a public key (RFC 7638 section 3): its necessary members and nothing else."""
    necessary = {name: jwk[name] for name in sorted(_NECESSARY[jwk["kty"]])}
    return base64url.encode(hashlib.sha256(json.dumps(necessary, separators=(",", ":")).encode()).digest())


def _algorithm(jwk: Mapping[str, Json]) -> str | None:
    if "alg" in jwk:
        return str(jwk["alg"])
    return _PINNED.get((str(jwk.get("kty")), str(jwk.get("crv"))))


def _usable(jwk: Mapping[str, Json]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and (_algorithm(jwk) in KEY_TYPES or (jwk.get("kty") == "RSA" and "alg" not in jwk))
    )


def _bytes(jwk: Mapping[str, Json], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise SignatureRefused("key", f"the member {name} is missing")
    return base64url.decode(value)


def _ec(jwk: Mapping[str, Json]) -> PublicKey:
    x, y = _bytes(jwk, "x"), _bytes(jwk, "y")
    if jwk.get("crv") != "P-256" or len(x) != _COORDINATE_BYTES or len(y) != _COORDINATE_BYTES:
        raise SignatureRefused("key", "not a point of 32-byte coordinates on P-256")
    return EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), SECP256R1()).public_key()


def _okp(jwk: Mapping[str, Json]) -> PublicKey:
    if jwk.get("crv") != "Ed25519":
        raise SignatureRefused("key", "not an Ed25519 key")
    return Ed25519PublicKey.from_public_bytes(_bytes(jwk, "x"))


def _rsa(jwk: Mapping[str, Json]) -> PublicKey:
    n, e = _bytes(jwk, "n"), _bytes(jwk, "e")
    return RSAPublicNumbers(int.from_bytes(e, "big"), int.from_bytes(n, "big")).public_key()


_READERS: Mapping[str, Callable[[Mapping[str, Json]], PublicKey]] = {"EC": _ec, "OKP": _okp, "RSA": _rsa}
