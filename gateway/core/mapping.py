"""From a site's readings to a message's content: templates whose ``{point: name}`` places are filled with values.

Rules
-----
* A template is compiled once, when the configuration is loaded; filling it never looks at YAML again.
* A value goes in exactly as it was read: a Decimal stays a Decimal, a string a string. Nothing is invented.
* A reading that is missing or not GOOD is a Problem that names the row and the member; the member is then left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.core.message import Kind, Problem
from gateway.core.point import Quality, Reading, Snapshot


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


Trigger = MailboxTrigger | ChangeTrigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place of a template that a point's value fills."""

    point: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSpec:
    """One message that a site can ask for; ``template`` comes from :func:`compile_template`.

    ``not_after_us`` is how long after its acceptance the message may still be sent, in µs; None is without limit.
    """

    name: str
    kind: Kind
    trigger: Trigger
    template: Mapping[str, object]
    not_after_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """The content made of a snapshot; with problems it is incomplete and must not be sent."""

    content: Mapping[str, object]
    problems: tuple[Problem, ...] = ()


def compile_template(tree: Mapping[str, object]) -> dict[str, object]:
    """Turn each ``{point: name}`` of a plain tree into a :class:`Slot`; the tree's top is never a slot itself."""
    return {key: _compile(value) for key, value in tree.items()}


def points_of(spec: MessageSpec) -> tuple[str, ...]:
    """The points that the template reads, each once, in the order of the template."""
    return tuple(dict.fromkeys(slot.point for slot in _slots(spec.template)))


def compose(spec: MessageSpec, snapshot: Snapshot) -> Composed:
    """Fill the template; every reading that cannot be used is a problem, all of them at once.

    A problem's field is the way to the member within its asset or unit, such as ``meterPoints[0].id``.
    """
    content: dict[str, object] = {}
    problems: list[Problem] = []
    for key, node in spec.template.items():
        if isinstance(node, list):
            filled = [_fill_row(asset, snapshot, row, problems) for row, asset in enumerate(node)]
            content[key] = filled
        else:
            content[key] = _fill_row(node, snapshot, None, problems)
    return Composed(content=content, problems=tuple(problems))


def _fill_row(node: object, snapshot: Snapshot, row: int | None, problems: list[Problem]) -> object:
    faults: list[tuple[str, Slot]] = []
    filled = _fill(node, "", snapshot, faults)
    ref = _name_of(filled)
    problems += [_problem(slot, snapshot, row=row, ref=ref, field=path) for path, slot in faults]
    return filled


def _fill(node: object, path: str, snapshot: Snapshot, faults: list[tuple[str, Slot]]) -> object:
    """Fill one node; what cannot be filled is noted in ``faults`` and comes back as :data:`_ABSENT`."""
    match node:
        case Slot():
            reading = snapshot.get(node.point)
            if reading is None or reading.quality is not Quality.GOOD or reading.value is None:
                faults.append((path, node))
                return _ABSENT
            return reading.value
        case dict():
            members = {
                key: _fill(value, f"{path}.{key}" if path else key, snapshot, faults) for key, value in node.items()
            }
            return {key: value for key, value in members.items() if value is not _ABSENT}
        case list():
            items = [_fill(item, f"{path}[{index}]", snapshot, faults) for index, item in enumerate(node)]
            return [item for item in items if item is not _ABSENT]
        case _:
            return node


_ABSENT = object()  # marks a member that no usable reading fills


def _problem(slot: Slot, snapshot: Snapshot, *, row: int | None, ref: str | None, field: str) -> Problem:
    reading = snapshot.get(slot.point)
    code, detail = _fault(reading)
    return Problem(row=row, ref=ref, field=field or None, code=code, message=f"point {slot.point}: {detail}")


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


def _compile(node: object) -> object:
    match node:
        case dict() if node.keys() == {"point"} and isinstance(node["point"], str):
            return Slot(point=node["point"])
        case dict():
            return {key: _compile(value) for key, value in node.items()}
        case list():
            return [_compile(item) for item in node]
        case _:
            return node


def _slots(node: object) -> Iterator[Slot]:
    if isinstance(node, Slot):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _slots(value)
    elif isinstance(node, list):
        for item in node:
            yield from _slots(item)
