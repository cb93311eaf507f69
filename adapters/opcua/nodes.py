"""The points of one session: which node each is on this server, of which type, and what it holds now.

A node that the server does not know, or does not watch, costs only its own point; it is looked for again after a while,
since a plant's server often starts before its nodes are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from asyncua import ua

from adapters.opcua.config import OpcuaPoint
from adapters.opcua.line import Line
from adapters.opcua.translation import Kind, faulty, value_bytes
from adapters.opcua.watching import kind_of, reading_of, value_of
from gateway.core.point import PointSpec, Quality, Reading
from gateway.ports import ConnectionConfig, Resources

_BUILT_IN = frozenset(int(kind) for kind in Kind)


class Nodes:
    """What one session knows of its points; ``raw`` holds each value read last, as a mailbox's CRC takes it."""

    def __init__(self, line: Line, config: ConnectionConfig, resources: Resources) -> None:
        self._line = line
        self._event = resources.event
        self._labels = {"site": config.site, "connection": config.name}
        self._troubles: set[str] = set()
        self.specs: dict[str, PointSpec] = {}
        self.places: dict[str, OpcuaPoint] = {}
        for name, (spec, place) in config.points.items():
            if not isinstance(place, OpcuaPoint):
                raise TypeError(f"{name}: {type(place).__name__} is not an OPC UA point")
            self.specs[name], self.places[name] = spec, place
        self._ids: dict[str, ua.NodeId] = {}
        self.kinds: dict[str, Kind] = {}
        self.raw: dict[str, bytes] = {}

    async def find(self) -> None:
        """Learn where the points are on this server.

        Raises:
            LinkLost: the connection is gone.
        """
        names = list(self.places)
        found = await self._line.resolve([self.places[name].where for name in names])
        self._ids = {name: node for name, node in zip(names, found, strict=True) if node is not None}

    def id_of(self, name: str) -> ua.NodeId | None:
        """The node of a point, or None where the server does not know its namespace."""
        return self._ids.get(name)

    async def read(self, names: Iterable[str]) -> tuple[dict[str, Reading], int]:
        """Read points from their source; each has a reading, good or not; also when the last answer arrived.

        Raises:
            LinkLost: the connection is gone.
        """
        asked = [name for name in names if name in self._ids]
        data, at = await self._line.read([self._ids[name] for name in asked])
        readings = {name: self._note(name, item, at) for name, item in zip(asked, data, strict=True)}
        for name in names:
            if name not in readings:
                uri = self.places[name].where.namespace
                readings[name] = faulty(self.specs[name], "node_unknown", f"the server has no namespace {uri}", at)
        for reading in readings.values():
            self.tell(reading)
        return readings, at

    async def kind(self, name: str) -> Kind | None:
        """The type that a node takes, learned from its value or else from its declaration; None if it is none of ours.

        Raises:
            LinkLost: the connection is gone.
        """
        if name not in self.kinds:
            await self.read([name])
        node = self._ids.get(name)
        if name not in self.kinds and node is not None:
            (declared,), _ = await self._line.read([node], ua.AttributeIds.DataType)
            number = getattr(value_of(declared), "Identifier", None)
            namespace = getattr(value_of(declared), "NamespaceIndex", None)
            if namespace == 0 and number in _BUILT_IN:
                self.kinds[name] = Kind(number)
        return self.kinds.get(name)

    def tell(self, reading: Reading) -> None:
        """Tell of a point's failure when it begins, and of its end."""
        what = reading.point
        if reading.quality is Quality.BAD and what not in self._troubles:
            self._troubles.add(what)
            self._event("point_read_failed", **self._labels, what=what, detail=reading.detail)
        elif reading.quality is not Quality.BAD and what in self._troubles:
            self._troubles.discard(what)
            self._event("point_read_recovered", **self._labels, what=what)

    def lost_values(self) -> None:
        """Tell that values were lost on their way and everything is read again."""
        self._event("point_values_lost", **self._labels)

    def _note(self, name: str, data: ua.DataValue, at: int) -> Reading:
        kind, value = kind_of(data), value_of(data)
        if kind in _BUILT_IN:
            self.kinds[name] = Kind(kind)
        try:
            self.raw[name] = value_bytes(kind, value)
        except ValueError:
            self.raw.pop(name, None)
        return reading_of(self.specs[name], data, at)


def watched(nodes: Nodes, names: Sequence[str]) -> list[tuple[PointSpec, OpcuaPoint, ua.NodeId, Kind | None]]:
    """What a subscription needs to know of points that the server has."""
    found: list[tuple[PointSpec, OpcuaPoint, ua.NodeId, Kind | None]] = []
    for name in names:
        node = nodes.id_of(name)
        if node is not None:
            found.append((nodes.specs[name], nodes.places[name], node, nodes.kinds.get(name)))
    return found


def missing(readings: Mapping[str, Reading]) -> frozenset[str]:
    """The points whose nodes the server does not have."""
    return frozenset(name for name, reading in readings.items() if reading.fault == "node_unknown")
