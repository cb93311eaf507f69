"""Which signatures the simulated SMP believes; every one here is made by PyJWT, not by the simulator's library."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.simulator.partners import Client, asset, create, detached

NOW = int(time.time())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "https://127.0.0.1:1/assets"}, "SIGNATURE_AUD"),
        ({"typ": "smp-callback+jws"}, "SIGNATURE_TYP"),
        ({"typ": ""}, "SIGNATURE_HEADER"),
        ({"crit": ["iat", "jti"]}, "SIGNATURE_CRIT"),
        ({"crit": None}, "SIGNATURE_HEADER"),
        ({"iat": NOW - 900}, "SIGNATURE_IAT"),
        ({"iat": NOW + 900}, "SIGNATURE_IAT"),
        ({"iat": True}, "SIGNATURE_HEADER"),
        ({"kid": "nobody"}, "SIGNATURE_UNKNOWN_KID"),
        ({"jku": "https://example.com/keys"}, "SIGNATURE_HEADER"),
        ({"jti": ""}, "SIGNATURE_HEADER"),
    ],
)
async def test_a_header_that_says_anything_else_is_refused(client: Client, changes: dict[str, Any], code: str) -> None:
    """Pins each member of the protected header, one at a time, under an otherwise right signature."""
    answer = await client.send("/assets", create(asset("A")), **changes)
    assert (answer.status, answer.body["errors"][0]["code"]) == (401, code)
    assert client.smp.ledger.arrivals() == []


async def test_a_signature_must_be_there_and_fit_the_bytes(client: Client) -> None:
    """Pins no signature, another key's, one over other bytes, and one that is not detached."""
    document = create(asset("A"))
    body = json.dumps(document).encode()
    header = client.header("/assets")
    foreign = detached(ec.generate_private_key(ec.SECP256R1()), body, header)
    other_bytes = detached(client.key, body + b" ", header)
    whole = "a.b.c"
    codes = []
    for signature in ("", foreign, other_bytes, whole):
        answer = await client.send("/assets", document, signature=signature)
        assert answer.status == 401
        codes.append(answer.body["errors"][0]["code"])
    untouched = detached(client.key, body, header)
    padded = await client.send("/assets", document, signature=untouched, body=body + b" ")
    codes.append(padded.body["errors"][0]["code"])
    assert codes == ["UNSIGNED", "SIGNATURE_SIGNATURE", "SIGNATURE_SIGNATURE", "SIGNATURE_FORM", "SIGNATURE_SIGNATURE"]
    assert client.smp.ledger.arrivals() == []


async def test_a_replayed_jti_is_refused(client: Client) -> None:
    """Pins that the very same signed bytes are not believed twice, on either signed endpoint."""
    document = create(asset("A"))
    signature = detached(client.key, json.dumps(document).encode(), client.header("/assets"))
    first = await client.send("/assets", document, signature=signature)
    second = await client.send("/assets", document, signature=signature)
    assert (first.status, second.status) == (202, 401)
    assert [arrival.outcome for arrival in client.smp.ledger.arrivals()] == ["accepted", "replayed"]
    query = {"transactionId": first.body["transactionId"]}
    assert (await client.send("/transactions/status", query, jti="once")).status == 200
    assert (await client.send("/transactions/status", query, jti="once")).status == 401


async def test_a_new_key_is_believed_without_a_restart(client: Client) -> None:
    """Pins that participants.jwks.json is read again when an unknown kid appears."""
    path = client.smp.state / "pki" / "participants.jwks.json"
    await client.send("/assets", create(asset("A")))
    client.key = ec.generate_private_key(ec.SECP256R1())
    jwk = ECAlgorithm.to_jwk(client.key.public_key(), as_dict=True)
    rolled = {**jwk, "kid": "exstor-2027", "alg": "ES256", "use": "sig", "participant": "exstor"}
    assert (await client.send("/assets", create(asset("B")), kid="exstor-2027")).status == 401
    path.write_text(json.dumps({"keys": [*json.loads(path.read_text())["keys"], rolled]}))
    assert (await client.send("/assets", create(asset("B")), kid="exstor-2027")).status == 202
