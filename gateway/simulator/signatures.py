"""Detached JWS over exact bytes, in both directions, by joserfc alone (RFC 7515, appendix F).

Only the header members of the wire profile may appear, each must, and ``crit`` must list exactly those that RFC 7515
does not define. The key and its algorithm come from the participant's key record, never from the header.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey
from joserfc.registry import HeaderParameter
from joserfc.util import urlsafe_b64decode

from gateway.errors import SignatureRefused
from gateway.simulator.participants import PublicKey

COMPACT = re.compile(r"[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+")
CRITICAL = ("iat", "jti", "aud")
HEADER_TYPES: dict[str, type[object]] = {
    "alg": str,
    "kid": str,
    "typ": str,
    "iat": int,
    "jti": str,
    "aud": str,
    "crit": list,
}

VALIDATORS = {str: "str", int: "int", list: "list[str]"}  # joserfc's words


class Registry(jws.JWSRegistry):
    """joserfc's rules, narrowed to our header and widened to the profile's body sizes, which the server enforces."""

    max_header_length = 4096
    max_payload_length = 1 << 30

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithms=[algorithm])
        self.header_registry = {
            name: HeaderParameter(name, VALIDATORS[kind], required=True) for name, kind in HEADER_TYPES.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a request's signature must say; ``audiences`` are all the names of this endpoint."""

    typ: str
    audiences: Collection[str]
    algorithms: Collection[str]
    tolerance_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Who signed a body, and the id of that signature."""

    participant: str
    jti: str


def verify(
    signature: str, body: bytes, *, key_of: Callable[[str], PublicKey | None], expected: Expected, now_s: int
) -> Signed:
    """Verify a detached signature over these bytes.

    Raises:
        SignatureRefused: with a bounded code, for the answer's body.
    """
    header = _header(signature)
    record = key_of(header["kid"])
    if record is None:
        raise SignatureRefused("unknown_kid", f"no participant has the key {header['kid']!r}")
    if header["alg"] != record.algorithm or record.algorithm not in expected.algorithms:
        raise SignatureRefused("algorithm", f"{header['alg']!r} is not the algorithm of {record.kid!r}")
    try:
        with warnings.catch_warnings():
            # joserfc warns of the name EdDSA (RFC 9864), which the wire profile uses on purpose
            warnings.simplefilter("ignore", SecurityWarning)
            registry = Registry(record.algorithm)
            jws.deserialize_compact(signature, record.key, registry=registry, payload=body)
    except (JoseError, ValueError) as error:
        raise SignatureRefused("signature", str(error)) from error
    _check_claims(header, expected, now_s)
    return Signed(participant=record.participant, jti=header["jti"])


def sign(body: bytes, key: ECKey, *, typ: str, audience: str, jti: str, now_s: int) -> str:
    """Sign these bytes and leave them out of the compact form."""
    header = {
        "alg": key.alg,
        "kid": key.kid,
        "typ": typ,
        "iat": now_s,
        "jti": jti,
        "aud": audience,
        "crit": list(CRITICAL),
    }
    return jws.detach_content(jws.serialize_compact(header, body, key, registry=Registry(str(key.alg))))


def _header(signature: str) -> dict[str, Any]:
    if not COMPACT.fullmatch(signature) or len(signature) > Registry.max_header_length:
        raise SignatureRefused("form", "not a detached compact JWS")
    try:
        header = json.loads(urlsafe_b64decode(signature.partition(".")[0].encode()), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise SignatureRefused("header", f"unreadable: {error}") from error
    if not isinstance(header, dict) or header.keys() != HEADER_TYPES.keys():
        raise SignatureRefused("header", f"must have exactly the members {', '.join(HEADER_TYPES)}")
    for name, kind in HEADER_TYPES.items():
        if type(header[name]) is not kind or not header[name]:
            raise SignatureRefused("header", f"{name} is not acceptable")
    if sorted(map(str, header["crit"])) != sorted(CRITICAL):
        raise SignatureRefused("crit", f"must list exactly {', '.join(CRITICAL)}")
    return header


def _check_claims(header: dict[str, Any], expected: Expected, now_s: int) -> None:
    if header["typ"] != expected.typ:
        raise SignatureRefused("typ", f"{header['typ']!r} instead of {expected.typ!r}")
    if header["aud"] not in expected.audiences:
        raise SignatureRefused("aud", f"{header['aud']!r} is not this endpoint")
    if abs(now_s - header["iat"]) > expected.tolerance_s:
        raise SignatureRefused("iat", f"{now_s - header['iat']} s old, at most {expected.tolerance_s} s either way")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members
