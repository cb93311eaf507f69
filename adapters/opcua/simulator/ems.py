"""A site's program that calls a server of ours, as its EMS would: to practise against."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Self

from asyncua import Client, Node, ua

from adapters.opcua.config import NO_SECURITY, OpcuaConnection, OpcuaPoint
from adapters.opcua.space import NAMESPACE, ResultNode, kind_of_point
from adapters.opcua.translation import write_value
from gateway.core.point import Access, Value
from gateway.ports import ConnectionConfig

_TIMEOUT_S, _PAUSE_S, _PUBLISH_MS = 5.0, 0.2, 50


class OpcuaEms:
    """A site's program that calls the gateway's own server; ``async with`` waits until that listens.

    Raises:
        ValueError: it listens with security, for which a simulated program has no certificate.
    """

    def __init__(self, connection: ConnectionConfig) -> None:
        settings = connection.settings
        if not isinstance(settings, OpcuaConnection) or settings.listen is None:
            raise ValueError(f"{connection.name}: no site of this kind calls anybody")
        if settings.security != NO_SECURITY or settings.username is not None:
            raise ValueError(f"{connection.name}: only a server with security: None and no login can be practised with")
        self.host = "127.0.0.1" if settings.listen.host in {"0.0.0.0", "::"} else settings.listen.host  # noqa: S104
        self.port = settings.listen.port
        self._points = connection.points
        self._taken = 0
        self._shown = 0
        self._changed = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        while True:
            self._client = Client(f"opc.tcp://{self.host}:{self.port}", timeout=_TIMEOUT_S)
            try:
                await self._stack.enter_async_context(self._client)
                break
            except (OSError, TimeoutError, ua.UaError):
                await asyncio.sleep(_PAUSE_S)
        self._taken = int(await self._result(ResultNode.ACKNOWLEDGE).read_value())
        watching = await self._client.create_subscription(_PUBLISH_MS, self)
        await watching.subscribe_data_change(self._result(ResultNode.SEQUENCE))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def datachange_notification(self, _node: Node, value: int, _data: object) -> None:
        """Called by the library when a result has come."""
        self._shown = value
        self._changed.set()

    async def submit(self, message: str, caller: str, payload: str) -> ua.CallMethodResult:
        """Call `Submit` until the gateway has the message, as accepted or as refused."""
        request = ua.CallMethodRequest()
        request.ObjectId = ua.NodeId.from_string(f"ns={NAMESPACE};s=SMP.Messages.{message}")
        request.MethodId = ua.NodeId.from_string(f"ns={NAMESPACE};s=SMP.Messages.{message}.Submit")
        request.InputArguments = [ua.Variant(caller), ua.Variant(payload)]
        while True:
            (answered,) = await self._client.uaclient.call([request])
            if answered.StatusCode.value != ua.StatusCodes.BadTooManyOperations:
                return answered
            await asyncio.sleep(_PAUSE_S)

    async def next_result(self) -> Mapping[str, object]:
        """Wait for the next result, and take it."""
        while self._shown in {0, self._taken}:
            self._changed.clear()
            await self._changed.wait()
        self._taken = self._shown
        members: Mapping[str, object] = json.loads(await self._result(ResultNode.JSON).read_value())
        taken = ua.DataValue(ua.Variant(self._taken, ua.VariantType.UInt32))
        await self._result(ResultNode.ACKNOWLEDGE).write_value(taken)
        return members

    async def show(self, values: Mapping[str, Value]) -> None:
        """Write points as the site's program would.

        Raises:
            ValueError: no such point, or one whose type cannot hold the value.
        """
        for name, value in values.items():
            spec, place = self._points.get(name, (None, None))
            if spec is None or not isinstance(place, OpcuaPoint) or spec.access is Access.WRITE:
                raise ValueError(f"there is no point {name} that the site writes")
            kind = kind_of_point(place)
            variant = ua.Variant(write_value(spec, kind, value), ua.VariantType(kind))
            await self._client.get_node(f"ns={NAMESPACE};s={place.where.identifier!s}").write_value(
                ua.DataValue(variant)
            )

    def _result(self, node: ResultNode) -> Node:
        return self._client.get_node(f"ns={NAMESPACE};s={node}")
