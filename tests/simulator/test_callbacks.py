"""Callbacks, verified by cryptography from the published key set, and the faults that tests of the gateway ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import trustme
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from jwt.utils import base64url_decode, base64url_encode

from gateway.simulator import CUT
from tests.simulator.partners import Client, Connect, Host, Start, asset, create


def verified(smp_jwks: Path, body: bytes, signature: str) -> dict[str, Any]:
    """Verify with cryptography alone, over the raw bytes; the protected header of a good one."""
    (jwk,) = json.loads(smp_jwks.read_text())["keys"]
    assert "d" not in jwk
    start, empty, end = signature.split(".")
    assert empty == ""
    header: dict[str, Any] = json.loads(base64url_decode(start))
    assert (header["alg"], header["kid"]) == ("ES256", jwk["kid"])
    raw = base64url_decode(end)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = jwt.PyJWK(jwk).key
    key.verify(der, start.encode() + b"." + base64url_encode(body), ec.ECDSA(hashes.SHA256()))
    return header


async def test_a_callback_is_signed_for_this_very_address(client: Client, host: Host) -> None:
    """Pins path, header members and signature, by an independent library and from the published key only."""
    document = create(asset("A"))
    await client.send("/assets", document)
    path, body, signature = await host.next()
    header = verified(client.smp.jwks_path, body, signature)
    assert path == "/smp/v1/callbacks/exstor"
    assert (header["typ"], header["aud"], header["crit"]) == (
        "smp-callback+jws",
        host.url + path,
        ["iat", "jti", "aud"],
    )
    told = json.loads(body)
    assert (told["messageType"], told["participant"]) == ("TransactionResult", "exstor")
    assert told["submissionId"] == document["messageId"]


async def test_one_changed_byte_breaks_a_callback(client: Client, host: Host) -> None:
    """Pins that the check above can fail."""
    await client.send("/assets", create(asset("A")))
    _, body, signature = await host.next()
    with pytest.raises(InvalidSignature):
        verified(client.smp.jwks_path, body + b" ", signature)


async def test_a_callback_comes_again_until_it_is_answered(client: Client, host: Host) -> None:
    """Pins redelivery after 503s with the very same bytes and signature, and each try in the ledger."""
    host.answers.extend([503, 503])
    await client.send("/assets", create(asset("A")))
    first, second, third = [await host.next() for _ in range(3)]
    assert first == second == third
    (entry,) = await client.smp.until(lambda entries: entries[0].callback == "delivered")
    assert [delivery.status for delivery in entry.deliveries] == [503, 503, 200]
    assert entry.callback == "delivered"


async def test_a_restart_takes_up_what_was_not_delivered(start: Start, connect: Connect, host: Host) -> None:
    """Pins that ledger, keys and undelivered callbacks outlive the simulator, and names stay taken."""
    async with start() as smp, connect(smp) as client:
        smp.faults.hold_callbacks()
        await client.send("/assets", create(asset("A"), message_id="one"))
        before = await smp.until(lambda entries: entries[0].completed_at is not None)
        jwks = smp.jwks_path.read_text()
        token = client.token
    assert host.received.empty()
    async with start() as smp, connect(smp) as client:
        _, body, signature = await host.next()
        verified(smp.jwks_path, body, signature)
        (entry,) = await smp.until(lambda entries: entries[0].callback == "delivered")
        assert (entry.transaction_id, entry.callback) == (before[0].transaction_id, "delivered")
        assert smp.jwks_path.read_text() == jwks
        client.token = token
        again = await client.send("/assets", create(asset("A"), message_id="one"))
        assert again.body["transactionId"] == entry.transaction_id
        await client.send("/assets", create(asset("A"), message_id="two"))
        assert json.loads((await host.next())[1])["errors"][0]["code"] == "DUPLICATE_ASSET"


async def test_a_restart_decides_what_was_pending(start: Start, connect: Connect, host: Host) -> None:
    """Pins that a transaction accepted but not processed gets its verdict after the next start."""
    async with start(processing_delay_s=600.0) as smp, connect(smp) as client:
        await client.send("/assets", create(asset("A")))
    assert host.received.empty()
    async with start():
        assert json.loads((await host.next())[1])["status"] == "Success"


async def test_planned_faults_before_and_after_the_commit(client: Client, host: Host) -> None:
    """Pins that a fault before leaves nothing, one after leaves the transaction, and both are used up."""
    document = create(asset("A"))
    client.smp.faults.before_commit.append(503)
    assert (await client.send("/assets", document)).status == 503
    assert client.smp.ledger.arrivals() == []
    client.smp.faults.after_commit.extend([500, CUT])
    assert (await client.send("/assets", document)).status == 500
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await client.send("/assets", document)
    assert (await client.send("/assets", document)).status == 202
    (entry,) = client.smp.ledger.entries()
    assert (entry.arrivals, entry.effects) == (3, ("A",))
    await host.next()


async def test_a_callback_can_overtake_its_answer_and_come_twice(client: Client, host: Host) -> None:
    """Pins the two orders of events that a gateway must survive."""
    client.smp.faults.callback_first = True
    client.smp.faults.callback_copies = 2
    answer = await client.send("/assets", create(asset("A")))
    assert host.received.qsize() == 2
    first, second = await host.next(), await host.next()
    assert first == second
    assert json.loads(first[1])["transactionId"] == answer.body["transactionId"]


async def test_a_host_with_a_foreign_certificate_gets_no_callback(start: Start, connect: Connect, state: Path) -> None:
    """Pins that the callback's TLS peer is checked against the given CA."""
    trustme.CA().cert_pem.write_to_path(state / "pki" / "host-ca.pem")
    async with start() as smp, connect(smp) as client:
        await client.send("/assets", create(asset("A")))
        (entry,) = await smp.until(lambda entries: len(entries[0].deliveries) > 0)
    assert entry.deliveries[0].status is None
