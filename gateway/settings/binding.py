"""A mailbox bound to points that the site already has: how YAML says it, and what must fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from gateway.core.binding import HOST_ROLES, ONLY_KIND, SITE_ROLES
from gateway.core.mailbox import BOUND, MailboxSpec, Role
from gateway.core.mapping import MailboxTrigger
from gateway.core.point import Access
from gateway.settings.document import Path
from gateway.settings.part import Part
from gateway.settings.quantities import Name, PointName, among, shown
from gateway.settings.site_parts import SiteParts

_ROLES: Mapping[str, Role] = {**SITE_ROLES, **HOST_ROLES}
# What tells such a mailbox from one with blocks of registers; `crc` is a member of both.
MARKS = frozenset(_ROLES) - {"crc"}
_BLOCKS = "belongs to layout: standard; here each role is a point"


class BoundMailbox(Part):
    """The points in which a site raises requests and finds its results."""

    unbuilt: ClassVar[Mapping[str, str]] = {
        name: f"{name} {_BLOCKS}" for name in ("layout", "base", "results", "capacity", "detail", "pages")
    }
    connection: Name
    request: PointName = Field(description="The site counts it up, last, when its payload is there: 1..65535, then 1")
    acknowledge: PointName = Field(description="We write the request's number, once it is on disk")
    result: PointName = Field(description="We write the state of the message: 2 completed, 3 failed, 5 refused, ...")
    result_sequence: PointName = Field(description="We count it up, last, when a result is there")
    kind: PointName | None = Field(default=None, description="Which message is asked for; without it, kind 1")
    length: PointName | None = Field(default=None, description="How many of the payload points are filled")
    crc: PointName | None = Field(default=None, description="The site's CRC-32 over sequence, kind, length and payload")
    result_acknowledge: PointName | None = Field(default=None, description="The last result_sequence the site has read")
    result_for: PointName | None = Field(default=None, description="We write the number of the request answered")
    error_count: PointName | None = Field(default=None, description="We write how many errors there were")
    text: PointName | None = Field(default=None, description="We write the first error, at most 64 characters")
    heartbeat: PointName | None = Field(default=None, description="We count it up every second")
    payload: list[PointName] = Field(default_factory=list, description="The points that belong to a request, in order")
    progress: bool = Field(default=False, description="Also show 'awaiting', in place")
    restart: Literal["alarm", "expected"] = Field(default="alarm", description="Whether a restart of the PLC alarms")
    latest: bool = Field(default=False, description="Overwrite a result that the site has not consumed")


def read_bound(parts: SiteParts, name: str, tree: dict[str, object]) -> None:
    """Read one bound mailbox; its faults are noted."""
    box = parts.take(BoundMailbox, tree, ("mailboxes", name))
    if box is None:
        return
    if box.result_acknowledge is None and not box.latest:
        said = "bind result_acknowledge, by which the site says that it has read a result, or write latest: true"
        parts.blame(("mailboxes", name), said, key=True)
    if box.length is not None and not box.payload:
        parts.blame(("mailboxes", name, "length"), "length counts the points of payload, which is missing")
    parts.mailboxes[name] = MailboxSpec(
        name=name,
        connection=box.connection,
        layout=BOUND,
        roles={role: point for word, role in _ROLES.items() if (point := getattr(box, word)) is not None},
        payload=tuple(box.payload),
        crc=box.crc is not None,
        progress=box.progress,
        restart_expected=box.restart == "expected",
        latest=box.latest,
    )


def check_bound(parts: SiteParts) -> None:
    """Note what does not fit between bound mailboxes, their points and their messages."""
    taken: dict[str, str] = {}
    for name, box in parts.mailboxes.items():
        if not box.bound:
            continue
        for word, role in _ROLES.items():
            if role in box.roles:
                path: Path = ("mailboxes", name, word)
                wanted = Access.WRITE if word in HOST_ROLES else Access.READ
                _check_point(parts, path, box, box.roles[role], wanted)
                _check_taken(parts, path, box.roles[role], taken)
        for index, point in enumerate(box.payload):
            _check_point(parts, ("mailboxes", name, "payload", index), box, point, Access.READ)
            _check_taken(parts, ("mailboxes", name, "payload", index), point, taken)
    for name, message in parts.messages.items():
        if isinstance(message.trigger, MailboxTrigger) and message.trigger.kind != ONLY_KIND:
            asked = parts.mailboxes.get(message.trigger.mailbox)
            if asked is not None and asked.bound and not asked.has(Role.KIND):
                said = f"mailbox {asked.name} has no role kind, so that every request is of kind {ONLY_KIND}"
                parts.blame(("messages", name, "when", "kind"), said)


def _check_point(parts: SiteParts, path: Path, box: MailboxSpec, point: str, wanted: Access) -> None:
    names = parts.names("points")
    if point not in names:
        parts.blame(path, f"there is no point {shown(point)}{among(point, names)}")
    spec = parts.points.get(point)
    if spec is None:
        return
    if spec.connection != box.connection:
        parts.blame(path, f"point {point} is on connection {spec.connection}, the mailbox on {box.connection}")
    elif spec.access is not wanted:
        needs = "give it access: write" if wanted is Access.WRITE else "the site writes it: leave out access: write"
        parts.blame(path, f"point {point} cannot be this; {needs}")


def _check_taken(parts: SiteParts, path: Path, point: str, taken: dict[str, str]) -> None:
    where = ".".join(str(step) for step in path)
    first = taken.setdefault(point, where)
    if first != where:
        parts.blame(path, f"point {point} is {first} already")
