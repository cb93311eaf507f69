"""What the points and messages of one OPC UA connection say against its role and each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.opcua.config import OpcuaConnection, OpcuaPoint, OpcuaTrigger
from gateway.core.point import Access, PointSpec
from gateway.ports import ConnectionConfig

Place = tuple[str, ...]

OURS = "SMP."  # our own nodes begin so
_NAMESPACE = 2
# What a point says of its value, and the word for it in YAML.
_OF_VALUES = {
    "scale": "scale",
    "offset": "offset",
    "unit": "unit",
    "minimum": "range",
    "deadband": "deadband",
    "max_age": "max_age",
}


def contradictions(config: ConnectionConfig) -> Iterator[tuple[Place, str]]:
    """Every contradiction, with the way to it below the site."""
    if not isinstance(config.settings, OpcuaConnection):
        return
    points = {name: place for name, (_, place) in config.points.items() if isinstance(place, OpcuaPoint)}
    if config.settings.role == "server":
        yield from _of_server(config, points)
        return
    for name, place in points.items():
        if place.type is not None:
            yield ("points", name, "type"), "the site's server says of which type its nodes are; leave it out"
        if place.called:
            yield from _of_method(config.points[name][0])
    for name, trigger in config.triggers.items():
        if isinstance(trigger, OpcuaTrigger) and trigger.event is None:
            said = (
                "role: client calls the site's server, which cannot send messages; add event: and fields: for one that "
                "it tells of, use a mailbox, or role: server"
            )
            yield ("messages", name, "when", "message"), said


def _of_method(spec: PointSpec) -> Iterator[tuple[Place, str]]:
    """A method is called with arguments of its own types; it holds no value that could be read or scaled."""
    at: Place = ("points", spec.name)
    if spec.access is not Access.WRITE:
        yield (*at, "method"), "a method is called, never read; give it access: write"
    plain = PointSpec(name=spec.name, connection=spec.connection)
    for member, named in _OF_VALUES.items():
        if getattr(spec, member) != getattr(plain, member):
            yield (*at, named), f"{named} is about a value, and a method has none; leave it out"


def _of_server(config: ConnectionConfig, points: dict[str, OpcuaPoint]) -> Iterator[tuple[Place, str]]:
    taken: dict[str, str] = {}
    for name, place in points.items():
        at: Place = ("points", name, "node")
        if place.called:
            continue
        identifier = str(place.where.identifier)
        if place.type is None:
            yield ("points", name), "a node of our own server needs a type, such as Double, UInt16 or String"
        if place.where.namespace != _NAMESPACE or not isinstance(place.where.identifier, str):
            yield at, f"{place.where} cannot be ours; our server's nodes are ns={_NAMESPACE};s=NAME"
        elif identifier.startswith(OURS):
            yield at, f"names that begin with {OURS} are the gateway's own"
        elif taken.setdefault(identifier, name) != name:
            yield at, f"{place.where} is point {taken[identifier]} already"
        for member in ("sampling", "queue"):
            if getattr(place, member) is not None:
                yield ("points", name, member), f"{member} is for nodes of the site's server"
    yield from _of_the_site(config, points)


def _of_the_site(config: ConnectionConfig, points: dict[str, OpcuaPoint]) -> Iterator[tuple[Place, str]]:
    """What only the site's own server has."""
    for name, place in points.items():
        if place.called:
            yield ("points", name, "method"), "methods are the site's server's; ours has Submit only"
    for name, trigger in config.triggers.items():
        if isinstance(trigger, OpcuaTrigger) and trigger.event is not None:
            yield ("messages", name, "when", "event"), "events are the site's server's; here the site calls Submit"
    for name in config.mailboxes:
        said = "a mailbox is for the site's server; here the site calls Submit: when: {message: CONNECTION}"
        yield ("mailboxes", name, "connection"), said
