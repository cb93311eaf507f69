"""The control API, over its own socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from gateway.simulator import Fault, SimulatedSmp, control
from tests.simulator.partners import Client, asset, create

CALM = {"delay": "0ms", "jitter": "0ms", "retry-after": "1000ms", "late-by": "1000ms"}


@dataclass
class Operator:
    at: control.Control
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: object = None, *, token: str | None = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.at.token if token is None else token}"}
        async with self.session.request(method, self.at.url + path, data=data, headers=headers) as got:
            return got.status, json.loads(await got.read())


@pytest.fixture
async def operator(smp: SimulatedSmp) -> AsyncIterator[Operator]:
    async with control.serve(smp, host="127.0.0.1", port=0) as at, aiohttp.ClientSession() as session:
        yield Operator(at, session)


async def test_the_plan_is_told_and_replaced(operator: Operator, client: Client) -> None:
    """Pins GET and PUT: what was put is told, takes effect and replaces what was before; GET's answer can be put."""
    assert await operator.ask("GET", "/faults") == (200, {"seed": 0, "faults": CALM, "outage": None})
    plan = {"seed": 7, "faults": {"busy": 1, "jitter": "2ms"}}
    status, told = await operator.ask("PUT", "/faults", plan)
    assert (status, told["seed"], told["faults"]) == (200, 7, {**CALM, "busy": 1.0, "jitter": "2ms"})
    assert (await client.send("/assets", create(asset("A")))).status == 429
    status, told = await operator.ask("PUT", "/faults", {"faults": {"fail-after": 0.25}})
    assert (status, told["seed"], told["faults"]) == (200, 7, {**CALM, "fail-after": 0.25})
    del told["outage"]
    assert (await operator.ask("PUT", "/faults", told))[1]["faults"] == told["faults"]


async def test_acts_take_effect(operator: Operator, client: Client) -> None:
    """Pins the three acts, with and without a body."""
    before = client.smp.pki.signing.kid
    assert (await operator.ask("POST", "/rotate-key"))[0] == 200
    assert (await operator.ask("POST", "/rotate-key", {"overlap": "30s"}))[0] == 200
    assert client.smp.pki.signing.kid != before
    assert len(json.loads(client.smp.jwks_path.read_text())["keys"]) == 3
    assert (await operator.ask("POST", "/expire-tokens"))[0] == 200
    assert (await client.send("/assets", create(asset("A")))).status == 401
    status, told = await operator.ask("POST", "/outage", {"for": "10min", "answer": "503"})
    assert (status, told["outage"]["answer"]) == (200, "503")
    assert (await client.login()).status == 503


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "problem"),
    [
        ("PUT", "/faults", b"{", 400, "no JSON"),
        ("PUT", "/faults", b'{"seed": 1, "seed": 2}', 400, "occurs twice"),
        ("PUT", "/faults", b"\xff", 400, "no JSON"),
        ("PUT", "/faults", b"[" * 60_000, 400, "nested too deeply"),
        ("PUT", "/faults", None, 422, "an object"),
        ("PUT", "/faults", [], 422, "an object"),
        ("PUT", "/faults", {"fault": {}}, 422, "did you mean faults?"),
        ("PUT", "/faults", {"faults": {"busy": True}}, 422, "no probability"),
        ("PUT", "/faults", {"faults": {"busy": "often"}}, 422, "no probability"),
        ("PUT", "/faults", {"faults": {"delay": "8days"}}, 422, "no duration"),
        ("PUT", "/faults", {"faults": {}, "seed": 1.5}, 422, "no whole number"),
        ("POST", "/outage", None, 422, "outage.for is missing"),
        ("POST", "/outage", {"for": "200h"}, 422, "at most 7 days"),
        ("POST", "/rotate-key", {"overlap": None}, 422, "no duration"),
        ("POST", "/expire-tokens", {"all": True}, 422, "takes no members"),
        ("GET", "/nothing", None, 404, "Not Found"),
        ("DELETE", "/faults", None, 405, "Method Not Allowed"),
        ("PUT", "/faults", b" " * 70_000, 413, "size"),
    ],
)
async def test_a_bad_order_is_refused_and_changes_nothing(
    operator: Operator, smp: SimulatedSmp, *, method: str, path: str, body: object, status: int, problem: str
) -> None:
    """Pins status and sentence of each refusal, and that the plan stays."""
    smp.faults.change({Fault.BUSY: 0.5}, seed=3)
    before = smp.told()
    got, told = await operator.ask(method, path, body)
    assert got == status
    assert problem in " ".join(told["problems"])
    assert smp.told() == before


async def test_without_the_token_nothing_is_told(operator: Operator, smp: SimulatedSmp) -> None:
    """Pins 401 to every path without the token, and that nothing happens."""
    before = smp.pki.signing.kid
    for token in ("", "wrong", operator.at.token + "x"):
        assert (await operator.ask("GET", "/faults", token=token))[0] == 401
        assert (await operator.ask("POST", "/rotate-key", token=token))[0] == 401
        assert (await operator.ask("GET", "/nothing", token=token))[0] == 401
    assert smp.pki.signing.kid == before


async def test_only_this_machine_can_ask(smp: SimulatedSmp) -> None:
    """Pins that the API is not opened on an address that others reach."""
    for host in ("0.0.0.0", "192.0.2.1", "example.com"):
        with pytest.raises(ValueError, match="not a loopback address"):
            async with control.serve(smp, host=host, port=0):
                pass
