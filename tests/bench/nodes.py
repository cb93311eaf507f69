"""How fast one gateway and two on one PostgreSQL drain the same backlog, where only the SMP's latency holds them up.

The SMP answers each request after 50 ms, and a gateway's address has so few requests answered at once that its gateway
could send far more. The gateways are the processes that people run; the clock runs from when they may log in.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psycopg
import yaml
from aiohttp import web

from gateway.core import intake
from gateway.core.intake import Intake
from gateway.core.mapping import MailboxTrigger, MessageSpec, compile_template
from gateway.core.message import ASSETS, Draft, Lane
from gateway.core.point import Quality, Reading
from gateway.core.profile import Profile
from gateway.edge.clock import SystemClock
from gateway.edge.journal.postgres import PostgresJournal
from tests.bench import material
from tests.bench.payload import asset
from tests.bench.subject import ROOT
from tests.crash.processes import Child, child, python
from tests.postgres import PostgresServer, postgres_server

AIM = 1.6
LATENCY_S = 0.05
AT_ONCE = 1  # request that is answered at once at each address, so that one gateway sends at most 20 a second
_PARTICIPANTS = ("one", "two", "three", "four")
_LANES = 4  # of each participant
_PROFILE = ROOT / "config" / "profiles" / "smp-v1.yaml"
_CONFIGURATION = """
journal: file:journal.url
smp:
  test:
    profile: smp.yaml
    base_url: "${{SMP_URL}}"
    ca: file:{ca}
    callback_keys: file:{jwks}
callbacks: {{listen: "{host}:0", public_url: "{url}", certificate: file:{server}, key: file:{server}}}
health: {{listen: "{host}:0"}}
participants: participants/*.yaml
sites: sites/*.yaml
"""
_PARTICIPANT = """
participant: {name}
name: Participant {name}
environment: test
login: {{username: {name}, password: "file:{password}"}}
signing: {{key: "file:{key}", key_id: {name}, algorithm: ES256}}
"""
_SITE = """
site: site-{name}
participant: {name}
connections:
  plc: {{protocol: modbus, host: {host}, port: 1, unit: 1}}
points:
  level: {{connection: plc, address: "holding:0", type: uint16}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """Seconds for the same backlog of so many messages."""

    messages: int
    one_s: float
    two_s: float

    @property
    def ratio(self) -> float:
        """How much faster two are."""
        return self.one_s / self.two_s


def measure(folder: Path, messages: int) -> Drained:
    """Drain so many messages by one gateway, and as many by two."""
    (own := folder / "nodes").mkdir()
    material.write(own)
    _configure(own)
    with postgres_server() as server:
        one_s, two_s = (asyncio.run(_drain(own, server, messages, gateways)) for gateways in (1, 2))
    return Drained(messages=messages, one_s=one_s, two_s=two_s)


class _Smp:
    """An SMP that takes everything, at one address for each gateway; nobody may log in before ``opened``."""

    def __init__(self, goal: int) -> None:
        self.opened, self.drained = asyncio.Event(), asyncio.Event()
        self._goal = goal
        self._seen: set[str] = set()

    async def listen(self, stack: AsyncExitStack, tls: ssl.SSLContext) -> str:
        """One more address."""
        few = asyncio.Semaphore(AT_ONCE)

        async def assets(request: web.Request) -> web.Response:
            content = json.loads(await request.read())
            async with few:
                await asyncio.sleep(LATENCY_S)
            self._seen.add(content["messageId"])
            if len(self._seen) == self._goal:
                self.drained.set()
            answer = {"transactionId": f"TX-{len(self._seen)}", "receivedAt": "2026-11-23T10:15:30Z"}
            return web.json_response(answer, status=202)

        application = web.Application()
        application.router.add_post("/authenticate", self._log_in)
        application.router.add_post("/assets", assets)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, material.HOST, 0, ssl_context=tls).start()
        return f"https://{material.HOST}:{runner.addresses[0][1]}"

    async def _log_in(self, _request: web.Request) -> web.Response:
        await self.opened.wait()
        return web.json_response({"token": "bench-token", "expiresIn": 86400})


async def _drain(folder: Path, server: PostgresServer, messages: int, gateways: int) -> float:
    url = server.fresh()
    (folder / "journal.url").write_text(url)
    await _fill(url, messages)
    smp = _Smp(messages)
    async with AsyncExitStack() as stack:
        tls = material.server_tls(folder)
        running: list[Child] = []
        for number in range(gateways):
            command = python(ROOT, "run", str(folder / "gateway.yaml"), "--state", str(_state(folder, number)))
            environ = {"SMP_URL": await smp.listen(stack, tls)}
            running.append(await stack.enter_async_context(child(command, environ=environ)))
        await asyncio.gather(*(each.until("gateway_started") for each in running))
        share = len(_PARTICIPANTS) // gateways
        await asyncio.gather(*(each.until('"participant_taken_up"', share) for each in running))
        began = time.monotonic()
        smp.opened.set()
        await smp.drained.wait()
        return time.monotonic() - began


def _state(folder: Path, number: int) -> Path:
    """The state folder of one gateway, with everybody's files."""
    state = folder / f"state{number}"
    if not state.is_dir():
        state.mkdir()
        for each in folder.iterdir():
            if each.is_file():
                (state / each.name).symlink_to(each)
    return state


async def _fill(url: str, messages: int) -> None:
    opening = PostgresJournal.open(
        url, clock=SystemClock(), pipeline_after_verdict=False, event=lambda *_args, **_fields: None
    )
    async with opening as journal:
        await asyncio.gather(*(journal.append(each) for each in _backlog(messages)))
    with psycopg.connect(url, autocommit=True) as raw:  # nobody has to wait until this life is given up
        raw.execute("DELETE FROM node")


def _backlog(messages: int) -> Iterator[Draft]:
    """Messages of one asset each, spread over all lanes."""
    profile = Profile.model_validate(yaml.safe_load(_PROFILE.read_text(encoding="utf-8")))
    limit = Reading(point="limit", value=Decimal("12.5"), quality=Quality.GOOD, at=0)
    lanes = itertools.cycle(itertools.product(_PARTICIPANTS, range(_LANES)))
    for number, (name, lane) in zip(range(messages), lanes, strict=False):
        template = compile_template({"assets": [asset(number)]})
        spec = MessageSpec(
            name=f"lane{lane}", kind=ASSETS, trigger=MailboxTrigger(mailbox="plc", kind=1), template=template
        )
        where = Lane(environment="test", participant=name, site=f"site-{name}", message=spec.name)
        came = Intake(lane=where, key=f"plc:1.{number}", raw=b"", at=number, revision="bench")
        yield intake.draft(came, spec, {"limit": limit}, profile)[0]


def _configure(folder: Path) -> None:
    profile = _PROFILE.read_text(encoding="utf-8")
    for line, other in (("merges: .*", "merges: []"), ("  poll_first: .*", "  poll_first: 10min")):
        profile, changed = re.subn(f"^{line}$", other, profile, flags=re.MULTILINE)
        if changed != 1:
            raise ValueError(f"the profile has no line {line}")
    (folder / "smp.yaml").write_text(profile, encoding="utf-8")
    members = {"host": material.HOST, "password": material.PASSWORD, "key": material.PARTICIPANT_KEY}
    members |= {"ca": material.CA, "jwks": material.JWKS, "server": material.SERVER, "url": material.PUBLIC_URL}
    (folder / "gateway.yaml").write_text(_CONFIGURATION.format(**members), encoding="utf-8")
    for part, text in (("participants", _PARTICIPANT), ("sites", _SITE)):
        (folder / part).mkdir()
        for name in _PARTICIPANTS:
            (folder / part / f"{name}.yaml").write_text(text.format(name=name, **members), encoding="utf-8")
