"""base64url without padding, in its only spelling (RFC 7515 section 2)."""

from __future__ import annotations

import base64
import re

from gateway.errors import SignatureRefused

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


def encode(data: bytes) -> str:
    """Write base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read base64url; one text for one value, so that a token cannot be altered and stay the same.

    Raises:
        SignatureRefused: padding, stray characters, an impossible length or loose bits at the end.
    """
    if not _ALPHABET.fullmatch(text) or len(text) % 4 == 1:
        raise SignatureRefused("malformed", "not base64url without padding")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(data[-(len(data) % 3 or 3) :]) != text[-(len(text) % 4 or 4) :]:
        raise SignatureRefused("malformed", "loose bits at the end of base64url")
    return data
