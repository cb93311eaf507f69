"""The parts of a message that never change: the same objects in every content, so that what is known of them is kept.

A template of 1000 assets has thousands of members and a handful of readings. Whatever holds no place that a site fills
is a :class:`FixedGroup` or :class:`FixedList`; a group of members of which a site fills some is a :class:`Frame`, and
what it becomes a :class:`FilledGroup`. `core.glance`, `core.validation` and `core.codec` note there what they found,
under what it depends on. Nobody changes one once it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import orjson


class FixedGroup(dict[str, object]):
    """A group of members without places."""

    __slots__ = ("canonical", "fine", "wire")

    canonical: orjson.Fragment | None  # as JSON in our own names
    fine: tuple[object, object] | None  # the member and profile by which nothing is wrong with it
    wire: tuple[object, orjson.Fragment] | None  # the members of the profile, and the JSON that follows from them

    def __init__(self, members: Mapping[str, object]) -> None:
        super().__init__(members)
        self.canonical = self.fine = self.wire = None


class FixedList(list[object]):
    """A list without places."""

    __slots__ = ("canonical", "fine", "wire")

    canonical: orjson.Fragment | None
    fine: tuple[object, object] | None
    wire: tuple[object, orjson.Fragment] | None

    def __init__(self, items: list[object]) -> None:
        super().__init__(items)
        self.canonical = self.fine = self.wire = None


# A stretch of a group's JSON: constants one after the other, or the name and colon before what fills the place.
Run = tuple[bytes, str | None]


class Frame(dict[str, object]):
    """A group of a template: ``places`` are its members that a site fills, at any depth; all others are constants."""

    __slots__ = ("canonical", "fine", "places", "ruled", "wire")

    places: Mapping[str, object]
    canonical: tuple[Run, ...] | None  # as JSON in our own names
    fine: tuple[object, object] | None  # the member and profile by which nothing is wrong with the constants
    ruled: tuple[object, object] | None  # the shape and profile whose rules look at constants only, and find nothing
    wire: (
        tuple[object, tuple[Run, ...] | None] | None
    )  # the members of the profile, and the JSON in its names if it has one

    def __init__(self, members: Mapping[str, object]) -> None:
        super().__init__(members)
        self.places = {name: value for name, value in members.items() if type(value) not in AS_THEY_ARE}
        self.canonical = self.fine = self.ruled = self.wire = None


class FilledGroup(dict[str, object]):
    """What a frame became: its constants as they are, and what a site gave for its places."""

    __slots__ = ("frame",)

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self.frame = frame


def runs(members: Iterable[tuple[str, bytes, bytes | None]]) -> tuple[Run, ...]:
    """The JSON of a group as few stretches, from the name, its JSON with colon, and the value's JSON of each member.

    A member without JSON is a place.
    """
    found: list[Run] = []
    for name, head, value in members:
        if value is None:
            found.append((head, name))
        elif found and found[-1][1] is None:
            found[-1] = (found[-1][0] + b"," + head + value, None)
        else:
            found.append((head + value, None))
    return tuple(found)


def fixed(node: object) -> object:
    """The same node, as a fixed one if nothing in it is a place, and a group with places as a frame."""
    if type(node) is dict:
        return fixed_group(node)
    if type(node) is list and all(type(value) in AS_THEY_ARE for value in node):
        return FixedList(node)
    return node


def fixed_group(members: Mapping[str, object]) -> FixedGroup | Frame:
    """These members as a group that never changes, or as one of which a site fills some."""
    return FixedGroup(members) if all(type(value) in AS_THEY_ARE for value in members.values()) else Frame(members)


CONSTANTS = frozenset({str, Decimal, int, bool, type(None)})
AS_THEY_ARE = CONSTANTS | {FixedGroup, FixedList}
