"""Which topic means what: the subscriptions of a connection, and what each arrival brings. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.mqtt.config import MqttPoint, MqttTrigger
from adapters.mqtt.topics import matches
from adapters.mqtt.translation import NOTHING, Arrived, Asked, asked, parse_json, reading
from gateway.core import jws
from gateway.core.point import Access, PointSpec, Reading, Snapshot
from gateway.ports import ConnectionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of the site's own, not yet numbered: which of the site's messages it asks for, and what it brings."""

    name: str
    asked: Asked
    snapshot: Snapshot


class Routes:
    """The topics of one connection."""

    def __init__(self, config: ConnectionConfig, *, limit: int) -> None:
        self.writable: dict[str, tuple[PointSpec, MqttPoint]] = {}
        self._limit = limit
        self._triggers: dict[str, tuple[str, MqttTrigger]] = {}  # topic filter -> message, trigger
        self._points: dict[str, list[tuple[PointSpec, MqttPoint]]] = {}  # topic filter -> what is read there
        for name, trigger in config.triggers.items():
            if isinstance(trigger, MqttTrigger):
                self._triggers[trigger.topic] = (name, trigger)
        for name, (spec, place) in config.points.items():
            if isinstance(place, MqttPoint) and spec.access is Access.WRITE:
                self.writable[name] = (spec, place)
            elif isinstance(place, MqttPoint):
                self._points.setdefault(place.topic, []).append((spec, place))

    @property
    def requests(self) -> Mapping[str, int]:
        """The filters of messages, with their QoS."""
        return dict.fromkeys(self._triggers, 1)

    @property
    def readings(self) -> Mapping[str, int]:
        """The filters of points, with the highest QoS that one of them wants."""
        return {
            pattern: max(place.qos for _, place in points)
            for pattern, points in self._points.items()
            if pattern not in self._triggers
        }

    def points_on(self, pattern: str) -> tuple[str, ...]:
        """The points that are read on a filter."""
        return tuple(spec.name for spec, _ in self._points.get(pattern, ()))

    def message(self, arrived: Arrived, find: jws.Find | None) -> Message | None:
        """The message that arrived, or None when the topic is none of a message."""
        for pattern, (name, trigger) in self._triggers.items():
            if matches(pattern, arrived.topic):
                read = asked(trigger, arrived, self._limit, find)
                return Message(name=name, asked=read, snapshot=self._brought(pattern, read, arrived))
        return None

    def observed(self, arrived: Arrived) -> list[Reading] | None:
        """The readings that arrived, or None when nothing is read on this topic."""
        found = [
            point for pattern, points in self._points.items() if matches(pattern, arrived.topic) for point in points
        ]
        if not found:
            return None
        document = parse_json(arrived.payload, self._limit) if any(place.path for _, place in found) else NOTHING
        return [reading(spec, place, arrived, document, self._limit) for spec, place in found]

    def _brought(self, pattern: str, read: Asked, arrived: Arrived) -> Snapshot:
        """The points that a message fills; none of one that is not believed."""
        if read.fault is not None:
            return {}
        points = self._points.get(pattern, ())
        return {spec.name: reading(spec, place, arrived, read.document, self._limit) for spec, place in points}
