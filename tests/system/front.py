"""Stands between the gateway and a simulated SMP on a TLS port of its own: it records, forwards, and misbehaves."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import jwt
from aiohttp import web

from gateway.simulator import SimulatedSmp

_KEPT = ("authorization", "content-type", "x-message-id", "x-jws-signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request of the gateway, with its exact bytes; ``participant`` is whose token it carries."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def participant(self) -> str:
        return str(jwt.decode(self.token, options={"verify_signature": False})["sub"]) if self.token else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of the front's own. ``forward``: the SMP gets the request first. ``cut``: no byte is answered."""

    status: int = 500
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    forward: bool = False
    cut: bool = False


class Front:
    """Forwards everything, unless ``next_answers`` holds an answer for the path or ``intercept`` makes one."""

    def __init__(self, smp: SimulatedSmp, port: int) -> None:
        self.smp = smp
        self.port = port
        self.seen: list[Seen] = []
        self.next_answers: dict[str, deque[Answer]] = {}
        self.intercept: Callable[[Seen], Answer | None] = lambda _seen: None
        self.gate = asyncio.Event()  # cleared: requests to the gated path wait
        self.gate.set()
        self.gated_path = "/assets"
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def plan(self, path: str, *answers: Answer) -> None:
        """Answer the next requests to this path so."""
        self.next_answers.setdefault(path, deque()).extend(answers)

    def requests(self, path: str, participant: str | None = None) -> list[Seen]:
        return [s for s in self.seen if s.path == path and participant in {None, s.participant}]

    async def open(self) -> None:
        """Listen, on the same port every time."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pki = self.smp.state / "pki"
        context.load_cert_chain(pki / "smp-server.pem", pki / "smp-server.key")
        trust = ssl.create_default_context(cafile=self.smp.ca_path)
        application = web.Application(client_max_size=16 * 1024 * 1024)
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust), auto_decompress=False)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(request, session)

        async def close_session(_application: web.Application) -> None:
            await session.close()

        application.router.add_route("*", "/{tail:.*}", handle)
        application.on_cleanup.append(close_session)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context).start()

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request, session: aiohttp.ClientSession) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in _KEPT if name in request.headers}
        seen = Seen(path=request.path, headers=headers, body=await request.read())
        self.seen.append(seen)
        if request.path == self.gated_path:
            await self.gate.wait()
        planned = self.next_answers.get(seen.path)
        answer = planned.popleft() if planned else self.intercept(seen)
        if answer is not None and not answer.forward:
            return self._answer(request, answer)
        url = self.smp.base_url + seen.path
        async with session.request(request.method, url, data=seen.body, headers=headers) as reply:
            body = await reply.read()
        if answer is not None:
            return self._answer(request, answer)
        return web.Response(status=reply.status, body=body, content_type="application/json")

    def _answer(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        if answer.cut and request.transport is not None:
            request.transport.abort()
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
