"""What an HTTP answer of the SMP means; which status means what is a table of the wire profile.

Rules (domain.md section 3, "What an answer means")
---------------------------------------------------
* Whatever cannot be read for certain is *unclear*: the SMP may have acted on the request.
* A submission that was in doubt before this attempt stays in doubt whenever the attempt itself had no effect: the
  earlier one may have had one.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from gateway.core import base64url, strict_json
from gateway.core.message import Kind, Problem
from gateway.core.profile import Profile
from gateway.core.strict_json import Json
from gateway.core.transaction import Event
from gateway.core.verdict import (
    UnreadableError,
    Verdict,
    member,
    optional_text,
    read_problems,
    read_verdict,
    required_text,
)
from gateway.errors import SignatureRefused, StrictJsonError

SECOND = 1_000_000
_TOKEN = re.compile(r"[!-~]{1,16384}")  # it goes into a header: no spaces, no line ends, a bounded length


class Meaning(StrEnum):
    """What an answer to a submission means."""

    TRANSACTION = "transaction"
    VERDICT = "verdict"  # of a kind that the SMP decides in its answer
    UNCLEAR = "unclear"
    DECLINED = "declined"
    LOGIN = "login"
    HOLD_PARTICIPANT = "hold_participant"
    NOT_PROCESSED = "not_processed"
    HOLD_ENDPOINT = "hold_endpoint"
    UNSENT = "unsent"


# Meanings after which the SMP has not acted on this attempt, and never will.
_WITHOUT_EFFECT = frozenset(
    {Meaning.LOGIN, Meaning.HOLD_PARTICIPANT, Meaning.NOT_PROCESSED, Meaning.HOLD_ENDPOINT, Meaning.UNSENT}
)
_EVENTS: Mapping[Meaning, Event] = {
    Meaning.TRANSACTION: Event.TRANSACTION,
    Meaning.DECLINED: Event.DECLINED,
    Meaning.UNCLEAR: Event.UNCLEAR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer to a submission, understood; ``note`` is a sentence for the audit, ``verdict`` comes with VERDICT."""

    meaning: Meaning
    transaction_id: str | None = None
    verdict: Verdict | None = None
    problems: tuple[Problem, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token; ``expires_at`` is µs UTC."""

    value: str
    expires_at: int

    def __repr__(self) -> str:
        """Leave the secret out of logs and tracebacks."""
        return f"Token(expires_at={self.expires_at})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginFailure:
    """Why there is no token: ``held`` when the SMP refused the login, ``retry`` for everything else."""

    kind: Literal["held", "retry"]
    note: str

    @property
    def held(self) -> bool:
        """Whether trying again soon could lock the account."""
        return self.kind == "held"


class FindingKind(StrEnum):
    """What a status call found."""

    PENDING = "pending"
    UNKNOWN = "unknown"
    VERDICT = "verdict"
    LOGIN = "login"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusFinding:
    """An answer to a status call, understood; the ids are those that the SMP named, for the caller to compare."""

    kind: FindingKind
    transaction_id: str | None = None
    submission_id: str | None = None
    verdict: Verdict | None = None
    note: str = ""


def interpret(profile: Profile, kind: Kind, *, handed_over: bool, status: int | None, body: bytes) -> Answer:
    """Understand the answer to a submission of this kind; never raises, whatever the bytes are."""
    if not handed_over:
        return Answer(meaning=Meaning.UNSENT, note="no byte of the request reached the SMP")
    if status is None:
        return Answer(meaning=Meaning.UNCLEAR)  # why is the reply's to say
    meaning = Meaning(profile.answers.submission.meaning(status) or Meaning.UNCLEAR)
    try:
        if profile.answers_with_verdict(kind, status):
            return _decided(profile, _read(profile, body), status)
        return _answered(profile, meaning, status, body)
    except (StrictJsonError, UnreadableError) as error:
        return Answer(meaning=Meaning.UNCLEAR, note=f"the SMP answered {status}, but not readably: {error}")


def event_of(answered: Answer, *, doubted: bool) -> Event:
    """The event of the state table; ``doubted`` says that an earlier attempt may have had an effect."""
    if answered.verdict is not None:
        return answered.verdict.event
    meaning = answered.meaning
    if meaning in _WITHOUT_EFFECT:
        return Event.UNCLEAR if doubted else Event.NOT_PROCESSED
    return _EVENTS[meaning]


def read_token(profile: Profile, status: int | None, body: bytes, now_us: int) -> Token | LoginFailure:
    """Understand the answer to a login; never raises. The token's life is the smaller of what it and the answer say."""
    if status in profile.answers.login.held:
        return LoginFailure(kind="held", note=f"the SMP refused the login with {status}")
    if status not in profile.answers.login.token:
        return LoginFailure(kind="retry", note=f"the SMP answered the login with {status or 'nothing readable'}")
    try:
        return _token(profile, _read(profile, body), now_us)
    except (StrictJsonError, UnreadableError) as error:
        return LoginFailure(kind="retry", note=f"the login's answer cannot be used: {error}")


def read_status(profile: Profile, status: int | None, body: bytes) -> StatusFinding:
    """Understand the answer to a status call; never raises. An unknown status word is pending: keep polling.

    Unknown is believed only with a JSON body of the form that errors have: a bare 404 may be a wrong path or a proxy,
    and believing it could let a submission be sent twice.
    """
    table = profile.answers.status
    if status in table.login:
        return StatusFinding(kind=FindingKind.LOGIN, note=f"the SMP answered {status}")
    if status not in table.found and status not in table.unknown:
        note = "no readable answer came" if status is None else f"the SMP answered {status}"
        return StatusFinding(kind=FindingKind.UNREADABLE, note=note)
    try:
        if status in table.found:
            return _finding(profile, _read(profile, body))
        _errors(profile, body)
        return StatusFinding(kind=FindingKind.UNKNOWN)
    except (StrictJsonError, UnreadableError) as error:
        return StatusFinding(kind=FindingKind.UNREADABLE, note=f"the SMP answered {status}, but not readably: {error}")


def _token(profile: Profile, members: dict[str, Json], now_us: int) -> Token:
    shape = profile.token
    value = member(members, shape.path)
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise UnreadableError(f"{shape.path} is not a text that fits a header")
    ends = [] if shape.life_us is None else [now_us + shape.life_us]
    if shape.expires is not None:
        ends.append(_EXPIRIES[shape.expires_as](member(members, shape.expires), now_us))
    if (expiry_s := _expiry(value)) is not None:
        ends.append(expiry_s * SECOND)
    if (expires_at := min(ends)) <= now_us:
        raise UnreadableError("the token has expired already")
    return Token(value=value, expires_at=expires_at)


def _whole_seconds(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnreadableError(f"the token's expiry {value!r:.100} is not a whole number of seconds")
    return value * SECOND


def _instant(value: Json) -> int:
    try:
        moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UnreadableError(f"the token's expiry {value!r:.100} is not a time such as 2026-11-23T10:15:30Z")
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EXPIRIES: Mapping[str, Callable[[Json, int], int]] = {
    "seconds": lambda value, now_us: now_us + _whole_seconds(value),
    "epoch": lambda value, _now_us: _whole_seconds(value),
    "instant": lambda value, _now_us: _instant(value),
}


def _answered(profile: Profile, meaning: Meaning, status: int, body: bytes) -> Answer:
    if meaning is Meaning.TRANSACTION:
        name, length = profile.members.result.transaction_id, profile.limits.transaction_id_length
        return Answer(meaning=meaning, transaction_id=required_text(_read(profile, body), name, length=length))
    problems = _reasons(profile, body) if meaning is Meaning.DECLINED else ()
    return Answer(meaning=meaning, problems=problems, note=f"the SMP answered {status}")


def _decided(profile: Profile, members: dict[str, Json], status: int) -> Answer:
    """The verdict in an answer; the transaction id may be missing, for nothing is asked of it any more."""
    name, length = profile.members.result.transaction_id, profile.limits.transaction_id_length
    verdict = read_verdict(profile, members)
    return Answer(
        meaning=Meaning.VERDICT,
        transaction_id=optional_text(members, name, length=length),
        verdict=verdict,
        problems=verdict.problems,
        note=f"the SMP decided in its answer {status}",
    )


def _finding(profile: Profile, members: dict[str, Json]) -> StatusFinding:
    names, words = profile.members.result, profile.status_words
    status = required_text(members, names.status)
    final = status in words.success or status in words.failed
    return StatusFinding(
        kind=FindingKind.VERDICT if final else FindingKind.PENDING,
        transaction_id=required_text(members, names.transaction_id, length=profile.limits.transaction_id_length),
        submission_id=optional_text(members, names.submission_id),
        verdict=read_verdict(profile, members) if final else None,
        note="" if final or status in words.pending else f"the status word {status!r:.100} is unknown",
    )


def _read(profile: Profile, body: bytes) -> dict[str, Json]:
    document = strict_json.loads(body, limit=profile.limits.response_bytes)
    if not isinstance(document, dict):
        raise UnreadableError("not an object")
    return document


def _errors(profile: Profile, body: bytes) -> Json:
    """The list of errors in the answer to what the SMP would not do, or None where it has none."""
    document = strict_json.loads(body, limit=profile.limits.response_bytes)
    if not isinstance(document, list if profile.members.result.declined == "." else dict):
        raise UnreadableError("not of the form that errors have")
    return member(document, profile.members.result.declined)


def _reasons(profile: Profile, body: bytes) -> tuple[Problem, ...]:
    """Why a submission was declined; without a single reason the answer is not well formed."""
    problems = read_problems(profile, _errors(profile, body))
    if not problems:
        raise UnreadableError("no errors are listed")
    return problems


def _expiry(token: str) -> int | None:
    """The ``exp`` of a JWT in seconds UTC (RFC 7519 section 4.1.4), or None where the token is opaque."""
    segments = token.split(".")
    if len(segments) != 3:
        return None
    try:
        claims = strict_json.loads(base64url.decode(segments[1]))
    except (SignatureRefused, StrictJsonError):
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    return int(expiry) if isinstance(expiry, int | Decimal) and not isinstance(expiry, bool) else None
