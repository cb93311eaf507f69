"""The other end of the control socket: what the command line uses to reach a running gateway."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp
from pydantic import ValidationError

from gateway.core.control import AnswerT, Operation, OrderT, Problem
from gateway.edge.control_socket import reachable
from gateway.errors import ControlRefused, ControlUnreachable

_PATIENCE = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=60.0)


async def answers(path: Path) -> bool:
    """Whether somebody listens at this path."""
    try:
        with reachable(path) as address:
            _, writer = await asyncio.open_unix_connection(address)
    except OSError:
        return False
    writer.close()
    return True


class ControlClient:
    """ports.Control over a running gateway's socket; made by :meth:`open` only."""

    def __init__(self, path: Path, session: aiohttp.ClientSession) -> None:
        self._path = path
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[ControlClient]:
        """Reach the gateway whose control socket is at this path; whether there is one shows with the first call.

        Raises:
            ControlUnreachable: there is no such folder.
        """
        try:
            with reachable(path) as address:
                connector = aiohttp.UnixConnector(path=address)
                async with aiohttp.ClientSession(connector=connector, timeout=_PATIENCE) as session:
                    yield cls(path, session)
        except FileNotFoundError:
            raise ControlUnreachable(f"no gateway runs here: there is no {path}") from None

    async def ask(self, operation: Operation[OrderT, AnswerT], order: OrderT, **parameters: str) -> AnswerT:
        """See `ports.Control`."""
        filled = operation.path.format(**{name: quote(value, safe="") for name, value in parameters.items()})
        body = order.model_dump_json(by_alias=True, exclude_unset=True).encode()
        try:
            async with self._session.request(
                operation.method,
                f"http://gateway{filled}",
                data=io.BytesIO(body) if operation.method == "POST" else None,
                headers={"Content-Type": "application/json"},
            ) as reply:
                said = await reply.read()
        except aiohttp.ClientConnectorError as error:
            raise ControlUnreachable(f"no gateway runs here: {self._path}: {error.strerror or error}") from None
        except (aiohttp.ClientError, TimeoutError) as error:
            lost = "the gateway went away before it answered; whether it was done is not known"
            raise ControlUnreachable(f"{lost} ({type(error).__name__})") from error
        if reply.status != 200:
            raise _refused(reply.status, said)
        try:
            return operation.answer.model_validate_json(said)
        except ValidationError as error:
            raise ControlUnreachable(f"{self._path} does not answer like a gateway of ours") from error


def _refused(status: int, said: bytes) -> ControlRefused | ControlUnreachable:
    try:
        problem = Problem.model_validate_json(said)
    except ValidationError:
        return ControlUnreachable(f"the control socket answered {status} without a reason")
    return ControlRefused(problem.code, problem.detail, advice=problem.next, blame=problem.blame)
