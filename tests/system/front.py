"""Stands between the gateway and a simulated SMP on a TLS port of its own: it records, forwards, and misbehaves."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import jwt
from aiohttp import web

from gateway.simulator import SimulatedSmp
from tests.system.wire import SMP_V1, Wire, fits, unb64


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request of the gateway: ``body`` as it came, ``content`` and detached ``signature`` taken out of it.

    ``message_id`` is its header's, ``token`` the bearer's, ``participant`` whose token it is.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    content: bytes = b""
    signature: str = ""
    message_id: str = ""
    token: str = ""

    @property
    def participant(self) -> str:
        return str(jwt.decode(self.token, options={"verify_signature": False})["sub"]) if self.token else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of the front's own, signed where the profile has answers signed, unless it is ``unsigned``.

    It may answer an earlier request than its own, and be signed with a strange ``key``. ``forward``: the SMP gets the
    request first. ``cut``: no byte is answered.
    """

    status: int = 500
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    forward: bool = False
    cut: bool = False
    unsigned: bool = False
    answers: Seen | None = None
    key: bytes | None = None


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Let a broken connection be one, where the library would send a PUT or GET again."""
    try:
        return await handler(request)
    except aiohttp.ClientOSError as error:
        raise aiohttp.ClientPayloadError from error
    except aiohttp.ServerDisconnectedError as error:
        raise aiohttp.ClientPayloadError from error


class Front:
    """Forwards everything, unless ``next_answers`` holds an answer for the path or ``intercept`` makes one."""

    def __init__(self, smp: SimulatedSmp, port: int, wire: Wire = SMP_V1) -> None:
        self.smp = smp
        self.wire = wire
        self.port = port
        self.seen: list[Seen] = []
        self.next_answers: dict[str, deque[Answer]] = {}
        self.intercept: Callable[[Seen], Answer | None] = lambda _seen: None
        self.gate = asyncio.Event()  # cleared: requests to the gated path wait
        self.gate.set()
        self.gated_path = wire.assets
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def plan(self, path: str, *answers: Answer) -> None:
        """Answer the next requests to this path so."""
        self.next_answers.setdefault(path, deque()).extend(answers)

    def requests(self, *paths: str, participant: str | None = None) -> list[Seen]:
        """Requests to these paths, which may hold {places}."""
        return [
            s for s in self.seen if any(fits(path, s.path) for path in paths) and participant in {None, s.participant}
        ]

    async def open(self) -> None:
        """Listen, on the same port every time."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pki = self.smp.state / "pki"
        context.load_cert_chain(pki / "smp-server.pem", pki / "smp-server.key")
        trust = ssl.create_default_context(cafile=self.smp.ca_path)
        if self.wire.mutual_tls:  # it asks as the SMP does, and shows the SMP what the gateway shows
            context.load_verify_locations(pki / "client-ca-test.pem")
            context.verify_mode = ssl.CERT_REQUIRED
            trust.load_cert_chain(pki / "client.pem", pki / "client.key")
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
        names = {"content-type", *(self.wire.header(name) for name in ("authorization", "message_id", "signature"))}
        headers = {name: request.headers[name] for name in sorted(names) if name in request.headers}
        seen = self._see(request.path, headers, await request.read())
        self.seen.append(seen)
        if fits(self.gated_path, request.path):
            await self.gate.wait()
        planned = next((plan for path, plan in self.next_answers.items() if fits(path, seen.path)), None)
        answer = planned.popleft() if planned else self.intercept(seen)
        if answer is not None and not answer.forward:
            return self._answer(request, answer, seen)
        url = self.smp.base_url + seen.path
        async with session.request(
            request.method, url, data=seen.body or None, headers=headers, middlewares=(_once,)
        ) as reply:
            body = await reply.read()
        if answer is not None:
            return self._answer(request, answer, seen)
        kept = {"content-type", "retry-after", "date", self.wire.header("signature")}
        passed = {name: value for name, value in reply.headers.items() if name.lower() in kept}
        return web.Response(status=reply.status, body=body, headers=passed)

    def _see(self, path: str, headers: Mapping[str, str], body: bytes) -> Seen:
        content, signature = self.wire.unpack(body, headers) if path != self.wire.login else (body, "")
        return Seen(
            path=path,
            headers=headers,
            body=body,
            content=content,
            signature=signature,
            message_id=headers.get(self.wire.header("message_id"), ""),
            token=self.wire.bearer(headers),
        )

    def _answer(self, request: web.Request, answer: Answer, seen: Seen) -> web.StreamResponse:
        if answer.cut and request.transport is not None:
            request.transport.abort()
        body, headers = answer.body, dict(answer.headers)
        if self.wire.answers_signed and seen.signature and not answer.unsigned:
            body, more = self.wire.pack(body, self._sign(body, answer.answers or seen, answer.key))
            headers |= more
        return web.Response(status=answer.status, body=body, headers=headers)

    def _sign(self, body: bytes, seen: Seen, key: bytes | None) -> str:
        """Sign an answer as the SMP would."""
        asked = json.loads(unb64(seen.signature.partition(".")[0]))
        return self.wire.sign(
            body,
            key or (self.smp.state / "pki" / "smp-signing.pem").read_bytes(),
            kid=json.loads(self.smp.jwks_path.read_bytes())["keys"][0]["kid"],
            typ="typ_response",
            aud=asked["aud"],
            jti=secrets.token_hex(16),
            req=asked["jti"],
            crit=["iat", "jti", "aud", "req"],
        )
