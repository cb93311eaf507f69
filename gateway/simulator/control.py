"""The control API: plain HTTP on a loopback address, JSON, with a bearer token that is made at each start.

``GET /faults`` tells the plan; ``PUT /faults`` ``{"seed": 7, "faults": {"lose-reply": 0.1, "delay": "200ms"}}``
replaces it; ``POST /outage`` ``{"for": "30s", "answer": "refused"}``; ``POST /rotate-key`` ``{"overlap": "30s"}``;
``POST /expire-tokens``. Bodies may be left out where every member has a default. Each answer is the plan that then
holds. Mistakes: 400 no JSON, 401 no token, 404, 405, 413, 422 with every ``problem`` of the order.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.simulator import shape
from gateway.simulator.orders import READERS, BadOrder, Change, nearest, read_faults, read_seed
from gateway.simulator.smp import SimulatedSmp

BODY_BYTES = 64 * 1024
ACTS = ("outage", "rotate-key", "expire-tokens")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Where the control API listens, and what opens it."""

    url: str
    token: str


@asynccontextmanager
async def serve(smp: SimulatedSmp, *, host: str, port: int) -> AsyncIterator[Control]:
    """Serve the control API of a running SMP.

    Raises:
        ValueError: the host is not a loopback address: faults are not for the network.
        OSError: the address cannot be listened on.
    """
    if not is_loopback(host):
        raise ValueError(f"{host} is not a loopback address such as 127.0.0.1")
    token = secrets.token_urlsafe(24)
    runner = web.AppRunner(_application(smp, token), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        name = f"[{host}]" if ":" in host else host
        yield Control(url=f"http://{name}:{runner.addresses[0][1]}", token=token)
    finally:
        await runner.cleanup()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach this address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _application(smp: SimulatedSmp, token: str) -> web.Application:
    application = web.Application(client_max_size=BODY_BYTES, middlewares=[_guard(token)])

    async def tell(_request: web.Request) -> web.Response:
        return web.json_response(smp.told())

    async def put(request: web.Request) -> web.Response:
        order = _plan(await _body(request))
        smp.faults.calm()
        await smp.obey(order)
        return web.json_response(smp.told())

    async def act(request: web.Request) -> web.Response:
        await smp.obey(READERS[request.path.removeprefix("/")](await _body(request)))
        return web.json_response(smp.told())

    application.router.add_get("/faults", tell)
    application.router.add_put("/faults", put)
    for name in ACTS:
        application.router.add_post(f"/{name}", act)
    return application


def _guard(token: str) -> Middleware:
    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode()):
            return _refusal(401, "the bearer token that was printed at the start is needed")
        try:
            return await handler(request)
        except BadOrder as bad:
            return _refusal(422, *bad.problems)
        except web.HTTPException as error:
            return _refusal(error.status, error.text or error.reason)

    return guarded


def _plan(tree: object) -> Change:
    if not isinstance(tree, dict):
        raise BadOrder("an object with faults, and seed where wanted, is needed")
    unknown = sorted(tree.keys() - {"seed", "faults"})
    if unknown:
        raise BadOrder(*(f"there is no {name!r}: {nearest(name, ['seed', 'faults'])}" for name in unknown))
    change = read_faults(tree.get("faults"))
    return replace(change, seed=read_seed(tree["seed"])) if "seed" in tree else change


async def _body(request: web.Request) -> object:
    body = await request.read()
    if not body:
        return None
    try:
        tree: object = shape.parse(body)
    except ValueError as fault:
        raise web.HTTPBadRequest(text=f"no JSON: {fault}") from fault
    return tree


def _refusal(status: int, *problems: str) -> web.Response:
    return web.json_response({"problems": problems}, status=status)
