"""Callbacks, the true ones and the lies: contradictions that are well signed, and forgeries that must be refused.

Every lie tells the opposite of the verdict, so that a gateway which believes it is caught by any comparison with the
ledger; none of them changes the ledger's truth.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from joserfc.jwk import Key

from gateway.simulator import pki, register, shape, signatures
from gateway.simulator.faults import Fault
from gateway.simulator.record import Callback, Status, Transaction
from gateway.simulator.report import encode, instant, report
from gateway.simulator.shape import Flaw
from gateway.simulator.wire import Wire

ELSEWHERE = "https://elsewhere.example"

FORGERIES = (Fault.CALLBACK_FORGE_KEY, Fault.CALLBACK_FORGE_BODY, Fault.CALLBACK_FORGE_AUD)


class Writer:
    """Writes and signs callbacks to the hosts behind one public URL; ``key`` is the one to sign with now."""

    def __init__(self, *, wire: Wire, public_url: str, key: Callable[[], Key], clock: Callable[[], int]) -> None:
        self._wire = wire
        self._public_url = public_url
        self._key = key
        self._clock = clock

    def truth(self, transaction: Transaction) -> Callback:
        """What the SMP has to say of a decided transaction."""
        return self._write(transaction, self._key())

    def contradiction(self, transaction: Transaction) -> Callback:
        """The opposite verdict under ids of its own, well signed."""
        return self._write(opposite(transaction, self._wire), self._key())

    def forgery(self, fault: Fault, transaction: Transaction, genuine: Callback) -> Callback:
        """The opposite verdict in a form that a receiver must refuse for its signature alone."""
        lie = opposite(transaction, self._wire)
        if fault is Fault.CALLBACK_FORGE_KEY:
            ours = self._key()
            return self._write(lie, pki.stranger(str(ours.alg), str(ours.kid)))
        if fault is Fault.CALLBACK_FORGE_AUD:
            return self._write(lie, self._key(), audience=ELSEWHERE + urlsplit(genuine.url).path)
        form, told = self._wire.form, self._write(lie, self._key())
        content, _ = signatures.unpack(form, told.body, told.signature)
        _, token = signatures.unpack(form, genuine.body, genuine.signature)
        body, signature = signatures.pack(form, content, token)
        return replace(told, body=body, signature=signature)

    def _write(self, transaction: Transaction, key: Key, *, audience: str | None = None) -> Callback:
        names, at = self._wire.result, self._clock()
        identifier = random_id()
        content = encode(
            {
                names["message_id"]: identifier,
                names["message_type"]: self._wire.result_type,
                names["issued_at"]: instant(at),
                names["participant"]: transaction.participant,
                **report(transaction, self._wire),
            }
        )
        url = self._public_url + self._wire.paths["callback"].format(participant=transaction.participant)
        token = signatures.sign(
            content, key, typ=self._wire.typ_callback, audience=audience or url, jti=random_id(), now_s=at // 1_000_000
        )
        body, signature = signatures.pack(self._wire.form, content, token)
        return Callback(
            id=identifier,
            transaction_id=transaction.id,
            participant=transaction.participant,
            url=url,
            body=body,
            signature=signature,
        )


def opposite(transaction: Transaction, wire: Wire) -> Transaction:
    """The same transaction as if it had ended the other way."""
    if transaction.status is Status.SUCCESS:
        flaw = register.error(Flaw(code="CONTRADICTION", message="the opposite of the truth"), wire)
        return replace(transaction, status=Status.FAILED, created=(), errors=(flaw,))
    item = wire.item(transaction.kind)
    rows = shape.rows(shape.parse(transaction.body), item, wire)
    created = tuple((str(row.get(item.ref, transaction.id)), f"SMP-X-{index:04d}") for index, row in enumerate(rows))
    return replace(transaction, status=Status.SUCCESS, created=created, errors=())


def random_id() -> str:
    """A fresh id for a message or a signature."""
    return str(uuid.UUID(bytes=os.urandom(16), version=4))
