"""The places of a template: what fills each, and what is repeated. Made once, when the configuration is loaded.

An **array** is a block of points that a site has several times, such as one per inverter. Its points exist once per
element, as ``NAME.INDEX.POINT``; within an asset that is repeated for the array, a point's own name is the element's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from gateway.core.document import JsonPath
from gateway.core.expression import Expression
from gateway.core.fixed import Frame, fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """A block of points that comes ``count`` times; ``used`` is the point that says how many of them there are."""

    name: str
    count: int
    members: frozenset[str]
    used: str | None = None

    def point(self, index: int, member: str) -> str:
        """The name of a point of one element, counted from 0."""
        return f"{self.name}.{index}.{member}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place of a template that a point's value fills."""

    point: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A place of a template that a value of the site's JSON fills; ``optional`` leaves the member out without one."""

    path: JsonPath
    scale: Decimal = Decimal(1)
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A place of a template that arithmetic over points fills; a point that cannot be used is told as one alone.

    ``meant`` are the points that its names mean, where they are not the points of these names.
    """

    expression: Expression
    meant: tuple[str, ...] | None = None

    @property
    def readings(self) -> tuple[str, ...]:
        """The points that are read, one for each of ``expression.points``."""
        return self.expression.points if self.meant is None else self.meant


@dataclass(frozen=True, slots=True, kw_only=True)
class PerElement:
    """A place that holds another constant in each element of an array."""

    values: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Each:
    """An asset of a template that is repeated for every element of a list of the site's JSON."""

    path: JsonPath
    asset: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """An asset of a template for every element of an array; the first ``used`` of them count, where there is such."""

    array: str
    assets: tuple[object, ...]
    used: str | None = None


def repeated(asset: Mapping[str, object], array: Array) -> Repeated:
    """One asset for each element; what no place fills stays the same object in all of them.

    Raises:
        ValueError: a place that holds a constant per element has not as many.
    """
    assets = tuple(_of_element(dict(asset), array, index) for index in range(array.count))
    return Repeated(array=array.name, assets=assets, used=array.used)


def points_in(node: object) -> Iterator[str]:
    """Every point that fills a place of ``node``, in order; some may come more than once."""
    match node:
        case Slot(point=point):
            yield point
        case Formula():
            yield from node.readings
        case Each(asset=asset):
            yield from points_in(asset)
        case Repeated(assets=assets, used=used):
            yield from (used,) if used is not None else ()
            yield from points_in(list(assets))
        case Mapping():
            for value in node.values():
                yield from points_in(value)
        case list():
            for item in node:
                yield from points_in(item)


def _of_element(node: object, array: Array, index: int) -> object:
    def meant(name: str) -> str:
        return array.point(index, name) if name in array.members else name

    match node:
        case Slot(point=point):
            return Slot(point=meant(point))
        case Formula(expression=expression):
            return replace(node, meant=tuple(meant(point) for point in expression.points))
        case PerElement(values=values):
            if len(values) != array.count:
                raise ValueError(f"{len(values)} values for the {array.count} elements of array {array.name}")
            return values[index]
        case _ if type(node) is dict or type(node) is Frame:
            return fixed({key: _of_element(value, array, index) for key, value in node.items()})
        case _ if type(node) is list:
            return fixed([_of_element(item, array, index) for item in node])
        case _:
            return node
