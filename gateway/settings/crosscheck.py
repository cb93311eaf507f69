"""What the parts of a site, and the sites among each other, say of each other: names, permissions, registers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import combinations, product
from typing import Protocol, runtime_checkable

from gateway.core.expression import Expression
from gateway.core.intake import UNBOUND
from gateway.core.mailbox import SITE_BLOCK, MailboxSpec, Role, payload_window
from gateway.core.mapping import ChangeTrigger, EdgeTrigger, MailboxTrigger, MessageTrigger, Trigger, VerdictTrigger
from gateway.core.point import Access, PointSpec
from gateway.core.transaction import TERMINAL
from gateway.settings.arrays import array_of, meant
from gateway.settings.binding import check_bound
from gateway.settings.document import Path, leaves
from gateway.settings.quantities import among, shown
from gateway.settings.safety import check_safety
from gateway.settings.site import World, connection_config
from gateway.settings.site_parts import SiteParts
from gateway.settings.when import states_of

_FIRST_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?![A-Za-z0-9_(])")
# The table in which a protocol with numbered registers keeps its mailboxes.
MAILBOX_TABLE = "holding"


@runtime_checkable
class Placed(Protocol):
    """A point's address model of a protocol with numbered registers."""

    @property
    def window(self) -> range:
        """The addresses that the point takes in its table."""

    @property
    def address(self) -> object:
        """Where it begins; ``table`` of it, where there is one, names the table."""


@runtime_checkable
class Warns(Protocol):
    """A connection's model that has something to say about itself."""

    def warnings(self) -> tuple[str, ...]:
        """What is allowed but should not stay as it is."""


def crosscheck(parts: SiteParts, world: World) -> None:
    """Note every contradiction between the parts of one site."""
    _participant(parts, world)
    _connections(parts)
    _messages(parts)
    _contradictions(parts)
    _relays(parts)
    _registers(parts)
    check_bound(parts)
    check_safety(parts)
    _ways_back(parts)


def _participant(parts: SiteParts, world: World) -> None:
    name = parts.document.tree.get("participant")
    if isinstance(name, str) and name not in world.participants and world.all_participants:
        parts.blame(("participant",), f"there is no participant {shown(name)}{among(name, world.participants)}")


def _connections(parts: SiteParts) -> None:
    known = parts.names("connections")
    for section in ("points", "arrays", "mailboxes"):
        for name in sorted(parts.names(section)):
            path: Path = (section, name, "connection")
            if path in parts.document.values:
                _known(parts, path, _at(parts, path), known, "connection")
    for name, array in parts.arrays.items():
        _known(parts, ("arrays", name, "used"), array.used, parts.names("points"), "point")
    for name, settings in parts.links.items():
        for sentence in settings.warnings() if isinstance(settings, Warns) else ():
            parts.blame(("connections", name), sentence, key=True, warning=True)
    for name, box in parts.mailboxes.items():
        spec = parts.protocols.get(box.connection)
        if spec is not None and box.layout not in spec.mailbox_layouts:
            layouts = ", ".join(sorted(spec.mailbox_layouts)) or "none"
            parts.blame(("mailboxes", name), f"{spec.protocol} has no mailbox layout {box.layout}; it has: {layouts}")


def _messages(parts: SiteParts) -> None:
    bound: dict[tuple[str, int], str] = {}
    for name, message in parts.messages.items():
        path: Path = ("messages", name)
        match message.trigger:
            case MailboxTrigger(mailbox=mailbox, kind=kind):
                _known(parts, (*path, "when", "mailbox"), mailbox, parts.names("mailboxes"), "mailbox")
                first = bound.setdefault((mailbox, kind), name)
                if first != name:
                    said = f"message {first} already answers kind {kind} of mailbox {mailbox}"
                    parts.blame((*path, "when", "kind"), said)
            case MessageTrigger():
                _sent(parts, name, message.trigger)
            case ChangeTrigger(point=point):
                _known(parts, (*path, "when", "changes"), point, parts.names("points"), "point")
            case EdgeTrigger(point=point):
                _known(parts, (*path, "when", "edge"), point, parts.names("points"), "point")
            case VerdictTrigger(message=parent):
                at = next(at for at, _ in leaves(_at(parts, (*path, "when")), (*path, "when")))
                _known(parts, at, parent, parts.names("messages"), "message")
        _named(parts, path, message.trigger)
    boxes = {mailbox for mailbox, _ in bound}
    if boxes <= parts.names("mailboxes") and len(parts.messages) == len(parts.names("messages")):
        for name in sorted(parts.names("mailboxes") - boxes):
            said = f"no message is made of it (when: {{mailbox: {name}, kind: 1}}); every request will be refused"
            parts.blame(("mailboxes", name), said, key=True, warning=True)


def _named(parts: SiteParts, path: Path, trigger: Trigger) -> None:
    """The message's own name, and the points that it names."""
    if path[-1] == UNBOUND:
        parts.blame(path, "this name is reserved for requests that no message answers", key=True)
    for section in ("assets", "unit", "aligned"):
        for at, value in leaves(_at(parts, (*path, section)), (*path, section)):
            points = (value,) if at[-1] == "point" else Expression(str(value)).points if at[-1] == "expr" else ()
            for name in points:
                _place(parts, at, name, trigger)


def _place(parts: SiteParts, path: Path, name: object, trigger: Trigger) -> None:
    """A name in a place of a message, and the points that it means."""
    homes = [array.name for array in parts.arrays.values() if name in array.members]
    found = meant(parts, path, str(name))
    if found == (name,) and homes and name not in parts.names("points"):
        said = (
            f"point {name} is one of array {homes[0]}; write for_each: {{array: {homes[0]}}} beside the asset's members"
        )
        parts.blame(path, said)
    elif found == (name,):
        _known(parts, path, name, parts.names("points"), "point")
    array = array_of(parts, path[:4])
    for point in (*found, *((array.used,) if array is not None and array.used is not None else ())):
        if _in_payload(parts, path, point, trigger):
            return


def _in_payload(parts: SiteParts, path: Path, name: str, trigger: Trigger) -> bool:
    """A point in a mailbox's payload has a value within a request of that mailbox only; whether it was blamed."""
    own = trigger.mailbox if isinstance(trigger, MailboxTrigger) else None
    if name not in parts.points or own not in {None, *parts.mailboxes}:
        return False
    place = parts.places[name]
    if not isinstance(place, Placed):
        return False
    for box in parts.mailboxes.values():
        here = box.connection == parts.points[name].connection and box.name != own
        if here and _meet(place.window, payload_window(box, box.capacity)):
            said = f"point {name} lies in the payload of mailbox {box.name}, and no request of it makes this message"
            parts.blame(path, said)
            return True
    return False


def _sent(parts: SiteParts, name: str, trigger: MessageTrigger) -> None:
    """What a message that the site sends itself needs: its connection, and an id or a window instead of it."""
    path: Path = ("messages", name, "when")
    _known(parts, (*path, "message"), trigger.connection, parts.names("connections"), "connection")
    own = parts.triggers.get(name)
    carries_id = getattr(own, "carries_id", True)
    if own is not None and not carries_id and trigger.dedupe_us is None:
        said = "no id is picked from it, so what comes twice would be two messages; add dedupe: {window: 10m}"
        parts.blame(path, said)
    if own is not None and carries_id and trigger.dedupe_us is not None:
        parts.blame((*path, "dedupe"), "dedupe is for messages without an id; this one has one")
    if trigger.progress and not getattr(own, "answers", True):
        parts.blame((*path, "progress"), "nobody waits for an answer to it; write relay: with on: [awaiting]")
    members: frozenset[str] | None = getattr(own, "members", None)
    if members is None:
        return
    for at, expression in _picked(parts, ("messages", name)):
        word = _FIRST_WORD.match(expression)
        if word is not None and word[0] not in members:
            parts.blame(at, f"the message has no member {shown(word[0])}{among(word[0], members)}")


def _picked(parts: SiteParts, path: Path) -> Iterator[tuple[Path, str]]:
    """Every expression into what the site sends that begins at its top; those below ``for_each`` begin at a row."""
    assets = _at(parts, (*path, "assets"))
    rows = [isinstance(a, dict) and "for_each" in a for a in assets] if isinstance(assets, list) else []
    for section in ("assets", "unit", "aligned", "content"):
        for at, value in leaves(_at(parts, (*path, section)), (*path, section)):
            of_a_row = section == "assets" and len(at) > len(path) + 1 and rows[int(at[len(path) + 1])]
            if isinstance(value, str) and (at[-1] == "for_each" or (at[-1] == "path" and not of_a_row)):
                yield at, value


def _contradictions(parts: SiteParts) -> None:
    """What a protocol itself says of points and triggers that do not go together."""
    for name in parts.links:
        tell = parts.protocols[name].contradictions
        for at, sentence in tell(connection_config(parts, "", name)) if tell is not None else ():
            parts.blame(at, sentence, key=at[-1] in parts.names(str(at[0])))


def _relays(parts: SiteParts) -> None:
    for index, relay in parts.relays.items():
        _known(parts, ("relay", index, "message"), relay.message, parts.names("messages"), "message")
        for point in relay.call:
            path: Path = ("relay", index, "call", point)
            _known(parts, path, point, parts.names("points"), "point")
            if point in parts.points and not parts.is_method(point):
                parts.blame(path, f"point {point} is no method; write to it: write: {{{point}: VALUE}}", key=True)
        for point, value in relay.write.items():
            path = ("relay", index, "write", point)
            _known(parts, path, point, parts.names("points"), "point")
            spec = parts.points.get(point)
            if spec is None:
                continue
            if parts.is_method(point):
                parts.blame(path, f"point {point} is a method; call it: call: {{{point}: [ARGUMENTS]}}", key=True)
            elif spec.access is not Access.WRITE:
                parts.blame(path, f"point {point} may only be read; give it access: write", key=True)
            if isinstance(value, int | Decimal) and not isinstance(value, bool) and _outside(spec, value):
                parts.blame(path, f"{value} is outside {spec.minimum}..{spec.maximum}, the range of point {point}")


def _registers(parts: SiteParts) -> None:
    """No register may belong to two things, other than points decoded from a mailbox's payload."""
    for first, second in combinations(parts.mailboxes.values(), 2):
        blocks = product((*first.site_blocks, first.host_block), (*second.site_blocks, second.host_block))
        if first.connection == second.connection and any(_meet(a, b) for a, b in blocks):
            parts.blame(("mailboxes", second.name), f"shares registers with mailbox {first.name}", key=True)
    for name, spec in parts.points.items():
        place = parts.places[name]
        if not isinstance(place, Placed) or str(getattr(place.address, "table", MAILBOX_TABLE)) != MAILBOX_TABLE:
            continue
        for box in parts.mailboxes.values():
            said = _collision(spec, place.window, box) if box.connection == spec.connection else None
            if said is not None:
                parts.blame(("points", name, "address"), said)


def _collision(spec: PointSpec, window: range, box: MailboxSpec) -> str | None:
    """Why a point cannot stand where it does, or None."""
    where = f"{window.start}..{window.stop - 1}" if len(window) > 1 else str(window.start)
    payload = payload_window(box, box.capacity)
    for block, name in ((box.host_block, "result block"), (box.page_block, "page register")):
        if _meet(window, block):
            return f"{where} lies in the {name} {block.start}..{block.stop - 1} of mailbox {box.name}"
    if not _meet(window, box.site_block):
        return None
    header = range(box.base, box.base + SITE_BLOCK[Role.PAYLOAD])
    if _meet(window, header):
        return f"{where} lies in the header {header.start}..{header.stop - 1} of mailbox {box.name}"
    if window.stop > payload.stop:
        return f"{where} lies only partly in the payload {payload.start}..{payload.stop - 1} of mailbox {box.name}"
    if spec.access is Access.WRITE:
        return f"{where} lies in the payload of mailbox {box.name}, which only the site may write"
    return None


def _ways_back(parts: SiteParts) -> None:
    """Warn of ends that the site never hears of; a mailbox's result block tells them all."""
    declared = parts.document.tree.get("relay")
    if isinstance(declared, list) and len(declared) != len(parts.relays):
        return  # a relay that cannot be read may be the one that tells
    if any(relay.message not in {None, *parts.names("messages")} for relay in parts.relays.values()):
        return  # and so may one of a misspelt message
    for name, message in parts.messages.items():
        relays = [relay for relay in parts.relays.values() if relay.message in {None, name}]
        told = frozenset(state for relay in relays for state in states_of(relay.on))
        silent = ", ".join(state for state in sorted(TERMINAL - told))
        if silent and not isinstance(message.trigger, MailboxTrigger):
            said = f"the site is not told when this message is {silent}; add them to relay"
            parts.blame(("messages", name), said, key=True, warning=True)


def _known(parts: SiteParts, path: Path, name: object, known: frozenset[str], what: str) -> None:
    if isinstance(name, str) and name not in known:
        parts.blame(path, f"there is no {what} {shown(name)}{among(name, known)}", key=path[-1] == name)


def _at(parts: SiteParts, path: Path) -> object:
    node: object = parts.document.tree
    for step in path:
        node = node.get(step) if isinstance(node, dict) else None
    return node


def _outside(spec: PointSpec, value: int | Decimal) -> bool:
    low, high = spec.minimum, spec.maximum
    return (low is not None and value < low) or (high is not None and value > high)


def _meet(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop
