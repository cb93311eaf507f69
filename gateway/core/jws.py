"""JSON Web Signatures, as narrow as the wire needs them: made detached, verified before anything is believed.

The forms in which they travel are :mod:`gateway.core.envelope`'s.

Rules (assurance.md section 5, domain.md section 3; RFC 7515)
------------------------------------------------------------
* The algorithm is that of *our* key record; a header that says otherwise is refused. Nothing symmetric exists here.
* Members that would bring a key, a certificate, a compression or another payload form are refused wherever they stand.
* ``crit`` lists only what we understand, and what it lists is there. A body's signature must list iat, jti and aud, an
  answer's also req: the jti of the request that it answers.
* base64url has one spelling: no padding, no stray characters, no loose bits at the end.
* The signature is verified over the raw bytes first; type, audience and the rest of the header are judged after it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import jwt.algorithms
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.core import base64url, codec, strict_json
from gateway.core.jwk import KEY_TYPES, KeyRecord, jwk_of, public_key_from_jwk, read_jwks
from gateway.core.strict_json import Json
from gateway.errors import SignatureRefused, StrictJsonError

__all__ = [
    "CRITICAL",
    "Find",
    "KeyRecord",
    "Segments",
    "Signer",
    "VerifiedCompact",
    "VerifiedHeader",
    "compact_segments",
    "detached_segments",
    "jwk_of",
    "protected_header",
    "public_key_from_jwk",
    "read_jwks",
    "sign_compact",
    "sign_detached",
    "verify",
    "verify_compact",
    "verify_detached",
]

Find: TypeAlias = Callable[[str], KeyRecord | None]

CRITICAL = ("iat", "jti", "aud")
_CRITICAL_OF_ANSWERS = (*CRITICAL, "req")

_EC = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256, SECP256R1)
_PS = jwt.algorithms.RSAPSSAlgorithm(jwt.algorithms.RSAPSSAlgorithm.SHA256)
_RS = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
_ED = jwt.algorithms.OKPAlgorithm()
_FORBIDDEN = frozenset({"jku", "jwk", "x5u", "x5c", "b64", "zip"})
_HEADER_LIMIT = 8192  # characters; ours has about 300
_TEXT_LIMIT = 255  # characters of a jti


class Signer(Protocol):
    """What signing needs of a private key (the shape of ports.Signer)."""

    @property
    def key_id(self) -> str:
        """The ``kid`` of the header."""

    @property
    def algorithm(self) -> str:
        """The ``alg`` of the header."""

    def sign(self, data: bytes) -> bytes:
        """The raw signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedHeader:
    """What a verified signature says; ``iat`` is seconds UTC, ``issuer`` comes from the key record."""

    key_id: str
    algorithm: str
    issuer: str
    jti: str
    iat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """A signature as it came, in base64url, and nothing of it believed.

    ``payload`` is None where the body stands beside the signature; ``body`` is then that body.
    """

    protected: str
    payload: str | None
    signature: str
    body: bytes = b""

    @property
    def token(self) -> str:
        """The signature in detached form, whatever form it came in."""
        return f"{self.protected}..{self.signature}"

    def encoded(self) -> str:
        """The payload as it was signed."""
        return base64url.encode(self.body) if self.payload is None else self.payload

    def content(self) -> bytes:
        """The payload's bytes; to be read only after they were verified.

        Raises:
            SignatureRefused: the payload is not base64url.
        """
        return self.body if self.payload is None else base64url.decode(self.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCompact:
    """A compact JWS whose signature is good: its header as sent, its payload, and the key that made it."""

    header: Mapping[str, Json]
    payload: bytes
    record: KeyRecord


def protected_header(*, algorithm: str, key_id: str, typ: str, iat: int, jti: str, aud: str) -> dict[str, object]:
    """The protected header of the wire profile; ``iat`` is seconds UTC."""
    return {
        "alg": algorithm,
        "kid": key_id,
        "typ": typ,
        "iat": iat,
        "jti": jti,
        "aud": aud,
        "crit": list(CRITICAL),
    }


def sign_detached(signer: Signer, header: Mapping[str, object], body: bytes) -> str:
    """Sign a body and leave it out of the token (RFC 7515 appendix F).

    Raises:
        ValueError: the header names another key or algorithm than the signer's.
    """
    if (header.get("alg"), header.get("kid")) != (signer.algorithm, signer.key_id):
        raise ValueError(f"the header is not made for key {signer.key_id}")
    protected = base64url.encode(codec.dumps(dict(header)))
    signature = signer.sign(f"{protected}.{base64url.encode(body)}".encode())
    return f"{protected}..{base64url.encode(signature)}"


def sign_compact(signer: Signer, header: Mapping[str, object], payload: bytes) -> str:
    """Sign a payload that travels inside the token (RFC 7515 section 7.1)."""
    protected, _, signature = sign_detached(signer, header, payload).split(".")
    return f"{protected}.{base64url.encode(payload)}.{signature}"


def verify(
    segments: Segments,
    find: Find,
    *,
    typ: str,
    audience: str,
    algorithms: Collection[str],
    request: str | None = None,
) -> VerifiedHeader:
    """Verify a signature over a body's exact bytes, then judge its header; an answer's must name its ``request``.

    Raises:
        SignatureRefused: nothing of signature or body may be believed.
    """
    critical = CRITICAL if request is None else _CRITICAL_OF_ANSWERS
    header, record = _believe(segments, find, algorithms, critical)
    if header.get("typ") != typ:
        raise SignatureRefused("typ", f"typ is {header.get('typ')!r:.100}, not {typ!r}")
    if header.get("aud") != audience:
        raise SignatureRefused("audience", f"aud is {header.get('aud')!r:.300}, not {audience!r}")
    crit = header.get("crit")
    if not isinstance(crit, list) or not set(critical).issubset(str(name) for name in crit):
        raise SignatureRefused("crit", f"crit must list {', '.join(critical)}")
    if request is not None and header["req"] != request:
        raise SignatureRefused("request", f"req is {header['req']!r:.100}: the answer to another request")
    return VerifiedHeader(
        key_id=record.key_id,
        algorithm=record.algorithm,
        issuer=record.issuer,
        jti=_jti(header.get("jti")),
        iat=_iat(header.get("iat")),
    )


def verify_detached(
    token: str,
    body: bytes,
    find: Find,
    *,
    typ: str,
    audience: str,
    algorithms: Collection[str],
) -> VerifiedHeader:
    """Verify a detached token over the exact body bytes, then judge its header.

    Raises:
        SignatureRefused: nothing of token or body may be believed.
    """
    return verify(detached_segments(token, body), find, typ=typ, audience=audience, algorithms=algorithms)


def detached_segments(token: str, body: bytes) -> Segments:
    """Take a detached token apart (RFC 7515 appendix F).

    Raises:
        SignatureRefused: it is none.
    """
    segments = token.split(".")
    if len(segments) != 3 or segments[1]:
        raise SignatureRefused("malformed", "not a detached JWS: header, two dots, signature")
    return Segments(protected=segments[0], payload=None, signature=segments[2], body=body)


def compact_segments(token: str) -> Segments:
    """Take a compact token apart (RFC 7515 section 7.1).

    Raises:
        SignatureRefused: it is none.
    """
    segments = token.split(".")
    if len(segments) != 3:
        raise SignatureRefused("malformed", "not a compact JWS: three parts with dots between")
    return Segments(protected=segments[0], payload=segments[1], signature=segments[2])


def verify_compact(token: str, find: Find, *, algorithms: Collection[str]) -> VerifiedCompact:
    """Verify a compact JWS.

    Raises:
        SignatureRefused: nothing of the token may be believed.
    """
    segments = compact_segments(token)
    header, record = _believe(segments, find, algorithms, CRITICAL)
    return VerifiedCompact(header=header, payload=segments.content(), record=record)


def _believe(
    segments: Segments, find: Find, algorithms: Collection[str], critical: Collection[str]
) -> tuple[dict[str, Json], KeyRecord]:
    """Believe a signature, here and nowhere else.

    The payload, which may be megabytes, is looked at last: a stranger without a known key costs next to nothing.
    """
    header = _header(segments.protected, critical)
    record = _record(header, find, algorithms)
    raw = base64url.decode(segments.signature)
    if not _verify(record, f"{segments.protected}.{segments.encoded()}".encode(), raw):
        raise SignatureRefused("bad_signature", f"the signature is not one of key {record.key_id!r} over these bytes")
    return header, record


def _header(segment: str, critical: Collection[str]) -> dict[str, Json]:
    if len(segment) > _HEADER_LIMIT:
        raise SignatureRefused("malformed", "the header is too long")
    try:
        header = strict_json.loads(base64url.decode(segment))
    except StrictJsonError as error:
        raise SignatureRefused("malformed", f"the header is not strict JSON: {error}") from error
    if not isinstance(header, dict):
        raise SignatureRefused("malformed", "the header is not an object")
    if forbidden := _FORBIDDEN & header.keys():
        raise SignatureRefused("header", f"the header holds {', '.join(sorted(forbidden))}")
    if "crit" in header:
        _check_crit(header, header["crit"], critical)
    return header


def _check_crit(header: Mapping[str, Json], crit: Json, critical: Collection[str]) -> None:
    if not isinstance(crit, list) or not crit:
        raise SignatureRefused("crit", "crit is not a list of names")
    for place, name in enumerate(crit):
        if name not in critical or name not in header or name in crit[:place]:
            raise SignatureRefused("crit", f"crit lists {name!r:.100}, which is unknown, absent or listed twice")


def _record(header: Mapping[str, Json], find: Find, algorithms: Collection[str]) -> KeyRecord:
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms or algorithm not in KEY_TYPES:
        raise SignatureRefused("algorithm", f"alg {algorithm!r:.100} is not accepted")
    if not isinstance(key_id, str):
        raise SignatureRefused("header", "kid is missing")
    record = find(key_id)
    if record is None:
        raise SignatureRefused("unknown_key", f"no key {key_id!r:.100} is known")
    if record.algorithm != algorithm:
        raise SignatureRefused("algorithm", f"key {key_id!r:.100} is for {record.algorithm}, not {algorithm}")
    return record


def _verify(record: KeyRecord, data: bytes, signature: bytes) -> bool:
    match record.key:
        case EllipticCurvePublicKey():
            return _EC.verify(data, record.key, signature)
        case Ed25519PublicKey():
            return _ED.verify(data, record.key, signature)
        case RSAPublicKey():
            return (_PS if record.algorithm == "PS256" else _RS).verify(data, record.key, signature)


def _jti(value: Json) -> str:
    if isinstance(value, str) and 0 < len(value) <= _TEXT_LIMIT:
        return value
    raise SignatureRefused("header", f"jti must be a text of at most {_TEXT_LIMIT} characters")


def _iat(value: Json) -> int:
    # strict_json bounds it to 64 bits; a bool is an int to Python only
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise SignatureRefused("header", "iat must be a whole number of seconds")
