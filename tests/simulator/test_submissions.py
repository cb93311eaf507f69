"""Submissions: de-duplication, shape, verdicts, status."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator import SimulatedSmp
from gateway.simulator.register import mpan_is_valid
from tests.simulator.partners import Client, Connect, Host, Start, asset, create

UNIT = {
    "unitName": "HAMS-1",
    "unitType": "NonBM",
    "gspGroup": "_H",
    "services": ["DCL"],
    "startDate": "2026-12-01",
    "alignedAssets": ["A"],
}


async def verdict(host: Host) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await host.next())[1])
    return found


async def test_the_same_submission_again_gets_the_same_transaction(client: Client, host: Host) -> None:
    """Pins one effect per submission id, however often its bytes come with fresh signatures."""
    document = create(asset("A"))
    first = await client.send("/assets", document)
    await host.next()
    again = await client.send("/assets", document)
    assert first.status == again.status == 202
    assert first.body == again.body
    (entry,) = client.smp.ledger.entries()
    assert (entry.effects, entry.arrivals) == (("A",), 2)


async def test_the_same_submission_id_with_other_bytes_is_a_conflict(client: Client) -> None:
    """Pins 409, and that the first content stands."""
    await client.send("/assets", create(asset("A"), message_id="one"))
    answer = await client.send("/assets", create(asset("B"), message_id="one"))
    assert (answer.status, answer.body["errors"][0]["code"]) == (409, "SUBMISSION_ID_REUSED")
    assert [arrival.outcome for arrival in client.smp.ledger.arrivals()] == ["accepted", "conflict"]


async def test_a_name_that_exists_fails_the_whole_batch_row_by_row(client: Client, host: Host) -> None:
    """Pins DUPLICATE_ASSET with index and ref, and that nothing of a failed batch is created."""
    await client.send("/assets", create(asset("A"), asset("B")))
    created = await verdict(host)
    await client.send("/assets", create(asset("C"), asset("B"), asset("A")))
    refused = await verdict(host)
    assert (created["status"], created["notification"]) == ("Success", "Success")
    assert [row["ref"] for row in created["results"]] == ["A", "B"]
    assert (refused["status"], refused["notification"], refused["results"]) == ("Failed", None, [])
    assert [(row["index"], row["ref"], row["code"]) for row in refused["errors"]] == [
        (1, "B", "DUPLICATE_ASSET"),
        (2, "A", "DUPLICATE_ASSET"),
    ]
    assert [entry.effects for entry in client.smp.ledger.entries()] == [("A", "B"), ()]


async def test_another_participant_may_use_the_same_name(smp: SimulatedSmp, connect: Connect, host: Host) -> None:
    """Pins that the register keeps participants apart, in names and in transactions."""
    async with connect(smp, "exstor") as storage, connect(smp, "exflex") as flexibility:
        answer = await storage.send("/assets", create(asset("A")))
        await flexibility.send("/assets", create(asset("A")))
        assert {(await verdict(host))["status"] for _ in range(2)} == {"Success"}
        foreign = await flexibility.status(transactionId=answer.body["transactionId"])
    assert foreign.status == 404


async def test_a_wrong_mpan_fails_by_callback(client: Client, host: Host) -> None:
    """Pins the simulator's own check digit and the place it names."""
    await client.send("/assets", create(asset("A"), asset("B", mpan="2000000000201")))
    (row,) = (await verdict(host))["errors"]
    assert (row["index"], row["field"], row["code"]) == (1, "meterPoints[0].id", "INVALID_MPAN")


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"messageId": "x", "action": "Create", "assets": []}, 422),
        ({"messageId": "x", "action": "Delete", "assets": [asset("A")]}, 422),
        ({"action": "Create", "assets": [asset("A")]}, 422),
        ({"messageId": "x", "action": "Create", "assets": [asset("A")] * 1001}, 422),
        ({"messageId": "x", "action": "Create", "assets": [{**asset("A"), "colour": "red"}]}, 422),
        ({"messageId": "x", "action": "Create", "assets": [{**asset("A"), "technology": "Coal"}]}, 422),
        ({"messageId": "x", "action": "Create", "assets": [{**asset("A"), "meterPoints": []}]}, 422),
        ({"messageId": "x", "action": "Create", "assets": [{**asset("A"), "capacity": {"maxExportMw": -1}}]}, 422),
        ({"messageId": "x", "action": "Create", "assets": [{**asset("A"), "assetName": "A" * 101}]}, 422),
        ({"messageId": "x", "action": "Create", "assets": ["A"]}, 422),
    ],
)
async def test_what_is_not_a_submission_is_declined_at_once(
    client: Client, document: dict[str, Any], status: int
) -> None:
    """Pins the shape checks: an error list, no transaction, and an arrival recorded as malformed."""
    answer = await client.send("/assets", document)
    assert answer.status == status
    assert answer.body["errors"]
    assert [arrival.outcome for arrival in client.smp.ledger.arrivals()] == ["malformed"]
    assert client.smp.ledger.entries() == []


@pytest.mark.parametrize("body", [b"{", b'{"a":1,"a":2}', b"[1]", b"\xff", b'{"a":NaN}', b"[" * 100_000])
async def test_bytes_that_are_not_json_are_declined(client: Client, body: bytes) -> None:
    """Pins that well-signed nonsense is a 4xx with a list of errors and never a broken server."""
    answer = await client.send("/assets", {}, body=body)
    assert answer.status in (400, 422)
    assert answer.body["errors"]


async def test_a_thousand_assets_fit(client: Client, host: Host) -> None:
    """Pins the seed's maximum, which is more than joserfc's own default payload limit."""
    answer = await client.send("/assets", create(*(asset(f"asset {number:04d}") for number in range(1000))))
    assert answer.status == 202
    assert len((await verdict(host))["results"]) == 1000


async def test_a_unit_needs_its_assets(client: Client, host: Host) -> None:
    """Pins UNKNOWN_ASSET before, and success after, the aligned asset exists."""
    early = {"messageId": "early", "action": "Create", "unit": UNIT}
    late = {"messageId": "late", "action": "Create", "unit": UNIT}
    assert (await client.send("/units", early)).status == 202
    assert [row["code"] for row in (await verdict(host))["errors"]] == ["UNKNOWN_ASSET"]
    await client.send("/assets", create(asset("A")))
    await host.next()
    await client.send("/units", late)
    told = await verdict(host)
    assert (told["status"], told["action"], told["results"][0]["ref"]) == ("Success", "CreateUnit", "HAMS-1")


async def test_a_unit_lies_in_the_gsp_group_of_its_assets(client: Client, host: Host) -> None:
    """Pins one GSP group per unit, and that no asset is aligned twice."""
    await client.send("/assets", create(asset("A")))
    await host.next()
    wrong = {**UNIT, "gspGroup": "_B", "alignedAssets": ["A", "A"]}
    await client.send("/units", {"messageId": "wrong", "action": "Create", "unit": wrong})
    told = [(row["field"], row["code"]) for row in (await verdict(host))["errors"]]
    assert told == [("alignedAssets[0]", "GSP_GROUP_MISMATCH"), ("alignedAssets[1]", "DUPLICATE_ASSET")]


@pytest.mark.parametrize(("unit_type", "bm_unit"), [("BM", None), ("NonBM", "T_HAMS-1")])
async def test_a_unit_has_a_bm_unit_id_exactly_when_it_is_one(
    client: Client, host: Host, unit_type: str, bm_unit: str | None
) -> None:
    """Pins both ways in which type and id can disagree."""
    await client.send("/assets", create(asset("A")))
    await host.next()
    unit = {**UNIT, "unitType": unit_type, "bmUnitId": bm_unit}
    await client.send("/units", {"messageId": "bm", "action": "Create", "unit": unit})
    assert [row["code"] for row in (await verdict(host))["errors"]] == ["BM_UNIT"]


async def test_a_unit_name_is_taken_once(client: Client, host: Host) -> None:
    """Pins DUPLICATE_UNIT for the same name under another submission id."""
    await client.send("/assets", create(asset("A")))
    await host.next()
    await client.send("/units", {"messageId": "first", "action": "Create", "unit": UNIT})
    assert (await verdict(host))["errors"] == []
    await client.send("/units", {"messageId": "second", "action": "Create", "unit": UNIT})
    assert [row["code"] for row in (await verdict(host))["errors"]] == ["DUPLICATE_UNIT"]


async def test_status_by_either_id(client: Client, host: Host) -> None:
    """Pins that status and callback say the same, by transaction and by submission id, and 404 for unknown ones."""
    document = create(asset("A"))
    answer = await client.send("/assets", document)
    told = await verdict(host)
    by_transaction = await client.status(transactionId=answer.body["transactionId"])
    by_submission = await client.status(submissionId=document["messageId"])
    assert by_transaction == by_submission
    assert by_transaction.body.items() <= told.items()
    assert (await client.status(transactionId="TX-999999")).status == 404
    assert (await client.status(submissionId="nobody")).status == 404
    assert (await client.status()).status == 422


async def test_status_of_what_is_under_way(start: Start, connect: Connect) -> None:
    """Pins that an undecided transaction is Pending or Processing, with no verdict's members filled."""
    async with start(processing_delay_s=600.0) as smp, connect(smp) as client:
        answer = await client.send("/assets", create(asset("A")))
        told = (await client.status(transactionId=answer.body["transactionId"])).body
    assert told["status"] in ("Pending", "Processing")
    assert (told["completedAt"], told["notification"], told["results"], told["errors"]) == (None, None, [], [])


@pytest.mark.parametrize("mpan", ["1234567890126", "2000000000015", "1000000000100", "1700000000176", "2300000000231"])
def test_the_published_mpans_are_valid(mpan: str) -> None:
    """Pins the weights against synthetic examples of domain.md section 4."""
    assert mpan_is_valid(mpan)


@given(st.text(alphabet="0123456789", min_size=12, max_size=12))
def test_exactly_one_check_digit_fits(start_of_mpan: str) -> None:
    """Pins that of ten check digits exactly one is right."""
    assert sum(mpan_is_valid(start_of_mpan + str(digit)) for digit in range(10)) == 1
