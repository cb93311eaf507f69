"""What somebody without the SMP's key can send, and what the SMP may have signed for somebody else: thousands of both.

Nothing of the gateway signs or encodes here. A genuine callback is taken apart into header, body and key, altered in
one way, and put together again in one of the three forms of a signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (SEC 2, section 2.4.2)
ONE = (1).to_bytes(32, "big")
STRANGER = ec.generate_private_key(ec.SECP256R1())


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw_signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass(frozen=True)
class Request:
    """One HTTP request: path, body and signature headers."""

    path: str
    body: bytes
    signatures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parts:
    """A callback taken apart; ``body`` is what is signed, the segments are as they will travel."""

    form: str
    path: str
    body: bytes
    protected: str
    payload: str
    signature: str
    flattened: Mapping[str, object] = field(default_factory=dict)  # members beside the three

    def request(self) -> Request:
        if self.form == "detached":
            return Request(self.path, self.body, (f"{self.protected}..{self.signature}",))
        if self.form == "compact":
            return Request(self.path, f"{self.protected}.{self.payload}.{self.signature}".encode())
        three = {"payload": self.payload, "protected": self.protected, "signature": self.signature}
        return Request(self.path, json.dumps({**three, **self.flattened}).encode())


@dataclass(frozen=True)
class Genuine:
    """What the SMP would sign, and the key it signs with."""

    form: str
    path: str
    header: Mapping[str, Any]
    body: bytes
    key: ec.EllipticCurvePrivateKey

    def parts(self, header: bytes | None = None, body: bytes | None = None, sign: Sign | None = None) -> Parts:
        """Put together, with another header, body or way to sign where given."""
        protected = b64(json.dumps(dict(self.header)).encode() if header is None else header)
        content = self.body if body is None else body
        data = f"{protected}.{b64(content)}".encode()
        signature = (sign or (lambda text: raw_signature(self.key, text)))(data)
        return Parts(self.form, self.path, content, protected, b64(content), b64(signature))

    def changed(self, **changes: object) -> bytes:
        """The header's bytes with members replaced; ``<absent>`` leaves one out."""
        members = {**self.header, **changes}
        return json.dumps({name: value for name, value in members.items() if value != "<absent>"}).encode()


Sign = Callable[[bytes], bytes]
Forger = Callable[[Genuine, Random], Request]


# Header members with values that must be refused even under the SMP's own signature.
LIES: Mapping[str, list[object]] = json.loads((Path(__file__).parent / "header_lies.json").read_bytes())


def coordinates(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    point = key.public_key().public_numbers()
    return {"x": b64(point.x.to_bytes(32, "big")), "y": b64(point.y.to_bytes(32, "big"))}


# ---------------------------------------------------------------- signed by the SMP, and yet not for us
def a_lie_in_the_header(genuine: Genuine, rng: Random) -> Request:
    name = rng.choice(sorted(LIES))
    return genuine.parts(genuine.changed(**{name: rng.choice(LIES[name])})).request()


def a_member_twice(genuine: Genuine, rng: Random) -> Request:
    name = rng.choice(sorted(genuine.header))
    text = genuine.changed().decode()
    other = json.dumps({name: rng.choice(["none", "x", None, genuine.header[name]])})[1:-1]
    doubled = rng.choice([f"{{{other}, {text[1:]}", f"{text[:-1]}, {other}}}"])
    return genuine.parts(doubled.encode()).request()


def a_header_that_is_no_strict_json(genuine: Genuine, rng: Random) -> Request:
    text = genuine.changed()
    spoilt = [
        b"\xef\xbb\xbf" + text,
        text + b"x",
        text + b"{}",
        text.decode().encode("utf-16"),
        b"[" + text + b"]",
        b"",
    ]
    spoilt += [text[:-1], text.replace(b'"', b"'"), text[:-1] + b', "x": NaN}', text[:-1] + b', "x": "\\ud800"}']
    spoilt += [text[:-1] + b', "x": ' + b"[" * 40 + b"]" * 40 + b"}", text[:-1] + b", }", b"null", text[:-1] + b"/**/}"]
    return genuine.parts(rng.choice(spoilt)).request()


# ---------------------------------------------------------------- made by a stranger
def another_key(genuine: Genuine, rng: Random) -> Request:
    table: dict[str, object] = {
        "jwk": {"kty": "EC", "crv": "P-256", **coordinates(STRANGER)},
        "jku": "https://elsewhere.example/",
    }
    changes: Mapping[str, object] = rng.choice(
        [{}, {"kid": "stranger"}, *({name: value} for name, value in table.items())]
    )
    body = rng.choice([genuine.body, genuine.body.replace(b"Success", b"Failed")])
    return genuine.parts(genuine.changed(**changes), body, lambda data: raw_signature(STRANGER, data)).request()


def a_public_key_as_a_secret(genuine: Genuine, rng: Random) -> Request:
    public = genuine.key.public_key()
    secrets = [public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), b"", b"\0" * 32]
    secrets += [
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(coordinates(genuine.key)).encode(),
    ]
    secret, algorithm = rng.choice(secrets), rng.choice(["HS256", "hs256", "ES256", "none", "HS384"])
    header = genuine.changed(alg=algorithm)
    return genuine.parts(header, None, lambda data: hmac.new(secret, data, hashlib.sha256).digest()).request()


def no_signature_at_all(genuine: Genuine, rng: Random) -> Request:
    algorithm = rng.choice(["none", "None", "NONE", "nOnE", "noNe", "ES256", "", "null"])
    signature = rng.choice([b"", b"\0", b"none", b"\0" * 64])
    return genuine.parts(genuine.changed(alg=algorithm), None, lambda _data: signature).request()


def a_degenerate_signature(genuine: Genuine, rng: Random) -> Request:
    good = b""

    def sign(data: bytes) -> bytes:
        nonlocal good
        good = raw_signature(genuine.key, data)
        r, s = good[:32], good[32:]
        zero, order, huge = bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32
        made = [
            zero + s,
            r + zero,
            zero + zero,
            order + s,
            r + order,
            s + r,
            huge + huge,
            r,
            good[:-1],
            good + b"\0",
            good + good,
        ]
        made += [
            b"\0" + good,
            good[1:],
            genuine.key.sign(data, ec.ECDSA(hashes.SHA256())),
            ONE + ONE,
            r + ONE,
            b"",
        ]
        made += [bytes([good[0] ^ 1]) + good[1:], (int.from_bytes(r, "big") + ORDER).to_bytes(33, "big") + s]
        return rng.choice(made)

    return genuine.parts(sign=sign).request()


# ---------------------------------------------------------------- a genuine one, altered on the way
def a_bit_of_the_body(genuine: Genuine, rng: Random) -> Request:
    parts = genuine.parts()
    body = flipped(genuine.body, rng)
    return replace(parts, body=body, payload=b64(body)).request()


def another_body(genuine: Genuine, rng: Random) -> Request:
    body = genuine.body
    made = [
        body.replace(b"Success", b"Failed"),
        body + b" ",
        body + b"\n",
        body + b"\0",
        b" " + body,
        body[:-1],
        b"",
        b"{}",
    ]
    made += [
        b"\xef\xbb\xbf" + body,
        body.replace(b"Success", b"\\u0053uccess"),
        body.replace(b": ", b":"),
        body + body,
        b"{}",
    ]
    made += [body[:-1] + b', "status": "Failed"}', body.replace(b"exstor", b"exflex"), body.replace(b"TX-1", b"TX-2")]
    changed = rng.choice([each for each in made if each != body])
    return replace(genuine.parts(), body=changed, payload=b64(changed)).request()


def a_bit_of_the_header(genuine: Genuine, rng: Random) -> Request:
    header = flipped(genuine.changed(), rng)
    return replace(genuine.parts(), protected=b64(header)).request()


def a_bit_of_the_signature(genuine: Genuine, rng: Random) -> Request:
    parts = genuine.parts()
    signature = base64.urlsafe_b64decode(parts.signature + "==")
    return replace(parts, signature=b64(flipped(signature, rng))).request()


def flipped(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


def another_spelling(genuine: Genuine, rng: Random) -> Request:
    parts = genuine.parts()
    name = rng.choice(["protected", "signature"] + ["payload"] * (genuine.form != "detached"))
    text = getattr(parts, name)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place = rng.randrange(len(text))
    made = [
        text + "=",
        text + "==",
        text + "A",
        " " + text,
        text + " ",
        text + "%3D",
        text[:place] + "=" + text[place:],
    ]
    made += [
        text[:place] + " " + text[place:],
        text[:place] + "+" + text[place + 1 :],
        text[:place] + "/" + text[place + 1 :],
    ]
    made += [
        text[:place] + "\u0430" + text[place + 1 :],
        text[:place] + "\t" + text[place:],
        text + ".",
        "." + text,
        "",
    ]
    if len(text) % 4:  # loose bits at the end belong to no byte
        made.append(text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1])
    if genuine.form == "detached":  # white space around a header's value is HTTP's own and no part of it
        made = [each for each in made if each.strip() != text]
    return replace(parts, **{name: rng.choice(made)}).request()


def parts_of_two(genuine: Genuine, rng: Random) -> Request:
    first = genuine.parts()
    second = genuine.parts(genuine.changed(jti="another"), genuine.body.replace(b"c7", b"c8"))
    name = rng.choice(["protected", "signature", "body"])
    if name == "body":
        return replace(first, body=second.body, payload=second.payload).request()
    return rng.choice(
        [
            replace(first, **{name: getattr(second, name)}),
            replace(first, protected=first.signature, signature=first.protected),
            replace(first, signature=first.payload),
        ]
    ).request()


def another_path(genuine: Genuine, rng: Random) -> Request:
    request, here = genuine.parts().request(), genuine.path.rpartition("/")[0]
    others = [
        "exflex",
        "exlive",
        "EXSTOR",
        "nobody",
        "exstor%20",
        "exstor%00",
        "%2e%2e",
        "exstor.",
        "exst%D0%BEr",
        "exstor;x",
        "*",
    ]
    return replace(request, path=f"{here}/{rng.choice(others)}")


def another_frame(genuine: Genuine, rng: Random) -> Request:
    """Several signatures, one where none belongs, or members that make two readings possible."""
    parts = genuine.parts()
    request = parts.request()
    token = f"{parts.protected}..{parts.signature}"
    stranger = genuine.parts(sign=lambda data: raw_signature(STRANGER, data))
    other = f"{stranger.protected}..{stranger.signature}"
    if genuine.form == "detached":
        enclosed = f"{parts.protected}.{parts.payload}.{parts.signature}"
        made: list[tuple[str, ...]] = [(), (token, token), (token, other), (other, token), (f"{token}, {token}",)]
        made += [
            (f"{token},{other}",),
            (enclosed,),
            (f'"{token}"',),
            (f"Bearer {token}",),
            (token * 2,),
            ("..",),
            (".",),
            ("",),
        ]
        return replace(request, signatures=rng.choice(made))
    bodies = [request.body + b".", b'"' + request.body + b'"', request.body * 2, request.body[:-1], b""]
    if genuine.form == "compact":
        bodies += [b" " + request.body, request.body + b"\n", request.body.replace(b".", b"..", 1)]
    if rng.random() < 0.3 or genuine.form == "compact":
        return rng.choice([replace(request, signatures=(token,)), *(replace(request, body=each) for each in bodies)])
    twice = request.body[:-1] + b', "signature": "' + stranger.signature.encode() + b'"}'
    beside: list[Mapping[str, object]] = [{"header": {"kid": "x"}}, {"signatures": []}, {"x": 1}, {"header": {}}]
    beside += [{"payload": [parts.payload]}, {"protected": None}, {"signature": 1}, {"Payload": parts.payload}]
    return rng.choice([replace(request, body=twice), *(replace(parts, flattened=each).request() for each in beside)])


FORGERS: tuple[Forger, ...] = (
    a_lie_in_the_header,
    a_member_twice,
    a_header_that_is_no_strict_json,
    another_key,
    a_public_key_as_a_secret,
    no_signature_at_all,
    a_degenerate_signature,
    a_bit_of_the_body,
    another_body,
    a_bit_of_the_header,
    a_bit_of_the_signature,
    another_spelling,
    parts_of_two,
    another_path,
    another_frame,
)


def forgeries(genuine: Genuine, seed: int, count: int) -> Iterator[tuple[str, Request]]:
    """So many, every kind in turn, the same for the same seed but for the signatures' own randomness."""
    rng = Random(seed)
    for number in range(count):
        forger = FORGERS[number % len(FORGERS)]
        yield forger.__name__, forger(genuine, rng)
