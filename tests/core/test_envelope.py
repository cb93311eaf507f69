"""The forms of a signed body: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm

from gateway.core import base64url, envelope, jws
from gateway.core.jwk import KeyRecord
from gateway.core.wire_names import Form
from gateway.errors import SignatureRefused

FORMS: tuple[Form, ...] = ("detached", "compact", "flattened")
PRIVATE = ec.generate_private_key(ec.SECP256R1())
RECORD = KeyRecord(key_id="k", algorithm="ES256", issuer="smp", purpose="callback", key=PRIVATE.public_key())
BODY = b'{"a":"\xc3\xa9"}\n'
AUDIENCE = "https://host.example/path"


class Key:
    """A signer by PyJWT."""

    key_id = "k"
    algorithm = "ES256"

    def sign(self, data: bytes) -> bytes:
        return ECAlgorithm(ECAlgorithm.SHA256).sign(data, PRIVATE)


def token(body: bytes = BODY, **changes: object) -> str:
    header = jws.protected_header(algorithm="ES256", key_id="k", typ="t", iat=1, jti="j", aud=AUDIENCE)
    return jws.sign_detached(Key(), {**header, **changes}, body)


def verify(form: Form, body: bytes, signature: str | None, request: str | None = None) -> bytes:
    """Take apart, verify, and only then look inside, as the gateway does."""
    segments = envelope.disclose(form, body, signature)
    find = {"k": RECORD}.get
    jws.verify(segments, find, typ="t", audience=AUDIENCE, algorithms=("ES256",), request=request)
    return segments.content()


@pytest.mark.parametrize("form", FORMS)
@given(body=st.binary(max_size=200))
def test_what_is_enclosed_comes_out(form: Form, body: bytes) -> None:
    """Any bytes, in every form, with the same token in evidence; without a body the signature is in the header."""
    made = token(body)
    sent = envelope.enclose(form, made, body)
    assert (sent.signature is None) == (form != "detached" and bool(body))
    if body:
        assert envelope.disclose(form, sent.body, sent.signature).token == made
        assert verify(form, sent.body, sent.signature) == body
    else:
        assert (sent.body, sent.signature) == (b"", made)


def flattened(change: Callable[[dict[str, object]], object]) -> bytes:
    document: dict[str, object] = json.loads(envelope.enclose("flattened", token(), BODY).body)
    change(document)
    return json.dumps(document).encode()


def spoiled(old: bytes, new: bytes) -> bytes:
    good = envelope.enclose("flattened", token(), BODY).body
    assert old in good
    return good.replace(old, new, 1)


PAYLOAD = base64url.encode(BODY).encode()
BAD_FLATTENED = {
    "unprotected header": flattened(lambda d: d.update(header={"kid": "k"})),
    "unknown member": flattened(lambda d: d.update(x=1)),
    "general form": flattened(lambda d: d.update(signatures=[])),
    "no payload": flattened(lambda d: d.pop("payload")),
    "no protected header": flattened(lambda d: d.pop("protected")),
    "no signature": flattened(lambda d: d.pop("signature")),
    "empty payload": flattened(lambda d: d.update(payload="")),
    "payload null": flattened(lambda d: d.update(payload=None)),
    "payload an object": flattened(lambda d: d.update(payload={"a": 1})),
    "duplicate payload": spoiled(b'{"payload"', b'{"payload":"e30","payload"'),
    "duplicate signature": spoiled(b'"signature"', b'"signature":"","signature"'),
    "escaped duplicate": spoiled(b'{"payload"', b'{"p\\u0061yload":"e30","payload"'),
    "padding": spoiled(PAYLOAD + b'"', PAYLOAD + b'="'),
    "white space inside": spoiled(PAYLOAD, PAYLOAD[:4] + b" " + PAYLOAD[4:]),
    "another payload": spoiled(PAYLOAD, base64url.encode(b"{}").encode()),
    "a list": b"[]",
    "compact": envelope.enclose("compact", token(), BODY).body,
    "byte order mark": b"\xef\xbb\xbf" + envelope.enclose("flattened", token(), BODY).body,
    "two documents": envelope.enclose("flattened", token(), BODY).body * 2,
    "plain": BODY,
    "nothing": b"",
}


@pytest.mark.parametrize("body", BAD_FLATTENED.values(), ids=BAD_FLATTENED)
def test_no_other_flattened_form_is_taken(body: bytes) -> None:
    """RFC 7515 section 7.2.2 allows more than the wire needs; whatever it does not need is refused."""
    with pytest.raises(SignatureRefused):
        verify("flattened", body, None)


COMPACT = envelope.enclose("compact", token(), BODY).body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        token().encode(),
        COMPACT + b"\n",
        b" " + COMPACT,
        COMPACT + b".",
        COMPACT.replace(b".", b"..", 1),
        COMPACT.replace(PAYLOAD, PAYLOAD + b"="),
        COMPACT.replace(PAYLOAD, base64url.encode(b"{}").encode()),
        COMPACT.decode().encode("utf-16"),
        b"\xff" + COMPACT,
        envelope.enclose("flattened", token(), BODY).body,
        BODY,
    ],
)
def test_no_other_compact_form_is_taken(body: bytes) -> None:
    """White space, padding, an empty or another payload: refused."""
    with pytest.raises(SignatureRefused):
        verify("compact", body, None)


@pytest.mark.parametrize("form", ["compact", "flattened"])
def test_a_signature_beside_an_enclosed_one_is_refused(form: Form) -> None:
    """Two signatures, even of the same bytes: which one counts would be a guess."""
    sent = envelope.enclose(form, token(), BODY)
    assert verify(form, sent.body, None) == BODY
    with pytest.raises(SignatureRefused, match="beside"):
        verify(form, sent.body, token())
    with pytest.raises(SignatureRefused, match="beside"):
        verify(form, BODY, token())


@pytest.mark.parametrize("signature", [None, "", f"{token()}, {token()}", COMPACT.decode()])
def test_a_detached_form_has_exactly_one_signature_without_payload(signature: str | None) -> None:
    """None, an empty one, two joined by the HTTP library, or a payload inside: refused."""
    with pytest.raises(SignatureRefused):
        verify("detached", BODY, signature)


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_names_its_request(form: Form) -> None:
    """`req` must be there, listed as critical, and the jti that was sent; a callback's signature is no answer's."""
    answer = token(req="r1", crit=["iat", "jti", "aud", "req"])
    sent = envelope.enclose(form, answer, BODY)
    assert verify(form, sent.body, sent.signature, request="r1") == BODY
    with pytest.raises(SignatureRefused, match="another request"):
        verify(form, sent.body, sent.signature, request="r2")
    for other in (token(), token(req="r1"), token(crit=["iat", "jti", "aud", "req"])):
        sent = envelope.enclose(form, other, BODY)
        with pytest.raises(SignatureRefused):
            verify(form, sent.body, sent.signature, request="r1")


def test_an_answers_signature_is_no_callbacks() -> None:
    """What is critical for an answer is not understood in a callback."""
    with pytest.raises(SignatureRefused, match="crit"):
        verify("detached", BODY, token(req="r1", crit=["iat", "jti", "aud", "req"]))
