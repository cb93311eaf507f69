"""The control API on a unix socket: HTTP and JSON for the operators of this machine; it decides nothing.

Who may connect is the file's mode (0600); who it was is told by the kernel (SO_PEERCRED), never by the caller. What is
not done is answered with a problem (core.control.Problem) that says whose fault it is and what to do next.
"""

from __future__ import annotations

import asyncio
import logging
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from gateway.core.control import CONFLICT, STATUS_OF_CODE, Answer, Blame, Operation, Order, Problem
from gateway.edge.control_socket import listening
from gateway.errors import ControlRefused, JournalBroken, JournalFull
from gateway.ports import Call, OperationHandler, OperationHandlers

_LARGEST_ORDER = 8 * 1024 * 1024  # a batch of 1000 assets is about 1 MB
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid (unix(7))
_ERRORS_SHOWN = 5

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def control_server(
    path: Path,
    handlers: OperationHandlers,
    *,
    event: Callable[..., None],
    broken: Callable[[JournalBroken], None],
) -> AsyncIterator[None]:
    """Answer operations at this path until left; ``broken`` is told when the journal can no longer be trusted.

    Raises:
        ControlBlocked: the socket cannot be opened there.
    """
    last_resort = _LastResort(event, broken)
    application = web.Application(client_max_size=_LARGEST_ORDER, middlewares=[last_resort.attend])
    for operation, handler in handlers.items():
        application.router.add_route(operation.method, operation.path, _responder(operation, handler))
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=5.0,
        auto_decompress=False,
        logger=_counting_logger(event),
    )
    await runner.setup()
    try:
        server = runner.server
        if server is None:
            raise RuntimeError("the runner has no server after its set-up")
        with listening(path) as listener:
            opened = await asyncio.get_running_loop().create_unix_server(server, sock=listener)
            try:
                yield
            finally:
                opened.close()
    finally:
        await runner.cleanup()


def _responder(operation: Operation[Any, Any], handler: OperationHandler) -> Respond:
    async def respond(request: web.Request) -> web.StreamResponse:
        order = _read(operation.order, await request.read())
        call = Call(actor=actor_of(_peer(request)), parameters=dict(request.match_info), order=order)
        return _respond(200, await handler(call))

    return respond


def _read(model: type[Order], body: bytes) -> Order:
    """The order of a body; an empty one is an order without members.

    Raises:
        ControlRefused: it is not JSON, or not such an order.
    """
    try:
        return model.model_validate_json(body or b"{}", strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            raise ControlRefused("not_json", found[0]["msg"], advice="send JSON") from None
        lines = [f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in found[:_ERRORS_SHOWN]]
        more = f" (and {len(found) - _ERRORS_SHOWN} more)" if len(found) > _ERRORS_SHOWN else ""
        raise ControlRefused("invalid", "; ".join(lines) + more, advice="correct it and ask again") from None


def actor_of(user_id: int) -> str:
    """How an operator stands in the audit: never a name that a part of the gateway uses."""
    try:
        return f"operator:{pwd.getpwuid(user_id).pw_name}"
    except KeyError:
        return f"operator:uid {user_id}"


def _peer(request: web.Request) -> int:
    """The user who connected, as the kernel says."""
    if request.transport is None:
        raise ConnectionResetError("the caller has gone")
    found = request.transport.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
    )
    _, user_id, _ = _CREDENTIALS.unpack(found)
    return int(user_id)


class _LastResort:
    """Turns whatever goes wrong into a problem, so that no caller harms another."""

    def __init__(self, event: Callable[..., None], broken: Callable[[JournalBroken], None]) -> None:
        self._event = event
        self._broken = broken

    @web.middleware
    async def attend(self, request: web.Request, handler: Respond) -> web.StreamResponse:
        try:
            return await handler(request)
        except ControlRefused as refused:
            problem = Problem(code=refused.code, detail=refused.detail, blame=Blame(refused.blame), next=refused.advice)
        except web.HTTPException as error:
            problem = _misdirected(request, error)
        except JournalFull as full:
            advice = "make room on the journal's disk, then ask again"
            problem = Problem(code="journal_full", detail=str(full), blame=Blame.GATEWAY, next=advice)
        except JournalBroken as error:
            self._broken(error)
            advice = "look whether it was done once the gateway has been restarted"
            problem = Problem(code="journal_broken", detail=str(error), blame=Blame.GATEWAY, next=advice)
        except Exception as error:  # noqa: BLE001 - the HTTP handler of last resort: one bad call harms no other
            self._event("handler_faulted", listener="control", error=repr(error))
            advice = "look into the gateway's log for handler_faulted, and report it"
            problem = Problem(code="internal", detail="internal error", blame=Blame.GATEWAY, next=advice)
        return _respond(STATUS_OF_CODE.get(problem.code, CONFLICT), problem)


def _misdirected(request: web.Request, error: web.HTTPException) -> Problem:
    """What the HTTP library refuses by itself."""
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        said = f"more than {_LARGEST_ORDER} bytes in one request"
        return Problem(code="too_large", detail=said, blame=Blame.CALLER, next="ask for less at once")
    said = f"{request.method} {request.path:.100} is no operation here ({error.status})"
    advice = "use a command line of the gateway's version"
    return Problem(code="no_such_operation", detail=said, blame=Blame.CALLER, next=advice)


def _respond(status: int, answer: Answer) -> web.Response:
    kind = "application/problem+json" if isinstance(answer, Problem) else "application/json"
    return web.Response(status=status, body=answer.model_dump_json(by_alias=True).encode(), content_type=kind)


def _counting_logger(event: Callable[..., None]) -> logging.Logger:
    """A logger for the HTTP library whose complaints become events."""

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            event("request_malformed", listener="control", error=record.getMessage()[:200])

    logger = logging.Logger("control", level=logging.WARNING)  # noqa: LOG001 - outside of the process-wide registry on purpose
    logger.addHandler(Counting())
    return logger
