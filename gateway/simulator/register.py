"""What the simulated register makes of a well-shaped submission: everything is created, or nothing is.

Sources: domain.md sections 3 and 4 (MPAN check digit, GSP groups, DUPLICATE_ASSET, UNKNOWN_ASSET).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.simulator.record import Decision, Status, Transaction
from gateway.simulator.shape import Flaw, value_at
from gateway.simulator.wire import Item, Wire

# The first twelve odd primes but 11: the weights of the MPAN core's check digit.
MPAN_PRIMES = (3, 5, 7, 13, 17, 19, 23, 29, 31, 37, 41, 43)
GSP_GROUPS = frozenset(f"_{letter}" for letter in "ABCDEFGHJKLMNP")

Existing = Callable[[str, Iterable[str]], frozenset[str]]  # kind, names -> those that the register holds
Groups = Callable[[Iterable[str]], Mapping[str, object]]  # names of assets -> the GSP group of each that is there


@dataclass(frozen=True, slots=True)
class Held:
    """What the register holds of a participant's already."""

    existing: Existing
    groups: Groups


def decide(transaction: Transaction, rows: list[dict[str, Any]], item: Item, wire: Wire, held: Held) -> Decision:
    """Judge a submission whose shape is right."""
    if item.schema is not None:
        return Decision(status=Status.SUCCESS, created=((transaction.id, f"SMP-K-{transaction.seq:06d}"),))
    if item is wire.asset:
        flaws = list(_asset_flaws(rows, item, held.existing))
    else:
        flaws = list(_unit_flaws(rows[0], item, held))
    if flaws:
        return Decision(status=Status.FAILED, errors=tuple(error(flaw, wire) for flaw in flaws))
    letter = "A" if item is wire.asset else "U"
    created = tuple(
        (str(row[item.ref]), f"SMP-{letter}-{transaction.seq:06d}-{index:04d}") for index, row in enumerate(rows)
    )
    return Decision(status=Status.SUCCESS, created=created)


def error(flaw: Flaw, wire: Wire) -> dict[str, Any]:
    """A flaw in the wire's words."""
    row = None if flaw.row is None else flaw.row + wire.first_row
    values = {"row": row, "ref": flaw.ref, "field": flaw.field, "code": flaw.code, "message": flaw.message}
    return {name: values[ours] for ours, name in wire.error.items()}


def mpan_is_valid(text: str) -> bool:
    """Whether these are the 13 digits of an MPAN core with the right check digit."""
    if len(text) != 13 or not (text.isascii() and text.isdigit()):
        return False
    total = sum(int(digit) * prime for digit, prime in zip(text, MPAN_PRIMES, strict=False))
    return total % 11 % 10 == int(text[-1])


def _asset_flaws(rows: list[dict[str, Any]], item: Item, existing: Existing) -> Iterator[Flaw]:
    names = [str(row[item.ref]) for row in rows]
    taken = existing(item.kind, names)
    seen: set[str] = set()
    for index, (name, row) in enumerate(zip(names, rows, strict=True)):
        if name in taken or name in seen:
            message = f"{name!r} exists already" if name in taken else f"{name!r} occurs twice in this payload"
            yield Flaw(row=index, ref=name, field=item.ref, code="DUPLICATE_ASSET", message=message)
        seen.add(name)
        yield from _meter_flaws(index, name, row, item)
        yield from _group_flaws(index, name, item.spell("connection.gspGroup"), row)


def _unit_flaws(unit: dict[str, Any], item: Item, held: Held) -> Iterator[Flaw]:
    name = str(unit[item.ref])
    if held.existing(item.kind, [name]):
        yield Flaw(row=0, ref=name, field=item.ref, code="DUPLICATE_UNIT", message=f"{name!r} exists already")
    yield from _group_flaws(0, name, item.spell("gspGroup"), unit)
    bm_unit, aligned_assets = item.spell("bmUnitId"), item.spell("alignedAssets")
    if (unit[item.spell("unitType")] == "BM") != bool(unit.get(bm_unit)):
        yield Flaw(row=0, ref=name, field=bm_unit, code="BM_UNIT", message="must be given for BM units, and only then")
    aligned = unit[aligned_assets]
    known, own = held.existing("assets", aligned), value_at(unit, item.spell("gspGroup"))
    groups = held.groups(aligned)
    for index, asset in enumerate(aligned):
        if asset not in known:
            code, message = "UNKNOWN_ASSET", f"{asset!r} is not registered"
        elif asset in aligned[:index]:
            code, message = "DUPLICATE_ASSET", f"{asset!r} is aligned twice"
        elif groups.get(asset, own) != own:
            code, message = "GSP_GROUP_MISMATCH", f"{asset!r} lies in GSP group {groups[asset]}, the unit in {own}"
        else:
            continue
        yield Flaw(row=0, ref=name, field=f"{aligned_assets}[{index}]", code=code, message=message)


def _meter_flaws(index: int, name: str, row: Mapping[str, Any], item: Item) -> Iterator[Flaw]:
    meters = item.spell("meterPoints")
    kind, key = (item.spell(f"meterPoints.{member}").rpartition(".")[2] for member in ("type", "id"))
    for number, meter in enumerate(row.get(meters, ())):
        if meter[kind] == "MPAN" and not mpan_is_valid(meter[key]):
            field = f"{meters}[{number}].{key}"
            message = f"{meter[key]} is not an MPAN: 13 digits with a right check digit"
            yield Flaw(row=index, ref=name, field=field, code="INVALID_MPAN", message=message)


def _group_flaws(index: int, name: str, field: str, row: Mapping[str, Any]) -> Iterator[Flaw]:
    group = value_at(row, field)
    if group not in GSP_GROUPS:
        yield Flaw(row=index, ref=name, field=field, code="UNKNOWN_GSP_GROUP", message=f"{group!r} is no GSP group")
