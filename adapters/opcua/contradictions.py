"""What the points and messages of one OPC UA connection say against its role and each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.opcua.config import OpcuaConnection, OpcuaPoint
from gateway.ports import ConnectionConfig

Place = tuple[str, ...]

OURS = "SMP."  # our own nodes begin so
_NAMESPACE = 2


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
    for name in config.triggers:
        said = "role: client calls the site's server, which cannot send messages; use a mailbox, or role: server"
        yield ("messages", name, "when", "message"), said


def _of_server(config: ConnectionConfig, points: dict[str, OpcuaPoint]) -> Iterator[tuple[Place, str]]:
    taken: dict[str, str] = {}
    for name, place in points.items():
        at: Place = ("points", name, "node")
        identifier = str(place.node.identifier)
        if place.type is None:
            yield ("points", name), "a node of our own server needs a type, such as Double, UInt16 or String"
        if place.node.namespace != _NAMESPACE or not isinstance(place.node.identifier, str):
            yield at, f"{place.node} cannot be ours; our server's nodes are ns={_NAMESPACE};s=NAME"
        elif identifier.startswith(OURS):
            yield at, f"names that begin with {OURS} are the gateway's own"
        elif taken.setdefault(identifier, name) != name:
            yield at, f"{place.node} is point {taken[identifier]} already"
        for member in ("sampling", "queue"):
            if getattr(place, member) is not None:
                yield ("points", name, member), f"{member} is for nodes of the site's server"
    for name in config.mailboxes:
        said = "a mailbox is for the site's server; here the site calls Submit: when: {message: CONNECTION}"
        yield ("mailboxes", name, "connection"), said
