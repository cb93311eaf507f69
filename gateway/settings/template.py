"""A message's template against the wire profile, as far as it can be judged before the site was read.

Constants are validated by the very rules that will judge the message; what a point will fill is left to run time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from gateway.core import validation
from gateway.core.mapping import MessageSpec, compose
from gateway.core.profile import FieldSpec, Profile
from gateway.settings.document import Path
from gateway.settings.quantities import among

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def check_template(spec: MessageSpec, assets: list[dict[str, object]], profile: Profile) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong, each with its path below the message."""
    members = profile.shape(spec.kind).members
    blamed: list[Path] = []
    for row, asset in enumerate(assets):
        for path, sentence in _unknown(asset, members, ("assets", row)):
            blamed.append(path)
            yield path, sentence
    composed = compose(spec, {})
    open_fields = {(problem.row, problem.field or "") for problem in composed.problems}
    for problem in validation.check(spec.kind, composed.content, profile).problems:
        row_path: Path = () if problem.row is None else ("assets", problem.row)
        path = (*row_path, *path_of(problem.field or ""))
        known = any(path[: len(other)] == other for other in blamed)
        if not known and not _depends(problem.row, problem.field or "", open_fields):
            advice = "; put it in quotes" if problem.code == "not_a_text" else ""
            yield path, f"{problem.message}{advice}"


def path_of(field: str) -> Path:
    """Turn ``meterPoints[0].id`` into the steps that lead there."""
    return tuple(int(index) if index else name for index, name in _STEP.findall(field))


def _depends(row: int | None, field: str, open_fields: set[tuple[int | None, str]]) -> bool:
    """Whether a point's value may cure this problem: it stands at, in or around a place that a point fills."""
    return any(
        row in {None, open_row} and (open_field.startswith(field) or field.startswith(open_field))
        for open_row, open_field in open_fields
    )


def _unknown(tree: object, members: Mapping[str, FieldSpec], path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(tree, list):
        for index, item in enumerate(tree):
            yield from _unknown(item, members, (*path, index))
    if not isinstance(tree, Mapping):
        return
    if "point" in tree:
        if len(tree) != 1 or not isinstance(tree["point"], str):
            yield path, "to take a value from the site, write {point: NAME} and nothing beside it"
        return
    for name, value in tree.items():
        field = members.get(name)
        if field is None:
            yield (*path, name), f"the wire profile has no such member{among(name, members)}"
        elif field.members:
            yield from _unknown(value, field.members, (*path, name))
        elif isinstance(value, Mapping):
            yield from _unknown(value, {}, (*path, name))
