"""A message's template against the wire profile, as far as it can be judged before the site was read.

Constants are validated by the very rules that will judge the message; what a point will fill is left to run time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal

from gateway.core.alignment import ALIGNED_ASSETS
from gateway.core.document import JsonPath
from gateway.core.expression import Expression
from gateway.core.intake import check
from gateway.core.mapping import EACH, FOR_EACH, PICK_MEMBERS, MessageSpec, compose
from gateway.core.message import ASSETS, UNIT
from gateway.core.places import Repeated
from gateway.core.profile import FieldSpec, Profile
from gateway.settings.document import Path
from gateway.settings.quantities import among, shown

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def check_template(spec: MessageSpec, content: Mapping[str, object], profile: Profile) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong, each with its path below the message; ``content`` is the template as it was written."""
    members = profile.shape(spec.kind).members
    blamed: list[Path] = []
    for at, row in _rows(content):
        for path, sentence in _unknown(row, members, at):
            blamed.append(path)
            yield path, sentence
    unit = content.get(UNIT)
    if isinstance(unit, Mapping) and ALIGNED_ASSETS in unit:
        yield (UNIT, ALIGNED_ASSETS), "is filled from aligned, which stands beside unit"
    homes = _homes(spec)
    composed = compose(_all_elements(spec), {})
    open_fields = {(problem.row, problem.field or "") for problem in composed.problems}
    for alternatives in profile.shape(spec.kind).require_any:  # a place that fills one of them may cure the first
        open_fields |= {(row, alternatives[0]) for row, field in open_fields if field in alternatives}
    for problem in check(spec.kind, composed.content, profile).problems:
        whole: Path = () if spec.kind == ASSETS else (UNIT,)
        item, element = (0, None) if problem.row is None else homes[problem.row]
        row_path: Path = whole if problem.row is None else ("assets", item)
        path = (*row_path, *path_of(problem.field or ""))
        known = any(path[: len(other)] == other for other in blamed)
        if not known and not depends(problem.row, problem.field or "", open_fields):
            if element is not None:  # its elements are much the same
                blamed.append(path)
                path = (*path, EACH, element)
            advice = "; put it in quotes" if problem.code == "not_a_text" else ""
            yield path, f"{problem.message}{advice}"


def _homes(spec: MessageSpec) -> list[tuple[int, int | None]]:
    """For each row of the message, the item of the YAML that it comes of, and which element of an array it is."""
    homes: list[tuple[int, int | None]] = []
    assets = spec.template.get("assets")
    for item, asset in enumerate(assets if isinstance(assets, list) else []):
        homes += (
            [(item, element) for element in range(len(asset.assets))] if isinstance(asset, Repeated) else [(item, None)]
        )
    return homes


def _all_elements(spec: MessageSpec) -> MessageSpec:
    """The same message, with all elements of its arrays whatever the site says."""
    assets = spec.template.get("assets")
    if not isinstance(assets, list):
        return spec
    whole = [replace(asset, used=None) if isinstance(asset, Repeated) else asset for asset in assets]
    return replace(spec, template={**spec.template, "assets": whole})


def bad_paths(message: Mapping[str, object], *, sent: bool) -> Iterator[tuple[Path, str]]:
    """Yield the places that pick from the site's JSON and cannot be compiled; ``sent`` says whether there is any."""
    for section in ("assets", "unit", "aligned"):
        for path, word, node in _picks(message.get(section), (section,)):
            if word == "expr":
                yield from _bad_expression(node, path)
            elif word == FOR_EACH and isinstance(node[word], Mapping):
                continue  # judged by bad_repetitions
            elif not sent:
                yield (
                    (*path, word),
                    f"{word} picks from a message that the site sends: when: {{message: ...}}",
                )
            elif word == FOR_EACH and (section != "assets" or len(path) != 2):
                yield (*path, word), "only a whole asset can be repeated: write for_each beside its members"
            else:
                yield from _bad_pick(node, word, path)


def bad_picks(content: Mapping[str, object], *, sent: bool) -> Iterator[tuple[Path, str]]:
    """As :func:`bad_paths`, of a content in which nothing is repeated."""
    for path, word, node in _picks(content, ("content",)):
        if word == "expr":
            yield from _bad_expression(node, path)
        elif not sent:
            yield (*path, word), f"{word} picks from a message that the site sends: when: {{message: ...}}"
        elif word == FOR_EACH:
            yield (*path, word), "only a whole asset can be repeated"
        else:
            yield from _bad_pick(node, word, path)


def _picks(tree: object, path: Path) -> Iterator[tuple[Path, str, Mapping[str, object]]]:
    if isinstance(tree, list):
        for index, item in enumerate(tree):
            yield from _picks(item, (*path, index))
    elif isinstance(tree, Mapping):
        for word in ("path", "expr", FOR_EACH):
            if word in tree:
                yield path, word, tree
        for name, value in tree.items():
            yield from _picks(value, (*path, name))


def _bad_expression(node: Mapping[str, object], path: Path) -> Iterator[tuple[Path, str]]:
    if len(node) != 1 or not isinstance(node["expr"], str):
        yield path, "to calculate with points, write {expr: 'a + b'} and nothing beside it"
        return
    try:
        Expression(node["expr"])
    except ValueError as error:
        yield (*path, "expr"), str(error)


def _bad_pick(node: Mapping[str, object], word: str, path: Path) -> Iterator[tuple[Path, str]]:
    text = node[word]
    if word == "path" and not node.keys() <= PICK_MEMBERS:
        yield path, "to take a value from the site's JSON, write {path: JMESPATH}, with scale or optional beside it"
        return
    if not isinstance(text, str):
        yield (*path, word), f"expected a JMESPath expression, found {shown(text)}"
        return
    try:
        JsonPath(text)
    except ValueError as error:
        yield (*path, word), str(error)
    scale = node.get("scale", 1)
    if word == "path" and (isinstance(scale, bool) or not isinstance(scale, int | Decimal) or not scale):
        yield (*path, "scale"), f"expected a number other than 0, found {shown(scale)}"
    if word == "path" and not isinstance(node.get("optional", False), bool):
        yield (*path, "optional"), f"expected true or false, found {shown(node['optional'])}"


def _rows(content: Mapping[str, object]) -> Iterator[tuple[Path, object]]:
    """Each asset, or the unit, with its path."""
    for name, node in content.items():
        if isinstance(node, list):
            yield from (((name, row), asset) for row, asset in enumerate(node))
        else:
            yield (name,), node


def path_of(field: str) -> Path:
    """Turn ``meterPoints[0].id`` into the steps that lead there."""
    return tuple(int(index) if index else name for index, name in _STEP.findall(field))


def depends(row: int | None, field: str, open_fields: set[tuple[int | None, str]]) -> bool:
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
    if "point" in tree and (len(tree) != 1 or not isinstance(tree["point"], str)):
        yield path, "to take a value from the site, write {point: NAME} and nothing beside it"
    if any(word in tree for word in ("point", "path", "expr", EACH)):  # the others are judged by bad_paths
        return
    for name, value in ((name, value) for name, value in tree.items() if name != FOR_EACH):
        field = members.get(name)
        if field is None:
            yield (*path, name), f"the wire profile has no such member{among(name, members)}"
        elif field.members:
            yield from _unknown(value, field.members, (*path, name))
        elif isinstance(value, Mapping):
            yield from _unknown(value, {}, (*path, name))
