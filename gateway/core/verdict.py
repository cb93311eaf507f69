"""A verdict: what the SMP finally says of a submission, by callback or by status answer alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.message import Created, Problem
from gateway.core.profile import Profile
from gateway.core.strict_json import Json
from gateway.core.transaction import Event
from gateway.core.wire_names import steps

ID_LENGTH = 255  # characters of any id that somebody else chose
ERRORS_PER_ROW = 4  # of the largest payload; more than that is a fault, and stays in the bytes that are kept


class UnreadableError(Exception):
    """A member has another form than the profile says; the message names it. It never leaves `core`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``event`` is SUCCESS, PARTIAL_SUCCESS or FAILURE; ``problems`` rows count within the submission."""

    event: Event
    notification: str | None = None
    created: tuple[Created, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_verdict(profile: Profile, document: dict[str, Json]) -> Verdict:
    """Read the members that a callback and a status answer share.

    Failed means that nothing was created, unless the profile says that batches are not atomic and results came too.

    Raises:
        UnreadableError: the status is not a final word of the profile, or a member has another form than it should.
    """
    names, words = profile.members.result, profile.status_words
    status = document.get(names.status)
    created = _results(profile, member(document, names.results))
    problems = read_problems(profile, member(document, names.errors))
    if status in words.success:
        event = Event.SUCCESS
    elif status in words.failed:
        event = Event.PARTIAL_SUCCESS if created and not profile.atomic_batches else Event.FAILURE
    else:
        raise UnreadableError(f"{names.status} {status!r:.100} is no final word")
    notification = optional_text(document, names.notification, length=None)
    return Verdict(event=event, notification=notification, created=created, problems=problems)


def read_problems(profile: Profile, errors: Json) -> tuple[Problem, ...]:
    """Read a list of errors; absent or null is an empty one.

    Raises:
        UnreadableError: it is not a list of errors in the profile's form.
    """
    names = profile.members.error
    problems = []
    entries = _objects(errors, "errors")
    kept = ERRORS_PER_ROW * profile.limits.assets_per_submission
    for entry in entries[:kept]:
        row = entry.get(names.row)
        if row is not None and (not isinstance(row, int) or isinstance(row, bool) or row < names.first_row):
            raise UnreadableError(f"errors: {names.row} {row!r:.100} does not count rows from {names.first_row}")
        problems.append(
            Problem(
                row=None if row is None else row - names.first_row,
                ref=optional_text(entry, names.ref, length=None),
                field=optional_text(entry, names.field, length=None),
                code=required_text(entry, names.code, length=None),
                message=required_text(entry, names.message, length=None),
            )
        )
    if len(entries) > kept:
        more = f"and {len(entries) - kept} more, in the answer as it came"
        problems.append(Problem(code="more_errors", message=more))
    return tuple(problems)


def member(document: Json, path: str) -> Json:
    """What stands at a member path of the profile; absent counts as null, also where an outer object is absent."""
    found = document
    for name in steps(path):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def required_text(document: Mapping[str, Json], name: str, *, length: int | None = ID_LENGTH) -> str:
    """A member that must be a text, not empty, of at most ``length`` characters.

    Raises:
        UnreadableError: it is not.
    """
    value = document.get(name)
    if not isinstance(value, str) or not value or (length is not None and len(value) > length):
        raise UnreadableError(f"{name}: {value!r:.100} is not a text of 1 to {length or 'any number of'} characters")
    return value


def optional_text(document: Mapping[str, Json], name: str, *, length: int | None = ID_LENGTH) -> str | None:
    """A member that may be absent or null, else a text of at most ``length`` characters; empty counts as absent.

    Raises:
        UnreadableError: it is something else.
    """
    value = document.get(name)
    if value is None or value == "":
        return None
    return required_text(document, name, length=length)


def _results(profile: Profile, results: Json) -> tuple[Created, ...]:
    names = profile.members.created
    return tuple(
        Created(ref=required_text(entry, names.ref), smp_id=required_text(entry, names.smp_id))
        for entry in _objects(results, "results")
    )


def _objects(value: Json, name: str) -> list[dict[str, Json]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise UnreadableError(f"{name}: {value!r:.100} is not a list")
    entries = [entry for entry in value if isinstance(entry, dict)]
    if len(entries) != len(value):
        raise UnreadableError(f"{name}: an entry is not an object")
    return entries
