"""A point as the YAML declares it: its generic members, and its place as the protocol's own model reads it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from gateway.core.point import Access, PointSpec
from gateway.core.safety import Limits
from gateway.settings import models
from gateway.settings.document import Path
from gateway.settings.site_parts import SiteParts


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPoint:
    """What one declaration says."""

    spec: PointSpec
    place: BaseModel
    limits: Limits


def read_point(parts: SiteParts, name: str, tree: dict[str, object]) -> None:
    """Read one member of ``points``."""
    found = declared(parts, ("points", name), tree)
    if found is None:
        return
    if found.limits != Limits():
        parts.limits[name] = found.limits
    parts.places[name] = found.place
    parts.points[name] = found.spec


def declared(parts: SiteParts, path: Path, tree: dict[str, object]) -> ReadPoint | None:
    """Read the declaration of a point that stands at ``path``; its faults are noted."""
    spec = parts.protocols.get(str(tree.get("connection")))
    generic, own = split(tree, models.Point)
    if spec is None:  # whose members the others are is unknown; the connection is blamed elsewhere
        parts.take(models.Point, generic, path)
        return None
    # what the design knows, and no adapter takes, is refused by the generic model in its own words
    unbuilt = {key: value for key, value in own.items() if key in models.Point.unbuilt}
    own = {key: value for key, value in own.items() if key not in unbuilt or key in spec.point_model.model_fields}
    generic |= {key: value for key, value in unbuilt.items() if key not in own}
    point = parts.take(models.Point, generic, path)
    place = parts.take(spec.point_model, own, path, beside=models.Point)
    if point is None or place is None:
        return None
    return ReadPoint(spec=_spec(point, str(path[-1])), place=place, limits=_limits(point))


def split(tree: dict[str, object], model: type[BaseModel]) -> tuple[dict[str, object], dict[str, object]]:
    """The members that ``model`` knows, and all others."""
    generic = {key: value for key, value in tree.items() if key in model.model_fields}
    return generic, {key: value for key, value in tree.items() if key not in generic}


def _limits(point: models.Point) -> Limits:
    return Limits(
        step=point.step,
        feedback=point.feedback,
        spacing_us=0 if point.rate is None else round(1_000_000 / point.rate),
        interlock=None if point.interlock is None else point.interlock.resolved(),
    )


def _spec(point: models.Point, name: str) -> PointSpec:
    low, high = point.range or (None, None)
    return PointSpec(
        name=name,
        connection=point.connection,
        access=Access(point.access),
        scale=point.line[0],
        offset=point.line[1],
        unit=point.unit,
        minimum=low,
        maximum=high,
        deadband=point.deadband,
        max_age=point.max_age,
        bits=point.bits,
        enum=point.enum,
    )
