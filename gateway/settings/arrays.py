"""Arrays: blocks of points that a site has several times, ``stride`` registers apart, and the assets made of them.

Each point of an array becomes one per element (core/places.py). What any part of the configuration finds wrong with
such a point is told where the array declares it, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Protocol, Self, runtime_checkable

from pydantic import BaseModel, Field

from gateway.core.mapping import ARRAY, EACH, FOR_EACH
from gateway.core.places import Array
from gateway.core.point import Access
from gateway.settings.document import Path
from gateway.settings.part import Part
from gateway.settings.points import ReadPoint, declared
from gateway.settings.quantities import Name, PointName, among, shown
from gateway.settings.site_parts import SiteParts

MOST = 1000


class ArrayPart(Part):
    """A block of points that comes several times."""

    connection: Name
    count: int = Field(ge=1, le=MOST, description="How many elements there are")
    stride: int = Field(ge=1, le=65535, description="How many registers one element begins after the one before")
    used: PointName | None = Field(default=None, description="The point that says how many of them count, the first")
    points: dict[PointName, dict[str, object]] = Field(
        min_length=1, description="The points of the first element, as under points, without connection"
    )


@runtime_checkable
class Repeatable(Protocol):
    """A point's address model of a protocol with numbered registers."""

    @property
    def window(self) -> range:
        """The addresses that the point takes in its table."""

    @property
    def address(self) -> object:
        """Where it begins; ``table`` of it, where there is one, names the table."""

    def shifted(self, registers: int, element: range) -> Self:
        """The same point of a later element; whatever else it reads in ``element``, the first one, moves along.

        Raises:
            ValueError: it would leave the address space.
        """


def read_array(parts: SiteParts, name: str, tree: dict[str, object]) -> None:
    """Read one member of ``arrays``: its points, for each element."""
    path: Path = ("arrays", name)
    array = parts.take(ArrayPart, tree, path)
    found = {member: point for member, point in _members(parts, path, tree) if point is not None}
    if array is None or array.points.keys() != found.keys():
        return
    places = {member: point.place for member, point in found.items()}
    element = _element(parts, path, places, array)
    parts.arrays[name] = Array(name=name, count=array.count, members=frozenset(found), used=array.used)
    if element is not None:
        _repeat(parts, parts.arrays[name], found, element)


def _members(parts: SiteParts, path: Path, tree: dict[str, object]) -> Iterator[tuple[str, ReadPoint | None]]:
    points = tree.get("points")
    for member, own in points.items() if isinstance(points, dict) else ():
        here: Path = (*path, "points", member)
        if not isinstance(own, dict):
            continue  # blamed by ArrayPart
        if member in parts.names("points"):
            parts.blame(here, f"point {member} stands under points already; give it another name", key=True)
        if "connection" in own:
            parts.blame((*here, "connection"), "connection stands beside the points of an array, for all of them")
        point = declared(parts, here, {**own, "connection": tree.get("connection")})
        if point is not None and point.spec.access is not Access.READ:
            parts.blame((*here, "access"), "the points of an array are for reading")
        yield member, point


def _element(parts: SiteParts, path: Path, places: Mapping[str, BaseModel], array: ArrayPart) -> range | None:
    """The registers of the first element; None where there can be no other."""
    numbered = {member: place for member, place in places.items() if isinstance(place, Repeatable)}
    if len(numbered) < len(places):
        protocol = parts.protocols[array.connection].protocol
        parts.blame((*path, "connection"), f"{protocol} has no registers that could be repeated")
        return None
    tables = {str(getattr(place.address, "table", "")) for place in numbered.values()}
    if len(tables) > 1:
        parts.blame((*path, "points"), f"an array lies in one table, and these lie in {' and '.join(sorted(tables))}")
        return None
    first = min(place.window.start for place in numbered.values())
    stop = max(place.window.stop for place in numbered.values())
    if array.count > 1 and stop - first > array.stride:
        said = f"one element takes {stop - first} registers ({first}..{stop - 1}), so that the next would begin in it"
        parts.blame((*path, "stride"), said)
        return None
    return range(first, first + array.stride)


def _repeat(parts: SiteParts, array: Array, found: Mapping[str, ReadPoint], element: range) -> None:
    for index in range(array.count):
        for member, point in found.items():
            name = array.point(index, member)
            try:
                place = point.place
                parts.places[name] = (
                    place.shifted(index * len(element), element) if isinstance(place, Repeatable) else place
                )
            except ValueError as error:
                parts.blame(("arrays", array.name, "count"), f"element {index}: {member}: {error}")
                return
            parts.points[name] = replace(point.spec, name=name)
            parts.origins[name] = ("arrays", array.name, "points", member)


def meant(parts: SiteParts, place: Path, name: str) -> tuple[str, ...]:
    """The points that a name at this place of a message means: of every element, where its asset is repeated."""
    array = array_of(parts, place[:4])  # messages, NAME, assets, INDEX
    if array is None or name not in array.members:
        return (name,)
    return tuple(array.point(index, name) for index in range(array.count))


def array_of(parts: SiteParts, asset: Path) -> Array | None:
    """The array for which the asset at this path is repeated."""
    name = at(parts, (*asset, FOR_EACH, ARRAY))
    return parts.arrays.get(name) if isinstance(name, str) else None


def bad_repetitions(parts: SiteParts, message: Path) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with what a message repeats for an array, each with its path below the message."""
    for path, node in _nodes(at(parts, message)):
        source = node.get(FOR_EACH)
        if isinstance(source, Mapping):
            yield from _bad_source(source, path, parts, whole=path[:1] == ("assets",) and len(path) == 2)
        if EACH in node:
            asset = (*message, *path[:2])
            yield from _bad_each(node, path, array_of(parts, asset), known=at(parts, (*asset, FOR_EACH)) is None)


def unread_array(parts: SiteParts, message: Path) -> bool:
    """Whether a message repeats an asset for an array that could not be read, and is blamed for that."""
    sources = (node.get(FOR_EACH) for _, node in _nodes(at(parts, message)))
    return any(isinstance(source, Mapping) and source.get(ARRAY) not in parts.arrays for source in sources)


def at(parts: SiteParts, path: Path) -> object:
    """What stands there in the file; None for nothing."""
    node: object = parts.document.tree
    for step in path:
        if isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
        else:
            node = node.get(step) if isinstance(node, dict) else None
    return node


def _bad_source(
    source: Mapping[str, object], path: Path, parts: SiteParts, *, whole: bool
) -> Iterator[tuple[Path, str]]:
    name = source.get(ARRAY)
    if not whole:
        yield (*path, FOR_EACH), "only a whole asset can be repeated: write for_each beside its members"
    elif len(source) != 1 or not isinstance(name, str):
        yield (*path, FOR_EACH), "to repeat an asset for every element of an array, write for_each: {array: NAME}"
    elif name not in parts.names("arrays"):
        yield (*path, FOR_EACH, ARRAY), f"there is no array {shown(name)}{among(name, parts.names('arrays'))}"


def _bad_each(
    node: Mapping[str, object], path: Path, array: Array | None, *, known: bool
) -> Iterator[tuple[Path, str]]:
    """``known`` says that an asset without an array has none, instead of one that could not be read."""
    values = node[EACH]
    if len(node) != 1 or not isinstance(values, list):
        yield path, "to give each element a constant of its own, write {each: [A, B]} and nothing beside it"
    elif array is None and known:
        yield (*path, EACH), "each belongs to an asset with for_each: {array: NAME}"
    elif array is not None and len(values) != array.count:
        yield (*path, EACH), f"{len(values)} values for the {array.count} elements of array {array.name}"


def _nodes(tree: object, path: Path = ()) -> Iterator[tuple[Path, Mapping[str, object]]]:
    if isinstance(tree, list):
        for index, item in enumerate(tree):
            yield from _nodes(item, (*path, index))
    elif isinstance(tree, Mapping):
        yield path, tree
        for name, value in tree.items():
            yield from _nodes(value, (*path, name))
