"""From our words to the wire's bytes: members in the profile's names and order, decimals as they are, no spaces.

Absent members stay absent; ``null`` is written only where the content says null and the profile allows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TypeGuard

import orjson

from gateway.core.fixed import FilledGroup, FixedGroup, FixedList, Frame, Run, runs
from gateway.core.message import ASSETS, Kind
from gateway.core.profile import FieldSpec, FieldType, Profile, Shape
from gateway.errors import SubmissionRefused

_GROUP = (dict, Mapping)  # the concrete one first: asking for it costs next to nothing
# The range of a double, as in strict_json: a number beyond it would be written out as that many digits.
_LARGEST_EXPONENT = 308


def dumps(value: object) -> bytes:
    """Write JSON: UTF-8, no spaces, members in the order given, a Decimal with all its digits and never an exponent.

    Raises:
        TypeError: the value holds something that JSON has no form for, such as a set or a Decimal that is not finite.
    """
    return orjson.dumps(value, default=_fragment)


def canonical(content: Mapping[str, object]) -> bytes:
    """Write a message's content as it is kept: what :func:`dumps` writes, with what never changes written once for all.

    Raises:
        TypeError: as :func:`dumps` does.
    """
    return orjson.dumps(dict(content), default=_kept, option=orjson.OPT_PASSTHROUGH_SUBCLASS)


def encode_submission(profile: Profile, kind: Kind, submission_id: str, content: Mapping[str, object]) -> bytes:
    """Make the body of a submission.

    ``content`` is ``{"assets": [...]}`` or ``{"unit": {...}}`` in our names, or ``{"content": {...}}`` of a further
    kind in the wire's.

    Raises:
        SubmissionRefused: a member that the profile does not know, or a body longer than it allows.
    """
    return enclose(profile, kind, submission_id, encode_rows(profile, kind, content))


def encode_rows(profile: Profile, kind: Kind, content: Mapping[str, object]) -> list[bytes]:
    """Write each asset of a content, or its one unit, as the JSON object that the SMP knows.

    Raises:
        SubmissionRefused: a member that the profile does not know.
    """
    if kind in profile.kinds:
        return [_dump_content(_object(content.get("content")))]
    shape = profile.shape(kind)
    if kind != ASSETS:
        return [_row(shape, content.get("unit"), "unit")]
    return [_row(shape, row, f"assets[{index}]") for index, row in enumerate(_list(content, "assets"))]


def enclose(profile: Profile, kind: Kind, submission_id: str, rows: Sequence[bytes]) -> bytes:
    """Put encoded rows into the body of a submission.

    Raises:
        SubmissionRefused: the body is longer than the SMP takes.
    """
    names, joined = profile.members.submission, b",".join(rows)
    name, payload = (names.assets, b"[" + joined + b"]") if kind == ASSETS else (names.unit, joined)
    if kind in profile.kinds:
        name = profile.kinds[kind].payload
    action = profile.action(kind)
    body = dumps({names.message_id: submission_id, names.action: action, name: orjson.Fragment(payload or b"{}")})
    if len(body) > (limit := profile.request_content_bytes(kind)):
        raise SubmissionRefused(f"the body has {len(body)} bytes, the SMP takes {limit}")
    return body


def encode_status(profile: Profile, *, transaction_id: str | None, submission_id: str | None) -> tuple[str, bytes]:
    """Make the path and body of a status call, by transaction id where it is known, else by submission id.

    Raises:
        SubmissionRefused: the profile cannot ask by what is known.
    """
    names = profile.members.status
    if profile.methods.status == "GET":
        path = profile.paths.status_of(transaction_id=transaction_id, submission_id=submission_id)
        if path is not None:
            return path, b""
    elif transaction_id is not None:
        return profile.paths.status, dumps({names.transaction_id: transaction_id})
    elif submission_id is not None and profile.capabilities.status_by_submission:
        return profile.paths.status, dumps({names.submission_id: submission_id})
    raise SubmissionRefused("a status call needs a transaction id")


def encode_login(profile: Profile, username: str, password: str) -> bytes:
    """Make the body of a login."""
    names = profile.members.login
    return dumps({names.username: username, names.password: password})


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise SubmissionRefused(f"content: {value!r:.100} is not a group of members")
    return value


def _kept(value: object) -> orjson.Fragment:
    if type(value) is FixedGroup or type(value) is FixedList:
        if value.canonical is None:
            value.canonical = orjson.Fragment(dumps(value))
        return value.canonical
    return orjson.Fragment(_kept_group(value)) if type(value) is FilledGroup else _fragment(value)


def _kept_group(group: FilledGroup) -> bytes:
    frame = group.frame
    if frame.canonical is None:
        frame.canonical = runs(
            (name, dumps(name) + b":", None if name in frame.places else _kept_value(name, value))
            for name, value in frame.items()
        )
    return _joined(frame.canonical, group, _kept_value)


def _kept_value(_name: str, value: object) -> bytes:
    if type(value) is FilledGroup:
        return _kept_group(value)
    if type(value) is Decimal:
        return _digits(value).encode()
    return orjson.dumps(value, default=_kept, option=orjson.OPT_PASSTHROUGH_SUBCLASS)


def _joined(stretches: Sequence[Run], group: FilledGroup, write: Callable[[str, object], bytes]) -> bytes:
    """A group's JSON; a place that nothing fills is left out with its name."""
    pieces = [
        stretch if place is None else stretch + write(place, group[place])
        for stretch, place in stretches
        if place is None or place in group
    ]
    return b"{" + b",".join(pieces) + b"}"


def _fragment(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(_digits(value))
    raise TypeError(f"JSON has no form for {value!r:.100}")


def _digits(value: Decimal) -> str:
    if value.is_finite():
        if not value:
            value = abs(value)  # zero has no sign on the wire
        if -_LARGEST_EXPONENT <= value.adjusted() <= _LARGEST_EXPONENT:
            text = str(value)
            return text if "E" not in text else format(value, "f")
    raise TypeError(f"JSON has no form for {value!r:.100}")


def _dump_content(document: object) -> bytes:
    try:
        return dumps(document)
    except TypeError as error:
        raise SubmissionRefused(f"the content cannot be written as JSON: {error}") from error


def _row(shape: Shape | FieldSpec, value: object, path: str) -> bytes:
    """Write a group of members in the SMP's names, the constants of a frame once for all."""
    if type(value) is FilledGroup:
        known = value.frame.wire
        if known is None or known[0] is not shape:
            known = value.frame.wire = (shape, _stretches(shape, value.frame, path))
        if known[1] is not None:
            return _joined(known[1], value, partial(_place, shape, path))
    return _dump_content(_members(shape, value, path))


def _stretches(shape: Shape | FieldSpec, frame: Frame, path: str) -> tuple[Run, ...] | None:
    """A frame in the SMP's names, unless the profile does not know all its members."""
    if not shape.members.keys() >= frame.keys():
        return None
    places = frame.places
    return runs(
        (name, dumps(wire_name) + b":", None if name in places else _place(shape, path, name, frame[name]))
        for name, wire_name, _ in shape.wire_members
        if name in frame
    )


def _place(shape: Shape | FieldSpec, path: str, name: str, value: object) -> bytes:
    spec = shape.members[name]
    if type(value) is Decimal and value.is_finite() and spec.word not in _NESTED:
        return _digits(value).encode()
    if type(value) is FilledGroup and spec.word == _GROUP_WORD:
        return _row(spec, value, f"{path}.{name}")
    return _dump_content(_member(spec, value, path, name))


def _members(shape: Shape | FieldSpec, value: object, path: str) -> dict[str, object]:
    if not isinstance(value, _GROUP):
        raise SubmissionRefused(f"{path}: {value!r:.100} is not a group of members")
    members: dict[str, object] = {}
    known = 0
    for name, wire_name, spec in shape.wire_members:
        member = value.get(name, _MISSING)
        if member is not _MISSING:
            known += 1
            members[wire_name] = _member(spec, member, path, name)
    if known < len(value):
        unknown = next(name for name in value if name not in shape.members)
        raise SubmissionRefused(f"{path}.{unknown}: the profile knows no such member")
    return members


def _member(spec: FieldSpec, value: object, path: str, name: str) -> object:
    """What stands on the wire for a member of ours."""
    if value is None and not spec.nullable:
        raise SubmissionRefused(f"{path}.{name}: the profile allows no null here")
    return _nested(spec, value, f"{path}.{name}") if value is not None and spec.word in _NESTED else value


_MISSING = object()
_GROUP_WORD = str(FieldType.GROUP)
_NESTED = frozenset({_GROUP_WORD, str(FieldType.METER_POINTS)})


def _nested(spec: FieldSpec, value: object, path: str) -> object:
    if type(value) is FixedGroup or type(value) is FixedList:
        known = value.wire
        if known is None or known[0] is not spec:
            known = value.wire = (spec, orjson.Fragment(_dump_content(_renamed(spec, value, path))))
        return known[1]
    return _renamed(spec, value, path)


def _renamed(spec: FieldSpec, value: object, path: str) -> object:
    if spec.type is FieldType.GROUP:
        return _members(spec, value, path)
    if not _is_list(value):
        raise SubmissionRefused(f"{path}: {value!r:.100} is not a list")
    return [_members(spec, entry, f"{path}[{index}]") for index, entry in enumerate(value)]


def _list(content: Mapping[str, object], name: str) -> Sequence[object]:
    value = content.get(name)
    if not _is_list(value):
        raise SubmissionRefused(f"{name}: {value!r:.100} is not a list")
    return value


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return type(value) is list or (isinstance(value, Sequence) and not isinstance(value, str | bytes))
