"""Detached ES256 (RFC 7515 appendix F) straight on `cryptography`: what the peers and the floor sign and verify with.

Shares nothing with the gateway's own signatures, so that the bench would notice a gateway that signs something else.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

ALGORITHM = ECDSA(SHA256())


def b64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def un_b64url(text: str) -> bytes:
    """Undo `b64url`."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign(key: EllipticCurvePrivateKey, header: Mapping[str, object], body: bytes) -> str:
    """Sign a body and leave it out of the token."""
    protected = b64url(json.dumps(header, separators=(",", ":")).encode())
    r, s = decode_dss_signature(key.sign(f"{protected}.{b64url(body)}".encode(), ALGORITHM))
    return f"{protected}..{b64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def verify(key: EllipticCurvePublicKey, token: str, body: bytes) -> dict[str, object] | None:
    """Return the protected header, or None when the signature is not one of this key over these bytes."""
    protected, nothing, signature = token.split(".")
    raw = un_b64url(signature)
    if nothing or len(raw) != 64:
        return None
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        key.verify(der, f"{protected}.{b64url(body)}".encode(), ALGORITHM)
    except InvalidSignature:
        return None
    header: dict[str, object] = json.loads(un_b64url(protected))
    return header


def header(*, key_id: str, typ: str, iat: int, jti: str, aud: str) -> dict[str, object]:
    """The protected header of the wire profile."""
    return {
        "alg": "ES256",
        "kid": key_id,
        "typ": typ,
        "iat": iat,
        "jti": jti,
        "aud": aud,
        "crit": ["iat", "jti", "aud"],
    }
