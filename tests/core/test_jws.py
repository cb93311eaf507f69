from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import joserfc.errors
import joserfc.jwk
import joserfc.jws
import jwt.algorithms
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import assume, given
from hypothesis import strategies as st
from joserfc.registry import HeaderParameter

from gateway.core import base64url, codec, jws
from gateway.core.jws import KeyRecord
from gateway.errors import SignatureRefused, StrictJsonError

ALGORITHMS = ("ES256", "PS256", "RS256", "EdDSA")
TYP, AUDIENCE = "smp-callback+jws", "https://host.example/smp/v1/callbacks/exstor"
BODY = b'{"messageId":"c7","status":"Success"}'
RSA_KEY = rsa.generate_private_key(65537, 2048)
PRIVATE: dict[str, Any] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "PS256": RSA_KEY,
    "RS256": RSA_KEY,
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


@dataclass(frozen=True)
class Key:
    """A private key as a signer."""

    key_id: str
    algorithm: str

    def sign(self, data: bytes) -> bytes:
        return bytes(jwt.algorithms.get_default_algorithms()[self.algorithm].sign(data, PRIVATE[self.algorithm]))

    def record(self, purpose: str = "callback") -> KeyRecord:
        key = PRIVATE[self.algorithm].public_key()
        return KeyRecord(key_id=self.key_id, algorithm=self.algorithm, key=key, issuer="smp", purpose=purpose)


KEY_TYPES: dict[str, Literal["EC", "RSA", "OKP"]] = {"ES256": "EC", "PS256": "RSA", "RS256": "RSA", "EdDSA": "OKP"}
KEYS = {f"key-{name}": Key(f"key-{name}", name) for name in ALGORITHMS}
RECORDS = {name: key.record() for name, key in KEYS.items()}


def header(key: Key, **changes: object) -> dict[str, object]:
    made = jws.protected_header(
        algorithm=key.algorithm, key_id=key.key_id, typ=TYP, iat=1_790_000_000, jti="j1", aud=AUDIENCE
    )
    return {name: value for name, value in {**made, **changes}.items() if value is not ...}


def token_of(protected: Mapping[str, object], body: bytes = BODY, algorithm: str = "ES256") -> str:
    """Sign whatever header is given, sensible or not."""
    segment = base64url.encode(codec.dumps(dict(protected)))
    signature = Key("", algorithm).sign(f"{segment}.{base64url.encode(body)}".encode())
    return f"{segment}..{base64url.encode(signature)}"


def verify(token: str, body: bytes = BODY, algorithms: tuple[str, ...] = ALGORITHMS) -> jws.VerifiedHeader:
    return jws.verify_detached(token, body, RECORDS.get, typ=TYP, audience=AUDIENCE, algorithms=algorithms)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_round_trip(key: Key) -> None:
    """What we sign we verify, and learn key, issuer, jti and iat."""
    verified = verify(jws.sign_detached(key, header(key), BODY))
    assert verified == jws.VerifiedHeader(
        key_id=key.key_id, algorithm=key.algorithm, issuer="smp", jti="j1", iat=1_790_000_000
    )


class PeerRegistry(joserfc.jws.JWSRegistry):
    """The other library's rules, taught that our critical members exist."""

    max_header_length = 4096

    def __init__(self) -> None:
        own = {name: HeaderParameter(name, kind) for name, kind in (("iat", "int"), ("jti", "str"), ("aud", "str"))}
        super().__init__(header_registry=own, algorithms=list(ALGORITHMS))


# The other library advises against RS256's and EdDSA's names; the wire profile allows both.
peer_warnings = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")


@peer_warnings
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_another_library_verifies_ours(key: Key) -> None:
    """An independent JOSE library accepts our signatures over the body, and refuses them over another."""
    public = joserfc.jwk.import_key(dict(jws.jwk_of(RECORDS[key.key_id].key, key.key_id, key.algorithm)))
    protected, _, signature = jws.sign_detached(key, header(key), BODY).split(".")
    registry = PeerRegistry()
    seen = joserfc.jws.deserialize_compact(
        f"{protected}.{base64url.encode(BODY)}.{signature}", public, algorithms=[key.algorithm], registry=registry
    )
    assert seen.payload == BODY
    assert seen.headers() == header(key)
    with pytest.raises(joserfc.errors.BadSignatureError):
        joserfc.jws.deserialize_compact(
            f"{protected}.{base64url.encode(BODY + b' ')}.{signature}",
            public,
            algorithms=[key.algorithm],
            registry=registry,
        )


@peer_warnings
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_we_verify_another_library(key: Key) -> None:
    """We accept what an independent JOSE library signed, its payload cut out."""
    pem = PRIVATE[key.algorithm].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    private = joserfc.jwk.import_key(pem, KEY_TYPES[key.algorithm])
    compact = joserfc.jws.serialize_compact(
        header(key), BODY, private, algorithms=[key.algorithm], registry=PeerRegistry()
    )
    protected, _, signature = compact.split(".")
    assert verify(f"{protected}..{signature}").jti == "j1"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"alg": "none"}, "algorithm"),
        ({"alg": "HS256"}, "algorithm"),
        ({"alg": "ES384"}, "algorithm"),
        ({"alg": "PS256"}, "algorithm"),
        ({"alg": ["ES256"]}, "algorithm"),
        ({"kid": "nobody"}, "unknown_key"),
        ({"kid": "key-PS256"}, "algorithm"),
        ({"kid": ...}, "header"),
        ({"typ": "smp-request+jws"}, "typ"),
        ({"typ": ...}, "typ"),
        ({"aud": "https://other.example/"}, "audience"),
        ({"aud": [AUDIENCE]}, "audience"),
        ({"aud": AUDIENCE + "/"}, "audience"),
        ({"crit": ...}, "crit"),
        ({"crit": []}, "crit"),
        ({"crit": ["iat", "jti"]}, "crit"),
        ({"crit": ["iat", "jti", "aud", "exp"]}, "crit"),
        ({"crit": ["iat", "jti", "aud", "aud"]}, "crit"),
        ({"crit": "iat jti aud"}, "crit"),
        ({"crit": [["iat"]]}, "crit"),
        ({"iat": ...}, "crit"),
        ({"iat": "1790000000"}, "header"),
        ({"iat": True}, "header"),
        ({"iat": -1}, "header"),
        ({"jti": ""}, "header"),
        ({"jti": "j" * 256}, "header"),
        ({"jti": 7}, "header"),
        ({"b64": False}, "header"),
        ({"jku": "https://evil.example/keys"}, "header"),
        ({"jwk": {}}, "header"),
        ({"x5u": "https://evil.example/"}, "header"),
        ({"x5c": []}, "header"),
        ({"zip": "DEF"}, "header"),
        ({"pad": "x" * 9000}, "malformed"),
    ],
)
def test_well_signed_header_is_refused(changes: dict[str, object], code: str) -> None:
    """A good signature under a header that we must not accept is refused, with the word for it."""
    with pytest.raises(SignatureRefused) as refused:
        verify(token_of(header(KEYS["key-ES256"], **changes)))
    assert refused.value.code == code


def test_profile_can_narrow_algorithms() -> None:
    """An algorithm that the profile does not list is refused although the key is known."""
    key = KEYS["key-RS256"]
    with pytest.raises(SignatureRefused, match="algorithm"):
        verify(jws.sign_detached(key, header(key), BODY), algorithms=("ES256",))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token + "=",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token.replace("..", "." + base64url.encode(BODY) + "."),
        lambda token: token.replace("..", "."),
        lambda token: token + ".",
        lambda token: "é" + token,
        lambda _: "",
        lambda _: "..",
    ],
)
def test_one_spelling_only(spoil: Callable[[str], str]) -> None:
    """Padding, white space, an embedded payload or another number of parts are refused as malformed."""
    key = KEYS["key-ES256"]
    with pytest.raises(SignatureRefused, match="malformed"):
        verify(spoil(jws.sign_detached(key, header(key), BODY)))


def test_duplicate_header_member_is_refused() -> None:
    """A header that two parsers could read differently is refused although its signature is good."""
    text = codec.dumps(header(KEYS["key-ES256"])).replace(b'{"alg":"ES256"', b'{"alg":"none","alg":"ES256"')
    segment = base64url.encode(text)
    signature = KEYS["key-ES256"].sign(f"{segment}.{base64url.encode(BODY)}".encode())
    with pytest.raises(SignatureRefused, match="malformed"):
        verify(f"{segment}..{base64url.encode(signature)}")


TOKENS = {name: jws.sign_detached(key, header(key), BODY) for name, key in KEYS.items()}


@given(st.sampled_from(sorted(TOKENS)), st.data())
def test_mutated_tokens_are_never_believed(name: str, data: st.DataObject) -> None:
    """One character of the token, or one byte of the body, replaced, removed or added: no forgery passes."""
    token, body = TOKENS[name], BODY
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.text(max_size=2))
    if data.draw(st.booleans()):
        token = token[:place] + other + token[place + 1 :]
    else:
        place %= len(body)
        body = body[:place] + data.draw(st.binary(max_size=2)) + body[place + 1 :]
    assume((token, body) != (TOKENS[name], BODY))
    with pytest.raises(SignatureRefused):
        verify(token, body)


@given(st.text(max_size=60), st.binary(max_size=20))
def test_any_text_is_refused(token: str, body: bytes) -> None:
    """Arbitrary text never raises anything but SignatureRefused."""
    with pytest.raises(SignatureRefused):
        verify(token, body)


@given(st.binary(max_size=40))
def test_base64url_is_one_to_one(data: bytes) -> None:
    """Each value has one text: what decodes, encodes back to the very same text."""
    text = base64url.encode(data)
    assert base64url.decode(text) == data
    if len(data) % 3:
        last = _ALPHABET.index(text[-1])
        with pytest.raises(SignatureRefused):  # the lowest bit of the last character belongs to no byte
            base64url.decode(text[:-1] + _ALPHABET[last + 1])


_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_signer_must_match_header() -> None:
    """A header made for another key is our own mistake, found before anything is signed."""
    with pytest.raises(ValueError, match="key-ES256"):
        jws.sign_detached(KEYS["key-ES256"], header(KEYS["key-PS256"]), BODY)


def document(*keys: Mapping[str, object]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def published(name: str) -> dict[str, object]:
    return dict(jws.jwk_of(RECORDS[name].key, name, RECORDS[name].algorithm))


def test_key_set_round_trip() -> None:
    """What we publish we read back, each key bound to its algorithm; keys for other uses are passed over."""
    others = [{"kty": "EC", "use": "enc", "kid": "e", "alg": "ECDH-ES"}, {"kty": "oct", "kid": "o", "alg": "HS256"}]
    records = jws.read_jwks(document(*others, *(published(name) for name in KEYS)), "smp", "callback")
    assert {name: record.algorithm for name, record in records.items()} == {k: v.algorithm for k, v in RECORDS.items()}
    assert all(jws.jwk_of(record.key, name, record.algorithm) == published(name) for name, record in records.items())


def test_algorithm_follows_from_the_key_or_is_written() -> None:
    """An EC key without alg is ES256; an RSA key must say which of its two it is for."""
    bare = {name: value for name, value in published("key-ES256").items() if name != "alg"}
    assert jws.read_jwks(document(bare), "smp", "callback")["key-ES256"].algorithm == "ES256"
    bare = {name: value for name, value in published("key-RS256").items() if name != "alg"}
    with pytest.raises(SignatureRefused):
        jws.read_jwks(document(bare), "smp", "callback")


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [published("key-ES256"), published("key-ES256")],
        [published("key-ES256") | {"d": "AAAA"}],
        [published("key-ES256") | {"x": published("key-ES256")["y"]}],
        [published("key-ES256") | {"x": "AA"}],
        [published("key-ES256") | {"crv": "P-384"}],
        [published("key-ES256") | {"alg": "RS256"}],
        [published("key-RS256") | {"n": "AQAB"}],
        [published("key-RS256") | {"e": "AQ"}],
        [published("key-EdDSA") | {"x": "AAAA"}],
        [published("key-ES256") | {"kid": ""}],
        [published("key-ES256") | {"use": "enc"}],
        [published("key-ES256") | {"key_ops": ["sign"]}],
        ["key"],
    ],
)
def test_broken_key_set_is_refused(keys: list[Any]) -> None:
    """A set that is empty, ambiguous, private or broken is refused as a whole."""
    with pytest.raises(SignatureRefused):
        jws.read_jwks(document(*keys), "smp", "callback")


@pytest.mark.parametrize("text", [b"", b"[]", b'{"keys":1}', b'{"keys":[],"keys":[]}'])
def test_not_a_key_set(text: bytes) -> None:
    """What is no key set at all is refused too."""
    with pytest.raises((SignatureRefused, StrictJsonError)):
        jws.read_jwks(text, "smp", "callback")
