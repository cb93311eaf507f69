"""The parts of a message that never change: the same objects in every content, so that what is known of them is kept.

A template of 1000 assets has thousands of members and a handful of readings. Whatever holds no place that a site fills
is one of the two below; `core.validation` and `core.codec` note there what they found, under what it depends on. Nobody
changes the content of one once it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def fixed(node: object) -> object:
    """The same node, as a fixed one if nothing in it is a place."""
    if type(node) is dict and all(type(value) in _FIXED for value in node.values()):
        return FixedGroup(node)
    if type(node) is list and all(type(value) in _FIXED for value in node):
        return FixedList(node)
    return node


CONSTANTS = frozenset({str, Decimal, int, bool, type(None)})
_FIXED = CONSTANTS | {FixedGroup, FixedList}
