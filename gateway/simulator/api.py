"""The simulated SMP's HTTP face: what each request is answered, checked in the order token, size, signature, shape."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, OctKey

from gateway.errors import SignatureRefused
from gateway.simulator import report, shape, signatures
from gateway.simulator.callbacks import random_id
from gateway.simulator.faults import CUT, HALF, Fault, Faults, Mishap
from gateway.simulator.ledger import Ledger
from gateway.simulator.participants import Participants
from gateway.simulator.record import Outcome, Received, Transaction
from gateway.simulator.register import error
from gateway.simulator.report import encode, instant
from gateway.simulator.shape import Flaw
from gateway.simulator.wire import Item, Wire

TOKEN_ALGORITHM = "HS256"  # noqa: S105 -- an algorithm's name; only this simulator reads its own tokens
JWKS_PATH = "/.well-known/jwks.json"
HALF_READ_S = 0.01  # the half that is to arrive must have left before the reset overtakes it


class Refusal(Exception):
    """Answer with this status and these flaws."""

    def __init__(self, status: int, *flaws: Flaw, retry_after_s: float | None = None) -> None:
        self.status = status
        self.flaws = flaws
        self.headers = {} if retry_after_s is None else {"Retry-After": str(math.ceil(retry_after_s))}
        super().__init__(f"{status} {flaws[0].code if flaws else ''}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a verified request, and what they sent."""

    participant: str
    jti: str
    body: bytes
    last_byte_ns: int


class Api:
    """The four endpoints, and the callback keys at :data:`JWKS_PATH` for who fetches them.

    ``unavailable`` is how many seconds an outage will still last; every request is then answered 503.
    """

    def __init__(
        self,
        *,
        wire: Wire,
        ledger: Ledger,
        participants: Participants,
        token_key: Callable[[], OctKey],
        signing_key: Callable[[], Key],
        expire_tokens: Callable[[], None],
        jwks: Callable[[], bytes],
        unavailable: Callable[[], float | None],
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
        self._signing_key = signing_key
        self._expire_tokens = expire_tokens
        self._jwks = jwks
        self._unavailable = unavailable
        self._token_life_s = token_life_s
        self._audiences = audiences
        self._process = process
        self._faults = faults
        self._clock = clock
        self._tell = tell

    def application(self) -> web.Application:
        """The endpoints at the profile's paths."""
        application = web.Application(client_max_size=self._wire.request_bytes)
        handlers: dict[str, Callable[[web.Request], Awaitable[web.Response]]] = {
            "authenticate": self._login,
            "assets": self._assets,
            "units": self._units,
            "status": self._status,
        }
        for kind in self._wire.further:
            handlers[kind] = partial(self._submit, item=self._wire.item(kind))
        for name, handler in handlers.items():
            signed = self._wire.answers_signed and name != "authenticate"
            route = self._answering(handler, signed=signed)
            application.router.add_route(self._wire.methods[name], self._wire.paths[name], route)
            if name == "status" and (path := self._wire.paths.get("status_by_submission")):
                application.router.add_route(self._wire.methods[name], path, route)
        application.router.add_get(JWKS_PATH, self._answering(self._keys, signed=False))
        application.on_response_prepare.append(self._date)
        return application

    async def _date(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self._clock() / 1e6, usegmt=True)

    def _answering(
        self, handler: Callable[[web.Request], Awaitable[web.Response]], *, signed: bool
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            try:
                if (left_s := self._unavailable()) is not None:
                    flaw = Flaw(code="UNAVAILABLE", message="an outage on purpose")
                    raise Refusal(503, flaw, retry_after_s=left_s)  # noqa: TRY301 -- answered as every refusal is
                response = await handler(request)
            except Refusal as refusal:
                self._tell(f"{request.path} refused: {refusal}")
                flaws = [error(flaw, self._wire) for flaw in refusal.flaws]
                response = self._respond(report.refusal(self._wire, flaws), refusal.status)
                response.headers.update(refusal.headers)
            return await self._signed(request, response) if signed else response

        return answer

    def _respond(self, document: Mapping[str, Any] | list[dict[str, Any]], status: int = 200) -> web.Response:
        return web.Response(body=encode(document), status=status, content_type=self._wire.media_types["plain"])

    async def _signed(self, request: web.Request, plain: web.Response) -> web.Response:
        """Sign an answer for the request that it answers; one whose signature says nothing gets it as it is."""
        name = self._wire.headers["signature"]
        try:
            _, token = signatures.unpack(self._wire.form, await request.read(), request.headers.get(name, ""))
        except SignatureRefused:
            return plain
        if (claimed := signatures.claimed(token)) is None:
            return plain
        jti, audience = claimed
        content = plain.body if isinstance(plain.body, bytes) else b""
        made = signatures.sign(
            content,
            self._signing_key(),
            typ=self._wire.typ_response,
            audience=audience,
            jti=random_id(),
            now_s=self._clock() // 1_000_000,
            request=jti,
        )
        body, header = signatures.pack(self._wire.form, content, made)
        answer = web.Response(body=body, status=plain.status, content_type=self._wire.media_types["signed"])
        if header:
            answer.headers[name] = header
        if "Retry-After" in plain.headers:
            answer.headers["Retry-After"] = plain.headers["Retry-After"]
        return answer

    async def _keys(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._jwks(), content_type="application/jwk-set+json")

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
        token = jwt.encode({"alg": TOKEN_ALGORITHM}, claims, self._token_key())
        self._tell(f"login {participant}")
        told: dict[str, Any] = {}
        shape = self._wire.token
        report.place(told, shape["path"], token)
        if "expires" in shape:
            ends: dict[str, object] = {
                "seconds": self._token_life_s,
                "epoch": now_s + self._token_life_s,
                "instant": instant((now_s + self._token_life_s) * 1_000_000),
            }
            report.place(told, shape["expires"], ends[shape.get("expires_as", "seconds")])
        return self._respond(told)

    async def _assets(self, request: web.Request) -> web.Response:
        return await self._submit(request, self._wire.asset)

    async def _units(self, request: web.Request) -> web.Response:
        return await self._submit(request, self._wire.unit)

    async def _submit(self, request: web.Request, item: Item) -> web.Response:
        if self._faults().happens(Fault.EXPIRE_TOKENS):
            self._note(Fault.EXPIRE_TOKENS, None)
            self._expire_tokens()
        caller = await self._caller(request)
        if (mishap := self._faults().before()) is not None:
            await self._suffer(request, mishap)
        outcome, transaction = self._admit(request, caller, item)
        if transaction is None:
            code, status = ("REPLAYED", 401) if outcome is Outcome.REPLAYED else ("SUBMISSION_ID_REUSED", 409)
            raise Refusal(status, Flaw(code=code, message="the same id was used before"))
        self._tell(f"{item.kind} {caller.participant} {transaction.submission} {outcome} {transaction.id}")
        if outcome is Outcome.ACCEPTED:
            await self._process(transaction.id)
        await asyncio.sleep(self._faults().pause_s())
        answer: dict[str, Any] = {
            self._wire.result["transaction_id"]: transaction.id,
            "receivedAt": instant(transaction.received_at),
        }
        if item.decided_with is not None:
            answer = report.report(self._ledger.transaction(transaction.id) or transaction, self._wire)
        if (mishap := self._faults().after()) is not None:
            await self._suffer(request, mishap, transaction=transaction, answer=encode(answer))
        return self._respond(answer, item.decided_with or self._wire.taken)

    async def _suffer(
        self, request: web.Request, mishap: Mishap, *, transaction: Transaction | None = None, answer: bytes = b""
    ) -> None:
        """Let this happen instead of the answer; never returns normally."""
        if mishap.fault is not None:
            self._note(mishap.fault, transaction)
        if mishap.status == HALF:
            await _cut_short(request, answer)
        elif mishap.status == CUT and request.transport is not None:
            request.transport.abort()
        flaw = Flaw(code="PLANNED", message="a fault on purpose")
        raise Refusal(mishap.status if mishap.status > 0 else 500, flaw, retry_after_s=mishap.retry_after_s)

    def _note(self, fault: Fault, transaction: Transaction | None) -> None:
        transaction_id = None if transaction is None else transaction.id
        self._ledger.note(fault, at=self._clock(), transaction_id=transaction_id, status=None)
        self._tell(f"fault {fault} {transaction_id or ''}".rstrip())

    def _admit(self, request: web.Request, caller: Caller, item: Item) -> tuple[Outcome, Transaction | None]:
        try:
            document = shape.parse(caller.body)
            flaws = shape.submission_flaws(document, item, self._wire)
            status = 422
        except ValueError as fault:
            document, flaws, status = None, [Flaw(code="MALFORMED", message=str(fault))], 400
        name = self._wire.submission["message_id"]
        submission = document.get(name) if isinstance(document, dict) else None
        header_name = self._wire.headers["message_id"]
        header = request.headers.get(header_name) if header_name else submission
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
        caller = await self._caller(request)
        names = self._wire.status
        asked = {names[place]: value for place, value in request.match_info.items()}
        document = asked or _parse(caller.body)
        if not self._ledger.spend(caller.participant, caller.jti):
            raise Refusal(401, Flaw(code="REPLAYED", message="the same jti was used before"))
        if self._faults().happens(Fault.FAIL_STATUS):
            await self._suffer(request, Mishap(status=500, fault=Fault.FAIL_STATUS))
        transaction = self._find(caller.participant, document)
        if transaction is None:
            raise Refusal(404, Flaw(code="UNKNOWN_TRANSACTION", message="no such transaction"))
        return self._respond(report.report(transaction, self._wire))

    def _find(self, participant: str, document: Mapping[str, Any]) -> Transaction | None:
        names = self._wire.status
        transaction_id, submission = document.get(names["transaction_id"]), document.get(names["submission_id"])
        if isinstance(transaction_id, str) and submission is None:
            found = self._ledger.transaction(transaction_id)
            return found if found is not None and found.participant == participant else None
        if self._wire.status_by_submission and isinstance(submission, str) and transaction_id is None:
            return self._ledger.transaction_of(participant, submission)
        raise Refusal(422, Flaw(code="MALFORMED", message="one id is needed, of a transaction or of a submission"))

    async def _caller(self, request: web.Request) -> Caller:
        holder = self._token_holder(request.headers.get(self._wire.headers["authorization"], ""))
        if "Content-Encoding" in request.headers or (
            request.body_exists and request.content_type != self._wire.media_types["signed"]
        ):
            raise Refusal(415, Flaw(code="MEDIA_TYPE", message=f"send plain {self._wire.media_types['signed']}"))
        body = await request.read()
        last_byte_ns = time.monotonic_ns()
        signature = request.headers.get(self._wire.headers["signature"])
        if signature is None and (self._wire.form == "detached" or not body):
            raise Refusal(401, Flaw(code="UNSIGNED", message="there is no signature"))
        expected = signatures.Expected(
            typ=self._wire.typ_request,
            audiences=self._audiences(request.rel_url.raw_path),
            algorithms=self._wire.algorithms,
            tolerance_s=self._wire.tolerance_s,
        )
        try:
            content, token = signatures.unpack(self._wire.form, body, signature or "")
            signed = signatures.verify(
                token, content, key_of=self._participants.key, expected=expected, now_s=self._clock() // 1_000_000
            )
        except SignatureRefused as refused:
            raise Refusal(401, Flaw(code=f"SIGNATURE_{refused.code.upper()}", message=refused.reason)) from refused
        if signed.participant != holder:
            raise Refusal(403, Flaw(code="FOREIGN_KEY", message="token and signature are of different participants"))
        return Caller(participant=holder, jti=signed.jti, body=content, last_byte_ns=last_byte_ns)

    def _token_holder(self, authorization: str) -> str:
        scheme = self._wire.headers["authorization_scheme"]
        given, _, token = authorization.partition(" ") if scheme else (scheme, "", authorization)
        try:
            claims = jwt.decode(token, self._token_key(), algorithms=[TOKEN_ALGORITHM]).claims
        except (JoseError, ValueError) as fault:
            raise Refusal(401, Flaw(code="BAD_TOKEN", message=str(fault))) from fault
        if given != scheme or claims["exp"] <= self._clock() // 1_000_000:
            raise Refusal(401, Flaw(code="TOKEN_EXPIRED", message="authenticate again"))
        return str(claims["sub"])


def _parse(body: bytes) -> dict[str, Any]:
    try:
        document = shape.parse(body)
    except ValueError as fault:
        raise Refusal(400, Flaw(code="MALFORMED", message=str(fault))) from fault
    if not isinstance(document, dict):
        raise Refusal(400, Flaw(code="MALFORMED", message="not a JSON object"))
    return document


async def _cut_short(request: web.Request, answer: bytes) -> None:
    """Send the head of a 202 and half of its body, and reset the connection."""
    transport = request.transport
    if transport is None:
        return
    head = f"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
    transport.write(head.encode() + answer[: len(answer) // 2])
    await asyncio.sleep(HALF_READ_S)
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing becomes a reset
    transport.abort()
