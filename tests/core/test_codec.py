from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from gateway.core import codec
from gateway.core.message import ASSETS, UNIT
from gateway.core.profile import Profile
from gateway.errors import SubmissionRefused

ASSET: dict[str, object] = {
    "capacity": {"maxImportMw": Decimal("12.50"), "maxExportMw": Decimal("0.3")},
    "meterPoints": [{"id": "2000000000200", "type": "MPAN"}],
    "technology": "Battery",
    "connection": {"gspGroup": "_H", "voltageKv": 33},
    "endDate": None,
    "assetName": "HAMS BESS PCS 1 £",
}


def encode(profile: Profile, asset: dict[str, object]) -> bytes:
    return codec.encode_submission(profile, ASSETS, "9f1c", {"assets": [asset]})


def test_assets_bytes(profile: Profile) -> None:
    """The exact bytes: the profile's order, no spaces, UTF-8, decimals as they are, absent members absent."""
    assert (
        encode(profile, ASSET)
        == (
            '{"messageId":"9f1c","action":"Create","assets":[{"assetName":"HAMS BESS PCS 1 £","technology":"Battery",'
            '"meterPoints":[{"type":"MPAN","id":"2000000000200"}],"connection":{"gspGroup":"_H","voltageKv":33},'
            '"capacity":{"maxExportMw":0.3,"maxImportMw":12.50},"endDate":null}]}'
        ).encode()
    )


def test_unit_bytes(profile: Profile) -> None:
    """A unit goes in its own member."""
    unit = {"alignedAssets": ["A"], "unitName": "HAMS-1", "unitType": "NonBM", "services": ["DCL"]}
    assert codec.encode_submission(profile, UNIT, "u1", {"unit": unit}) == (
        b'{"messageId":"u1","action":"Create","unit":{"unitName":"HAMS-1","unitType":"NonBM","services":["DCL"],'
        b'"alignedAssets":["A"]}}'
    )


def test_another_profile_renames_everything(profile_path: Path) -> None:
    """Replacing the profile is enough: names, order and limits come from it alone."""
    tree = yaml.safe_load(profile_path.read_text(encoding="utf-8"))
    tree["members"]["submission"] = {"message_id": "id", "action": "verb", "assets": "items", "unit": "item"}
    asset = tree["asset"]["members"]
    tree["asset"]["members"] = {
        "technology": asset["technology"] | {"name": "tech"},
        "assetName": asset["assetName"] | {"name": "label"},
    }
    tree["asset"]["require_any"] = []
    other = Profile.model_validate(tree)
    content = {"assets": [{"assetName": "A", "technology": "EV"}]}
    assert codec.encode_submission(other, ASSETS, "1", content) == (
        b'{"id":"1","verb":"Create","items":[{"tech":"EV","label":"A"}]}'
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": "red"},
        {"assetName": None},
        {"connection": "north"},
        {"meterPoints": "2000000000200"},
        {"meterPoints": [{"serial": 1}]},
        {"capacity": {"maxExportMw": Decimal("NaN")}},
        {"capacity": {"maxExportMw": Decimal("1e999999")}},
        {"assetName": "\ud800"},
        {"assetName": {1, 2}},
        {"owner": "x" * 5_000_000},
    ],
)
def test_refuses_what_the_profile_cannot_say(profile: Profile, changes: dict[str, object]) -> None:
    """Nothing is dropped or bent silently: what has no place on the wire is refused before it is signed."""
    with pytest.raises(SubmissionRefused):
        encode(profile, ASSET | changes)


@pytest.mark.parametrize("content", [{}, {"assets": None}, {"assets": "A"}, {"assets": ["A"]}])
def test_refuses_other_content(profile: Profile, content: dict[str, object]) -> None:
    """Content of another shape is refused, not encoded as something else."""
    with pytest.raises(SubmissionRefused):
        codec.encode_submission(profile, ASSETS, "1", content)
    with pytest.raises(SubmissionRefused):
        codec.encode_submission(profile, UNIT, "1", content)


@pytest.mark.parametrize(
    ("number", "text"),
    [("0.30", b"0.30"), ("1E+3", b"1000"), ("-0.0", b"0.0"), ("-1.5", b"-1.5"), ("1E-7", b"0.0000001")],
)
def test_decimals(number: str, text: bytes) -> None:
    """A decimal keeps its digits, never has an exponent, and zero has no sign."""
    assert codec.dumps(Decimal(number)) == text


def test_status_and_login_bodies(profile: Profile) -> None:
    """A status call names the transaction where it is known, else the submission."""
    path = profile.paths.status
    assert codec.encode_status(profile, transaction_id="TX", submission_id="s") == (path, b'{"transactionId":"TX"}')
    assert codec.encode_status(profile, transaction_id=None, submission_id="s") == (path, b'{"submissionId":"s"}')
    assert codec.encode_login(profile, "u", 'p"') == b'{"username":"u","password":"p\\""}'


def test_status_without_the_capability(profile: Profile) -> None:
    """A profile without status_by_submission cannot ask by it."""
    poor = profile.model_copy(
        update={"capabilities": profile.capabilities.model_copy(update={"status_by_submission": False})}
    )
    with pytest.raises(SubmissionRefused):
        codec.encode_status(poor, transaction_id=None, submission_id="s")
