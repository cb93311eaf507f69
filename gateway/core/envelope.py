"""The forms in which a signed body travels; which one is the wire profile's choice.

Rules (domain.md section 3; RFC 7515 sections 3, 7.2.2 and appendix F)
----------------------------------------------------------------------
* ``detached``: the body as it is, the signature in the header. ``compact`` and ``flattened``: the signature encloses
  the body, and the header stays empty. What has no body is signed in the header in every form.
* One signature and one payload: a header beside an enclosed signature, members that the flattened form does not need,
  the unprotected header among them, or one that occurs twice are refused before anything is verified.
* An envelope is taken apart by its own strict rules; what it encloses is read by nobody before it was verified.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core import base64url, codec, strict_json
from gateway.core.jws import Segments, compact_segments, detached_segments
from gateway.core.wire_names import Form
from gateway.errors import SignatureRefused, StrictJsonError

_FLATTENED = ("payload", "protected", "signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What goes over the wire: the body, and the value of the signature's header or None."""

    body: bytes
    signature: str | None


def enclose(form: Form, token: str, body: bytes) -> Envelope:
    """Put a body and its detached signature into the wire's form."""
    if form == "detached" or not body:
        return Envelope(body=body, signature=token)
    protected, _, signature = token.split(".")
    payload = base64url.encode(body)
    if form == "compact":
        return Envelope(body=f"{protected}.{payload}.{signature}".encode(), signature=None)
    members = dict(zip(_FLATTENED, (payload, protected, signature), strict=True))
    return Envelope(body=codec.dumps(members), signature=None)


def disclose(form: Form, body: bytes, signature: str | None) -> Segments:
    """Take apart what came over the wire; nothing of it is believed yet.

    Raises:
        SignatureRefused: it has not the wire's form.
    """
    if form == "detached":
        if signature is None:
            raise SignatureRefused("missing", "exactly one signature header is needed")
        return detached_segments(signature, body)
    if signature is not None:
        raise SignatureRefused("malformed", f"a signature header beside a {form} signature")
    segments = compact_segments(_ascii(body)) if form == "compact" else _flattened(body)
    if not segments.payload:
        raise SignatureRefused("malformed", f"a {form} signature encloses its payload")
    return segments


def _flattened(body: bytes) -> Segments:
    try:
        document = strict_json.loads(body, limit=len(body), depth=1)
    except StrictJsonError as error:
        raise SignatureRefused("malformed", f"not a flattened JWS: {error}") from error
    if not isinstance(document, dict) or sorted(document) != sorted(_FLATTENED):
        raise SignatureRefused("malformed", f"a flattened JWS has exactly the members {', '.join(_FLATTENED)}")
    payload, protected, signature = (document[name] for name in _FLATTENED)
    if not (isinstance(payload, str) and isinstance(protected, str) and isinstance(signature, str)):
        raise SignatureRefused("malformed", "a member of a flattened JWS is not a text")
    return Segments(protected=protected, payload=payload, signature=signature)


def _ascii(body: bytes) -> str:
    try:
        return body.decode("ascii")
    except UnicodeDecodeError as error:
        raise SignatureRefused("malformed", "not a compact JWS: it is not ASCII") from error
