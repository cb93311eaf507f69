"""From a site's readings to a message's content: templates whose places are filled with values.

``{point: NAME}`` takes a reading, ``{expr: ARITHMETIC}`` calculates with readings, ``{path: JMESPATH}`` takes a value
of the JSON that the site sent; an asset with ``for_each: JMESPATH`` is repeated for every element of a list there, and
its paths begin at that element. With ``for_each: {array: NAME}`` it is repeated for every element of an array of the
site, and its points are that element's (core/places.py).

Rules
-----
* A template is compiled once, when the configuration is loaded; filling it never looks at YAML again. What has no place
  goes into every content as the same object (core/fixed.py).
* A value goes in exactly as it was read: a Decimal stays a Decimal, a string a string. Nothing is invented.
* A reading that is missing or not GOOD is a Problem that names the row and the member; the member is then left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from gateway.core.document import JsonPath, Missing
from gateway.core.expression import Expression
from gateway.core.fixed import AS_THEY_ARE, FilledGroup, Frame, fixed, fixed_group
from gateway.core.message import Kind, Problem
from gateway.core.places import Array, Each, Formula, PerElement, Pick, Repeated, Slot, points_in, repeated
from gateway.core.point import Quality, Reading, Snapshot
from gateway.core.schedule import Schedule
from gateway.core.transaction import State


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxTrigger:
    """The site asks for the message by a request with this KIND in this mailbox."""

    mailbox: str
    kind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeTrigger:
    """The message is made whenever this point's value differs from that of the last message.

    Without a stored value the first good one is the baseline and fires nothing, unless ``initial`` is set.
    """

    point: str
    initial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeTrigger:
    """The message is made when this point goes on (``rising``: true, or a number other than 0), or off (``falling``).

    The first good value is the baseline. What went on and off again between two readings is not seen.
    """

    point: str
    rising: bool = True
    falling: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeTrigger:
    """The message is made whenever an instant of this schedule comes (core.schedule)."""

    schedule: Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTrigger:
    """The site sends the message itself over this connection, under an id of its own choice (`ports.Submitted`).

    ``dedupe_us``: where messages carry no id, the same bytes within this time are the same message. With ``progress``
    the site is also told when the SMP took the message.
    """

    connection: str
    dedupe_us: int | None = None
    progress: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictTrigger:
    """The message is made when another message of the site enters one of these states."""

    message: str
    on: frozenset[State]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTrigger:
    """Somebody asks for the message by its name: an operator at the command line, or a program over the API."""


Trigger = MailboxTrigger | ChangeTrigger | EdgeTrigger | TimeTrigger | MessageTrigger | VerdictTrigger | RequestTrigger


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedMessage:
    """An entry of a unit's YAML that means the assets of a message, of this site or of another of its participant."""

    site: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedName:
    """An entry that names one asset: by a constant, or by the point or the member of its JSON that the site fills."""

    name: str | Slot | Pick


Aligned = AlignedMessage | AlignedName


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSpec:
    """One message that a site can ask for; ``template`` comes from :func:`compile_template`.

    ``not_after_us`` is how long after its acceptance the message may still be sent, in µs; None is without limit.
    ``salvage``: where the SMP refuses the whole for some rows' sake, the others go again without them.
    ``aligned`` is what a unit aligns, in the order of the YAML.
    """

    name: str
    kind: Kind
    trigger: Trigger
    template: Mapping[str, object]
    not_after_us: int | None = None
    salvage: bool = False
    aligned: tuple[Aligned, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """The content made of a snapshot; with problems it is incomplete and must not be sent."""

    content: Mapping[str, object]
    problems: tuple[Problem, ...] = ()


def compile_template(tree: Mapping[str, object], arrays: Mapping[str, Array] | None = None) -> dict[str, object]:
    """Turn the places of a plain tree into those of core/places.py; the top is never one itself.

    Raises:
        ValueError: a path is not JMESPath, an expression not arithmetic, or there is no such array.
    """
    return {key: _compile(value, arrays or {}) for key, value in tree.items()}


def points_of(spec: MessageSpec) -> tuple[str, ...]:
    """The points that the message reads, each once, in the order of the YAML."""
    names = [each.name for each in spec.aligned if isinstance(each, AlignedName)]
    return tuple(dict.fromkeys((*points_in(spec.template), *points_in(names))))


def name_of(entry: AlignedName, snapshot: Snapshot, document: object) -> object:
    """The name that an entry of a unit means, as the site gave it, or the ``Missing`` that says why there is none."""
    faults: list[tuple[str, Missing]] = []
    value = _fill(entry.name, "", _Source(snapshot, document), faults)
    return faults[0][1] if faults else value


def compile_name(tree: Mapping[Literal["point", "path"], str]) -> Slot | Pick:
    """Turn the ``{point: name}`` or ``{path: JMESPath}`` of an aligned name into its place.

    Raises:
        ValueError: a path is not JMESPath, or it is neither.
    """
    place = _compile(dict(tree), {})
    if not isinstance(place, Slot | Pick):
        raise ValueError("neither a point nor a path")  # noqa: TRY004 - as for a path that is none
    return place


def compose(spec: MessageSpec, snapshot: Snapshot, document: object = None) -> Composed:
    """Fill the template; every value that cannot be used is a problem, all of them at once.

    ``document`` is the JSON that the site sent; without one, what is to be repeated comes once, with its paths as
    problems. A problem's field is the way to the member within its asset or unit, such as ``meterPoints[0].id``.
    """
    content: dict[str, object] = {}
    problems: list[Problem] = []
    whole = _Source(snapshot, document)
    for key, node in spec.template.items():
        if isinstance(node, list):
            assets = [row for asset in node for row in _rows(asset, whole, problems)]
            content[key] = [_fill_row(asset, source, row, problems) for row, (asset, source) in enumerate(assets)]
        else:
            content[key] = _fill_row(node, whole, None, problems)
    return Composed(content=content, problems=tuple(problems))


@dataclass(frozen=True, slots=True)
class _Source:
    """Where values come from: the readings, and the JSON or the element of it that paths begin at."""

    snapshot: Snapshot
    element: object


def _rows(asset: object, whole: _Source, problems: list[Problem]) -> list[tuple[object, _Source]]:
    """The template and the source of each asset that one item of the YAML stands for."""
    if isinstance(asset, Repeated):
        return [(each, whole) for each in asset.assets[: _used(asset, whole.snapshot, problems)]]
    if not isinstance(asset, Each):
        return [(asset, whole)]
    if whole.element is None:
        return [(asset.asset, whole)]
    rows = asset.path.rows(whole.element)
    if isinstance(rows, Missing):
        problems.append(Problem(code=rows.code, message=rows.detail))
        return []
    return [(asset.asset, _Source(whole.snapshot, row)) for row in rows]


def _used(repeated: Repeated, snapshot: Snapshot, problems: list[Problem]) -> int:
    """How many elements of an array there are now; what is wrong with that number concerns the whole message."""
    most = len(repeated.assets)
    if repeated.used is None:
        return most
    value = _taken(Slot(point=repeated.used), snapshot)
    if isinstance(value, Missing):
        problems.append(Problem(code=value.code, message=value.detail))
        return 0
    if not isinstance(value, Decimal) or value not in range(most + 1):
        said = f"point {repeated.used}: {value} is no number of elements of array {repeated.array}, which has {most}"
        problems.append(Problem(code="out_of_range", message=said))
        return 0
    return int(value)


def _fill_row(node: object, source: _Source, row: int | None, problems: list[Problem]) -> object:
    faults: list[tuple[str, Missing]] = []
    filled = _fill(node, "", source, faults)
    if not faults:
        return filled
    ref = _name_of(filled)
    problems += [
        Problem(row=row, ref=ref, field=path or None, code=fault.code, message=fault.detail) for path, fault in faults
    ]
    return filled


def _fill(node: object, path: str, source: _Source, faults: list[tuple[str, Missing]]) -> object:
    """Fill one node; what cannot be filled is noted in ``faults`` and comes back as :data:`_ABSENT`."""
    if type(node) in AS_THEY_ARE:
        return node
    match node:
        case Frame():
            group = FilledGroup(node)
            for key, value in node.places.items():
                reading = source.snapshot.get(value.point) if type(value) is Slot else None
                if reading is not None and reading.quality is _GOOD and reading.value is not None:
                    group[key] = reading.value
                    continue
                group[key] = filled = _fill(value, f"{path}.{key}" if path else key, source, faults)
                if filled is _ABSENT:
                    del group[key]
            return group
        case list():
            items = [_fill(item, f"{path}[{index}]", source, faults) for index, item in enumerate(node)]
            return [item for item in items if item is not _ABSENT]
        case Slot() | Pick() | Formula():
            value = _found(node, source)
            if isinstance(value, Missing):
                faults.append((path, value))
                return _ABSENT
            return value
        case _:
            return node


def _found(node: Slot | Pick | Formula, source: _Source) -> object:
    match node:
        case Slot():
            return _taken(node, source.snapshot)
        case Pick():
            return _picked(node, source.element)
        case _:
            return _calculated(node, source.snapshot)


def _calculated(formula: Formula, snapshot: Snapshot) -> object:
    """The value of an expression, or why there is none."""
    numbers: dict[str, Decimal] = {}
    expression = formula.expression
    for name, point in zip(expression.points, formula.readings, strict=True):
        value = _taken(Slot(point=point), snapshot)
        if isinstance(value, Missing):
            return value
        if not isinstance(value, Decimal):
            return Missing("not_a_number", f"point {point} is not a number")
        numbers[name] = value
    try:
        return expression.value(numbers)
    except ArithmeticError:
        return Missing("not_a_number", f"{expression.text} has no value")


def _taken(slot: Slot, snapshot: Snapshot) -> object:
    """The reading's value, or why it cannot be used."""
    reading = snapshot.get(slot.point)
    if reading is None or reading.quality is not Quality.GOOD or reading.value is None:
        code, detail = _fault(reading)
        return Missing(code, f"point {slot.point}: {detail}")
    return reading.value


def _picked(pick: Pick, element: object) -> object:
    """The value in the site's JSON, or why it cannot be used."""
    value = pick.path.value(element)
    if isinstance(value, Missing):
        return _ABSENT if pick.optional and value.code == "not_available" else value
    if pick.scale == 1:
        return value
    if not isinstance(value, Decimal):
        return Missing("not_a_number", f"{pick.path.text} is not a number")
    try:
        return value * pick.scale
    except ArithmeticError:
        return Missing("not_a_number", f"{pick.path.text} is beyond all numbers")


_GOOD = Quality.GOOD
_ABSENT = object()  # marks a member that nothing usable fills

# Words of the YAML beside the wire profile's own members, which are all in camelCase.
FOR_EACH = "for_each"
ARRAY = "array"
EACH = "each"
PICK_MEMBERS = frozenset({"path", "scale", "optional"})


def _fault(reading: Reading | None) -> tuple[str, str]:
    if reading is None:
        return Quality.NOT_AVAILABLE.value, "was not read"
    code = reading.fault or reading.quality.value
    if reading.quality is Quality.GOOD:  # good, yet without a value
        code = reading.fault or Quality.NOT_AVAILABLE.value
    return code, reading.detail or code.replace("_", " ")


def _name_of(filled: object) -> str | None:
    """What the people of the site call this asset or unit."""
    if isinstance(filled, dict):
        for member in ("assetName", "unitName"):
            name = filled.get(member)
            if isinstance(name, str):
                return name
    return None


def _compile(node: object, arrays: Mapping[str, Array]) -> object:
    match node:
        case dict() if len(node) == 1 and isinstance(node.get("point", node.get("expr")), str):
            return Slot(point=node["point"]) if "point" in node else Formula(expression=Expression(node["expr"]))
        case dict() if len(node) == 1 and isinstance(node.get(EACH), list):
            return PerElement(values=tuple(node[EACH]))
        case dict() if "path" in node and node.keys() <= PICK_MEMBERS:
            scale, optional = Decimal(str(node.get("scale", 1))), bool(node.get("optional", False))
            return Pick(path=JsonPath(str(node["path"])), scale=scale, optional=optional)
        case dict() if FOR_EACH in node:
            return _compile_repeated(node, arrays)
        case dict():
            node = fixed({key: _compile(value, arrays) for key, value in node.items()})
        case list():
            node = fixed([_compile(item, arrays) for item in node])
    return node


def _compile_repeated(node: Mapping[str, object], arrays: Mapping[str, Array]) -> Each | Repeated:
    asset = {key: _compile(value, arrays) for key, value in node.items() if key != FOR_EACH}
    source = node[FOR_EACH]
    if not isinstance(source, Mapping):
        return Each(path=JsonPath(str(source)), asset=fixed_group(asset))
    array = arrays.get(str(source.get(ARRAY)))
    if array is None:
        raise ValueError(f"there is no array {source.get(ARRAY)}")
    return repeated(asset, array)
