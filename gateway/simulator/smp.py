"""The simulated SMP put together: keys, ledger, endpoints, processor, courier; nested, so that leaving ends all."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from joserfc.jwk import ECKey

from gateway.simulator import pki, register, shape, signatures, wire
from gateway.simulator.api import Api, encode, instant, report
from gateway.simulator.courier import Courier, Redelivery
from gateway.simulator.faults import Faults
from gateway.simulator.ledger import Ledger
from gateway.simulator.participants import Participant, Participants
from gateway.simulator.record import Callback, Entry, Transaction

LEDGER_FILE = "smp-ledger.db"
TOKEN_LIFE_S = 1800


def now_us() -> int:
    """µs UTC."""
    return time.time_ns() // 1000


class SimulatedSmp:
    """An SMP to practise against, on a real TLS socket; use it as an async context manager.

    ``state`` is the folder shared with the gateway: ``state/pki`` for keys in both directions, ``state/secrets`` for
    logins, ``state/smp-ledger.db`` for the ledger; starting again on the same folder goes on where the last run ended,
    however that ended. ``callback_url`` is the gateway's ``public_url``. ``also_known_as`` holds further base URLs
    under which participants reach it (a proxy's), since a signature names the one that its signer used. ``faults`` may
    be changed or replaced at any time.
    """

    def __init__(
        self,
        *,
        profile_path: Path,
        state: Path,
        callback_url: str,
        host: str = "127.0.0.1",
        port: int = 0,
        callback_ca: Path | None = None,
        processing_delay_s: float = 0.02,
        participants: Sequence[Participant] | None = None,
        also_known_as: Sequence[str] = (),
        token_life_s: int = TOKEN_LIFE_S,
        redelivery: Redelivery | None = None,
        faults: Faults | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.wire = wire.read(profile_path)
        self.state = state
        self.host = host
        self.port = port
        self.callback_url = callback_url.rstrip("/")
        self.faults = faults or Faults()
        self._callback_ca = callback_ca
        self._delay_s = processing_delay_s
        self._participants = Participants(state, participants)
        self._also_known_as = tuple(also_known_as)
        self._token_life_s = token_life_s
        self._redelivery = redelivery or Redelivery()
        self._listener = tell or (lambda _line: None)
        self._news = asyncio.Event()
        self._queue: asyncio.Queue[tuple[float, str]] = asyncio.Queue()
        self._stack = AsyncExitStack()

    @property
    def base_url(self) -> str:
        """What a participant configures."""
        return f"https://{self.host}:{self.port}"

    @property
    def ca_path(self) -> Path:
        """The certificate authority that a participant trusts."""
        return self.pki.ca_path

    @property
    def jwks_path(self) -> Path:
        """The public keys that a participant verifies callbacks with."""
        return self.pki.jwks_path

    async def __aenter__(self) -> Self:
        self.state.mkdir(parents=True, exist_ok=True)
        self.pki = pki.prepare(self.state / "pki", host=self.host, now_us=now_us())
        async with AsyncExitStack() as stack:
            self.ledger = Ledger(self.state / LEDGER_FILE)
            stack.callback(self.ledger.close)
            session = await stack.enter_async_context(self._callback_session())
            tasks = await stack.enter_async_context(_cancelled_at_the_end())
            self._courier = Courier(
                ledger=self.ledger,
                session=session,
                tasks=tasks,
                header=self.wire.headers["signature"],
                redelivery=self._redelivery,
                faults=lambda: self.faults,
                clock=now_us,
                tell=self._tell,
            )
            for transaction_id in self.ledger.undecided():
                self._queue.put_nowait((0.0, transaction_id))
            tasks.create_task(self._process_queue(), name="processor")
            self._courier.resume()
            await stack.enter_async_context(self._listening())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def until(self, holds: Callable[[list[Entry]], bool]) -> list[Entry]:
        """Wait until the ledger's entries satisfy this, and return them; safe to cancel."""
        while not holds(entries := self.ledger.entries()):
            await self._news.wait()
        return entries

    def _tell(self, line: str) -> None:
        self._news.set()
        self._news = asyncio.Event()
        self._listener(line)

    def _callback_session(self) -> aiohttp.ClientSession:
        trust = ssl.create_default_context(cafile=self._callback_ca)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust))

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        api = Api(
            wire=self.wire,
            ledger=self.ledger,
            participants=self._participants,
            token_key=self.pki.token,
            token_life_s=self._token_life_s,
            audiences=self._audiences,
            process=self._schedule,
            faults=lambda: self.faults,
            clock=now_us,
            tell=self._tell,
        )
        runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.host, self.port, ssl_context=self.pki.tls)
            await site.start()
            self.port = int(runner.addresses[0][1])
            yield
        finally:
            await runner.cleanup()

    def _audiences(self, path: str) -> Collection[str]:
        own = (f"https://{host}:{self.port}" for host in (self.host, "localhost", "127.0.0.1"))
        return {base.rstrip("/") + path for base in (*own, *self._also_known_as)}

    async def _schedule(self, transaction_id: str) -> None:
        if self.faults.callback_first:
            tried = self._process(transaction_id)
            await tried.wait()
            return
        due = asyncio.get_running_loop().time() + self._delay_s
        self._queue.put_nowait((due, transaction_id))

    async def _process_queue(self) -> None:
        """Decide transactions in the order of arrival, each not before its time."""
        loop = asyncio.get_running_loop()
        while True:
            due, transaction_id = await self._queue.get()
            if due > loop.time():
                self.ledger.begin(transaction_id)
                await asyncio.sleep(due - loop.time())
            self._process(transaction_id)

    def _process(self, transaction_id: str) -> asyncio.Event:
        transaction = self.ledger.transaction(transaction_id)
        if transaction is None:
            raise LookupError(transaction_id)
        item = self.wire.asset if transaction.kind == self.wire.asset.kind else self.wire.unit
        rows = shape.rows(shape.parse(transaction.body), item, self.wire)
        decision = register.decide(
            transaction,
            rows,
            item,
            self.wire,
            lambda kind, names: self.ledger.existing(transaction.participant, kind, names),
        )
        at = now_us()
        decided = replace(
            transaction, status=decision.status, created=decision.created, errors=decision.errors, completed_at=at
        )
        callback = self._callback(decided, at, self.pki.signing)
        self.ledger.decide(transaction, decision, at=at, callback=callback)
        self._tell(f"{transaction.kind} {transaction.participant} {transaction.id} {decision.status}")
        return self._courier.send(callback)

    def _callback(self, transaction: Transaction, at: int, key: ECKey) -> Callback:
        names = self.wire.result
        identifier = _random_id()
        body = encode(
            {
                names["message_id"]: identifier,
                names["message_type"]: self.wire.result_type,
                names["issued_at"]: instant(at),
                names["participant"]: transaction.participant,
                **report(transaction, self.wire),
            }
        )
        url = self.callback_url + self.wire.paths["callback"].format(participant=transaction.participant)
        signature = signatures.sign(
            body, key, typ=self.wire.typ_callback, audience=url, jti=_random_id(), now_s=at // 1_000_000
        )
        return Callback(
            id=identifier,
            transaction_id=transaction.id,
            participant=transaction.participant,
            url=url,
            body=body,
            signature=signature,
        )


@asynccontextmanager
async def _cancelled_at_the_end() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group for work that goes on until the simulator ends; what it leaves is on disk."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
            raise _End  # noqa: TRY301 -- raising inside is how a task group is told to cancel its tasks
    except* _End:
        pass


class _End(Exception):
    """The way to end a task group from within; never seen outside."""


def _random_id() -> str:
    return str(uuid.UUID(bytes=os.urandom(16), version=4))
