"""Methods of the site's server: what a relay calls, with which arguments, and what its answer means.

Rules
-----
* The server declares of which types a method's arguments are; ours are made so, exactly, or nothing is called.
* A status that is not Good means that the method did not do it: refused for good, or "not now", which ends the session
  like a write that may pass later. No answer means that nobody knows, so the runtime calls again after the reconnect;
  a method that must not run twice looks at ``number``, the same in both calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asyncua import ua

from adapters.opcua.line import Line
from adapters.opcua.nodes import Nodes
from adapters.opcua.translation import Kind, good, transient, write_value
from gateway.core.point import Access, PointSpec, Value
from gateway.errors import LinkLost, PointRejected
from gateway.ports import PointCall

_SCALAR_OR_ANY = frozenset(
    {-1, -2, -3}
)  # ValueRank (OPC 10000-3, 5.6.2): a scalar, anything, a scalar or one dimension
_LOCALIZED_TEXT = 21
# Abstract types (OPC 10000-5, 12.2) and what a number becomes where they are taken.
_NUMBERS: Mapping[int, Kind] = {26: Kind.DOUBLE, 27: Kind.INT64, 28: Kind.UINT64}
_BUILT_IN = frozenset(int(kind) for kind in Kind)


class Caller:
    """Calls over one line; what the server declares of a method is asked once in a session."""

    def __init__(self, line: Line, nodes: Nodes) -> None:
        self._line = line
        self._nodes = nodes
        self._declared: dict[ua.NodeId, list[ua.Argument]] = {}

    async def call(self, step: PointCall) -> None:
        """Call it and return when it is done.

        Raises:
            LinkLost: whether it ran is unknown, or it cannot run now.
            PointRejected: it is no method of ours, its arguments are others, or the server refused it.
        """
        name = step.point
        called, method = await self._place(name)
        declared = await self._arguments(method)
        if len(declared) != len(step.arguments):
            said = f"the method takes {len(declared)} arguments, and the relay hands it {len(step.arguments)}"
            raise PointRejected(name, said)
        spec = self._nodes.specs[name]
        try:
            given = [_variant(spec, each, value) for each, value in zip(declared, step.arguments, strict=True)]
        except ValueError as error:
            raise PointRejected(name, str(error)) from error
        answer = await self._line.call(called, method, given)
        status = int(answer.StatusCode.value)
        if transient(status):
            raise LinkLost(f"{name}: the method cannot run now: {answer.StatusCode.name}")
        if not good(status):
            raise PointRejected(
                name, f"the server refused the call: {answer.StatusCode.name}{_blamed(declared, answer)}"
            )

    async def _place(self, name: str) -> tuple[ua.NodeId, ua.NodeId]:
        spec, place = self._nodes.specs.get(name), self._nodes.places.get(name)
        if spec is None or place is None:
            raise PointRejected(name, "is not a point of this connection")
        if place.object is None or place.method is None:
            raise PointRejected(name, "is not a method")
        if spec.access is not Access.WRITE:
            raise PointRejected(name, "is not declared with access: write")
        called, method = await self._line.resolve([place.object, place.method])
        if called is None or method is None:
            raise PointRejected(name, f"{place.method} cannot be called: the server does not know its namespace")
        return called, method

    async def _arguments(self, method: ua.NodeId) -> list[ua.Argument]:
        """The arguments that the server declares; none where the method has no such property."""
        if method not in self._declared:
            found = await self._line.property_of(method, "InputArguments")
            value = None if found is None or found.Value is None else found.Value.Value
            # asyncua decodes them as a class of the same name that is not its public one
            self._declared[method] = [each for each in value or () if hasattr(each, "ValueRank")]
        return self._declared[method]


def _variant(spec: PointSpec, declared: ua.Argument, value: Value | None) -> ua.Variant:
    """One argument as the method takes it; of what a message does not have, a text is empty.

    Raises:
        ValueError: the method's type is another, or none that a relay has.
    """
    kind = declared.DataType.Identifier if declared.DataType.NamespaceIndex == 0 else None
    if declared.ValueRank not in _SCALAR_OR_ANY:
        raise ValueError(f"argument {declared.Name} is an array, and a relay hands over single values")
    if kind in {_LOCALIZED_TEXT, Kind.STRING}:
        text = "" if value is None else str(write_value(spec, Kind.STRING, value))
        return ua.Variant(ua.LocalizedText(text) if kind == _LOCALIZED_TEXT else text)
    if value is None:
        raise ValueError(f"argument {declared.Name}: the message has no such field; give it a default")
    try:
        exact = Kind(_NUMBERS.get(kind, kind))  # type: ignore[arg-type]  # whatever it is, Kind says whether it is one
    except ValueError:
        raise ValueError(
            f"argument {declared.Name} is of type {declared.DataType.to_string()}, as no field is"
        ) from None
    try:
        return ua.Variant(write_value(spec, exact, value), ua.VariantType(exact))
    except ValueError as error:
        raise ValueError(f"argument {declared.Name}: {error}") from error


def _blamed(declared: Sequence[ua.Argument], answer: ua.CallMethodResult) -> str:
    """The arguments that the server itself finds wrong."""
    results = answer.InputArgumentResults or ()
    wrong = [
        f"{each.Name}: {status.name}" for each, status in zip(declared, results, strict=False) if not status.is_good()
    ]
    return f" ({', '.join(wrong)})" if wrong else ""
