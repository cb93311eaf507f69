"""The methods and events of a simulated plant: what its program is told, and what it tells of.

The types of events are those of the site's triggers, with the fields that they pick, each of the type of the value that
it is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from asyncua import Node, Server, ua
from asyncua.server.event_generator import EventGenerator

from adapters.opcua.addresses import NodeAddress
from adapters.opcua.config import OpcuaPoint, OpcuaTrigger
from adapters.opcua.translation import Kind
from gateway.core.point import Value
from gateway.core.relay import RelayRule
from gateway.ports import ConnectionConfig

NodeOf = Callable[[Server, NodeAddress], Awaitable[ua.NodeId]]
_NUMBERS = ("number", "row")  # the fields of a message that are one


def argument_kinds(rules: Iterable[RelayRule]) -> dict[str, list[Kind]]:
    """The types that methods of a plant may have, which is to be called with what these rules hand over."""
    return {point: [_kind_of(each) for each in given] for rule in rules for point, given in rule.call.items()}


class Program:
    """What a plant's own program has besides its nodes; ``calls`` are those it got: (point, arguments)."""

    def __init__(self, connection: ConnectionConfig, methods: Mapping[str, Sequence[Kind]]) -> None:
        places = {name: place for name, (_, place) in connection.points.items() if isinstance(place, OpcuaPoint)}
        self._places = {name: place for name, place in places.items() if place.called}
        self._methods = methods
        self._triggers = {n: own for n, own in connection.triggers.items() if isinstance(own, OpcuaTrigger)}
        self._raising: dict[str, EventGenerator] = {}
        self._called = asyncio.Event()
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        self.status = ua.StatusCodes.Good  # what the next call answers

    async def begin(self, server: Server, node_of: NodeOf) -> None:
        """Make the methods, the objects that tell events, and their types."""
        for name, place in self._places.items():
            if place.object is not None and place.method is not None:
                home = await _object(server, await node_of(server, place.object))
                given = [_argument(number, kind) for number, kind in enumerate(self._methods.get(name, ()))]
                await home.add_method(await node_of(server, place.method), name, self._listener(name), given, [])
        for name, trigger in self._triggers.items():
            if trigger.event is not None:
                self._raising[name] = await self._generator(server, node_of, trigger, trigger.event)

    async def happens(self, message: str, values: Mapping[str, Value]) -> None:
        """Raise the event that makes this message, with these fields of it.

        Raises:
            ValueError: no event makes it, or it has no such field.
        """
        raising, fields = self._raising.get(message), self._triggers[message].fields or {}
        if raising is None:
            raise ValueError(f"no event makes {message}")
        for name, value in values.items():
            if name not in fields:
                raise ValueError(f"the event has no field {name}")
            word = "/".join(step for _, step in fields[name])
            raising.event.add_property(word, float(value) if isinstance(value, Decimal) else value, _type_of(value))
        await raising.trigger()

    async def called(self, count: int = 1) -> list[tuple[str, tuple[object, ...]]]:
        """Wait until methods were called so often in all; every call, in order."""
        while len(self.calls) < count:
            self._called.clear()
            await self._called.wait()
        return self.calls

    # ------------------------------------------------------------ inside
    def _listener(self, name: str) -> Callable[..., Awaitable[ua.StatusCode]]:
        async def listen(_parent: ua.NodeId, *given: ua.Variant) -> ua.StatusCode:
            self.calls.append((name, tuple(each.Value for each in given)))
            self._called.set()
            return ua.StatusCode(ua.UInt32(self.status))

        return listen

    @staticmethod
    async def _generator(server: Server, node_of: NodeOf, trigger: OpcuaTrigger, event: NodeAddress) -> EventGenerator:
        kind, base = await node_of(server, event), server.nodes.base_event_type
        home = (
            server.nodes.server
            if trigger.source is None
            else await _object(server, await node_of(server, trigger.source))
        )
        try:
            await server.get_node(kind).read_browse_name()
        except ua.UaError:
            await base.add_object_type(kind, f"Event {event}")
        raising = EventGenerator(server.iserver.isession)
        await raising.init(kind, emitting_node=home.nodeid)
        return raising


async def _object(server: Server, node: ua.NodeId) -> Node:
    """An object of the plant, made if it is not there yet."""
    found = server.get_node(node)
    try:
        await found.read_browse_name()
    except ua.UaError:
        return await server.nodes.objects.add_object(node, str(node.Identifier))
    return found


def _argument(number: int, kind: Kind) -> ua.Argument:
    return ua.Argument(Name=f"argument{number}", DataType=ua.NodeId(ua.Int32(kind)), ValueRank=ua.Int32(-1))


def _kind_of(source: object) -> Kind:
    if isinstance(source, Mapping):
        return Kind.INT64 if str(source["field"]).rpartition(".")[2] in _NUMBERS else Kind.STRING
    if isinstance(source, bool):
        return Kind.BOOLEAN
    return Kind.STRING if isinstance(source, str) else Kind.DOUBLE


def _type_of(value: Value) -> ua.VariantType:
    if isinstance(value, bool):
        return ua.VariantType.Boolean
    return ua.VariantType.Double if isinstance(value, Decimal) else ua.VariantType.String
