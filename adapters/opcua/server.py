"""Our own OPC UA server, called by one site: it writes its values, submits its messages, and takes its results.

Rules
-----
* `Submit` returns when the message is on disk: Good with its id and state, BadInvalidArgument with the reasons,
  BadTooManyOperations when nothing was stored. Whoever got no answer submits again under the same id.
* A result is delivered when the site has acknowledged its sequence; until then it stands in its nodes, and the next one
  waits. With ``latest: true`` it is delivered when it is shown.
* Every value that the site writes is told once; what is not written any more grows old by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from asyncua import Server, ua

from adapters.opcua.config import NO_SECURITY, ListenAddress, OpcuaConnection, OpcuaPoint
from adapters.opcua.entrance import Entrance, Login
from adapters.opcua.listener import MESSAGE_BYTES, build, listening
from adapters.opcua.space import HEARTBEAT, Call, Space, answer, kind_of_point
from adapters.opcua.translation import Kind, write_value
from adapters.opcua.trust import Validator, application_uri, certificate_form, certificates
from adapters.opcua.watching import reading_of
from gateway.core import strict_json
from gateway.core.document import Missing, caller_id, digest
from gateway.core.message import Problem
from gateway.core.point import Access, PointSpec, Quality, Reading
from gateway.errors import LinkLost, PointRejected, SecretError, StrictJsonError
from gateway.ports import (
    Busy,
    Committed,
    ConnectionConfig,
    News,
    PointCall,
    PointWrite,
    Reachable,
    Receipt,
    Refused,
    Resources,
    ResultWrite,
    Session,
    Submitted,
    Write,
)

_BEAT_S = 1.0
_COUNTS = 1 << 32
_NO_ID = Problem(code="no_id", message="Id is no id: 1 to 128 visible characters without spaces, /, + and #")


class OpcuaServerAdapter:
    """One connection of a site, with a listener of its own while it is connected."""

    def __init__(self, config: ConnectionConfig, resources: Resources) -> None:
        settings = config.settings
        if not isinstance(settings, OpcuaConnection) or settings.listen is None:
            raise TypeError(f"{config.name}: {type(settings).__name__} is not an OPC UA server of ours")
        self._config = config
        self._settings = settings
        self._listen: ListenAddress = settings.listen
        self._resources = resources
        self.port = settings.listen.port  # the real one while it listens, where the YAML says 0

    def connect(self) -> AbstractAsyncContextManager[Session]:
        """Listen; entering raises LinkLost when the address is taken or a certificate is missing."""
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Session]:
        host, port = self._listen.host, self._listen.port
        try:
            server = await self._server()
            space = await Space.on(server, self._config.site)
            session = OpcuaServerSession(self._config, self._settings, space, self._resources)
            await session.begin()
            listener = listening(server, host, port)
            self.port = await listener.__aenter__()
        except (OSError, SecretError) as error:
            raise LinkLost(f"cannot listen at {self._listen}: {error}") from error
        try:
            yield session
        finally:
            session.end()
            await listener.__aexit__(None, None, None)

    async def _server(self) -> Server:
        """The server with its certificate, trust list and login, which are read anew."""
        here, secret = self._settings, self._resources.secret
        login = None
        if here.username is not None and here.password is not None:
            password = secret(here.password).decode("utf-8", "replace").rstrip("\r\n")
            login = Login(username=here.username, password=password)
        name = f"SMP gateway, site {self._config.site}"
        if here.security == NO_SECURITY or not (here.certificate and here.key and here.trust):
            door = Entrance(login=login)
            server = await build(f"urn:smp-gateway:{self._config.site}:{self._config.name}", name, door)
        else:
            trust = Validator(certificates(secret(here.trust), str(here.trust)), self._resources.clock.now)
            ours = certificates(secret(here.certificate), str(here.certificate))[0]
            door = Entrance(trust, login)
            server = await build(application_uri(ours, str(here.certificate)), name, door)
            shown, key = certificate_form(secret(here.certificate)), certificate_form(secret(here.key))
            await server.load_certificate(shown.path_or_content, shown.extension)
            await server.load_private_key(key.path_or_content, format=key.extension)
            server.set_certificate_validator(trust)
            policy = here.security.replace("/", "_")
            server.set_security_policy([ua.SecurityPolicyType[policy]])
        server.set_identity_tokens(door.tokens)
        return server


@dataclass(frozen=True, slots=True)
class _Submission:
    """A call that waits for its answer."""

    message: Submitted
    outcome: asyncio.Future[Committed | Refused | Busy]


class OpcuaServerSession:
    """One life of the listener; see `ports.Session` for the contract."""

    def __init__(self, config: ConnectionConfig, settings: OpcuaConnection, space: Space, resources: Resources) -> None:
        self._config = config
        self._settings = settings
        self._space = space
        self._resources = resources
        self._points: dict[str, tuple[PointSpec, Kind]] = {
            name: (spec, kind_of_point(place))
            for name, (spec, place) in config.points.items()
            if isinstance(place, OpcuaPoint)
        }
        self._stirred = asyncio.Event()
        self._readings: dict[str, Reading] = {}
        self._failing: set[str] = set()
        self._beats, self._beat_at = 0, 0.0  # at: the event loop's clock
        self._greeting: list[News] = [Reachable(at=resources.clock.now())]
        self._waiting: deque[_Submission] = deque()
        self._numbers = 0
        self._acknowledged = 0
        self._acknowledging = asyncio.Event()
        self._ended = False

    async def begin(self) -> None:
        """Lay out the nodes."""
        for name, (spec, place) in self._config.points.items():
            if isinstance(place, OpcuaPoint):
                await self._space.point(spec, place, self._taker(self._points[name][0]))
        for message in self._config.triggers:
            await self._space.message(message, self._caller(message))
        self._space.on_acknowledge(self._acknowledge)

    def end(self) -> None:
        """Answer nobody any more; who waits is told that nothing is known to be stored."""
        self._ended = True
        for submission in self._waiting:
            submission.outcome.cancel()
        self._stirred.set()
        self._acknowledging.set()

    async def read(self) -> Sequence[News]:
        """Wait for what the site writes and submits; submissions are told until they are confirmed."""
        while True:
            self._check()
            self._stirred.clear()
            await self._beat()
            if news := self._due():
                return news
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._beat_at):
                    await self._stirred.wait()

    async def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        """Answer the call."""
        self._check()
        for submission in self._waiting:
            if submission.message.receipt == receipt and not submission.outcome.done():
                submission.outcome.set_result(outcome)

    async def write(self, steps: Sequence[Write]) -> None:
        """Show values to the site, and results until it has acknowledged them."""
        for step in steps:
            self._check()
            match step:
                case PointWrite():
                    await self._write_point(step)
                case ResultWrite():
                    await self._write_result(step)
                case PointCall():
                    raise PointRejected(step.point, "methods are the site's server's; ours has Submit only")
                case _:
                    raise PointRejected(step.mailbox, "our own server has no mailboxes; results are at SMP.Result")

    # ------------------------------------------------------------ inside
    def _check(self) -> None:
        if self._ended:
            raise LinkLost(f"{self._config.name} does not listen any more")

    async def _beat(self) -> None:
        """Count up the heartbeat once a second, so that the site's alarms can watch whether we listen to it."""
        now = asyncio.get_running_loop().time()
        if now >= self._beat_at:
            self._beat_at = now + _BEAT_S
            self._beats = (self._beats + 1) % _COUNTS
            await self._space.show(HEARTBEAT, Kind.UINT32, self._beats)

    def _due(self) -> list[News]:
        """What can be told now: all readings, then all submissions in their order."""
        waiting = (each.message for each in self._waiting if not each.outcome.done())
        news = [*self._greeting, *self._readings.values(), *waiting]
        self._greeting.clear()
        self._readings.clear()
        return news

    def _observe(self, reading: Reading) -> None:
        """Keep the latest reading of a point; tell when it begins and when it ceases to be bad."""
        self._readings[reading.point] = reading
        self._stirred.set()
        labels = {"site": self._config.site, "connection": self._config.name, "point": reading.point}
        if reading.quality is Quality.GOOD:
            if reading.point in self._failing:
                self._failing.discard(reading.point)
                self._resources.event("point_read_recovered", **labels)
        elif reading.point not in self._failing:
            self._failing.add(reading.point)
            self._resources.event("point_read_failed", **labels, reason=reading.detail)

    def _taker(self, spec: PointSpec) -> Callable[[ua.DataValue], None]:
        def take(data: ua.DataValue) -> None:
            self._observe(reading_of(spec, data, self._resources.clock.now()))

        return take

    def _caller(self, message: str) -> Call:
        async def call(caller: object, payload: object) -> ua.CallMethodResult:
            return await self._submit(self._submitted(message, str(caller), str(payload)))

        return call

    async def _submit(self, message: Submitted) -> ua.CallMethodResult:
        if self._ended:
            return answer(ua.StatusCodes.BadShutdown)
        submission = _Submission(message, asyncio.get_running_loop().create_future())
        self._waiting.append(submission)
        self._stirred.set()
        try:
            await asyncio.wait([submission.outcome])
        finally:
            self._waiting.remove(submission)
            self._stirred.set()
        return _answer_of(submission, None if submission.outcome.cancelled() else submission.outcome.result())

    def _submitted(self, message: str, caller: str, payload: str) -> Submitted:
        seen_at = self._resources.clock.now()
        self._numbers += 1
        raw = payload.encode("utf-8", "replace")
        key = caller_id(caller)
        document = _document(raw)
        fault = _NO_ID if key is None else None
        if fault is None and isinstance(document, Missing):
            fault = Problem(code=document.code, message=f"Payload: {document.detail}")
        return Submitted(
            message=message,
            key=key if fault is None else None,
            raw=raw,
            document=None if fault is not None else document,
            snapshot={},
            receipt=Receipt(mailbox=message, sequence=self._numbers),
            reply={"id": key or digest(raw)},
            seen_at=seen_at,
            fault=fault,
        )

    def _acknowledge(self, sequence: int) -> None:
        self._acknowledged = sequence
        self._acknowledging.set()

    async def _write_point(self, step: PointWrite) -> None:
        spec, kind = self._points.get(step.point, (None, Kind.STRING))
        if spec is None or spec.access is not Access.WRITE:
            raise PointRejected(step.point, "it is not for writing")
        try:
            raw = write_value(spec, kind, step.value)
        except ValueError as error:
            raise PointRejected(step.point, str(error)) from error
        place = self._config.points[step.point][1]
        if isinstance(place, OpcuaPoint):
            await self._space.show(str(place.where.identifier), kind, raw)

    async def _write_result(self, step: ResultWrite) -> None:
        number = step.number % _COUNTS
        await self._space.show_result(number, step.result)
        while not self._settings.latest and self._acknowledged != number:
            self._acknowledging.clear()
            await self._acknowledging.wait()
            self._check()


def _document(raw: bytes) -> object:
    """The payload's JSON, an object or a list, or why there is none."""
    try:
        document = strict_json.loads(raw, limit=MESSAGE_BYTES)
    except StrictJsonError as error:
        return Missing("bad_json", f"not JSON that is accepted: {error}")
    return document if isinstance(document, dict | list) else Missing("bad_json", "expected an object or a list")


def _answer_of(submission: _Submission, outcome: Committed | Refused | Busy | None) -> ua.CallMethodResult:
    match outcome:
        case Committed(message_id=message_id, state=state):
            return answer(ua.StatusCodes.Good, message_id or "", state or "", "")
        case Refused(problems=problems, message_id=message_id):
            reasons = "; ".join(str(problem) for problem in problems)
            result = answer(ua.StatusCodes.BadInvalidArgument, message_id or "", "refused", reasons)
            good, bad = ua.StatusCode(), ua.StatusCode(ua.UInt32(ua.StatusCodes.BadInvalidArgument))
            result.InputArgumentResults = [bad, good] if submission.message.fault is _NO_ID else [good, bad]
            return result
        case Busy():
            return answer(ua.StatusCodes.BadTooManyOperations)
        case None:
            return answer(ua.StatusCodes.BadShutdown)
