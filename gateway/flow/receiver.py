"""From the SMP's callback to the journal: verify the bytes, judge, commit, and only then answer.

The order of the checks and the answer to each is domain.md section 3's; the pure ones live in `core.jws` and
`core.callback`, those that need what is known already in the journal's commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from gateway.core import callback, codec, envelope, jws
from gateway.core.callback import Judged
from gateway.core.jws import Segments, VerifiedHeader
from gateway.core.message import Hop
from gateway.core.record import Disposition, Evidence, Received
from gateway.core.relay import CallbackRelay, CallbackRule
from gateway.core.relay_values import callback_relay
from gateway.core.transaction import State
from gateway.core.wire_names import Acknowledgement
from gateway.errors import JournalFull, SignatureRefused
from gateway.flow.account import Account
from gateway.flow.signals import Signals
from gateway.ports import CallbackReply, Clock, Journal
from gateway.telemetry import Telemetry

_FULL_PAUSE_S = 60
# Refusals of what the SMP did sign: somebody's configuration is wrong, and no stranger can pretend it.
_GENUINE = frozenset({"audience", "typ"})


class Receiver:
    """The one handler of all participants' callbacks."""

    def __init__(
        self,
        journal: Journal,
        accounts: Mapping[str, Account],
        *,
        signals: Signals,
        clock: Clock,
        telemetry: Telemetry,
        others: Mapping[str, Sequence[tuple[str, CallbackRule]]] | None = None,
    ) -> None:
        """``others`` are each participant's sites, with what they want to know of callbacks that are no verdicts."""
        self._journal = journal
        self._accounts = accounts
        self._signals = signals
        self._clock = clock
        self._telemetry = telemetry
        self._others = others or {}

    async def receive(self, participant: str, body: bytes, signature: str | None, at: int) -> CallbackReply:
        """Take one callback (ports.CallbackHandler); ``at`` is when its last byte arrived."""
        account = self._accounts.get(participant)
        try:
            header, segments, content = await self._believe(account or self._anybody(), body, signature)
        except SignatureRefused as refused:
            if account is not None and refused.code in _GENUINE:
                account.misdirected(refused.reason)
            return self._refuse(refused.code, refused.reason)
        if account is None:
            return self._refuse("unknown_participant", f"{participant:.64} is not served here")
        verified_at = self._clock.now()
        account.called_back()
        judged = callback.judge(account.profile, header=header, body=content, participant=participant, received_at=at)
        if judged.fault == "participant":
            self._telemetry.emit("callback_refused", code="participant", reason=judged.note)
            return CallbackReply(status=judged.status, body={"error": judged.note})
        evidence = Evidence(
            environment=account.identity.environment,
            participant=participant,
            issuer=header.issuer,
            jti=header.jti,
            body=content,
            signature=segments.token,
            received_at=at,
            hops={Hop.CALLED_BACK: at, Hop.VERIFIED: verified_at},
            key=_key(account, header),
        )
        try:
            relays = self._relays(participant, judged, content)
            received = await self._journal.receive(evidence, judged.callback, judged.fault, relays)
        except JournalFull:
            return CallbackReply(status=503, body={"error": "not stored, send again later"}, retry_after=_FULL_PAUSE_S)
        if received.changed is not None:
            self._signals.changed(received.changed)
            await asyncio.sleep(0)  # the site first: its relay starts before we log and answer
        if received.disposition is Disposition.OTHER:
            for relay in relays:
                self._signals.relay(relay.site, relay.connection).set()
        self._tell(participant, header, judged, received)
        return _answer(account.profile.acknowledgement, judged, received)

    def _relays(self, participant: str, judged: Judged, content: bytes) -> list[CallbackRelay]:
        """What the participant's sites want to know of a callback that is no verdict."""
        if judged.callback is None or judged.callback.verdict is not None or judged.fault is not None:
            return []
        wanted = self._others.get(participant, ())
        return [callback_relay(site, rule, judged.callback, content) for site, rule in wanted]

    async def _believe(
        self, account: Account, body: bytes, signature: str | None
    ) -> tuple[VerifiedHeader, Segments, bytes]:
        """Verify, and once more with fresh keys when the key is not known; the keys bound what that costs."""
        try:
            return self._verify(account, body, signature)
        except SignatureRefused as refused:
            if refused.code != "unknown_key" or not await account.callback_keys.refresh():
                raise
        return self._verify(account, body, signature)

    def _verify(self, account: Account, body: bytes, signature: str | None) -> tuple[VerifiedHeader, Segments, bytes]:
        """The signature's header, the signature, and what it signs."""
        form = account.profile.signature
        segments = envelope.disclose(form.form, body, signature)
        header = jws.verify(
            segments,
            account.callback_keys.find,
            typ=form.typ_callback,
            audience=account.identity.callback_audience,
            algorithms=form.algorithms,
        )
        return header, segments, segments.content()

    def _anybody(self) -> Account:
        """Some account: an unknown participant's callback must take as long as a known one's before it is refused."""
        return next(iter(self._accounts.values()))

    def _refuse(self, code: str, reason: str) -> CallbackReply:
        """Answer 401 alike for an unknown participant and a bad signature, so that nobody learns who is served here."""
        self._telemetry.emit("callback_refused", code=code, reason=reason)
        return CallbackReply(status=401, body={"error": "signature not accepted"})

    def _tell(self, participant: str, header: VerifiedHeader, judged: Judged, received: Received) -> None:
        self._telemetry.emit(
            "callback_received",
            participant=participant,
            disposition=received.disposition,
            jti=header.jti,
            note=judged.note or received.note,
        )
        if received.disposition is Disposition.CONFLICT:
            self._telemetry.emit("callback_conflicted", participant=participant, jti=header.jti, note=received.note)
        if received.disposition is Disposition.ORPHAN:
            self._signals.unmatched.set()
        if received.disposition is Disposition.QUARANTINED:
            self._telemetry.emit("callback_quarantined", participant=participant, jti=header.jti, note=judged.note)
            for state in (State.IN_DOUBT, State.AWAITING):
                self._signals.overdue(participant, state).set()
        for changed in received.changed.all if received.changed is not None else ():
            if changed.moved:
                lane = changed.lane
                self._telemetry.emit(
                    "message_moved", site=lane.site, message=lane.label, state=changed.state, id=changed.message_id
                )


def _answer(names: Acknowledgement, judged: Judged, received: Received) -> CallbackReply:
    message_id = judged.callback.message_id if judged.callback is not None else None
    match received.disposition:
        case Disposition.REPLAYED:
            return CallbackReply(status=409, body={"error": "this jti was used with other bytes"})
        case Disposition.QUARANTINED:
            return CallbackReply(status=judged.status, body={"error": judged.note})
        case Disposition.DUPLICATE if received.first is Disposition.QUARANTINED:
            return CallbackReply(status=judged.status if judged.fault else 401, body={"error": received.note})
        case Disposition.DUPLICATE:
            return CallbackReply(status=200, body={names.message_id: message_id, names.word: names.duplicate})
        case _:
            return CallbackReply(status=200, body={names.message_id: message_id, names.word: names.accepted})


def _key(account: Account, header: VerifiedHeader) -> str | None:
    """The public key that a callback was verified with, as a JWK; None when it was taken away just now."""
    record = account.callback_keys.find(header.key_id)
    return None if record is None else codec.dumps(jws.jwk_of(record.key, record.key_id, record.algorithm)).decode()
