"""JWS over exact bytes, in both directions and in the wire profile's form, by joserfc alone (RFC 7515).

Inside, a signature is always a detached token beside its body; :func:`pack` and :func:`unpack` know the forms.
Only the header members of the wire profile may appear, each must, and ``crit`` must list exactly those that RFC 7515
does not define. The key and its algorithm come from the participant's key record, never from the header.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key
from joserfc.registry import HeaderParameter
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from gateway.errors import SignatureRefused
from gateway.simulator.participants import PublicKey

COMPACT = re.compile(r"[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+")
ENCLOSED = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
CRITICAL = ("iat", "jti", "aud")
HEADER_TYPES: dict[str, type] = {
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

    def __init__(self, algorithm: str, *, further: Iterable[str] = ()) -> None:
        super().__init__(algorithms=[algorithm])
        types: dict[str, type] = {**HEADER_TYPES, **dict.fromkeys(further, str)}
        self.header_registry = {
            name: HeaderParameter(name, VALIDATORS[kind], required=True) for name, kind in types.items()
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


def sign(body: bytes, key: Key, *, typ: str, audience: str, jti: str, now_s: int, request: str | None = None) -> str:
    """Sign these bytes and leave them out of the compact form; an answer names the ``request`` it answers."""
    answered: dict[str, str] = {} if request is None else {"req": request}
    header = {
        "alg": key.alg,
        "kid": key.kid,
        "typ": typ,
        "iat": now_s,
        "jti": jti,
        "aud": audience,
        **answered,
        "crit": [*CRITICAL, *answered],
    }
    registry = Registry(str(key.alg), further=answered)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return jws.detach_content(jws.serialize_compact(header, body, key, registry=registry))


def pack(form: str, body: bytes, token: str) -> tuple[bytes, str]:
    """The body and the signature header ("" is none) that carry a detached token in this form."""
    if form == "detached" or not body:
        return body, token
    protected, _, signature = token.split(".")
    payload = urlsafe_b64encode(body).decode()
    if form == "compact":
        return f"{protected}.{payload}.{signature}".encode(), ""
    return json.dumps({"protected": protected, "payload": payload, "signature": signature}).encode(), ""


def unpack(form: str, body: bytes, header: str) -> tuple[bytes, str]:
    """The signed bytes and their detached token.

    Raises:
        SignatureRefused: they do not come in this form.
    """
    if form == "detached" or not body:
        return body, header
    if header:
        raise SignatureRefused("form", "one signature in the body and one beside it")
    match = ENCLOSED.fullmatch(body if form == "compact" else _joined(body))
    if match is None:
        raise SignatureRefused("form", f"not a {form} JWS")
    protected, payload, signature = (part.decode() for part in match.groups())
    try:
        return urlsafe_b64decode(payload.encode()), f"{protected}..{signature}"
    except ValueError as error:
        raise SignatureRefused("form", str(error)) from error


def claimed(token: str) -> tuple[str, str] | None:
    """The jti and audience that a token claims, true or not; None where it cannot be read."""
    try:
        header = _header(token)
    except SignatureRefused:
        return None
    return header["jti"], header["aud"]


def _joined(body: bytes) -> bytes:
    """A flattened JWS as a compact one."""
    try:
        document = json.loads(body, object_pairs_hook=_once)
        if document.keys() != {"protected", "payload", "signature"}:
            raise SignatureRefused("form", "a flattened JWS has exactly protected, payload and signature")
        return ".".join((document["protected"], document["payload"], document["signature"])).encode()
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        raise SignatureRefused("form", f"not a flattened JWS: {error}") from error


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
