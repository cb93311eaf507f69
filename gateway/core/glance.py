"""The checks of `core.validation` in short, for what is all right: nearly everything.

Each says True only where the check of its type finds nothing; what it leaves open is looked at closely. A batch of 1000
assets has some 20,000 members.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from gateway.core import reference_data
from gateway.core.fixed import FilledGroup, FixedGroup, FixedList, Frame
from gateway.core.profile import FieldSpec, FieldType, Profile, Shape

LARGEST_EXPONENT = 308  # as in strict_json: within the range of a double
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def date_of(value: object) -> dt.date | None:
    """The calendar date that a text such as 2026-12-01 means, or None."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return None
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        return None


def all_fine(members: object, spec: FieldSpec | Shape, profile: Profile) -> bool:
    """Whether nothing can be wrong with this group of members; False says only that it must be looked at closely."""
    if type(members) is FixedGroup:
        return _fixed_fine(members, spec, profile, _members_fine)
    if type(members) is FilledGroup:
        return _fixed_fine(members.frame, spec, profile, _constants_fine) and _filled_fine(members, spec, profile)
    return type(members) is dict and _members_fine(members, spec, profile)


def _fixed_fine(node: FixedT, spec: SpecT, profile: Profile, judge: Callable[[FixedT, SpecT, Profile], bool]) -> bool:
    """Judge a part that never changes once for each member and profile that it is held against."""
    known = node.fine
    if known is not None and known[0] is spec and known[1] is profile:
        return True
    fine = judge(node, spec, profile)
    node.fine = (spec, profile) if fine else None
    return fine


def _members_fine(members: Mapping[str, object], spec: FieldSpec | Shape, profile: Profile) -> bool:
    known = 0
    for name, _, field_spec in spec.wire_members:
        value = members.get(name, _MISSING)
        if value is _MISSING:
            if field_spec.required:
                return False
            continue
        known += 1
        if value is None:
            if not field_spec.nullable:
                return False
        elif not _FINE[field_spec.word](value, field_spec, profile):
            return False
    return known == len(members)


def _constants_fine(frame: Frame, spec: FieldSpec | Shape, profile: Profile) -> bool:
    """Whether nothing is wrong with a group but perhaps what fills its places."""
    if any(field.required and name not in frame for name, field in spec.members.items()):
        return False
    constants = {name: value for name, value in frame.items() if name not in frame.places}
    known = {name: spec.members[name] for name in frame if name in spec.members}
    return len(known) == len(frame) and all(
        known[name].nullable if value is None else _FINE[known[name].word](value, known[name], profile)
        for name, value in constants.items()
    )


def _filled_fine(group: FilledGroup, spec: FieldSpec | Shape, profile: Profile) -> bool:
    """Whether what fills the places of a known frame is all right."""
    for name in group.frame.places:
        field_spec, value = spec.members[name], group.get(name, _MISSING)
        if value is _MISSING:
            if field_spec.required:
                return False
        elif value is None:
            if not field_spec.nullable:
                return False
        elif not _FINE[field_spec.word](value, field_spec, profile):
            return False
    return True


def _text_fine(value: object, spec: FieldSpec, _profile: Profile) -> bool:
    if type(value) is not str or (spec.length is not None and len(value) > spec.length):
        return False
    return value.isprintable() and bool(value) and not value.isspace()


def _number_fine(value: object, spec: FieldSpec, _profile: Profile) -> bool:
    if type(value) is int:
        value = Decimal(value)
    if type(value) is not Decimal or not value.is_finite():
        return False
    if not -LARGEST_EXPONENT <= value.adjusted() <= LARGEST_EXPONENT:
        return False
    low, high = spec.range
    return (low is None or value >= low) and (high is None or value <= high)


def _word_fine(value: object, spec: FieldSpec, profile: Profile) -> bool:
    return type(value) is str and value in profile.enums[spec.words or ""]


def _date_fine(value: object, _spec: FieldSpec, _profile: Profile) -> bool:
    return date_of(value) is not None


def _gsp_group_fine(value: object, _spec: FieldSpec, _profile: Profile) -> bool:
    return type(value) is str and value in reference_data.GSP_GROUPS


def _meter_points_fine(value: object, spec: FieldSpec, profile: Profile) -> bool:
    if type(value) is FixedList:
        return _fixed_fine(value, spec, profile, _points_fine)
    return type(value) is list and _points_fine(value, spec, profile)


def _points_fine(value: Sequence[object], spec: FieldSpec, profile: Profile) -> bool:
    if not spec.at_least <= len(value) <= (spec.at_most or len(value)):
        return False
    for point in value:
        if not isinstance(point, dict) or not all_fine(point, spec, profile):
            return False
        if point.get("type") == "MPAN" and not (type(point.get("id")) is str and reference_data.is_mpan(point["id"])):
            return False
    return True


def _looked_at_closely(_value: object, _spec: FieldSpec, _profile: Profile) -> bool:
    return False


FixedT = TypeVar("FixedT", FixedGroup, FixedList, Frame)
SpecT = TypeVar("SpecT", bound="FieldSpec | Shape")
_MISSING = object()
_FINE: Mapping[str, Callable[[object, FieldSpec, Profile], bool]] = {
    str(FieldType.TEXT): _text_fine,
    str(FieldType.BM_UNIT): _text_fine,
    str(FieldType.NUMBER): _number_fine,
    str(FieldType.MAGNITUDE): _number_fine,
    str(FieldType.WORD): _word_fine,
    str(FieldType.WORDS): _looked_at_closely,
    str(FieldType.NAMES): _looked_at_closely,
    str(FieldType.DATE): _date_fine,
    str(FieldType.GSP_GROUP): _gsp_group_fine,
    str(FieldType.METER_POINTS): _meter_points_fine,
    str(FieldType.GROUP): all_fine,
}
