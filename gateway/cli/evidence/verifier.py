"""Check an evidence file of the SMP gateway, offline: `python verifier.py FILE [--keys JWKS]`.

It needs Python 3.11 and the package `cryptography`, nothing else, and may be copied anywhere. What it finds out:

* Every entry is linked to the one before it, and the last ones to a checkpoint that the participant's key signed: no
  entry was changed, left out, put in or moved. Entries of other messages are shown as digests only; that none of them
  belongs to this message is checked too.
* Every exhibit (what came in, bodies, answers, callbacks, writes) is the very bytes that an entry attests.
* Every signature over them is good: ours over what we sent, the SMP's over what it called back.

Whose keys those are is not something a file can say of itself: give the keys that you know (--keys), or compare the
thumbprints that are printed. Ends with 0 when everything holds, 1 when something does not, 2 when no such file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256

FORMAT, CHECKPOINT, TYP = "smp-gateway evidence 1", "smp-gateway checkpoint 1", "smp-evidence+jws"
MEMBERS = ["format", "environment", "participant", "message", "previous", "entries", "checkpoints", "exhibits", "keys"]
FORGOTTEN = "bodies_forgotten"  # the entry that says that exhibits were deleted when their time was over
MATERIAL = {"EC": ["crv", "kty", "x", "y"], "OKP": ["crv", "kty", "x"], "RSA": ["e", "kty", "n"]}  # RFC 7638
CURVES = {"EC": "P-256", "OKP": "Ed25519"}
# Which exhibit signs which, and whose key made it.
SIGNED = {
    "requestSignature": ("request", "own"),
    "callbackSignature": ("callback", "smp"),
    "answerSignature": ("answer", "smp"),
    "replySignature": ("reply", "smp"),
}


class Fault(Exception):
    """Something that does not hold."""


def require(holds: object, said: str) -> None:
    """Raise Fault unless it holds."""
    if not holds:
        raise Fault(said)


def sha256(data: bytes | str) -> str:
    """As the chain writes it."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def parse(text: str) -> Any:  # noqa: ANN401 - JSON
    """JSON without duplicate members."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        require(len({name for name, _ in pairs}) == len(pairs), "a JSON object has a member twice")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise Fault(f"not JSON: {error}") from None


def unbase64url(text: str) -> bytes:
    """Decode base64url; it has one spelling."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise Fault("not base64url") from None
    require(base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text, "not base64url")
    return data


def thumbprint(jwk: dict[str, Any]) -> str:
    """RFC 7638: what people compare."""
    members = {name: jwk.get(name) for name in MATERIAL[jwk["kty"]]}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def good(jwk: dict[str, Any], algorithm: str, data: bytes, signature: bytes) -> bool:
    """Whether this key signed this."""
    numbers = {name: int.from_bytes(unbase64url(jwk[name]), "big") for name in ("x", "y", "n", "e") if name in jwk}
    try:
        match algorithm, jwk["kty"]:
            case "ES256", "EC" if len(signature) == 64:
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                point = ec.EllipticCurvePublicNumbers(numbers["x"], numbers["y"], ec.SECP256R1())
                point.public_key().verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
            case "EdDSA", "OKP":
                ed25519.Ed25519PublicKey.from_public_bytes(unbase64url(jwk["x"])).verify(signature, data)
            case "PS256", "RSA":
                pss = padding.PSS(padding.MGF1(SHA256()), SHA256().digest_size)
                rsa.RSAPublicNumbers(numbers["e"], numbers["n"]).public_key().verify(signature, data, pss, SHA256())
            case "RS256", "RSA":
                key = rsa.RSAPublicNumbers(numbers["e"], numbers["n"]).public_key()
                key.verify(signature, data, padding.PKCS1v15(), SHA256())
            case _:
                return False
    except InvalidSignature:
        return False
    return True


class Keys:
    """The public keys of a file, by owner and key id; ``known`` are the thumbprints of keys that the caller trusts."""

    def __init__(self, document: dict[str, list[dict[str, Any]]], known: set[str] | None) -> None:
        require(list(document) == ["own", "smp"], "keys are not those of own and smp")
        self.by_id = {(owner, jwk["kid"]): jwk for owner, keys in document.items() for jwk in keys}
        require(len(self.by_id) == sum(map(len, document.values())), "a key stands there twice")
        for jwk in self.by_id.values():
            require(sorted(jwk) == sorted([*MATERIAL[jwk["kty"]], "alg", "kid", "use"]), "a key has other members")
            usual = (jwk["use"], jwk.get("crv")) == ("sig", CURVES.get(jwk["kty"]))
            require(usual, "a key is not one for signatures that are made here")
        self.known = known
        self.used: set[tuple[str, str]] = set()

    def verify(self, owner: str, token: str, body: bytes | None = None) -> tuple[dict[str, Any], bytes]:
        """Header and payload of a JWS, compact or (with ``body``) detached, once its signature was found good."""
        parts = token.split(".")
        require(len(parts) == 3 and (body is None) == bool(parts[1]), "not a JWS of the expected form")
        header, payload = parse(unbase64url(parts[0]).decode()), parts[1]
        if body is not None:
            payload = base64.urlsafe_b64encode(body).rstrip(b"=").decode()
        jwk = self.by_id.get((owner, header.get("kid")))
        if jwk is None:
            raise Fault(f"key {header.get('kid')} ({owner}) is not in the file")
        require(jwk["alg"] == header.get("alg"), "another algorithm than the key's")
        require(self.known is None or thumbprint(jwk) in self.known, f"key {jwk['kid']} ({owner}) is none of yours")
        self.used.add((owner, jwk["kid"]))
        require(good(jwk, jwk["alg"], f"{parts[0]}.{payload}".encode(), unbase64url(parts[2])), "a signature is wrong")
        return header, unbase64url(payload)


def links(document: dict[str, Any]) -> tuple[dict[int, str], list[dict[str, Any]]]:
    """The link after each entry by its number, and the entries of the message; raises Fault where the chain breaks."""
    number, link, own = document["previous"]["number"], document["previous"]["link"], []
    first = sha256(f"{FORMAT}\n{document['environment']}/{document['participant']}")
    require(number > 0 or link == first, "the chain does not begin as this participant's")
    found = {number: link}
    for entry in document["entries"]:
        number += 1
        if isinstance(entry, str):
            line, digest = parse(entry), sha256(entry)
            subject = sha256(line.get("message", ""))
            said = tuple(line.get(name) for name in ("number", "environment", "participant", "message"))
            expected = (number, document["environment"], document["participant"], document["message"])
            require(said == expected, f"entry {number} is another one")
            own.append(line)
        else:
            require(list(entry) == ["subject", "digest"], f"entry {number} is neither shown nor a digest")
            subject, digest = entry["subject"], entry["digest"]
            require(subject != sha256(document["message"]), f"entry {number} of the message is hidden")
        require(len(link) == len(subject) == len(digest) == 64, f"entry {number} is not linked by digests")
        link = found[number] = sha256(link + subject + digest)
    require(own and own[0].get("from") == "received", "the message's first entry is missing")
    return found, own


def signed_until(document: dict[str, Any], keys: Keys, found: dict[int, str]) -> int:
    """The number of the last entry that a checkpoint covers."""
    last = 0
    for token in document["checkpoints"]:
        header, payload = keys.verify("own", token)
        said = parse(payload.decode())
        require(header.get("typ") == TYP and said["format"] == CHECKPOINT, "a checkpoint is something else")
        owner = (said["environment"], said["participant"])
        require(owner == (document["environment"], document["participant"]), "a checkpoint is of another chain")
        require(found.get(said["entries"]) == said["link"], f"checkpoint {said['entries']} tells of another chain")
        require(said["entries"] > last, "checkpoints are out of order")
        last = said["entries"]
    return last


def steps(own: list[dict[str, Any]]) -> None:
    """See that each step begins where one before it ended."""
    reached = {"received", "accepted"}
    for line in own:
        if "from" in line:
            require(line["from"] in reached, f"entry {line['number']} begins at {line['from']}, where nothing ended")
            reached.add(line["to"])


def exhibits(document: dict[str, Any], own: list[dict[str, Any]]) -> dict[str, bytes]:
    """The bytes of each exhibit by digest; raises Fault for one that is altered, missing or attested nowhere."""
    found = {}
    for digest, held in document["exhibits"].items():
        require(list(held) in (["utf8"], ["base64"]), "an exhibit is written in an unknown way")
        data = held["utf8"].encode() if "utf8" in held else base64.b64decode(held["base64"], validate=True)
        require("utf8" in held or base64.b64encode(data).decode() == held["base64"], "an exhibit is not base64")
        require(sha256(data) == digest, f"exhibit {digest[:12]} was altered")
        found[digest] = data
    attested = {digest for line in own for digest in line.get("exhibits", {}).values()}
    require(found.keys() <= attested, "an exhibit is attested by no entry")
    forgotten = any(line["event"] == FORGOTTEN for line in own)
    require(forgotten or found.keys() == attested, f"{len(attested - found.keys())} exhibits are missing")
    return found


def signatures(own: list[dict[str, Any]], kept: dict[str, bytes], keys: Keys) -> list[str]:
    """Verify what was signed; what people should know about it."""
    notes, going = [], {}
    for line in own:
        named, facts, number = line.get("exhibits", {}), line.get("facts", {}), line["number"]
        if "body" in named:
            going[line["submission"], facts["attempt"]] = (named["body"], facts, number)
        if "signature" in named and named["signature"] in kept:
            body, sent, _ = going[line["submission"], facts["attempt"]]
            require(body in kept, f"the body that entry {number} tells of is missing")
            header, _ = keys.verify("own", kept[named["signature"]].decode(), kept[body])
            said = (header.get("jti"), header.get("iat"), header.get("kid"))
            require(said == (sent["jti"], sent["iat"], sent["keyId"]), f"entry {number}: another attempt's signature")
        if "attempt" in facts and "body" not in named:
            going[line["submission"], facts["attempt"]] = (*going[line["submission"], facts["attempt"]][:2], 0)
        for name, (what, owner) in SIGNED.items():
            if named.get(name) in kept and named.get(what) in kept:
                header, _ = keys.verify(owner, kept[named[name]].decode(), kept[named[what]])
                require("jti" not in facts or header.get("jti") == facts["jti"], f"entry {number}: another callback")
    for (submission, attempt), (_, _, number) in going.items():
        if number:
            notes.append(f"attempt {attempt} of {submission} was cut short: its signature is not known")
    return notes


def check(data: bytes, known: set[str] | None = None) -> tuple[list[dict[str, Any]], list[str], Keys]:
    """The message's entries, notes for people, and the keys of an evidence file; raises Fault when it does not hold."""
    try:
        text = data.decode()
        document = parse(text)
        require(isinstance(document, dict) and list(document) == MEMBERS, "not an evidence file")
        require(document["format"] == FORMAT, "an evidence file of another format")
        written = json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
        require(written == text, "not written as the gateway writes it")
        keys = Keys(document["keys"], known)
        found, own = links(document)
        last = signed_until(document, keys, found)
        require(last >= own[-1]["number"], f"no checkpoint covers entry {own[-1]['number']} (yet): export it again")
        require(last == max(found), "entries follow the last checkpoint")
        steps(own)
        kept = exhibits(document, own)
        notes = signatures(own, kept, keys)
        require(keys.used == keys.by_id.keys(), "a key signs nothing here")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise Fault(f"not an evidence file: {type(error).__name__}: {error}") from None
    return own, notes, keys


def main(arguments: list[str]) -> int:
    """Check the file named first; the exit code."""
    files, known = [each for each in arguments if not each.startswith("--")], None
    if arguments[1:2] == ["--keys"] and len(files) == 2:
        known = {thumbprint(jwk) for jwk in json.loads(Path(files[1]).read_bytes())["keys"]}
    elif len(arguments) != 1 or not files:
        sys.stderr.write("usage: verifier.py FILE [--keys JWKS]\n")
        return 2
    try:
        own, notes, keys = check(Path(files[0]).read_bytes(), known)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 2
    except Fault as fault:
        sys.stdout.write(f"NOT GOOD: {fault}\n")
        return 1
    for line in own:
        moved = f"{line['from']} -> {line['to']}" if "from" in line else ""
        sys.stdout.write(f"{line['number']:>8}  {line['event']:<22} {moved:<26} {line.get('detail', '')[:80]!r}\n")
    for (owner, key_id), jwk in keys.by_id.items():
        trust = "known" if known is not None else "compare it"
        sys.stdout.write(f"key {key_id} ({owner}), thumbprint {thumbprint(jwk)}: {trust}\n")
    sys.stdout.writelines(f"note: {note}\n" for note in notes)
    sys.stdout.write(f"GOOD: {len(own)} entries of message {own[0]['message']}, each linked, attested and signed for\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
