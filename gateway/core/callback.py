"""A callback of the SMP, judged after its signature: is it fresh, is it for this participant, can it be read?

The order is domain.md section 3's, "Checks in this order". What a fault keeps from being applied is still read as far
as it goes, so that the transaction it names can be polled at once. A message type that the profile does not list brings
no verdict and is kept and shown. In a listed type, a status that is not final, an unknown word included, is a schema
fault: the callback is quarantined and the poll, which knows how to wait, finds out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from gateway.core import strict_json
from gateway.core.jws import VerifiedHeader
from gateway.core.profile import Profile
from gateway.core.strict_json import Json
from gateway.core.verdict import UnreadableError, Verdict, optional_text, read_verdict, required_text
from gateway.errors import StrictJsonError

Fault = Literal["clock", "participant", "schema"]

_STATUS: Mapping[Fault | None, int] = {None: 200, "clock": 401, "participant": 403, "schema": 422}
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A callback, read; ``verdict`` is None for other message types and for what could not be read of a faulty one."""

    message_type: str
    message_id: str
    participant: str
    transaction_id: str | None
    submission_id: str | None
    verdict: Verdict | None
    issued_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is to be made of a callback: ``status`` is the HTTP status it deserves, ``note`` is for the audit."""

    callback: Callback | None
    fault: Fault | None
    note: str
    status: int


def judge(profile: Profile, *, header: VerifiedHeader, body: bytes, participant: str, received_at: int) -> Judged:
    """Judge a callback whose signature is good; ``received_at`` is µs UTC. Never raises, whatever the bytes are."""
    callback, schema_note = _read(profile, body)
    foreign = callback is not None and callback.participant != participant
    skew = received_at - header.iat * _SECOND
    if abs(skew) > profile.timings.clock_tolerance_us:
        note = f"signed {abs(skew) / _SECOND:.0f} s {'before' if skew > 0 else 'after'} our time"
        return _judged(None if foreign else callback, "clock", note)
    if foreign:
        return _judged(None, "participant", f"meant for another participant than {participant}")
    if schema_note:
        return _judged(callback, "schema", schema_note)
    return _judged(callback, None, "")


def _judged(callback: Callback | None, fault: Fault | None, note: str) -> Judged:
    return Judged(callback=callback, fault=fault, note=note, status=_STATUS[fault])


def _read(profile: Profile, body: bytes) -> tuple[Callback | None, str]:
    """Read as much as can be read: the callback or None, and what is wrong with it."""
    try:
        document = strict_json.loads(body, limit=profile.limits.callback_bytes)
    except StrictJsonError as error:
        return None, f"not strict JSON: {error}"
    if not isinstance(document, dict):
        return None, "not an object"
    names = profile.members.result
    try:
        message_type = required_text(document, names.message_type)
        bare = Callback(
            message_type=message_type,
            message_id=required_text(document, names.message_id),
            participant=required_text(document, names.participant),
            transaction_id=optional_text(document, names.transaction_id, length=profile.limits.transaction_id_length),
            submission_id=optional_text(document, names.submission_id),
            verdict=None,
            issued_at=required_text(document, names.issued_at),
        )
    except UnreadableError as error:
        return None, str(error)
    if message_type not in profile.result_types:
        return bare, ""
    return _with_verdict(profile, bare, document)


def _with_verdict(profile: Profile, bare: Callback, document: dict[str, Json]) -> tuple[Callback, str]:
    if bare.transaction_id is None and bare.submission_id is None:
        return bare, "names neither a transaction nor a submission"
    try:
        return replace(bare, verdict=read_verdict(profile, document)), ""
    except UnreadableError as error:
        return bare, str(error)
