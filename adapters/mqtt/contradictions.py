"""What topics of one connection say against each other; told by ``check`` with line and column. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from adapters.mqtt.config import MqttConnection, MqttPoint, MqttTrigger
from adapters.mqtt.topics import check_topic, overlap, results_beside
from gateway.core.point import Access, PointSpec
from gateway.ports import ConnectionConfig

Place = tuple[str, ...]


def contradictions(config: ConnectionConfig) -> Iterator[tuple[Place, str]]:
    """Every contradiction, with the way to it below the site."""
    triggers = {name: trigger for name, trigger in config.triggers.items() if isinstance(trigger, MqttTrigger)}
    points = {name: (spec, place) for name, (spec, place) in config.points.items() if isinstance(place, MqttPoint)}
    for (first, one), (second, other) in combinations(triggers.items(), 2):
        if overlap(one.topic, other.topic):
            said = f"a message on {other.topic} may be one of message {first} as well ({one.topic})"
            yield ("messages", second, "when", "topic"), said
    for name, (spec, place) in points.items():
        yield from (_written(name, place, triggers) if spec.access is Access.WRITE else _read(name, place, triggers))
    yield from _ours(config.settings, points, triggers)


def _read(name: str, place: MqttPoint, triggers: Mapping[str, MqttTrigger]) -> Iterator[tuple[Place, str]]:
    for message, trigger in triggers.items():
        if place.topic != trigger.topic and overlap(place.topic, trigger.topic):
            said = f"overlaps {trigger.topic}, the topic of message {message}; write that very topic, or another one"
            yield ("points", name, "topic"), said
    if place.retain:
        yield ("points", name, "retain"), "retain is for points with access: write"


def _written(name: str, place: MqttPoint, triggers: Mapping[str, MqttTrigger]) -> Iterator[tuple[Place, str]]:
    try:
        check_topic(place.topic)
    except ValueError as error:
        yield ("points", name, "topic"), str(error)
    for message, trigger in triggers.items():
        if overlap(place.topic, trigger.topic):
            said = f"what is written there would come back as message {message} ({trigger.topic})"
            yield ("points", name, "topic"), said
    for member in ("path", "time"):
        if getattr(place, member) is not None:
            yield (
                ("points", name, member),
                f"{member} is for points that are read; what is written is the whole payload",
            )


def _ours(
    settings: object, points: Mapping[str, tuple[PointSpec, MqttPoint]], triggers: Mapping[str, MqttTrigger]
) -> Iterator[tuple[Place, str]]:
    """No two things that we publish share a topic, and none of them is a request."""
    status = settings.status if isinstance(settings, MqttConnection) else None
    taken: dict[str, str] = {} if status is None else {status: "our status"}
    for name, (spec, place) in points.items():
        if spec.access is Access.WRITE and taken.setdefault(place.topic, f"point {name}") != f"point {name}":
            yield ("points", name, "topic"), f"{place.topic} is the topic of {taken[place.topic]} already"
    for name, trigger in triggers.items():
        if status is not None and overlap(trigger.topic, status):
            yield ("messages", name, "when", "topic"), f"{trigger.topic} would take our status {status} for a message"
        results = f"{trigger.results or results_beside(trigger.topic)}/+"
        for message, asked in triggers.items():
            if overlap(asked.topic, results):
                said = f"results on {results} would come back as message {message} ({asked.topic}); name other results"
                yield ("messages", name, "when", "topic"), said
