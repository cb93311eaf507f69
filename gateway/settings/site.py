"""One site file, from values with places to a SiteConfig.

Each part (connection, point, array, mailbox, message, relay) is read by itself, so that a fault in one hides no fault
in another; what the parts say of each other is checked in settings/crosscheck.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from gateway.core.mailbox import MailboxSpec
from gateway.core.mapping import (
    Aligned,
    AlignedMessage,
    AlignedName,
    MessageSpec,
    MessageTrigger,
    compile_name,
    compile_template,
)
from gateway.core.point import PointSpec
from gateway.core.profile import Profile
from gateway.core.relay import CallbackRule, RelayRule
from gateway.ports import AdapterSpec, ConnectionConfig
from gateway.settings import models
from gateway.settings.arrays import bad_repetitions, read_array, unread_array
from gateway.settings.binding import MARKS, read_bound
from gateway.settings.document import Document, Path
from gateway.settings.further import FurtherMessage, check_content
from gateway.settings.points import read_point, split
from gateway.settings.quantities import among, shown
from gateway.settings.resolved import SiteConfig, SiteConnection
from gateway.settings.safety import read_safety
from gateway.settings.site_parts import SiteParts
from gateway.settings.template import bad_paths, bad_picks, check_template
from gateway.settings.when import OTHER, When, states_of, trigger_of


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a site file may refer to outside of itself; an environment without a profile is one that failed to load.

    Without ``all_participants`` there are files that could not be parsed, and an unknown name may stand in one of them.
    """

    adapters: Mapping[str, AdapterSpec]
    participants: Mapping[str, str]  # name -> environment
    profiles: Mapping[str, Profile | None]
    all_participants: bool = True


def read_site(document: Document, world: World) -> SiteParts:
    """Read every part of a site file that can be read."""
    parts = SiteParts(document=document)
    parts.head = parts.take(models.SiteFile, document.tree, ())
    environment = world.participants.get(str(document.tree.get("participant")))
    for name, tree in _members(document, "connections"):
        _connection(parts, name, tree, world.adapters)
    for name, tree in _members(document, "points"):
        read_point(parts, name, tree)
    for name, tree in _members(document, "arrays"):
        read_array(parts, name, tree)
    for name, tree in _members(document, "mailboxes"):
        _mailbox(parts, name, tree, world.profiles.get(environment or ""))
    for name, tree in _members(document, "messages"):
        _message(parts, name, tree, world.profiles.get(environment or ""))
    relays = document.tree.get("relay")
    for index, tree in enumerate(relays if isinstance(relays, list) else []):
        relay = parts.take(models.Relay, tree, ("relay", index)) if isinstance(tree, dict) else None
        if relay is not None:
            parts.relays[index] = relay
    return parts


def assemble(parts: SiteParts, environment: str) -> SiteConfig:
    """Make the result of parts without problems."""
    tree = parts.document.tree
    site = str(tree["site"])
    return SiteConfig(
        site=site,
        participant=str(tree["participant"]),
        environment=environment,
        description=str(tree.get("description") or ""),
        connections={name: _site_connection(parts, site, name) for name in parts.links},
        points=parts.points,
        mailboxes=parts.mailboxes,
        messages=parts.messages,
        relays=tuple(
            RelayRule(connection=connection, on=states_of(relay.on), write=write, call=call, message=relay.message)
            for relay in parts.relays.values()
            if OTHER not in relay.on
            for connection, write, call in _by_connection(relay, parts.points)
        ),
        callback_rules=tuple(
            CallbackRule(connection=connection, write=write)
            for relay in parts.relays.values()
            if OTHER in relay.on
            for connection, write, _ in _by_connection(relay, parts.points)
        ),
        safety=read_safety(parts),
        arrays=parts.arrays,
        health=parts.head.health.resolved() if parts.head is not None and parts.head.health is not None else {},
        revision=hashlib.sha256(json.dumps(tree, sort_keys=True, default=_exactly).encode()).hexdigest()[:16],
    )


def _connection(parts: SiteParts, name: str, tree: dict[str, object], adapters: Mapping[str, AdapterSpec]) -> None:
    path: Path = ("connections", name)
    generic, own = split(tree, models.Connection)
    link = parts.take(models.Connection, generic, path)
    if link is None:
        return
    spec = adapters.get(link.protocol)
    if spec is None:
        said = f"there is no protocol {shown(link.protocol)}{among(link.protocol, adapters)}"
        parts.blame((*path, "protocol"), said)
        return
    parts.protocols[name] = spec
    settings = parts.take(spec.connection_model, own, path, beside=models.Connection)
    if settings is not None:
        parts.links[name] = settings


def _mailbox(parts: SiteParts, name: str, tree: dict[str, object], profile: Profile | None) -> None:
    if MARKS & tree.keys():
        read_bound(parts, name, tree)
        return
    path: Path = ("mailboxes", name)
    box = parts.take(models.Mailbox, tree, path)
    if box is None:
        return
    if box.crc == "none":
        parts.blame((*path, "crc"), "without a CRC a block torn between two reads goes unnoticed", warning=True)
    if box.pages is not None and not box.detail:
        parts.blame((*path, "pages"), "write detail beside it: how many errors a page lists, such as detail: 8")
        return
    try:
        parts.mailboxes[name] = MailboxSpec(
            name=name,
            connection=box.connection,
            layout=box.layout,
            base=box.base,
            results=box.results,
            capacity=box.capacity,
            crc=box.crc != "none",
            progress=box.progress,
            restart_expected=box.restart == "expected",
            latest=box.latest,
            detail=box.detail,
            pages=box.pages,
            error_numbers=profile.error_numbers if profile is not None else {},
        )
    except ValueError as error:
        parts.blame(path, str(error))


def _message(parts: SiteParts, name: str, tree: dict[str, object], profile: Profile | None) -> None:
    path: Path = ("messages", name)
    kind, further = tree.get("kind"), profile.kinds if profile is not None else {}
    if isinstance(kind, str) and profile is not None and kind in further:
        _further_message(parts, name, tree, profile)
        return
    if isinstance(kind, str) and further and kind not in models.KINDS:
        parts.blame((*path, "kind"), f"{shown(kind)} is no kind of message{among(kind, [*models.KINDS, *further])}")
        return
    message = parts.take(models.Message, _without_own_members(parts, name, tree), path)
    if message is None:
        return
    misread = [*bad_paths(tree, sent=message.when.message is not None), *bad_repetitions(parts, path)]
    for at, sentence in misread:
        parts.blame((*path, *at), sentence)
    if misread or unread_array(parts, path):
        return
    content: dict[str, object] = {"assets": message.assets} if message.unit is None else {"unit": message.unit}
    spec = MessageSpec(
        name=name,
        kind=message.kind,
        trigger=trigger_of(message.when),
        template=compile_template(content, parts.arrays),
        not_after_us=message.not_after,
        salvage=message.salvage,
        aligned=tuple(_aligned(entry, str(parts.document.tree.get("site"))) for entry in message.aligned or ()),
    )
    parts.messages[name] = spec
    if profile is not None:
        for at, sentence in check_template(spec, content, profile):
            parts.blame((*path, *at), sentence)


def _further_message(parts: SiteParts, name: str, tree: dict[str, object], profile: Profile) -> None:
    path: Path = ("messages", name)
    message = parts.take(FurtherMessage, _without_own_members(parts, name, tree), path)
    misread = list(bad_picks(message.content, sent=message.when.message is not None)) if message is not None else []
    for at, sentence in misread:
        parts.blame((*path, *at), sentence)
    if message is None or misread:
        return
    spec = MessageSpec(
        name=name,
        kind=message.kind,
        trigger=trigger_of(message.when),
        template=compile_template({"content": message.content}),
        not_after_us=message.not_after,
    )
    parts.messages[name] = spec
    for at, sentence in check_content(spec, profile):
        parts.blame((*path, *at), sentence)


def _aligned(entry: object, site: str) -> Aligned:
    match entry:
        case models.Existing(existing=name):
            return AlignedName(name=name)
        case models.Named(name=place):
            return AlignedName(name=compile_name(place))
        case _:
            home, _, message = str(entry).rpartition("/")
            return AlignedMessage(site=home or site, message=message)


def _without_own_members(parts: SiteParts, name: str, tree: dict[str, object]) -> dict[str, object]:
    """Read what the protocol's own trigger model takes of ``when: {message: CONNECTION, ...}``; return the rest."""
    when = tree.get("when")
    if not isinstance(when, dict) or not isinstance(when.get("message"), str):
        return tree
    generic, own = split(when, When)
    unbuilt = {key: value for key, value in own.items() if key in When.unbuilt}
    own = {key: value for key, value in own.items() if key not in unbuilt}
    path: Path = ("messages", name, "when")
    spec = parts.protocols.get(when["message"])
    if spec is not None and spec.trigger_model is None:
        parts.blame((*path, "message"), f"{spec.protocol} cannot bring messages of the site's own; use a mailbox")
    elif spec is not None and spec.trigger_model is not None:
        trigger = parts.take(spec.trigger_model, own, path, beside=When)
        if trigger is not None:
            parts.triggers[name] = trigger
    return {**tree, "when": {**generic, **unbuilt}}


def connection_config(parts: SiteParts, site: str, name: str) -> ConnectionConfig:
    """One connection as its adapter gets it; of parts with problems, as far as they could be read."""
    return ConnectionConfig(
        site=site,
        name=name,
        settings=parts.links[name],
        points={key: (point, parts.places[key]) for key, point in parts.points.items() if point.connection == name},
        mailboxes={key: box for key, box in parts.mailboxes.items() if box.connection == name},
        triggers={
            key: trigger for key, trigger in parts.triggers.items() if _comes_over(parts.messages.get(key), name)
        },
    )


def _comes_over(message: MessageSpec | None, connection: str) -> bool:
    trigger = message.trigger if message is not None else None
    return isinstance(trigger, MessageTrigger) and trigger.connection == connection


def _site_connection(parts: SiteParts, site: str, name: str) -> SiteConnection:
    return SiteConnection(protocol=parts.protocols[name].protocol, config=connection_config(parts, site, name))


def _by_connection(
    relay: models.Relay, points: Mapping[str, PointSpec]
) -> Iterable[tuple[str, dict[str, object], dict[str, tuple[object, ...]]]]:
    """What is written to each connection, and what is called there, in the order of the YAML."""
    connections = dict.fromkeys(points[point].connection for point in (*relay.write, *relay.call))
    for connection in connections:
        write = {point: value for point, value in relay.write.items() if points[point].connection == connection}
        call = {point: tuple(given) for point, given in relay.call.items() if points[point].connection == connection}
        yield connection, write, call


def _members(document: Document, section: str) -> Iterator[tuple[str, dict[str, object]]]:
    """The parts of a section; what is not a mapping is blamed by SiteFile."""
    members = document.tree.get(section)
    if isinstance(members, dict):
        for name, tree in members.items():
            if isinstance(tree, dict):
                yield name, tree


def _exactly(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} has no place in YAML")
