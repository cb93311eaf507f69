"""The nodes of a server of ours: what the site writes and reads there, its methods, and its results.

Rules
-----
* All of them are in namespace 2, named by the site; everything of ours begins with ``SMP.``.
* Points that are read are the site's to write, those with ``access: write`` are ours. Each has the type that the YAML
  gives it, and no value until somebody gave it one.
* ``SMP.Result.Sequence`` changes last of a result. It is the journal's own number of the delivery, so that the same
  result after a restart has the same one. The site writes it into ``SMP.Result.Acknowledge``, and gets the next result.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any

from asyncua import Node, Server, ua

from adapters.opcua.config import OpcuaPoint
from adapters.opcua.contradictions import OURS
from adapters.opcua.listener import on_change
from adapters.opcua.translation import Kind
from gateway.core import codec
from gateway.core.mailbox import STATE_CODES
from gateway.core.message import Problem
from gateway.core.point import Access, PointSpec

NAMESPACE = 2
RESERVED = OURS
HEARTBEAT = "SMP.Heartbeat"
_NO_VALUE_YET = ua.StatusCode(ua.UInt32(0x80320000))  # BadWaitingForInitialData
_TEXT_LENGTH = 1000  # of what people read
_JSON_LENGTH = 512 * 1024  # half of what one answer may hold

Raw = bool | int | float | str  # a value as a node holds it
Call = Callable[[object, object], Awaitable[ua.CallMethodResult]]


class ResultNode(StrEnum):
    """The nodes of a result, in the order in which they are written."""

    ID = "SMP.Result.Id"
    MESSAGE = "SMP.Result.Message"
    STATE = "SMP.Result.State"
    STATE_CODE = "SMP.Result.StateCode"
    ERROR_COUNT = "SMP.Result.ErrorCount"
    TEXT = "SMP.Result.Text"
    JSON = "SMP.Result.Json"
    SEQUENCE = "SMP.Result.Sequence"
    ACKNOWLEDGE = "SMP.Result.Acknowledge"


_KINDS: Mapping[ResultNode, Kind] = {
    ResultNode.STATE_CODE: Kind.UINT16,
    ResultNode.ERROR_COUNT: Kind.UINT32,
    ResultNode.SEQUENCE: Kind.UINT32,
    ResultNode.ACKNOWLEDGE: Kind.UINT32,
}
_ZERO: Mapping[Kind, Raw] = {
    Kind.BOOLEAN: False,
    Kind.STRING: "",
    Kind.FLOAT: 0.0,
    Kind.DOUBLE: 0.0,
}


def kind_of_point(place: OpcuaPoint) -> Kind:
    """The built-in type of a node of ours.

    Raises:
        ValueError: the YAML gives it none.
    """
    if place.type is None:
        raise ValueError(f"{place.where}: a node of our own server needs a type")
    return Kind[place.type.upper()]


def submit_node(message: str) -> str:
    """The identifier of a message's method; the one of its object is without the last part."""
    return f"{RESERVED}Messages.{message}.Submit"


def node_id(identifier: str) -> ua.NodeId:
    """A node of ours."""
    return ua.NodeId(ua.String(identifier), ua.Int16(NAMESPACE))


class Space:
    """The nodes of one site on one server."""

    def __init__(self, server: Server, folder: Node) -> None:
        self._server = server
        self._folder = folder

    @classmethod
    async def on(cls, server: Server, site: str) -> Space:
        """Make the site's folder with the nodes that every site has; namespace 2 names the site."""
        index = await server.register_namespace(f"urn:smp-gateway:site:{site}")
        if index != NAMESPACE:
            raise RuntimeError(f"the server gave namespace {index} to its first site")
        folder = await server.nodes.objects.add_folder(node_id("SMP.Site"), ua.QualifiedName(site, NAMESPACE))
        space = cls(server, folder)
        await space._add(folder, HEARTBEAT, Kind.UINT32, writable=False, value=0)
        results = await folder.add_folder(node_id("SMP.Result"), ua.QualifiedName("Result", NAMESPACE))
        for each in ResultNode:
            kind = _KINDS.get(each, Kind.STRING)
            writable = each is ResultNode.ACKNOWLEDGE
            await space._add(results, each, kind, writable=writable, value=_ZERO.get(kind, 0))
        return space

    async def point(self, spec: PointSpec, place: OpcuaPoint, written: Callable[[ua.DataValue], None]) -> None:
        """Add the node of a point; ``written`` is called when the site writes it."""
        node = await self._add(
            self._folder,
            str(place.where.identifier),
            kind_of_point(place),
            writable=spec.access is Access.READ,
            value=None,
        )
        if spec.access is Access.READ:
            on_change(self._server, node.nodeid, written)

    async def message(self, name: str, call: Call) -> None:
        """Add the object of a message, with its method `Submit`."""
        method = submit_node(name)
        owner = await self._folder.add_object(node_id(method.rpartition(".")[0]), ua.QualifiedName(name, NAMESPACE))

        async def submit(_: ua.NodeId, *arguments: ua.Variant) -> ua.CallMethodResult:
            fault = arguments_fault(arguments)
            return await call(*(each.Value for each in arguments)) if fault is None else fault

        inputs = [_argument("Id", "the site's own id of the message"), _argument("Payload", "its JSON")]
        outputs = [
            _argument("MessageId", "the gateway's id of it"),
            _argument("State", "how far it is"),
            _argument("Reasons", "why it was refused"),
        ]
        await owner.add_method(node_id(method), ua.QualifiedName("Submit", NAMESPACE), submit, inputs, outputs)

    def on_acknowledge(self, call: Callable[[int], None]) -> None:
        """Call back with the sequence of a result that the site has taken."""

        def acknowledged(data: ua.DataValue) -> None:
            if data.Value is not None and isinstance(data.Value.Value, int):
                call(data.Value.Value)

        on_change(self._server, node_id(ResultNode.ACKNOWLEDGE), acknowledged)

    async def show(self, identifier: str, kind: Kind, value: Raw) -> None:
        """Give a node of ours a value."""
        data = ua.DataValue(ua.Variant(value, ua.VariantType(kind)))
        await self._server.write_attribute_value(node_id(identifier), data)

    async def show_result(self, number: int, result: Mapping[str, object]) -> None:
        """Show a result (core.relay_values.result_of), its sequence last."""
        for node, value in _result_values(number, result).items():
            await self.show(node, _KINDS.get(node, Kind.STRING), value)

    async def _add(self, parent: Node, identifier: str, kind: Kind, *, writable: bool, value: object) -> Node:
        variant = ua.Variant(_ZERO.get(kind, 0) if value is None else value, ua.VariantType(kind))
        name = ua.QualifiedName(identifier.removeprefix(RESERVED), NAMESPACE)
        node = await parent.add_variable(node_id(identifier), name, variant, datatype=ua.NodeId(ua.Int32(kind)))
        await node.set_writable(writable)
        if value is None:
            await self._server.write_attribute_value(node.nodeid, ua.DataValue(variant, _NO_VALUE_YET))
        return node


def arguments_fault(arguments: tuple[ua.Variant, ...]) -> ua.CallMethodResult | None:
    """The answer to a call that brings anything but two texts; None when it brings them."""
    expected = 2
    if len(arguments) < expected:
        return answer(ua.StatusCodes.BadArgumentsMissing)
    if len(arguments) > expected:
        return answer(ua.StatusCodes.BadTooManyArguments)
    texts = [each.VariantType is ua.VariantType.String and isinstance(each.Value, str) for each in arguments]
    if all(texts):
        return None
    result = answer(ua.StatusCodes.BadInvalidArgument)
    good, bad = ua.StatusCode(), ua.StatusCode(ua.UInt32(ua.StatusCodes.BadTypeMismatch))
    result.InputArgumentResults = [good if fits else bad for fits in texts]
    return result


def answer(status: int, *outputs: str) -> ua.CallMethodResult:
    """The answer to a call."""
    result = ua.CallMethodResult()
    result.StatusCode = ua.StatusCode(ua.UInt32(status))
    result.OutputArguments = [ua.Variant(text, ua.VariantType.String) for text in outputs]
    return result


def _argument(name: str, description: str) -> ua.Argument:
    argument = ua.Argument()
    argument.Name = name
    argument.DataType = ua.NodeId(ua.Int32(ua.ObjectIds.String))
    argument.ValueRank = -1
    argument.Description = ua.LocalizedText(description)
    return argument


def _result_values(number: int, result: Mapping[str, object]) -> dict[ResultNode, int | str]:
    errors = _list(result, "errors")
    state = str(result.get("state") or "")
    code = next((code for known, code in STATE_CODES.items() if known.value == state), 0)
    return {
        ResultNode.ID: str(result.get("id") or ""),
        ResultNode.MESSAGE: str(result.get("message") or ""),
        ResultNode.STATE: state,
        ResultNode.STATE_CODE: code,
        ResultNode.ERROR_COUNT: len(errors),
        ResultNode.TEXT: str(Problem(**errors[0]))[:_TEXT_LENGTH] if errors else "",
        ResultNode.JSON: result_json(result),
        ResultNode.SEQUENCE: number,
    }


def result_json(result: Mapping[str, object]) -> str:
    """A result as JSON; of one too long for an answer, as many rows as fit, with ``"cut": true``."""
    text = codec.dumps(dict(result)).decode()
    rows = max(len(_list(result, "errors")), len(_list(result, "results")))
    while len(text) > _JSON_LENGTH:
        rows //= 2
        cut = {name: _list(result, name)[:rows] for name in ("errors", "results")}
        text = codec.dumps({**result, **cut, "cut": True}).decode()
    return text


def _list(result: Mapping[str, object], name: str) -> list[dict[str, Any]]:
    found = result.get(name)
    return found if isinstance(found, list) else []
