"""A journal with real signatures: two participants, messages in several states, checkpoints, and a file of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.core import codec, evidence, evidence_file, jws
from gateway.core.evidence import Checkpoint
from gateway.core.message import Hop, Lane
from gateway.core.record import Poll
from gateway.core.transaction import Event
from gateway.edge.keys import PemSigner
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BATTERY,
    FAILURE,
    FOREIGN,
    Place,
    accepted,
    callback,
    draft,
    sent,
    sqlite,
)
from tests.contracts.journal.scenario import evidence as called_back


def signer(key_id: str) -> PemSigner:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return PemSigner(pem, key_id=key_id, algorithm="ES256")


OWN, SMP, STRANGER = signer("exstor-2026-11"), signer("smp-1"), signer("exstor-2026-11")
MESSAGE = draft(1).id


def sign(key: PemSigner, body: bytes, jti: str, iat: int = 1_795_000_000) -> str:
    header = jws.protected_header(algorithm="ES256", key_id=key.key_id, typ="t", iat=iat, jti=jti, aud="a")
    return jws.sign_detached(key, header, body)


async def seal(journal: Journal, lane: Lane = BATTERY, key: PemSigner = OWN) -> None:
    """Sign how far a chain is."""
    found = await journal.chain_head(lane.environment, lane.participant)
    assert found is not None
    header = {"alg": "ES256", "kid": key.key_id, "typ": evidence.CHECKPOINT_TYP}
    token = jws.sign_compact(key, header, evidence.checkpoint_payload(found[0], 7))
    kept = Checkpoint(head=found[0], at=7, key_id=key.key_id, token=token)
    await journal.checkpoint(kept, [codec.dumps(dict(key.public_jwk)).decode()])


async def completed(journal: Journal, sequence: int, lane: Lane = BATTERY) -> None:
    """One message all the way: sent, answered, called back, written at its site."""
    name = f"{lane.site}-{sequence}"
    submission = await sent(journal, sequence, name, lane)
    signature = sign(OWN, submission.body, submission.attempt.jti)
    await journal.settle(name, 1, replace(accepted(f"TX-{name}"), signature=signature))
    body = b'{"transactionId":"TX-%b"}' % name.encode()
    came = replace(
        called_back(f"c-{name}", body, lane),
        signature=sign(SMP, body, f"c-{name}"),
        key=codec.dumps(dict(SMP.public_jwk)).decode(),
    )
    await journal.receive(came, callback(f"TX-{name}"), None)
    relay = await journal.next_relay(lane.site, "plc")
    assert relay is not None
    await journal.relayed(relay[0].id, {Hop.READ_BACK: 9}, written=b'[{"point":"smp_state","value":2}]')


async def polled(journal: Journal, sequence: int) -> None:
    """A verdict that was asked for."""
    submission = await sent(journal, sequence, f"s{sequence}")
    signature = sign(OWN, submission.body, submission.attempt.jti)
    await journal.settle(submission.id, 1, replace(accepted(f"TX-{sequence}"), signature=signature))
    question = b'{"transactionId":"TX"}'
    poll = Poll(
        url="https://smp.example/status",
        request=question,
        signature=sign(OWN, question, "q"),
        status=200,
        answer=b'{"status":"Failed"}',
    )
    await journal.resolve(
        submission.id, Event.FAILURE, verdict=FAILURE, transaction_id=None, due_at=None, note="asked", poll=poll
    )


async def story(folder: Path) -> Place:
    """A journal of two chains; the message of :data:`MESSAGE` is covered by a checkpoint, others come later."""
    return await tell(sqlite(folder))


async def tell(place: Place) -> Place:
    """The same, wherever that journal is."""
    async with place.open() as journal:
        await completed(journal, 1)
        await completed(journal, 1, FOREIGN)
        await polled(journal, 2)
        await seal(journal)
        await seal(journal, FOREIGN)
        await completed(journal, 3)
        await completed(journal, 2, FOREIGN)
        await seal(journal)
        await sent(journal, 4, "s4")
    return place


def export(place: Place, message_id: str = MESSAGE) -> bytes:
    """The evidence file of a message."""
    with place.look() as reader:
        dossier = reader.dossier(message_id)
    assert dossier is not None
    return evidence_file.write(dossier)
