from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import answer, base64url, codec
from gateway.core.answer import Answer, FindingKind, LoginFailure, Meaning, Token
from gateway.core.further_kind import FurtherKind
from gateway.core.message import ASSETS, Created, Problem
from gateway.core.profile import Profile
from gateway.core.transaction import Event

SECOND = 1_000_000
NOW = 1_790_000_000 * SECOND
TAKEN = b'{"transactionId":"TX-1","receivedAt":"2026-11-23T10:15:30Z"}'
ERRORS = (
    b'{"errors":[{"index":17,"ref":"PCS 1","field":"meterPoints[0].id","code":"INVALID_MPAN","message":"check digit"}]}'
)
VERDICT = (
    b'{"transactionId":"TX-1","submissionId":"s1","status":"Success","notification":"Success",'
    b'"results":[{"ref":"PCS 1","smpId":"A-1"}],"errors":[]}'
)

# domain.md section 3, "What an answer means", written out here a second time: (status, body) -> meaning.
TABLE = [
    (202, TAKEN, Meaning.TRANSACTION),
    (202, b"", Meaning.UNCLEAR),
    (202, b"{}", Meaning.UNCLEAR),
    (202, b"<html>", Meaning.UNCLEAR),
    (202, b'{"transactionId":7}', Meaning.UNCLEAR),
    (202, b'{"transactionId":""}', Meaning.UNCLEAR),
    (202, b'{"transactionId":"%s"}' % (b"x" * 256), Meaning.UNCLEAR),
    (202, b'{"transactionId":"TX-1","transactionId":"TX-2"}', Meaning.UNCLEAR),
    (200, TAKEN, Meaning.UNCLEAR),
    (204, b"", Meaning.UNCLEAR),
    *[(status, ERRORS, Meaning.DECLINED) for status in (400, 409, 422)],
    *[(status, b"Bad Request", Meaning.UNCLEAR) for status in (400, 409, 422)],
    (400, b'{"errors":[]}', Meaning.UNCLEAR),
    (400, b'{"errors":[{"code":1}]}', Meaning.UNCLEAR),
    (401, b"", Meaning.LOGIN),
    (403, b"", Meaning.HOLD_PARTICIPANT),
    *[(status, b"", Meaning.NOT_PROCESSED) for status in (429, 503)],
    *[(status, b"", Meaning.HOLD_ENDPOINT) for status in (301, 302, 307, 308, 404, 405, 413, 415)],
    *[(status, b"", Meaning.UNCLEAR) for status in (100, 402, 406, 408, 410, 418, 500, 501, 502, 504, 599)],
    (None, b"", Meaning.UNCLEAR),
]


@pytest.mark.parametrize(("status", "body", "meaning"), TABLE)
def test_submission_table(profile: Profile, status: int | None, body: bytes, meaning: Meaning) -> None:
    """Every row of the table of answers, and what cannot be read is unclear."""
    found = answer.interpret(profile, ASSETS, handed_over=True, status=status, body=body)
    assert found.meaning is meaning
    assert (found.transaction_id is not None) == (meaning is Meaning.TRANSACTION)
    assert bool(found.problems) == (meaning is Meaning.DECLINED)


def test_nothing_handed_over(profile: Profile) -> None:
    """Without a byte on the wire nothing can have happened, whatever else is said."""
    assert answer.interpret(profile, ASSETS, handed_over=False, status=None, body=b"").meaning is Meaning.UNSENT


def test_declined_keeps_the_reasons(profile: Profile) -> None:
    """The SMP's errors come back with row, ref, field, code and message."""
    problem = Problem(row=17, ref="PCS 1", field="meterPoints[0].id", code="INVALID_MPAN", message="check digit")
    assert answer.interpret(profile, ASSETS, handed_over=True, status=422, body=ERRORS).problems == (problem,)


@given(st.booleans(), st.none() | st.integers(100, 599), st.binary(max_size=50))
def test_any_answer_is_understood(profile: Profile, handed_over: bool, status: int | None, body: bytes) -> None:  # noqa: FBT001 - hypothesis passes it by name
    """No status and no bytes raise; only a readable 202 ever names a transaction."""
    found = answer.interpret(profile, ASSETS, handed_over=handed_over, status=status, body=body)
    assert isinstance(found, Answer)
    answer.read_status(profile, status, body)
    answer.read_token(profile, status, body, NOW)


# (meaning, event of a first attempt, event of one that was in doubt before)
EVENTS = [
    (Meaning.TRANSACTION, Event.TRANSACTION, Event.TRANSACTION),
    (Meaning.DECLINED, Event.DECLINED, Event.DECLINED),
    (Meaning.UNCLEAR, Event.UNCLEAR, Event.UNCLEAR),
    (Meaning.LOGIN, Event.NOT_PROCESSED, Event.UNCLEAR),
    (Meaning.HOLD_PARTICIPANT, Event.NOT_PROCESSED, Event.UNCLEAR),
    (Meaning.HOLD_ENDPOINT, Event.NOT_PROCESSED, Event.UNCLEAR),
    (Meaning.NOT_PROCESSED, Event.NOT_PROCESSED, Event.UNCLEAR),
    (Meaning.UNSENT, Event.NOT_PROCESSED, Event.UNCLEAR),
]


def test_an_answer_that_is_the_verdict_is_read_as_one(profile: Profile) -> None:
    """For the kind that says so and its statuses only; a word that is not final is no verdict, and leaves a doubt."""
    made = {"path": "/x", "action": "declare", "payload": "x", "deduplicated": False, "schema": {}, "verdict": "answer"}
    wire = profile.model_copy(update={"kinds": {"tender": FurtherKind.model_validate(made)}})

    def read(kind: str, code: int, **members: object) -> tuple[Meaning, Event]:
        found = answer.interpret(wire, kind, handed_over=True, status=code, body=codec.dumps(members))
        return found.meaning, answer.event_of(found, doubted=True)

    error = {"index": 0, "code": "X", "message": "no"}
    assert read("tender", 200, status="Success") == (Meaning.VERDICT, Event.SUCCESS)
    assert read("tender", 201, status="Failed", errors=[error]) == (Meaning.VERDICT, Event.FAILURE)
    assert read("tender", 200, status="Pending") == (Meaning.UNCLEAR, Event.UNCLEAR)
    assert read("tender", 204, status="Success") == (Meaning.UNCLEAR, Event.UNCLEAR)
    assert read("tender", 202, transactionId="TX-1") == (Meaning.TRANSACTION, Event.TRANSACTION)
    assert read(ASSETS, 200, status="Success") == (Meaning.UNCLEAR, Event.UNCLEAR)


@pytest.mark.parametrize(("meaning", "first", "doubted"), EVENTS)
def test_events(meaning: Meaning, first: Event, doubted: Event) -> None:
    """A doubt is not forgotten because a later attempt had no effect."""
    assert answer.event_of(Answer(meaning=meaning), doubted=False) is first
    assert answer.event_of(Answer(meaning=meaning), doubted=True) is doubted


def test_every_meaning_has_events() -> None:
    """The table above leaves no meaning out."""
    assert {row[0] for row in EVENTS} | {Meaning.VERDICT} == set(Meaning)  # its event is the verdict's own


def jwt_with(**claims: object) -> str:
    return ".".join(base64url.encode(part) for part in (b'{"alg":"ES256"}', codec.dumps(claims), b"signature"))


def login(profile: Profile, token: object, life_s: object, status: int = 200) -> Token | LoginFailure:
    return answer.read_token(profile, status, codec.dumps({"token": token, "expiresIn": life_s}), NOW)


@pytest.mark.parametrize(
    ("token", "life_s"),
    [
        ("opaque", 1800),
        (jwt_with(exp=NOW // SECOND + 9000), 1800),
        (jwt_with(exp=NOW // SECOND + 1800), 9000),
        (jwt_with(sub="no exp"), 1800),
        (jwt_with(exp="soon"), 1800),
        ("a.b.c", 1800),
    ],
)
def test_token_life(profile: Profile, token: str, life_s: int) -> None:
    """A token lives for the smaller of expiresIn and exp; otherwise it is opaque."""
    assert login(profile, token, life_s) == Token(value=token, expires_at=NOW + 1800 * SECOND)


@pytest.mark.parametrize(
    ("token", "life_s", "status", "held"),
    [
        ("t", 1800, 401, True),
        ("t", 1800, 403, True),
        ("t", 1800, 500, False),
        ("t", 1800, 201, False),
        ("t", 0, 200, False),
        ("t", -1, 200, False),
        ("t", "1800", 200, False),
        ("t", True, 200, False),
        ("", 1800, 200, False),
        ("two words", 1800, 200, False),
        ("line\r\nX-Evil: 1", 1800, 200, False),
        (7, 1800, 200, False),
        (jwt_with(exp=1), 1800, 200, False),
    ],
)
def test_login_failure(profile: Profile, token: object, life_s: object, status: int, held: bool) -> None:  # noqa: FBT001 - a column of the table
    """Only 401 and 403 hold the participant; an unusable token is never handed out."""
    found = login(profile, token, life_s, status)
    assert isinstance(found, LoginFailure)
    assert found.held is held


def test_token_is_not_printed() -> None:
    """A token in a log line or a traceback would be a leak."""
    assert "secret" not in repr(Token(value="secret", expires_at=1))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, VERDICT, FindingKind.VERDICT),
        (200, VERDICT.replace(b'"Success",', b'"Pending",', 1), FindingKind.PENDING),
        (200, VERDICT.replace(b'"Success",', b'"Processing",', 1), FindingKind.PENDING),
        (200, VERDICT.replace(b'"Success",', b'"Cogitating",', 1), FindingKind.PENDING),
        (200, VERDICT.replace(b'"TX-1"', b"null"), FindingKind.UNREADABLE),
        (200, VERDICT.replace(b'"A-1"', b"1"), FindingKind.UNREADABLE),
        (200, b"", FindingKind.UNREADABLE),
        (200, b"[]", FindingKind.UNREADABLE),
        (404, b'{"errors":[]}', FindingKind.UNKNOWN),
        (404, b"<html>404 Not Found</html>", FindingKind.UNREADABLE),
        (401, b"", FindingKind.LOGIN),
        (500, b"", FindingKind.UNREADABLE),
        (None, b"", FindingKind.UNREADABLE),
    ],
)
def test_status(profile: Profile, status: int | None, body: bytes, kind: FindingKind) -> None:
    """What a status call found; an unknown word waits, and a 404 that the SMP did not write proves nothing."""
    assert answer.read_status(profile, status, body).kind is kind


def test_status_verdict(profile: Profile) -> None:
    """A verdict comes with the ids it belongs to and what was created."""
    found = answer.read_status(profile, 200, VERDICT)
    assert (found.transaction_id, found.submission_id) == ("TX-1", "s1")
    assert found.verdict is not None
    assert found.verdict.event is Event.SUCCESS
    assert found.verdict.created == (Created(ref="PCS 1", smp_id="A-1"),)


def test_an_endless_list_of_errors_is_cut(profile: Profile) -> None:
    """A hostile answer must not fill the journal: the first 4,000 are kept, and how many more there were."""
    names = profile.members
    error = {names.error.code: "X", names.error.message: "no"}
    body = codec.dumps({names.result.errors: [error] * 4_100})
    problems = answer.interpret(profile, ASSETS, handed_over=True, status=400, body=body).problems
    assert len(problems) == 4_001
    assert problems[-1].message == "and 100 more, in the answer as it came"
