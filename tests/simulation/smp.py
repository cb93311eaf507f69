"""A model of the SMP, and of the network before it: all that a submission or a callback can meet, drawn by the dice."""

from __future__ import annotations

import asyncio
import contextvars
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

from gateway.core import codec, jws
from gateway.core.profile import Profile
from gateway.ports import CallbackReply, Reply, SignedCall, Signer
from tests.flow.virtual import VirtualClock

HOP_S = 0.05  # at most, between the SMP and us
LATE_S = 200.0  # at most, for a verdict or a callback that is late
TRIES = 5  # of a callback that is not answered well

# For each submission, status call or callback; the rest goes well.
CHANCES: dict[str, float] = {
    "unreached": 0.03,
    "lost_request": 0.03,
    "slow_request": 0.03,
    "lost_reply": 0.05,
    "busy": 0.02,
    "unavailable": 0.02,
    "failed_before": 0.03,
    "failed_after": 0.03,
    "expired_token": 0.02,
    "late_verdict": 0.05,
    "no_callback": 0.08,
    "callback_twice": 0.1,
    "callback_early": 0.1,
    "callback_late": 0.1,
}
REFUSED = {"busy": 429, "unavailable": 503, "failed_before": 500}  # by what answer


@dataclass(slots=True, kw_only=True)
class Transaction:
    """What the SMP made of one submission; ``created`` is None until it is done."""

    id: str
    submission_id: str
    participant: str
    names: tuple[str, ...]
    created: bool | None = None
    taken: tuple[int, ...] = ()  # rows whose name existed already


Call = Callable[[str, bytes, str, int], Awaitable[CallbackReply | None]]  # None: nobody answered


@dataclass
class Smp:
    """Knows every submission that arrived; ``call`` is where callbacks go, None while nobody is there."""

    profile: Profile
    signer: Signer
    dice: random.Random
    base_url: str
    audience: Callable[[str], str]
    lossy: bool = True
    call: Call | None = None
    on_sent: Callable[[str, bytes], None] = lambda _id, _body: None
    transactions: dict[str, Transaction] = field(default_factory=dict)
    arrivals: list[tuple[str, tuple[str, ...]]] = field(
        default_factory=list
    )  # submission id and names, each first time
    names: set[str] = field(default_factory=set)
    met: Counter[str] = field(default_factory=Counter)  # faults
    _ids: count[int] = field(default_factory=lambda: count(1))
    _tokens: dict[str, str] = field(default_factory=dict)  # token -> participant
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    # ------------------------------------------------------------ ports.Transport
    async def login(self, username: str, password: str) -> Reply:
        """Grant a token for half an hour."""
        await self._hop()
        token = f"token-{next(self._ids)}-{password}"
        self._tokens[token] = username
        return self._reply(200, {"token": token, "expiresIn": 1800})

    async def submit(self, call: SignedCall, bearer: str) -> Reply:
        """Take a submission or a status call, or lose it on either way."""
        if self._meets("unreached"):
            return Reply(handed_over=False, failure="connection refused")
        if not call.url.endswith(self.profile.paths.status):
            self.on_sent(call.message_id, call.body)
        await self._hop()
        if self._meets("lost_request"):
            return await self._timed_out()
        if self._meets("expired_token"):
            self._tokens.pop(bearer, None)
        refused = next((status for fault, status in REFUSED.items() if self._meets(fault)), None)
        if refused is not None or bearer not in self._tokens:
            return self._reply(refused or 401, {})
        if self._meets("slow_request"):
            self._start(self._slowly(call, self._tokens[bearer]))
            return await self._timed_out()
        reply = self._answer(call, self._tokens[bearer])
        await self._hop()
        if self._meets("lost_reply"):
            return await self._timed_out()
        return self._reply(500, {}) if self._meets("failed_after") else reply

    # ------------------------------------------------------------ the register
    def _answer(self, call: SignedCall, participant: str) -> Reply:
        document = json.loads(call.body)
        if call.url.endswith(self.profile.paths.status):
            return self._status(document)
        ident = document["messageId"]
        names = tuple(asset["assetName"] for asset in document["assets"])
        known = [each for each in self.transactions.values() if each.submission_id == ident]
        if not known:
            self.arrivals.append((ident, names))
        if known and self.profile.capabilities.deduplicates.assets:
            return self._reply(202, {"transactionId": known[0].id})
        transaction = Transaction(id=f"TX-{next(self._ids)}", submission_id=ident, participant=participant, names=names)
        self.transactions[transaction.id] = transaction
        if self._meets("callback_early"):
            self._start(self._work(transaction, 0.0))
        else:
            self._start(
                self._work(transaction, 0.2 + (LATE_S * self.dice.random() if self._meets("late_verdict") else 0))
            )
        return self._reply(202, {"transactionId": transaction.id})

    def _status(self, asked: dict[str, str]) -> Reply:
        transaction = self.transactions.get(asked.get("transactionId", ""))
        if "submissionId" in asked:
            found = [each for each in self.transactions.values() if each.submission_id == asked["submissionId"]]
            transaction = found[0] if found else None
        return self._reply(404, {}) if transaction is None else self._reply(200, self._result(transaction))

    def _result(self, transaction: Transaction) -> dict[str, object]:
        told: dict[str, object] = {"transactionId": transaction.id, "errors": [], "results": []}
        if self.profile.capabilities.echo_submission:
            told["submissionId"] = transaction.submission_id
        if transaction.created is None:
            return {**told, "status": "Processing"}
        if transaction.created:
            results = [{"ref": name, "smpId": f"A-{name}"} for name in transaction.names]
            return {**told, "status": "Success", "notification": "Success", "results": results}
        errors = [
            {"index": row, "ref": transaction.names[row], "code": "DUPLICATE_ASSET", "message": "exists already"}
            for row in transaction.taken
        ]
        return {**told, "status": "Failed", "errors": errors}

    async def _work(self, transaction: Transaction, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        transaction.taken = tuple(row for row, name in enumerate(transaction.names) if name in self.names)
        transaction.created = not transaction.taken
        self.names |= set(transaction.names) if transaction.created else set()
        if self._meets("no_callback"):
            return
        if self._meets("callback_late"):
            await asyncio.sleep(LATE_S * self.dice.random())
        await self._call_back(transaction)
        if self._meets("callback_twice"):
            await self._call_back(transaction)

    async def _slowly(self, call: SignedCall, participant: str) -> None:
        """Take in what waited in the SMP for as long as its profile allows, when nobody waits for the answer."""
        longest_us = self.profile.timings.request_us + self.profile.timings.max_processing_us
        await asyncio.sleep(longest_us / 1_000_000 * self.dice.random())
        self._answer(call, participant)

    async def _call_back(self, transaction: Transaction) -> None:
        """Deliver the verdict, again after pauses while it is not answered well; each time signed anew."""
        for attempt in range(TRIES):
            jti = f"callback-{next(self._ids)}"
            now = VirtualClock().now()
            body = codec.dumps(
                {
                    "messageId": jti,
                    "messageType": "TransactionResult",
                    "issuedAt": "2026-11-25T00:00:00Z",
                    "participant": transaction.participant,
                    **self._result(transaction),
                }
            )
            header = jws.protected_header(
                algorithm=self.signer.algorithm,
                key_id=self.signer.key_id,
                typ=self.profile.signature.typ_callback,
                iat=now // 1_000_000,
                jti=jti,
                aud=self.audience(transaction.participant),
            )
            await self._hop()
            if self.call is not None:
                answer = await self.call(
                    transaction.participant, body, jws.sign_detached(self.signer, header, body), now
                )
                if answer is not None and answer.status == 200:
                    return
            await asyncio.sleep(10.0 * 2**attempt)

    # ------------------------------------------------------------ the network
    def _meets(self, fault: str) -> bool:
        if not self.lossy or self.dice.random() >= CHANCES[fault]:
            return False
        self.met[fault] += 1
        return True

    async def _hop(self) -> None:
        await asyncio.sleep(self.dice.random() * HOP_S)

    async def _timed_out(self) -> Reply:
        await asyncio.sleep(self.profile.timings.request_us / 1_000_000)
        return Reply(handed_over=True, failure="no answer in time")

    def _reply(self, status: int, document: dict[str, object]) -> Reply:
        now = VirtualClock().now()
        return Reply(
            handed_over=True, status=status, body=codec.dumps(document), sent_at=now, answered_at=now, date_at=now
        )

    def _start(self, work: Awaitable[None]) -> None:
        task = contextvars.Context().run(asyncio.ensure_future, work)  # it outlives the gateway that set it off
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
