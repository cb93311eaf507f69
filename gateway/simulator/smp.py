"""The simulated SMP put together: keys, ledger, endpoints, processor, courier; nested, so that leaving ends all."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from gateway.simulator import pki, register, shape, wire
from gateway.simulator.api import Api
from gateway.simulator.callbacks import Writer
from gateway.simulator.courier import Courier, Redelivery
from gateway.simulator.door import Door, Outages
from gateway.simulator.faults import Fault, Faults
from gateway.simulator.ledger import Ledger
from gateway.simulator.orders import OVERLAP_S, Away, BeginOutage, Change, Order, RotateKey
from gateway.simulator.participants import Participant, Participants
from gateway.simulator.record import Entry

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
    under which participants reach it (a proxy's), since a signature names the one that its signer used. With a
    ``client_ca`` only clients with a certificate of it get in. ``faults`` may be changed or replaced at any time.
    ``clock`` is its wall clock (µs UTC), which its `Date` headers show as well.
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
        client_ca: Path | None = None,
        processing_delay_s: float = 0.02,
        participants: Sequence[Participant] | None = None,
        also_known_as: Sequence[str] = (),
        token_life_s: int = TOKEN_LIFE_S,
        redelivery: Redelivery | None = None,
        faults: Faults | None = None,
        tell: Callable[[str], None] | None = None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._clock = clock
        self.wire = wire.read(profile_path)
        self.state = state
        self.host = host
        self.port = port
        self.callback_url = callback_url.rstrip("/")
        self.faults = faults or Faults()
        self._callback_ca = callback_ca
        self._client_ca = client_ca
        self._delay_s = processing_delay_s
        self._participants = Participants(state, participants)
        self._also_known_as = tuple(also_known_as)
        self._token_life_s = token_life_s
        self._redelivery = redelivery or Redelivery()
        self._listener = tell or (lambda _line: None)
        self._news = asyncio.Event()
        self._queue: deque[tuple[float, str]] = deque()  # (not before, transaction), in the order of arrival
        self._filled = asyncio.Event()
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
        self.pki = pki.prepare(
            self.state / "pki",
            host=self.host,
            now_us=now_us(),
            algorithm=self.wire.algorithms[0],
            client_ca=self._client_ca,
        )
        async with AsyncExitStack() as stack:
            self.ledger = Ledger(self.state / LEDGER_FILE)
            stack.callback(self.ledger.close)
            session = await stack.enter_async_context(self._callback_session())
            tasks = await stack.enter_async_context(_cancelled_at_the_end())
            self._tasks = tasks
            door = Door(self._api().application(), host=self.host, port=self.port, tls=self.pki.tls)
            stack.push_async_callback(door.remove)
            self._outages = Outages(door, tasks=tasks, tell=self._tell)
            self._writer = Writer(
                wire=self.wire, public_url=self.callback_url, key=lambda: self.pki.signing, clock=self._clock
            )
            self._courier = Courier(
                ledger=self.ledger,
                session=session,
                tasks=tasks,
                header=self.wire.headers["signature"],
                media_type=self.wire.media_types["signed"],
                redelivery=self._redelivery,
                writer=self._writer,
                available=self._outages.over,
                faults=lambda: self.faults,
                clock=self._clock,
                tell=self._tell,
            )
            for transaction_id in self.ledger.undecided():
                self._enqueue(0.0, transaction_id)
            tasks.create_task(self._process_queue(), name="processor")
            self._courier.resume()
            await door.open()
            self.port = door.port
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

    async def arrived(self, count: int) -> None:
        """Wait until the ledger holds so many signed submissions; safe to cancel."""
        while self.ledger.arrived() < count:
            await self._news.wait()

    async def obey(self, order: Order) -> None:
        """Do what a scenario or the control API asks for."""
        if isinstance(order, Change):
            self.faults.change(order.settings, seed=order.seed)
        elif isinstance(order, BeginOutage):
            await self._outages.begin(order)
        elif isinstance(order, RotateKey):
            self.rotate_key(overlap_s=order.overlap_s)
        else:
            self.expire_tokens()

    async def begin_outage(self, *, for_s: float, away: Away = Away.REFUSED) -> None:
        """Be away for so long, and send no callback meanwhile."""
        await self.obey(BeginOutage(for_s=for_s, away=away))

    def rotate_key(self, *, overlap_s: float = OVERLAP_S) -> str:
        """Sign callbacks with a new key, publish both for so long, and return the new one's id."""
        self.pki = pki.rotate(self.pki, overlap_s=overlap_s, now_us=now_us())
        self._tasks.create_task(self._withdraw(overlap_s), name="old key")
        self._tell(f"callbacks are signed with {self.pki.signing.kid} from now on")
        return str(self.pki.signing.kid)

    def expire_tokens(self) -> None:
        """Forget every token given out so far."""
        self.pki = pki.forget_tokens(self.pki)
        self._tell("every token is forgotten")

    def told(self) -> dict[str, object]:
        """The plan of faults, and the outage under way."""
        return {**self.faults.told(), "outage": self._outages.told()}

    def _outage_left_s(self) -> float | None:
        return self._outages.left_s()

    async def _withdraw(self, overlap_s: float) -> None:
        await asyncio.sleep(overlap_s + 2.0)  # its exp is in whole seconds, rounded up
        pki.withdraw(self.pki, now_us=now_us())

    def _tell(self, line: str) -> None:
        self._news.set()
        self._news = asyncio.Event()
        self._listener(line)

    def _callback_session(self) -> aiohttp.ClientSession:
        trust = ssl.create_default_context(cafile=self._callback_ca)
        folder = self.state / "pki"
        trust.load_cert_chain(folder / "smp-server.pem", folder / "smp-server.key")
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust))

    def _api(self) -> Api:
        return Api(
            wire=self.wire,
            ledger=self.ledger,
            participants=self._participants,
            token_key=lambda: self.pki.token,
            signing_key=lambda: self.pki.signing,
            expire_tokens=self.expire_tokens,
            jwks=self.pki.jwks_path.read_bytes,
            unavailable=self._outage_left_s,
            token_life_s=self._token_life_s,
            audiences=self._audiences,
            process=self._schedule,
            faults=lambda: self.faults,
            clock=self._clock,
            tell=self._tell,
        )

    def _audiences(self, path: str) -> Collection[str]:
        own = (f"https://{host}:{self.port}" for host in (self.host, "localhost", "127.0.0.1"))
        return {base.rstrip("/") + path for base in (*own, *self._also_known_as)}

    async def _schedule(self, transaction_id: str) -> None:
        transaction = self.ledger.transaction(transaction_id)
        if transaction is not None and self.wire.item(transaction.kind).decided_with is not None:
            self._process(transaction_id)  # the answer waits for it
            return
        early = self.faults.happens(Fault.CALLBACK_EARLY)
        if early:
            self.ledger.note(Fault.CALLBACK_EARLY, at=now_us(), transaction_id=transaction_id, status=None)
        if early or self.faults.callback_first:
            while self._queue:  # an early one does not go before its turn
                self._process(self._queue.popleft()[1])
            tried = self._process(transaction_id, early=True)
            await tried.wait()
            return
        self._enqueue(asyncio.get_running_loop().time() + self._delay_s, transaction_id)

    def _enqueue(self, due: float, transaction_id: str) -> None:
        self._queue.append((due, transaction_id))
        self._filled.set()

    async def _process_queue(self) -> None:
        """Decide transactions in the order of arrival, each not before its time unless an early one comes after it."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._queue:  # an early one may have emptied it again before this task woke
                self._filled.clear()
                await self._filled.wait()
            due, transaction_id = self._queue[0]
            if due > loop.time():
                self.ledger.begin(transaction_id)
                await asyncio.sleep(due - loop.time())
            if self._queue and self._queue[0][1] == transaction_id:
                self._queue.popleft()
                self._process(transaction_id)

    def _process(self, transaction_id: str, *, early: bool = False) -> asyncio.Event:
        transaction = self.ledger.transaction(transaction_id)
        if transaction is None:
            raise LookupError(transaction_id)
        item = self.wire.item(transaction.kind)
        rows = shape.rows(shape.parse(transaction.body), item, self.wire)
        decision = register.decide(
            transaction,
            rows,
            item,
            self.wire,
            register.Held(
                lambda kind, names: self.ledger.existing(transaction.participant, kind, names),
                lambda names: self._groups(transaction.participant, names),
            ),
        )
        at = now_us()
        decided = replace(
            transaction, status=decision.status, created=decision.created, errors=decision.errors, completed_at=at
        )
        callback = self._writer.truth(decided) if item.decided_with is None else None
        self.ledger.decide(transaction, decision, at=at, callback=callback)
        self._tell(f"{transaction.kind} {transaction.participant} {transaction.id} {decision.status}")
        if callback is None:
            return asyncio.Event()
        return self._courier.send(callback, early=early)

    def _groups(self, participant: str, names: Iterable[str]) -> dict[str, object]:
        """The GSP group of each of these assets that is there, as the submission said that created it."""
        item = self.wire.asset
        found: dict[str, dict[str, Any]] = {}
        for transaction_id, created in self.ledger.origins(participant, item.kind, names).items():
            transaction = self.ledger.transaction(transaction_id)
            if transaction is not None:
                rows = shape.rows(shape.parse(transaction.body), item, self.wire)
                found |= {row[item.ref]: row for row in rows if row[item.ref] in created}
        return {name: shape.value_at(row, item.spell("connection.gspGroup")) for name, row in found.items()}


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
