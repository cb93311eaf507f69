"""The other side of the simulated SMP, by other libraries: PyJWT signs and verifies, trustme makes the certificates."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.simulator import Redelivery, SimulatedSmp

PROFILE = Path(__file__).parents[2] / "config" / "profiles" / "smp-v1.yaml"
QUICK = Redelivery(first_s=0.01, longest_s=0.02, tries=1000)
KIDS = {"exstor": "exstor-2026-11", "exflex": "exflex-2026-11"}


def fresh_id() -> str:
    return secrets.token_hex(16)


def detached(key: ec.EllipticCurvePrivateKey, body: bytes, header: dict[str, Any]) -> str:
    """Sign with PyJWT in compact form and cut the payload out."""
    start, _, end = jwt.api_jws.encode(body, key, algorithm="ES256", headers=header).split(".")
    return f"{start}..{end}"


def asset(name: str, mpan: str = "2000000000200") -> dict[str, Any]:
    return {
        "assetName": name,
        "technology": "Battery",
        "meterPoints": [{"type": "MPAN", "id": mpan, "direction": "Import"}],
        "connection": {"gspGroup": "_H"},
        "capacity": {"maxExportMw": 12.5},
    }


def create(*assets: dict[str, Any], message_id: str | None = None) -> dict[str, Any]:
    return {"messageId": message_id or fresh_id(), "action": "Create", "assets": list(assets)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


@dataclass
class Client:
    """One participant with its own key, speaking to the simulated SMP."""

    smp: SimulatedSmp
    session: aiohttp.ClientSession
    participant: str
    key: ec.EllipticCurvePrivateKey
    token: str = ""

    async def login(self, password: str = "correct horse") -> Answer:
        answer = await self._post("/authenticate", json.dumps({"username": self.participant, "password": password}), {})
        self.token = answer.body.get("token", "")
        return answer

    def header(self, path: str, **changes: object) -> dict[str, Any]:
        header = {
            "kid": KIDS[self.participant],
            "typ": "smp-request+jws",
            "iat": int(time.time()),
            "jti": fresh_id(),
            "aud": self.smp.base_url + path,
            "crit": ["iat", "jti", "aud"],
        }
        return {name: value for name, value in {**header, **changes}.items() if value is not None}

    async def send(
        self,
        path: str,
        document: dict[str, Any],
        *,
        signature: str | None = None,
        body: bytes | None = None,
        **changes: object,
    ) -> Answer:
        """POST signed; ``changes`` alter the JWS header, ``signature`` replaces it ("" leaves it out)."""
        body = json.dumps(document).encode() if body is None else body
        made = detached(self.key, body, self.header(path, **changes)) if signature is None else signature
        headers = {"Authorization": f"Bearer {self.token}", "X-Message-Id": str(document.get("messageId", "none"))}
        return await self._post(path, body, {**headers, "X-JWS-Signature": made} if made else headers)

    async def status(self, **document: str) -> Answer:
        return await self.send("/transactions/status", document)

    async def _post(self, path: str, body: bytes | str, headers: dict[str, str]) -> Answer:
        url = self.smp.base_url + path
        async with self.session.post(url, data=body, headers={"Content-Type": "application/json", **headers}) as got:
            return Answer(status=got.status, body=json.loads(await got.read()), headers=got.headers)


@dataclass
class Host:
    """Receives callbacks over TLS; ``answers`` are the statuses of the next ones, then 200."""

    url: str = ""
    answers: deque[int] = field(default_factory=deque)
    received: asyncio.Queue[tuple[str, bytes, str]] = field(default_factory=asyncio.Queue)

    async def next(self) -> tuple[str, bytes, str]:
        async with asyncio.timeout(20):
            return await self.received.get()

    async def handle(self, request: web.Request) -> web.Response:
        self.received.put_nowait((request.path, await request.read(), request.headers["X-JWS-Signature"]))
        return web.Response(status=self.answers.popleft() if self.answers else 200)


Start = Callable[..., SimulatedSmp]
Connect = Callable[..., AbstractAsyncContextManager[Client]]
