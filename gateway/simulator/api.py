"""The simulated SMP's HTTP face: what each request is answered, checked in the order token, size, signature, shape."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from gateway.errors import SignatureRefused
from gateway.simulator import shape, signatures
from gateway.simulator.faults import CUT, Faults
from gateway.simulator.ledger import Ledger
from gateway.simulator.participants import Participants
from gateway.simulator.record import Outcome, Received, Status, Transaction
from gateway.simulator.register import error
from gateway.simulator.shape import Flaw
from gateway.simulator.wire import Item, Wire

TOKEN_ALGORITHM = "HS256"  # noqa: S105 -- an algorithm's name; only this simulator reads its own tokens


class Refusal(Exception):
    """Answer with this status and these flaws."""

    def __init__(self, status: int, *flaws: Flaw) -> None:
        self.status = status
        self.flaws = flaws
        super().__init__(f"{status} {flaws[0].code if flaws else ''}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a verified request, and what they sent."""

    participant: str
    jti: str
    body: bytes
    last_byte_ns: int


class Api:
    """The four endpoints."""

    def __init__(
        self,
        *,
        wire: Wire,
        ledger: Ledger,
        participants: Participants,
        token_key: OctKey,
        token_life_s: int,
        audiences: Callable[[str], Collection[str]],
        process: Callable[[str], Awaitable[None]],
        faults: Callable[[], Faults],
        clock: Callable[[], int],
        tell: Callable[[str], None],
    ) -> None:
        self._wire = wire
        self._ledger = ledger
        self._participants = participants
        self._token_key = token_key
        self._token_life_s = token_life_s
        self._audiences = audiences
        self._process = process
        self._faults = faults
        self._clock = clock
        self._tell = tell

    def application(self) -> web.Application:
        """The endpoints at the profile's paths."""
        application = web.Application(client_max_size=self._wire.request_bytes)
        handlers = {"authenticate": self._login, "assets": self._assets, "units": self._units, "status": self._status}
        for name, handler in handlers.items():
            application.router.add_post(self._wire.paths[name], self._answering(handler))
        return application

    def _answering(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            try:
                return await handler(request)
            except Refusal as refusal:
                self._tell(f"{request.path} refused: {refusal}")
                flaws = [error(flaw, self._wire) for flaw in refusal.flaws]
                return web.json_response({self._wire.result["errors"]: flaws}, status=refusal.status)

        return answer

    async def _login(self, request: web.Request) -> web.Response:
        names = self._wire.login
        document = _parse(await request.read())
        username, password = document.get(names["username"]), document.get(names["password"])
        if not (isinstance(username, str) and isinstance(password, str)):
            raise Refusal(400, Flaw(code="MALFORMED", message="username and password must be texts"))
        participant = self._participants.login(username, password)
        if participant is None:
            raise Refusal(401, Flaw(code="BAD_CREDENTIALS", message="unknown username or password"))
        now_s = self._clock() // 1_000_000
        claims = {"sub": participant, "iat": now_s, "exp": now_s + self._token_life_s}
        token = jwt.encode({"alg": TOKEN_ALGORITHM}, claims, self._token_key)
        self._tell(f"login {participant}")
        return web.json_response({names["token"]: token, names["expires_in"]: self._token_life_s})

    async def _assets(self, request: web.Request) -> web.Response:
        return await self._submit(request, self._wire.asset)

    async def _units(self, request: web.Request) -> web.Response:
        return await self._submit(request, self._wire.unit)

    async def _submit(self, request: web.Request, item: Item) -> web.Response:
        caller = await self._caller(request, item.kind)
        _fail(request, self._faults().before_commit)
        outcome, transaction = self._admit(request, caller, item)
        if transaction is None:
            code, status = ("REPLAYED", 401) if outcome is Outcome.REPLAYED else ("SUBMISSION_ID_REUSED", 409)
            raise Refusal(status, Flaw(code=code, message="the same id was used before"))
        self._tell(f"{item.kind} {caller.participant} {transaction.submission} {outcome} {transaction.id}")
        if outcome is Outcome.ACCEPTED:
            await self._process(transaction.id)
        await asyncio.sleep(self._faults().answer_delay_s)
        _fail(request, self._faults().after_commit)
        answer = {
            self._wire.status["transaction_id"]: transaction.id,
            "receivedAt": instant(transaction.received_at),
        }
        return web.json_response(answer, status=202)

    def _admit(self, request: web.Request, caller: Caller, item: Item) -> tuple[Outcome, Transaction | None]:
        try:
            document = shape.parse(caller.body)
            flaws = shape.submission_flaws(document, item, self._wire)
            status = 422
        except ValueError as fault:
            document, flaws, status = None, [Flaw(code="MALFORMED", message=str(fault))], 400
        name = self._wire.submission["message_id"]
        submission = document.get(name) if isinstance(document, dict) else None
        header = request.headers.get(self._wire.headers["message_id"])
        if not flaws and header != submission:
            flaws = [Flaw(field=name, code="MESSAGE_ID", message=f"differs from the header's {header!r}")]
        received = Received(
            participant=caller.participant,
            submission=submission if isinstance(submission, str) else "",
            kind=item.kind,
            body=caller.body,
            sha256=hashlib.sha256(caller.body).hexdigest(),
            jti=caller.jti,
            at=self._clock(),
            last_byte_ns=caller.last_byte_ns,
        )
        if not flaws:
            return self._ledger.admit(received, deduplicate=self._wire.deduplicates[item.kind])
        if self._ledger.refuse(received) is Outcome.REPLAYED:
            return Outcome.REPLAYED, None
        raise Refusal(status, *flaws)

    async def _status(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "status")
        document = _parse(caller.body)
        if not self._ledger.spend(caller.participant, caller.jti):
            raise Refusal(401, Flaw(code="REPLAYED", message="the same jti was used before"))
        transaction = self._find(caller.participant, document)
        if transaction is None:
            raise Refusal(404, Flaw(code="UNKNOWN_TRANSACTION", message="no such transaction"))
        return web.json_response(report(transaction, self._wire))

    def _find(self, participant: str, document: Mapping[str, Any]) -> Transaction | None:
        names = self._wire.status
        transaction_id, submission = document.get(names["transaction_id"]), document.get(names["submission_id"])
        if isinstance(transaction_id, str) and submission is None:
            found = self._ledger.transaction(transaction_id)
            return found if found is not None and found.participant == participant else None
        if self._wire.status_by_submission and isinstance(submission, str) and transaction_id is None:
            return self._ledger.transaction_of(participant, submission)
        raise Refusal(422, Flaw(code="MALFORMED", message="one id is needed, of a transaction or of a submission"))

    async def _caller(self, request: web.Request, endpoint: str) -> Caller:
        holder = self._token_holder(request.headers.get(self._wire.headers["authorization"], ""))
        if "Content-Encoding" in request.headers or request.content_type != "application/json":
            raise Refusal(415, Flaw(code="MEDIA_TYPE", message="send plain application/json"))
        body = await request.read()
        last_byte_ns = time.monotonic_ns()
        signature = request.headers.get(self._wire.headers["signature"])
        if signature is None:
            raise Refusal(401, Flaw(code="UNSIGNED", message="there is no signature"))
        expected = signatures.Expected(
            typ=self._wire.typ_request,
            audiences=self._audiences(self._wire.paths[endpoint]),
            algorithms=self._wire.algorithms,
            tolerance_s=self._wire.tolerance_s,
        )
        try:
            signed = signatures.verify(
                signature, body, key_of=self._participants.key, expected=expected, now_s=self._clock() // 1_000_000
            )
        except SignatureRefused as refused:
            raise Refusal(401, Flaw(code=f"SIGNATURE_{refused.code.upper()}", message=refused.reason)) from refused
        if signed.participant != holder:
            raise Refusal(403, Flaw(code="FOREIGN_KEY", message="token and signature are of different participants"))
        return Caller(participant=holder, jti=signed.jti, body=body, last_byte_ns=last_byte_ns)

    def _token_holder(self, authorization: str) -> str:
        scheme, _, token = authorization.partition(" ")
        try:
            claims = jwt.decode(token, self._token_key, algorithms=[TOKEN_ALGORITHM]).claims
        except (JoseError, ValueError) as fault:
            raise Refusal(401, Flaw(code="BAD_TOKEN", message=str(fault))) from fault
        if scheme != "Bearer" or claims["exp"] <= self._clock() // 1_000_000:
            raise Refusal(401, Flaw(code="TOKEN_EXPIRED", message="authenticate again"))
        return str(claims["sub"])


def report(transaction: Transaction, wire: Wire) -> dict[str, Any]:
    """What status answers and callbacks say of a transaction alike."""
    names = wire.result
    word = wire.status_words
    spelt = {
        Status.PENDING: word["pending"][0],
        Status.PROCESSING: word["pending"][-1],
        Status.SUCCESS: word["success"][0],
        Status.FAILED: word["failed"][0],
    }
    smp_names = (wire.created["ref"], wire.created["smp_id"])
    told = {
        names["transaction_id"]: transaction.id,
        "action": "CreateAsset" if transaction.kind == wire.asset.kind else "CreateUnit",
        names["status"]: spelt[transaction.status],
        "completedAt": None if transaction.completed_at is None else instant(transaction.completed_at),
        names["notification"]: spelt[Status.SUCCESS] if transaction.status is Status.SUCCESS else None,
        names["results"]: [dict(zip(smp_names, pair, strict=True)) for pair in transaction.created],
        names["errors"]: list(transaction.errors),
    }
    return {**told, names["submission_id"]: transaction.submission} if wire.echo_submission else told


def instant(at_us: int) -> str:
    """µs UTC as the wire's timestamp, to the second."""
    return datetime.fromtimestamp(at_us // 1_000_000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode(document: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON object, without spaces."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _parse(body: bytes) -> dict[str, Any]:
    try:
        document = shape.parse(body)
    except ValueError as fault:
        raise Refusal(400, Flaw(code="MALFORMED", message=str(fault))) from fault
    if not isinstance(document, dict):
        raise Refusal(400, Flaw(code="MALFORMED", message="not a JSON object"))
    return document


def _fail(request: web.Request, planned: deque[int]) -> None:
    if planned:
        status = planned.popleft()
        if status == CUT and request.transport is not None:
            request.transport.abort()
        raise Refusal(status or 500, Flaw(code="PLANNED", message="a fault on purpose"))
