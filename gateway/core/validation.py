"""What can be known to be wrong with a message before it is sent; nothing is corrected and nothing is guessed.

The profile's shapes say which members there are and what they hold; the rules that bind several members are here, under
our own member names. Every problem is found in one pass and names row, member and value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeGuard

from gateway.core import reference_data
from gateway.core.fixed import FilledGroup
from gateway.core.glance import LARGEST_EXPONENT, all_fine, date_of
from gateway.core.message import ASSETS, Kind, Problem
from gateway.core.profile import FieldSpec, FieldType, Profile, Shape

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_GROUP = (dict, Mapping)  # the concrete one first: asking for it costs next to nothing
_SHOWN = 80  # characters of a value inside a sentence

# What was found wrong with one value: its path below the row, a code, a sentence.
Finding = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Problems refuse a message; warnings only accompany it."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Notes:
    """Collects what is found; ``row`` and ``ref`` are those of the row under way."""

    row: int | None = None
    ref: str | None = None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def problem(self, path: str, code: str, message: str) -> None:
        self.problems.append(Problem(row=self.row, ref=self.ref, field=path, code=code, message=message))

    def warning(self, path: str, code: str, message: str) -> None:
        self.warnings.append(Problem(row=self.row, ref=self.ref, field=path, code=code, message=message))


def check(kind: Kind, content: Mapping[str, object], profile: Profile) -> Checked:
    """Check a message's content in our own member names; never raises, whatever the content is."""
    if (further := profile.kinds.get(kind)) is not None:
        return Checked(problems=further.problems(content.get("content")))
    notes = _Notes()
    name = "assets" if kind == ASSETS else "unit"
    for other in content:
        if other != name:
            notes.problem(str(other), "unknown_member", f"{_show(other)} is not a member of a message of kind {kind}")
    if kind == ASSETS:
        _check_assets(notes, content.get(name), profile)
    else:
        _check_row(notes, name, content.get(name), profile.unit, profile)
    return Checked(problems=tuple(notes.problems), warnings=tuple(notes.warnings))


def _check_assets(notes: _Notes, assets: object, profile: Profile) -> None:
    limit = profile.limits.assets_per_message
    if not _is_list(assets) or not assets:
        notes.problem("assets", "required", "at least one asset is needed")
        return
    if len(assets) > limit:
        notes.problem("assets", "too_many", f"{len(assets)} assets, a message takes at most {limit}")
        return
    first: dict[str, int] = {}
    for row, asset in enumerate(assets):
        notes.row = row
        _check_row(notes, "assets", asset, profile.asset, profile)
        if notes.ref is not None and first.setdefault(notes.ref, row) != row:
            again = f"{_show(notes.ref)} stands in row {first[notes.ref]} already"
            notes.problem(profile.asset.ref, "not_unique", again)


def _check_row(notes: _Notes, name: str, row: object, shape: Shape, profile: Profile) -> None:
    notes.ref = None
    if not isinstance(row, _GROUP):
        notes.problem(name, "required" if row is None else "not_a_group", f"{_show(row)} is not a group of members")
        return
    ref = row.get(shape.ref)
    notes.ref = ref if isinstance(ref, str) else None
    if not all_fine(row, shape, profile):
        for path, code, message in _group(row, shape.members, "", profile):
            notes.problem(path, code, message)
    for ways in shape.required_ways:
        if not _has_one(row, ways):
            paths = [".".join(way) for way in ways]
            notes.problem(paths[0], "required", f"one of {', '.join(paths)} is needed")
    if not (type(row) is FilledGroup and row.frame.ruled == (shape, profile)):
        _check_rules(notes, row, shape, profile)


def _check_rules(notes: _Notes, row: Mapping[str, object], shape: Shape, profile: Profile) -> None:
    """Apply the rules that bind several members; where they find nothing and no place matters, once for all."""
    before = len(notes.problems) + len(notes.warnings)
    for rule in _RULES:
        rule(notes, row, profile)
    quiet = len(notes.problems) + len(notes.warnings) == before
    if quiet and type(row) is FilledGroup and _RULED.isdisjoint(row.frame.places):
        row.frame.ruled = (shape, profile)


# ---------------------------------------------------------------- single members, by the profile's shapes
def _group(members: object, specs: Mapping[str, FieldSpec], prefix: str, profile: Profile) -> Iterator[Finding]:
    if not isinstance(members, Mapping):
        yield prefix.rstrip("."), "not_a_group", f"{_show(members)} is not a group of members"
        return
    for name in members:
        if name not in specs:
            yield f"{prefix}{name}", "unknown_member", f"{_show(name)} is not a member here; known: {', '.join(specs)}"
    for name, spec in specs.items():
        path = f"{prefix}{name}"
        if name not in members:
            if spec.required:
                yield path, "required", "is missing"
        elif members[name] is None:
            if not spec.nullable:
                yield path, "null", "null is not allowed here"
        else:
            yield from _CHECKS[spec.type](members[name], spec, path, profile)


def _check_group(value: object, spec: FieldSpec, path: str, profile: Profile) -> Iterator[Finding]:
    yield from _group(value, spec.members, f"{path}.", profile)


def _check_text(value: object, spec: FieldSpec, path: str, _profile: Profile) -> Iterator[Finding]:
    if not isinstance(value, str):
        yield path, "not_a_text", f"{_show(value)} is not a text"
    elif not value.strip():
        yield path, "empty", f"{_show(value)} is empty"
    elif spec.length is not None and len(value) > spec.length:
        yield path, "too_long", f"{_show(value)} has {len(value)} characters, at most {spec.length} are allowed"
    elif _CONTROL.search(value):
        yield path, "characters", f"{_show(value)} holds characters that cannot be printed"


def _check_number(value: object, spec: FieldSpec, path: str, _profile: Profile) -> Iterator[Finding]:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        yield path, "not_a_number", f"{_show(value)} is not an exact number"
        return
    number = Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > LARGEST_EXPONENT:
        yield path, "not_finite", f"{_show(value)} is not a finite number"
        return
    low, high = spec.range
    if low is not None and number < low:
        code = "negative" if low == 0 else "out_of_range"
        yield path, code, f"{_show(value)} is below {float(low):g}"
    elif high is not None and number > high:
        yield path, "out_of_range", f"{_show(value)} is above {float(high):g}"


def _check_word(value: object, spec: FieldSpec, path: str, profile: Profile) -> Iterator[Finding]:
    words = profile.enums[spec.words or ""]
    if not isinstance(value, str) or value not in words:
        yield path, "unknown_word", f"{_show(value)} is not one of {', '.join(words)}"


def _check_words(value: object, spec: FieldSpec, path: str, profile: Profile) -> Iterator[Finding]:
    yield from _check_several(value, spec, path, profile, _check_word)


def _check_names(value: object, spec: FieldSpec, path: str, profile: Profile) -> Iterator[Finding]:
    limited = spec.model_copy(update={"at_most": profile.limits.aligned_assets_per_unit})
    yield from _check_several(value, limited, path, profile, _check_text)


def _check_several(value: object, spec: FieldSpec, path: str, profile: Profile, check_one: _Check) -> Iterator[Finding]:
    """Check a list of different texts."""
    yield from _check_count(value, spec, path)
    if not _is_list(value) or (spec.at_most is not None and len(value) > spec.at_most):
        return
    seen: set[str] = set()
    for place, entry in enumerate(value):
        yield from check_one(entry, spec, f"{path}[{place}]", profile)
        if isinstance(entry, str):
            if entry in seen:
                yield f"{path}[{place}]", "not_unique", f"{_show(entry)} stands in the list twice"
            seen.add(entry)


def _check_count(value: object, spec: FieldSpec, path: str) -> Iterator[Finding]:
    if not _is_list(value):
        yield path, "not_a_list", f"{_show(value)} is not a list"
    elif len(value) < spec.at_least:
        yield path, "required", f"{len(value)} entries, at least {spec.at_least} needed"
    elif spec.at_most is not None and len(value) > spec.at_most:
        yield path, "too_many", f"{len(value)} entries, at most {spec.at_most} are allowed"


def _check_date(value: object, _spec: FieldSpec, path: str, _profile: Profile) -> Iterator[Finding]:
    if date_of(value) is None:
        yield path, "not_a_date", f"{_show(value)} is not a calendar date such as 2026-12-01"


def _check_gsp_group(value: object, _spec: FieldSpec, path: str, _profile: Profile) -> Iterator[Finding]:
    if not isinstance(value, str) or value not in reference_data.GSP_GROUPS:
        known = ", ".join(sorted(reference_data.GSP_GROUPS))
        yield path, "gsp_group", f"{_show(value)} is not a GSP group; known: {known}"


def _check_meter_points(value: object, spec: FieldSpec, path: str, profile: Profile) -> Iterator[Finding]:
    yield from _check_count(value, spec, path)
    if not _is_list(value) or (spec.at_most is not None and len(value) > spec.at_most):
        return
    for place, point in enumerate(value):
        yield from _group(point, spec.members, f"{path}[{place}].", profile)
        if isinstance(point, Mapping) and point.get("type") == "MPAN" and isinstance(point.get("id"), str):
            yield from _check_mpan(point["id"], f"{path}[{place}].id")


def _check_mpan(mpan: str, path: str) -> Iterator[Finding]:
    if not reference_data.is_mpan_form(mpan):
        yield path, "mpan", f"{_show(mpan)} is not an MPAN: 13 digits are needed"
    elif not reference_data.is_mpan(mpan):
        digit = reference_data.mpan_check_digit(mpan)
        yield path, "mpan_check_digit", f"check digit of {mpan} must be {digit}"


_Check = Callable[[object, FieldSpec, str, Profile], Iterator[Finding]]
_CHECKS: Mapping[FieldType, _Check] = {
    FieldType.TEXT: _check_text,
    FieldType.BM_UNIT: _check_text,
    FieldType.NUMBER: _check_number,
    FieldType.MAGNITUDE: _check_number,
    FieldType.WORD: _check_word,
    FieldType.WORDS: _check_words,
    FieldType.NAMES: _check_names,
    FieldType.DATE: _check_date,
    FieldType.GSP_GROUP: _check_gsp_group,
    FieldType.METER_POINTS: _check_meter_points,
    FieldType.GROUP: _check_group,
}


# ---------------------------------------------------------------- rules that bind several members
def _dates_in_order(notes: _Notes, row: Mapping[str, object], _profile: Profile) -> None:
    if row.get("endDate") is None:
        return
    start, end = date_of(row.get("startDate")), date_of(row.get("endDate"))
    if start is not None and end is not None and end < start:
        notes.problem("endDate", "dates", f"{end} is before the start date {start}")


def _bm_unit_fits(notes: _Notes, row: Mapping[str, object], _profile: Profile) -> None:
    """A unit has a bmUnitId exactly when it is a BM unit; what the id looks like only ever warns."""
    unit_type, bm_unit = row.get("unitType"), row.get("bmUnitId")
    if unit_type == "BM" and bm_unit is None:
        notes.problem("bmUnitId", "required", "a unit of type BM needs its bmUnitId")
    if unit_type == "NonBM" and bm_unit is not None:
        notes.problem("bmUnitId", "not_allowed", f"{_show(bm_unit)} is given, but the unit's type is NonBM")
    if isinstance(bm_unit, str) and not reference_data.is_bm_unit(bm_unit):
        notes.warning("bmUnitId", "bm_unit_form", f"{_show(bm_unit)} does not look like an Elexon BM unit id")


def _gsp_group_fits(notes: _Notes, row: Mapping[str, object], profile: Profile) -> None:
    """The distributor of each MPAN lies in the GSP group that the asset names."""
    group, points = _at(row, "connection", "gspGroup"), row.get("meterPoints")
    if not isinstance(group, str) or group not in reference_data.GSP_GROUPS or not _is_list(points):
        return
    note = notes.problem if profile.gsp_mismatch == "error" else notes.warning
    for place, point in enumerate(points):
        mpan = point.get("id") if isinstance(point, _GROUP) and point.get("type") == "MPAN" else None
        expected = reference_data.gsp_group_of_mpan(mpan) if isinstance(mpan, str) else None
        if expected not in {None, group} and reference_data.is_mpan(str(mpan)):
            sentence = f"MPAN {mpan} belongs to distributor {str(mpan)[:2]} in group {expected}, not {group}"
            note(f"meterPoints[{place}].id", "gsp_mismatch", sentence)


_RULES = (_dates_in_order, _bm_unit_fits, _gsp_group_fits)
_RULED = frozenset({"startDate", "endDate", "unitType", "bmUnitId", "connection", "meterPoints"})  # what they look at


# ---------------------------------------------------------------- reading
def _at(row: Mapping[str, object], *way: str) -> object:
    value: object = row
    for name in way:
        value = value.get(name) if isinstance(value, _GROUP) else None
    return value


def _has_one(row: Mapping[str, object], ways: Sequence[Sequence[str]]) -> bool:
    """Whether there is something at one of these members at least."""
    for way in ways:
        value = _at(row, *way) if len(way) > 1 else row.get(way[0])
        if value is not None and value != []:
            return True
    return False


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list) or (isinstance(value, Sequence) and not isinstance(value, str | bytes))


def _show(value: object) -> str:
    """A value as people wrote it, cut to a length that fits a sentence."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
