"""Each fault of the simulated SMP, met on real sockets by a participant and a host of other libraries."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from jwt.utils import base64url_decode, base64url_encode

from gateway.simulator import Away, Fault, Faults, SimulatedSmp, Wait
from gateway.simulator.courier import Redelivery
from gateway.simulator.record import Mischief
from tests.simulator.partners import Client, Connect, Host, Start, asset, create, detached

Told = tuple[str, bytes, str]


def always(smp: SimulatedSmp, *faults: Fault, **waits: float) -> None:
    smp.faults.change({**dict.fromkeys(faults, 1.0), **{Wait(name.replace("_", "-")): s for name, s in waits.items()}})


def calm(smp: SimulatedSmp) -> None:
    smp.faults.calm()


def published(smp: SimulatedSmp) -> dict[str, Any]:
    return {key["kid"]: jwt.PyJWK(key) for key in json.loads(smp.jwks_path.read_text())["keys"]}


def genuine(smp: SimulatedSmp, told: Told, host: Host) -> bool:
    """Whether cryptography believes a callback, with the published keys and for this host."""
    path, body, signature = told
    start, _, end = signature.split(".")
    raw = base64url_decode(end)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    signed = start.encode() + b"." + base64url_encode(body)
    try:
        published(smp)[header(told)["kid"]].key.verify(der, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return bool(header(told)["aud"] == host.url + path)


def header(told: Told) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64url_decode(told[2].partition(".")[0]))
    return found


async def raw(client: Client, path: str, document: dict[str, Any]) -> bytes:
    """Everything that comes back on a plain TLS connection, up to its end or its reset."""
    body = json.dumps(document).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: smp\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: Bearer {client.token}\r\nX-Message-Id: {document['messageId']}\r\n"
        f"X-JWS-Signature: {detached(client.key, body, client.header(path))}\r\n\r\n"
    )
    trust = ssl.create_default_context(cafile=client.smp.ca_path)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.smp.port, ssl=trust)
    writer.write(head.encode() + body)
    came = b""
    try:
        while more := await reader.read(1):
            came += more
    except ConnectionResetError:
        came += b"<reset>"
    finally:
        writer.transport.abort()
    return came


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        (Fault.FAIL_BEFORE, 500, None),
        (Fault.UNAVAILABLE, 503, "3"),
        (Fault.BUSY, 429, "3"),
        (Fault.LOSE_REQUEST, None, None),
    ],
)
async def test_a_fault_before_the_commit_leaves_nothing(
    client: Client, fault: Fault, status: int | None, retry_after: str | None
) -> None:
    """Pins status, Retry-After and that neither transaction nor arrival is left, only the fault's own row."""
    always(client.smp, fault, retry_after=2.5)
    came = await raw(client, "/assets", create(asset("A"))) if status is None else b""
    if status is None:
        assert came.replace(b"<reset>", b"") == b""
    else:
        answer = await client.send("/assets", create(asset("A")))
        assert (answer.status, answer.headers.get("Retry-After")) == (status, retry_after)
    assert client.smp.ledger.arrivals() == []
    assert [(each.fault, each.transaction_id) for each in client.smp.ledger.mischief()] == [(fault, None)]


@pytest.mark.parametrize("fault", [Fault.LOSE_REPLY, Fault.CUT_REPLY, Fault.FAIL_AFTER])
async def test_a_fault_after_the_commit_leaves_the_transaction(client: Client, fault: Fault) -> None:
    """Pins that the transaction is on disk when its answer is lost, halved or a 500, and is found again by its id."""
    always(client.smp, fault)
    document = create(asset("A"))
    came = await raw(client, "/assets", document) if fault is not Fault.FAIL_AFTER else b""
    if fault is Fault.LOSE_REPLY:
        assert came.replace(b"<reset>", b"") == b""
    elif fault is Fault.CUT_REPLY:
        head, _, half = came.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 202 ")
        length = int(head.rpartition(b"Content-Length: ")[2])
        assert half.endswith(b"<reset>")
        assert len(half) - len(b"<reset>") == length // 2
    else:
        assert (await client.send("/assets", document)).status == 500
    calm(client.smp)
    (entry,) = client.smp.ledger.entries()
    assert (await client.send("/assets", document)).body["transactionId"] == entry.transaction_id
    assert [(e.fault, e.transaction_id) for e in client.smp.ledger.mischief()] == [(fault, entry.transaction_id)]


async def test_forgotten_tokens_are_refused_until_the_next_login(client: Client) -> None:
    """Pins expire-tokens: 401 to a token that was good, nothing stored, and a fresh login helps."""
    always(client.smp, Fault.EXPIRE_TOKENS)
    assert (await client.send("/assets", create(asset("A")))).status == 401
    calm(client.smp)
    assert (await client.send("/assets", create(asset("A")))).status == 401
    assert client.smp.ledger.arrivals() == []
    await client.login()
    assert (await client.send("/assets", create(asset("A")))).status == 202


async def test_a_status_call_can_fail(client: Client) -> None:
    """Pins fail-status, and that submissions are not touched by it."""
    always(client.smp, Fault.FAIL_STATUS)
    answer = await client.send("/assets", create(asset("A")))
    assert answer.status == 202
    assert (await client.status(transactionId=answer.body["transactionId"])).status == 500
    calm(client.smp)
    assert (await client.status(transactionId=answer.body["transactionId"])).status == 200


async def test_a_delayed_answer_comes_after_its_callback(client: Client, host: Host) -> None:
    """Pins delay: the verdict overtakes an answer that waits."""
    always(client.smp, delay=600.0)
    asking = asyncio.create_task(client.send("/assets", create(asset("A"))))
    await host.next()
    assert not asking.done()
    asking.cancel()


async def test_the_same_seed_draws_the_same(client: Client) -> None:
    """Pins that draws depend on seed, fault and number only, are near the probability, and start anew with a seed."""

    def draws(seed: int, *beside: Fault) -> list[bool]:
        faults = Faults(seed=seed, chances={Fault.LOSE_REPLY: 0.3, **dict.fromkeys(beside, 0.5)})
        drawn = [[faults.happens(each) for each in (Fault.LOSE_REPLY, *beside)] for _ in range(1000)]
        return [each[0] for each in drawn]

    assert draws(7) == draws(7) == draws(7, Fault.BUSY)
    assert draws(7) != draws(8)
    assert 250 < sum(draws(7)) < 350
    faults = client.smp.faults
    faults.change({Fault.BUSY: 0.5}, seed=3)
    first = [faults.happens(Fault.BUSY) for _ in range(50)]
    faults.change({}, seed=3)
    assert first == [faults.happens(Fault.BUSY) for _ in range(50)]


async def test_an_early_callback_overtakes_the_answer(client: Client, host: Host) -> None:
    """Pins callback-early."""
    always(client.smp, Fault.CALLBACK_EARLY)
    await client.send("/assets", create(asset("A")))
    assert host.received.qsize() == 1


async def test_an_early_callback_does_not_overtake_an_earlier_submission(
    start: Start, connect: Connect, host: Host
) -> None:
    """Pins that decisions keep the order of arrival: the first to name an asset gets it, early callback or not."""
    async with start(processing_delay_s=600.0) as smp, connect(smp) as client:
        await client.send("/assets", create(asset("A")))
        always(smp, Fault.CALLBACK_EARLY)
        await client.send("/assets", create(asset("A")))
        assert [entry.status for entry in smp.ledger.entries()] == ["success", "failed"]
        assert {json.loads((await host.next())[1])["status"] for _ in range(2)} == {"Success", "Failed"}


async def test_an_early_callback_may_empty_the_queue_before_the_processor_wakes(client: Client) -> None:
    """Pins that a submission and an early one in one turn of the loop leave the simulator alive."""
    await client.send("/assets", create(asset("A")))
    await client.smp.until(lambda entries: entries[0].status == "success")  # the processor waits for more
    client.smp._enqueue(0.0, "TX-1")
    client.smp._queue.clear()  # as the early one does
    await client.send("/assets", create(asset("B")))
    await client.smp.until(lambda entries: entries[-1].status == "success")


async def test_a_late_callback_waits(client: Client, host: Host) -> None:
    """Pins callback-late: decided, told by status, and not tried."""
    always(client.smp, Fault.CALLBACK_LATE, late_by=600.0)
    answer = await client.send("/assets", create(asset("A")))
    await client.smp.until(lambda _entries: bool(client.smp.ledger.mischief()))
    assert (await client.status(transactionId=answer.body["transactionId"])).body["status"] == "Success"
    assert host.received.empty()


async def test_a_callback_twice_is_the_same_bytes(client: Client, host: Host) -> None:
    """Pins callback-twice."""
    always(client.smp, Fault.CALLBACK_TWICE)
    await client.send("/assets", create(asset("A")))
    assert await host.next() == await host.next()


async def test_a_callback_never_leaves_the_status_call(client: Client, host: Host) -> None:
    """Pins callback-never: abandoned at once, and the verdict is there to ask for."""
    always(client.smp, Fault.CALLBACK_NEVER)
    answer = await client.send("/assets", create(asset("A")))
    (entry,) = await client.smp.until(lambda entries: entries[0].callback == "abandoned")
    assert (entry.status, entry.deliveries) == ("success", ())
    assert (await client.status(transactionId=answer.body["transactionId"])).body["status"] == "Success"
    assert host.received.empty()


@pytest.mark.parametrize("mpan", ["2000000000200", "2000000000201"])
async def test_a_contradiction_follows_the_truth_well_signed(client: Client, host: Host, mpan: str) -> None:
    """Pins callback-contradict: first the ledger's verdict, then its opposite, both genuine, under ids of their own."""
    always(client.smp, Fault.CALLBACK_CONTRADICT)
    await client.send("/assets", create(asset("A", mpan)))
    first, second = await host.next(), await host.next()
    truth, lie = json.loads(first[1]), json.loads(second[1])
    (entry,) = client.smp.ledger.entries()
    assert truth["status"].lower() == entry.status
    assert {truth["status"], lie["status"]} == {"Success", "Failed"}
    assert truth["messageId"] != lie["messageId"]
    assert truth["transactionId"] == lie["transactionId"]
    assert genuine(client.smp, first, host)
    assert genuine(client.smp, second, host)
    assert bool(lie["errors"]) is not bool(lie["results"])


@pytest.mark.parametrize("fault", [Fault.CALLBACK_FORGE_KEY, Fault.CALLBACK_FORGE_BODY, Fault.CALLBACK_FORGE_AUD])
async def test_a_forgery_comes_first_and_does_not_verify(client: Client, host: Host, fault: Fault) -> None:
    """Pins the three forgeries: the opposite verdict, not genuine, and the host's answer to it in the ledger."""
    always(client.smp, fault)
    host.answers.append(401)
    await client.send("/assets", create(asset("A")))
    forged, true = await host.next(), await host.next()
    assert not genuine(client.smp, forged, host)
    assert genuine(client.smp, true, host)
    assert (json.loads(forged[1])["status"], json.loads(true[1])["status"]) == ("Failed", "Success")
    (entry,) = await client.smp.until(lambda entries: entries[0].callback == "delivered")
    (noted,) = client.smp.ledger.mischief()
    assert noted == Mischief(seq=1, at=noted.at, fault=fault, transaction_id=entry.transaction_id, status=401)


async def test_a_reordered_callback_lets_the_next_one_pass(client: Client, host: Host) -> None:
    """Pins callback-reorder: the second verdict is heard before the first."""
    always(client.smp, Fault.CALLBACK_REORDER, late_by=600.0)
    first = await client.send("/assets", create(asset("A")))
    await client.smp.until(lambda _entries: bool(client.smp.ledger.mischief()))
    calm(client.smp)
    second = await client.send("/assets", create(asset("B")))
    heard = [json.loads((await host.next())[1])["transactionId"] for _ in range(2)]
    assert heard == [second.body["transactionId"], first.body["transactionId"]]


async def test_during_an_outage_connections_are_refused(client: Client, host: Host, connect: Connect) -> None:
    """Pins a refused outage: connections are cut and refused, no callback leaves, and the port comes back."""
    client.smp.faults.hold_callbacks()
    await client.send("/assets", create(asset("A")))
    port = client.smp.port
    await client.smp.begin_outage(for_s=600.0)
    client.smp.faults.release_callbacks()
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await client.login()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert host.received.empty()
    await client.smp.begin_outage(for_s=0.0)
    await host.next()
    async with connect(client.smp) as again:
        assert (await again.send("/assets", create(asset("B")))).status == 202
    assert client.smp.port == port


async def test_an_outage_can_answer_503(client: Client) -> None:
    """Pins the other outage: 503 with the time that is left, to logins too; and another takes its place."""
    await client.smp.begin_outage(for_s=600.0)
    await client.smp.begin_outage(for_s=50.0, away=Away.UNAVAILABLE)
    for answer in (await client.login(), await client.send("/assets", create(asset("A")))):
        assert answer.status == 503
        assert 0 < int(answer.headers["Retry-After"]) <= 50
    await client.smp.begin_outage(for_s=0.0, away=Away.UNAVAILABLE)
    await client.smp.until(lambda _entries: client.smp.told()["outage"] is None)
    assert (await client.login()).status == 200
    assert client.smp.ledger.arrivals() == []


async def test_a_rotated_key_signs_at_once_and_the_old_one_stays_published(client: Client, host: Host) -> None:
    """Pins rotation: what either key signed verifies, by file and by address, and nothing private is published."""
    await client.send("/assets", create(asset("A")))
    before = await host.next()
    new = client.smp.rotate_key(overlap_s=600.0)
    await client.send("/assets", create(asset("B")))
    after = await host.next()
    assert genuine(client.smp, before, host)
    assert genuine(client.smp, after, host)
    assert header(after)["kid"] == new != header(before)["kid"]
    async with client.session.get(client.smp.base_url + "/.well-known/jwks.json") as fetched:
        keys = json.loads(await fetched.read())["keys"]
    assert [key["kid"] for key in keys] == [new, header(before)["kid"]]
    assert not any("d" in key for key in keys)


async def test_a_rotation_outlives_the_simulator(start: Start) -> None:
    """Pins that the new key signs after a restart, the old one stays until its time, and then goes."""
    async with start() as smp:
        (old,) = published(smp)
        new = smp.rotate_key(overlap_s=600.0)
    async with start() as smp:
        assert list(published(smp)) == [new, old]
    document = json.loads(smp.jwks_path.read_text())
    document["keys"][1]["exp"] = 1
    smp.jwks_path.write_text(json.dumps(document))
    async with start() as smp:
        assert list(published(smp)) == [new]


async def test_mixed_faults_leave_every_submission_with_one_effect(start: Start, connect: Connect, host: Host) -> None:
    """Pins that a client which repeats the same id until 202 gets one effect each, whatever goes wrong, with a seed."""
    waits: dict[Fault | Wait, float] = {Wait.JITTER: 0.002, Wait.LATE_BY: 0.01}
    faults = Faults()
    chances: dict[Fault | Wait, float] = {**dict.fromkeys(Fault, 0.1), Fault.EXPIRE_TOKENS: 0.02}
    faults.change({**chances, **waits}, seed=7)
    async with start(faults=faults, redelivery=Redelivery(first_s=0.01, longest_s=0.02)) as smp, connect(smp) as client:
        for number in range(40):
            document = create(asset(f"asset {number}"))
            while await _status(client, document) != 202:
                await client.login()
        entries = await smp.until(lambda entries: all(e.callback in {"delivered", "abandoned"} for e in entries))
        kinds = {each.fault for each in smp.ledger.mischief()}
    assert [entry.effects for entry in entries] == [(f"asset {number}",) for number in range(40)]
    assert len(kinds) > 10
    assert host.received.qsize() > 40


async def _status(client: Client, document: dict[str, Any]) -> int | None:
    try:
        return (await client.send("/assets", document)).status
    except (aiohttp.ClientError, ConnectionError):
        return None
