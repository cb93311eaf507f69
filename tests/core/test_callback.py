from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import callback, codec
from gateway.core.callback import Judged
from gateway.core.jws import VerifiedHeader
from gateway.core.message import Created, Problem
from gateway.core.profile import Profile
from gateway.core.transaction import Event

SECOND = 1_000_000
NOW = 1_790_000_000 * SECOND
DOCUMENT: dict[str, Any] = {
    "messageId": "c7",
    "messageType": "TransactionResult",
    "issuedAt": "2026-11-23T10:16:02Z",
    "participant": "exstor",
    "transactionId": "TX-1",
    "submissionId": "s1",
    "status": "Success",
    "notification": "Success",
    "results": [{"ref": "PCS 1", "smpId": "A-1"}],
    "errors": [],
}
ERROR = {"index": 0, "ref": "PCS 1", "field": "assetName", "code": "DUPLICATE_ASSET", "message": "exists", "more": 1}


def judged(profile: Profile, *, skew_s: int = 0, path_of: str = "exstor", **changes: object) -> Judged:
    return judged_with(profile, changes, skew_s=skew_s, path_of=path_of)


def judged_with(profile: Profile, changes: Mapping[str, object], *, skew_s: int = 0, path_of: str = "exstor") -> Judged:
    """Judge the good callback with members changed, or left out where the change is an ellipsis."""
    document = {name: value for name, value in {**DOCUMENT, **changes}.items() if value is not ...}
    return judged_bytes(profile, codec.dumps(document), skew_s=skew_s, path_of=path_of)


def judged_bytes(profile: Profile, body: bytes, *, skew_s: int = 0, path_of: str = "exstor") -> Judged:
    header = VerifiedHeader(key_id="k", algorithm="ES256", issuer="smp", jti="j", iat=NOW // SECOND)
    return callback.judge(profile, header=header, body=body, participant=path_of, received_at=NOW + skew_s * SECOND)


def test_success(profile: Profile) -> None:
    """A readable success carries ids and what was created; unknown members do no harm."""
    found = judged(profile, surprise={"deep": [1]})
    assert (found.fault, found.status, found.note) == (None, 200, "")
    read = found.callback
    assert read is not None
    assert (read.message_id, read.participant, read.transaction_id, read.submission_id) == (
        "c7",
        "exstor",
        "TX-1",
        "s1",
    )
    assert read.verdict is not None
    assert read.verdict.event is Event.SUCCESS
    assert read.verdict.created == (Created(ref="PCS 1", smp_id="A-1"),)


def test_failure_lists_errors(profile: Profile) -> None:
    """A failure brings each error with its row; in an atomic profile nothing was created, whatever is listed."""
    found = judged(profile, status="Failed", errors=[ERROR])
    assert found.callback is not None
    assert found.callback.verdict is not None
    assert found.callback.verdict.event is Event.FAILURE
    assert found.callback.verdict.problems == (
        Problem(row=0, ref="PCS 1", field="assetName", code="DUPLICATE_ASSET", message="exists"),
    )


def test_partial_success_where_batches_are_not_atomic(profile: Profile) -> None:
    """Without atomic batches, failed with some results is a partial success; without results still a failure."""
    loose = profile.model_copy(update={"atomic_batches": False})
    for results, event in ((DOCUMENT["results"], Event.PARTIAL_SUCCESS), ([], Event.FAILURE)):
        read = judged(loose, status="Failed", results=results, errors=[ERROR]).callback
        assert read is not None
        assert read.verdict is not None
        assert read.verdict.event is event


@pytest.mark.parametrize(("skew_s", "fault"), [(299, None), (300, None), (301, "clock"), (-300, None), (-301, "clock")])
def test_clock(profile: Profile, skew_s: int, fault: str | None) -> None:
    """300 s either way are tolerated; beyond, the ids are still read so that the transaction can be polled."""
    found = judged(profile, skew_s=skew_s)
    assert (found.fault, found.status) == (fault, 401 if fault else 200)
    assert found.callback is not None
    assert found.callback.transaction_id == "TX-1"


def test_other_participant(profile: Profile) -> None:
    """A callback for another participant is refused, and nothing of it is handed on, stale or not."""
    found = judged(profile, path_of="exflex")
    assert (found.fault, found.status, found.callback) == ("participant", 403, None)
    stale = judged(profile, path_of="exflex", skew_s=400)
    assert (stale.fault, stale.callback) == ("clock", None)


def test_order_of_checks(profile: Profile) -> None:
    """Clock goes before participant, participant before schema."""
    assert judged(profile, skew_s=400, path_of="exflex", status="Odd").fault == "clock"
    assert judged(profile, path_of="exflex", status="Odd").fault == "participant"
    assert judged(profile, status="Odd").fault == "schema"


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "Cogitating"},
        {"status": "Pending"},
        {"status": ...},
        {"status": ["Success"]},
        {"results": {}},
        {"results": [{"ref": "PCS 1"}]},
        {"errors": ["text"]},
        {"errors": [ERROR | {"index": -1}]},
        {"errors": [ERROR | {"index": True}]},
        {"errors": [ERROR | {"code": None}]},
        {"notification": 7},
    ],
)
def test_schema_fault_keeps_the_ids(profile: Profile, changes: dict[str, object]) -> None:
    """A verdict that cannot be read is not guessed; the transaction it names is known for polling."""
    found = judged_with(profile, changes)
    assert (found.fault, found.status) == ("schema", 422)
    assert found.callback is not None
    assert (found.callback.transaction_id, found.callback.verdict) == ("TX-1", None)
    assert found.note


@pytest.mark.parametrize(
    "changes",
    [
        {"messageId": ...},
        {"messageId": ""},
        {"messageId": "x" * 256},
        {"messageType": 1},
        {"participant": ...},
        {"participant": ["exstor"]},
        {"transactionId": 5},
        {"transactionId": "x" * 256},
        {"issuedAt": None},
    ],
)
def test_unreadable_envelope(profile: Profile, changes: dict[str, object]) -> None:
    """Without a readable envelope there is no callback to speak of."""
    found = judged_with(profile, changes)
    assert (found.fault, found.status, found.callback) == ("schema", 422, None)


def test_result_without_ids(profile: Profile) -> None:
    """A result that names neither transaction nor submission belongs to nobody."""
    assert judged(profile, transactionId=None, submissionId=...).fault == "schema"


def test_other_message_type(profile: Profile) -> None:
    """An unknown type is kept without a verdict, whatever its status says."""
    found = judged(profile, messageType="PrequalificationResult", status="Cogitating", transactionId=...)
    assert found.fault is None
    assert found.callback is not None
    assert found.callback.verdict is None


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b'{"messageId":"a","messageId":"b"}', b"[" * 100])
def test_not_an_object(profile: Profile, body: bytes) -> None:
    """What is no strict JSON object is a schema fault."""
    assert judged_bytes(profile, body).fault == "schema"


LISTS: st.SearchStrategy[object] = st.lists(st.none() | st.just({}))
VALUES: st.SearchStrategy[object] = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | LISTS


@given(st.dictionaries(st.sampled_from(sorted(DOCUMENT)), VALUES))
def test_any_member_may_be_wrong(profile: Profile, changes: dict[str, object]) -> None:
    """Whatever stands in whichever member, judging ends, and a verdict is only ever there without a fault."""
    found = judged_with(profile, changes)
    assert found.fault is None or found.note
    if found.fault == "schema" and found.callback is not None:
        assert found.callback.verdict is None
