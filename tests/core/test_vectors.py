from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core import envelope, jws, strict_json
from gateway.core.jws import KeyRecord
from gateway.errors import SignatureRefused, StrictJsonError

VECTORS = os.environ.get("SMP_VECTORS")
pytestmark = pytest.mark.skipif(VECTORS is None, reason="SMP_VECTORS is unset: the public vectors are not here")

ALGORITHMS = ("ES256", "PS256", "RS256", "EdDSA")
PRIVATE = {"d", "p", "q", "dp", "dq", "qi"}
# Valid in Wycheproof, of our algorithms, with a key whose alg matches.
ACCEPTED = {
    "ES256": [18, 378],
    "PS256": [272, 273, 274, 275, 287, 288],
    "RS256": [33, 259, 260, 261, 262, 263, 345, 349],
}
# Valid in Wycheproof but not allowed here: HS*, the 384 and 512 variants, keys for another algorithm, stray characters.
NOT_ALLOWED = [
    *[1, 264, 265, 266, 267, 268, 269, 270, 271, 320, 321, 322, 323, 325, 326, 327, 328, 346, 347, 348],
    *[350, 351, 352, 357, 358, 359, 372, 373, 376, 377],
]
# Of the two-way files we refuse every one: numbers beyond a double or 64 bits, anything but well-formed UTF-8 without a
# mark, lone surrogates, 500 nested arrays.
EITHER_WAY_ACCEPTED: list[str] = []
DUPLICATE_KEYS = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}


def folder(name: str) -> Path:
    return Path(VECTORS or "") / name


def parses(path: Path) -> bool:
    try:
        strict_json.loads(path.read_bytes())
    except StrictJsonError:
        return False
    return True


def test_json_test_suite() -> None:
    """The public suite: every must-reject refused, every must-accept accepted but the two with duplicate keys."""
    files = sorted(folder("jsontestsuite/test_parsing").iterdir())
    accepted = {path.name for path in files if parses(path)}
    names = {letter: {path.name for path in files if path.name.startswith(f"{letter}_")} for letter in "yni"}
    assert {letter: len(found) for letter, found in names.items()} == {"y": 95, "n": 188, "i": 35}
    assert accepted & names["n"] == set()
    assert names["y"] - accepted == DUPLICATE_KEYS
    assert sorted(accepted & names["i"]) == EITHER_WAY_ACCEPTED


def wycheproof(name: str) -> Iterator[tuple[dict[str, Any], dict[str, KeyRecord]]]:
    """Each JWS case with the usable public keys of its group."""
    document = json.loads((folder("wycheproof") / name).read_bytes())
    for group in document["testGroups"]:
        key = group.get("public") or group["private"]
        records = {}
        for jwk in key.get("keys", [key]):
            try:
                record = jws.public_key_from_jwk(
                    {name: value for name, value in jwk.items() if name not in PRIVATE},
                    issuer="wycheproof",
                    purpose="callback",
                )
            except SignatureRefused:
                continue
            records[record.key_id] = record
        for case in group["tests"]:
            yield case, records


def test_wycheproof_signatures() -> None:
    """Exactly the listed cases are accepted, by the verifier that detached signatures use; no other kind of error."""
    accepted: dict[str, list[int]] = {}
    refused: dict[str, list[int]] = {"valid": [], "invalid": []}
    for case, records in wycheproof("json_web_signature_test.json"):
        token = case["jws"] if isinstance(case["jws"], str) else json.dumps(case["jws"])
        try:
            verified = jws.verify_compact(token, records.get, algorithms=ALGORITHMS)
        except SignatureRefused:
            refused[case["result"]].append(case["tcId"])
        else:
            accepted.setdefault(verified.record.algorithm, []).append(case["tcId"])
    assert accepted == ACCEPTED
    assert refused["valid"] == NOT_ALLOWED
    assert len(refused["invalid"]) == 355


# A modulus of the ROCA family. Keys come from a set that the vendor configured, so strength beyond size is not judged.
WEAK_BUT_CONFIGURED = [7]


def test_wycheproof_keys() -> None:
    """Keys with another use, algorithm, curve, size or exponent than they should have are never verified with."""
    accepted = []
    for case, records in wycheproof("json_web_key_test.json"):
        try:
            jws.verify_compact(case["jws"], records.get, algorithms=ALGORITHMS)
        except SignatureRefused:
            continue
        accepted.append((case["tcId"], case["result"]))
    assert [number for number, result in accepted if result == "invalid"] == WEAK_BUT_CONFIGURED
    assert [number for number, result in accepted if result == "valid"] == [5]


def test_cookbook_unencoded_payload_is_refused() -> None:
    """RFC 7797's b64:false is refused for its header, before its algorithm or key is looked at."""
    for path in sorted(folder("jose-cookbook/rfc7797").glob("*.json")):
        signed = json.loads(path.read_bytes())["output"]["json"]["signatures"][0]
        with pytest.raises(SignatureRefused) as refused:
            jws.verify_compact(f"{signed['protected']}.AAAA.{signed['signature']}", no_key, algorithms=ALGORITHMS)
        assert refused.value.code == "header"


def no_key(_key_id: str) -> None:
    return None


def test_cookbook_signatures() -> None:
    """RFC 7520's own signatures: none of its algorithms with its keys is one that we allow with that key."""
    for path in sorted(folder("jose-cookbook/jws").glob("*.json")):
        token = json.loads(path.read_bytes())["output"].get("compact")
        if token is not None:
            with pytest.raises(SignatureRefused):
                jws.verify_compact(token, no_key, algorithms=ALGORITHMS)


# What disclosing and verifying a flattened example of RFC 7520 comes to. 4_1 has a signature that we believe, and a
# header that is not the wire's; the others have another algorithm, no payload, or an unprotected header.
COOKBOOK_FLATTENED = {
    "4_1.rsa_v15_signature": "typ",
    "4_2.rsa-pss_signature": "algorithm",
    "4_3.ecdsa_signature": "algorithm",
    "4_4.hmac-sha2_integrity_protection": "algorithm",
    "4_5.signature_with_detached_content": "malformed",
    "4_6.protecting_specific_header_fields": "malformed",
    "4_7.protecting_content_only": "malformed",
}


@pytest.mark.parametrize("name", COOKBOOK_FLATTENED)
def test_cookbook_flattened(name: str) -> None:
    """RFC 7520 in the flattened form: the RS256 one verifies over its very bytes, and no other is read that far."""
    example = json.loads((folder("jose-cookbook/jws") / f"{name}.json").read_bytes())

    def verify(document: dict[str, str]) -> None:
        segments = envelope.disclose("flattened", json.dumps(document).encode(), None)
        jws.verify(segments, lambda _kid: record, typ="t", audience="a", algorithms=ALGORITHMS)

    def refusal(document: dict[str, str]) -> str:
        with pytest.raises(SignatureRefused) as refused:
            verify(document)
        return refused.value.code

    record = None
    if name.startswith("4_1"):
        jwk = {**example["input"]["key"], "alg": "RS256"}
        public = {member: jwk[member] for member in ("kty", "n", "e", "alg", "use", "kid")}
        (record,) = jws.read_jwks(json.dumps({"keys": [public]}).encode(), "smp", "callback").values()
    flattened = example["output"]["json_flat"]
    assert refusal(flattened) == COOKBOOK_FLATTENED[name]
    if record is not None:
        assert refusal({**flattened, "payload": flattened["payload"][:-2] + "AA"}) == "bad_signature"
