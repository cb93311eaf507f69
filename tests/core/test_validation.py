from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import islice
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import codec, validation
from gateway.core.mailbox import TEXT_CHARACTERS
from gateway.core.mapping import MessageSpec, RequestTrigger, compile_template, compose
from gateway.core.message import ASSETS, UNIT, Kind
from gateway.core.point import Quality, Reading
from gateway.core.profile import Profile, Shape
from gateway.errors import SubmissionRefused

ASSET_ROW: dict[str, Any] = {
    "assetName": "HAMS BESS PCS 1",
    "externalRef": "hams-bess/pcs1",
    "assetType": "Storage",
    "technology": "Battery",
    "meterPoints": [{"type": "MPAN", "id": "2000000000200", "direction": "Import"}],
    "connection": {"level": "Distribution", "gspGroup": "_H", "gsp": "EXAMPLE_GSP_1", "voltageKv": 33},
    "location": {"postcode": "SO14 0AA", "latitude": Decimal("50.90"), "longitude": Decimal("-1.40")},
    "capacity": {"maxExportMw": Decimal("12.5"), "maxImportMw": Decimal("12.5"), "energyMwh": Decimal("25.0")},
    "ramp": {"upMwPerMin": 750, "downMwPerMin": 750},
    "metering": {"intervalSeconds": 1, "accuracyPct": Decimal("0.5")},
    "owner": "Example Storage Ltd",
    "startDate": "2026-12-01",
    "endDate": None,
}
UNIT_ROW: dict[str, Any] = {
    "unitName": "HAMS-1",
    "unitType": "NonBM",
    "bmUnitId": None,
    "gspGroup": "_H",
    "services": ["DCL", "DCH", "PQR"],
    "maxExportMw": Decimal("50.0"),
    "maxImportMw": Decimal("50.0"),
    "startDate": "2026-12-01",
    "endDate": None,
    "alignedAssets": ["HAMS BESS PCS 1"],
}


def found(kind: Kind, row: object, profile: Profile) -> list[tuple[str | None, str]]:
    content = {"assets": [row]} if kind == ASSETS else {"unit": row}
    return [(problem.field, problem.code) for problem in validation.check(kind, content, profile).problems]


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


@pytest.mark.parametrize(("kind", "row"), [(ASSETS, ASSET_ROW), (UNIT, UNIT_ROW)])
def test_domain_examples_are_valid(profile: Profile, kind: Kind, row: dict[str, Any]) -> None:
    """The examples of domain.md have neither problems nor warnings."""
    content = {"assets": [row]} if kind == ASSETS else {"unit": row}
    assert validation.check(kind, content, profile) == validation.Checked()


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"assetName": ...}, "assetName", "required"),
        ({"assetName": None}, "assetName", "null"),
        ({"assetName": ""}, "assetName", "empty"),
        ({"assetName": "  "}, "assetName", "empty"),
        ({"assetName": "x" * 101}, "assetName", "too_long"),
        ({"assetName": 7}, "assetName", "not_a_text"),
        ({"assetName": "a\x00b"}, "assetName", "characters"),
        ({"technology": "Nuclear"}, "technology", "unknown_word"),
        ({"technology": ...}, "technology", "required"),
        ({"technology": ["Battery"]}, "technology", "unknown_word"),
        ({"colour": "red"}, "colour", "unknown_member"),
        ({"meterPoints": ...}, "meterPoints", "required"),
        ({"meterPoints": []}, "meterPoints", "required"),
        ({"meterPoints": "2000000000200"}, "meterPoints", "not_a_list"),
        ({"meterPoints": ["2000000000200"]}, "meterPoints[0]", "not_a_group"),
        ({"meterPoints": [{"type": "MPAN"}]}, "meterPoints[0].id", "required"),
        ({"meterPoints": [{"type": "MPAN", "id": "2000000000201"}]}, "meterPoints[0].id", "mpan_check_digit"),
        ({"meterPoints": [{"type": "MPAN", "id": "20000000002"}]}, "meterPoints[0].id", "mpan"),
        ({"meterPoints": [{"type": "MPAN", "id": 2000000000200}]}, "meterPoints[0].id", "not_a_text"),
        ({"meterPoints": [{"type": "Gas", "id": "1"}]}, "meterPoints[0].type", "unknown_word"),
        ({"connection": ...}, "connection", "required"),
        ({"connection": "_H"}, "connection", "not_a_group"),
        ({"connection": {}}, "connection.gspGroup", "required"),
        ({"connection": {"gspGroup": "_I"}}, "connection.gspGroup", "gsp_group"),
        ({"connection": {"gspGroup": {}}}, "connection.gspGroup", "gsp_group"),
        ({"connection": {"gspGroup": "_H", "voltage": 33}}, "connection.voltage", "unknown_member"),
        ({"capacity": {}}, "capacity.maxExportMw", "required"),
        ({"capacity": {"energyMwh": 1}}, "capacity.maxExportMw", "required"),
        ({"capacity": {"maxExportMw": Decimal("-0.1")}}, "capacity.maxExportMw", "negative"),
        ({"capacity": {"maxExportMw": Decimal("NaN")}}, "capacity.maxExportMw", "not_finite"),
        ({"capacity": {"maxExportMw": Decimal("Infinity")}}, "capacity.maxExportMw", "not_finite"),
        ({"capacity": {"maxExportMw": Decimal("1e400")}}, "capacity.maxExportMw", "not_finite"),
        ({"capacity": {"maxExportMw": Decimal("100000.1")}}, "capacity.maxExportMw", "out_of_range"),
        ({"capacity": {"maxExportMw": 0.1}}, "capacity.maxExportMw", "not_a_number"),
        ({"capacity": {"maxExportMw": True}}, "capacity.maxExportMw", "not_a_number"),
        ({"capacity": {"maxExportMw": "12"}}, "capacity.maxExportMw", "not_a_number"),
        ({"location": {"latitude": 91}}, "location.latitude", "out_of_range"),
        ({"location": {"latitude": -91}}, "location.latitude", "out_of_range"),
        ({"startDate": "2026-02-30"}, "startDate", "not_a_date"),
        ({"startDate": "20261201"}, "startDate", "not_a_date"),
        ({"startDate": "2026-12-01T00:00"}, "startDate", "not_a_date"),
        ({"startDate": None}, "startDate", "null"),
        ({"endDate": "2026-11-30"}, "endDate", "dates"),
    ],
)
def test_asset_problems(profile: Profile, changes: dict[str, Any], field: str, code: str) -> None:
    """Each mistake is found where it stands, and is the only thing found."""
    row = {name: value for name, value in {**ASSET_ROW, **changes}.items() if value is not ...}
    assert found(ASSETS, row, profile) == [(field, code)]


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"unitName": ...}, "unitName", "required"),
        ({"unitType": "BM"}, "bmUnitId", "required"),
        ({"bmUnitId": "T_EXMPL-1"}, "bmUnitId", "not_allowed"),
        ({"gspGroup": "H"}, "gspGroup", "gsp_group"),
        ({"services": ["DCL", "FFR"]}, "services[1]", "unknown_word"),
        ({"services": ["DCL", "DCL"]}, "services[1]", "not_unique"),
        ({"services": "DCL"}, "services", "not_a_list"),
        ({"startDate": ...}, "startDate", "required"),
        ({"alignedAssets": []}, "alignedAssets", "required"),
        ({"alignedAssets": ["A", "A"]}, "alignedAssets[1]", "not_unique"),
        ({"alignedAssets": [7]}, "alignedAssets[0]", "not_a_text"),
        ({"alignedAssets": [str(n) for n in range(1001)]}, "alignedAssets", "too_many"),
    ],
)
def test_unit_problems(profile: Profile, changes: dict[str, Any], field: str, code: str) -> None:
    """The rules of a unit, its counts and its BM id."""
    row = {name: value for name, value in {**UNIT_ROW, **changes}.items() if value is not ...}
    assert found(UNIT, row, profile) == [(field, code)]


def test_limits_are_inclusive(profile: Profile) -> None:
    """100 characters, 1000 aligned assets and the profile's assets per message are legal; one asset more is not."""
    limit = profile.limits.assets_per_message
    assert limit > profile.limits.assets_per_submission
    rows = [ASSET_ROW | {"assetName": f"{n:0100}"} for n in range(limit + 1)]
    assert validation.check(ASSETS, {"assets": rows[:limit]}, profile).problems == ()
    assert [p.code for p in validation.check(ASSETS, {"assets": rows}, profile).problems] == ["too_many"]
    assert found(UNIT, UNIT_ROW | {"alignedAssets": [str(n) for n in range(1000)]}, profile) == []


def test_problem_names_row_ref_and_value(profile: Profile) -> None:
    """A sentence that somebody at the plant can act upon."""
    wrong = ASSET_ROW | {"assetName": "PCS 2", "meterPoints": [{"type": "MPAN", "id": "2000000000201"}]}
    (problem,) = validation.check(ASSETS, {"assets": [ASSET_ROW, wrong]}, profile).problems
    assert (problem.row, problem.ref) == (1, "PCS 2")
    assert str(problem) == "row 1 meterPoints[0].id: check digit of 2000000000201 must be 0"
    assert len(str(problem)) <= TEXT_CHARACTERS  # the whole of it reaches a PLC


def test_names_are_unique(profile: Profile) -> None:
    """The second asset of the same name is the one refused."""
    (problem,) = validation.check(ASSETS, {"assets": [ASSET_ROW, ASSET_ROW]}, profile).problems
    assert (problem.row, problem.code) == (1, "not_unique")


def test_bm_unit_instead_of_meter_point(profile: Profile) -> None:
    """A bmUnitId stands in for a meter point; an odd one is a warning only."""
    row = without(ASSET_ROW, "meterPoints") | {"bmUnitId": "VKNGW-3"}
    checked = validation.check(ASSETS, {"assets": [row]}, profile)
    assert (checked.problems, [warning.code for warning in checked.warnings]) == ((), ["bm_unit_form"])


@pytest.mark.parametrize("mode", ["warning", "error"])
def test_gsp_mismatch(profile: Profile, mode: str) -> None:
    """An MPAN of another distributor's area is a warning, or an error where the profile says so."""
    strict = profile.model_copy(update={"gsp_mismatch": mode})
    checked = validation.check(ASSETS, {"assets": [ASSET_ROW | {"connection": {"gspGroup": "_A"}}]}, strict)
    codes = {"warning": checked.warnings, "error": checked.problems}
    assert [note.code for note in codes.pop(mode)] == ["gsp_mismatch"]
    assert codes.popitem()[1] == ()


def test_independent_network_fits_anywhere(profile: Profile) -> None:
    """Distributors from 24 on have no area of their own."""
    points = [{"type": "MPAN", "id": "2400000000245"}]
    points[0]["id"] = next(f"240000000024{digit}" for digit in range(10) if _valid(f"240000000024{digit}"))
    checked = validation.check(ASSETS, {"assets": [ASSET_ROW | {"meterPoints": points}]}, profile)
    assert checked == validation.Checked()


def _valid(mpan: str) -> bool:
    weights = (3, 5, 7, 13, 17, 19, 23, 29, 31, 37, 41, 43)
    return sum(int(d) * w for d, w in zip(mpan, weights, strict=False)) % 11 % 10 == int(mpan[12])


@pytest.mark.parametrize("content", [{}, {"assets": None}, {"assets": []}, {"assets": "A"}, {"assets": {"A": 1}}])
def test_nothing_to_create(profile: Profile, content: dict[str, Any]) -> None:
    """A message without a row is refused, of either kind."""
    assert validation.check(ASSETS, content, profile).problems
    assert validation.check(UNIT, content, profile).problems


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "gspGroup"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(ASSET_ROW)), JUNK))
def test_what_passes_can_be_encoded(profile: Profile, changes: dict[str, Any]) -> None:
    """Validation never raises, and what it lets through the codec can always put on the wire."""
    content = {"assets": [ASSET_ROW | changes]}
    if validation.check(ASSETS, content, profile).problems:
        return
    try:
        codec.encode_submission(profile, ASSETS, "id", content)
    except SubmissionRefused as refused:
        pytest.fail(f"valid, yet not encodable: {refused}")


ODD_VALUES: tuple[object, ...] = (
    *(None, "", " ", "x", "x" * 101, "a\x00b", "a\u00a0b", "\ud800", "_H", "_Z", "Battery", "MPAN", b"bytes"),
    *("2026-12-01", "2026-02-30", "2000000000200", "2000000000201", 0, 1, -1, True, 1.5, Decimal("0.10"), Decimal(-5)),
    *(Decimal("1E-400"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal(10**7), Decimal("-0.0")),
    *([], {}, [{}], ("a",), [{"type": "MPAN", "id": "x"}], [{"type": "MPAN", "id": "2000000000200"}] * 2),
    *([{"type": "MPAN"}], {"gspGroup": "_H"}, {"gspGroup": "_H", "odd": 1}, {"latitude": Decimal(91)}),
    *({"maxExportMw": Decimal(1)}, {"maxExportMw": None}),
)


def _spoilt() -> Iterator[dict[str, Any]]:
    """The row with each odd value in each of its members, one at a time, and without each member."""
    for name, value in ASSET_ROW.items():
        yield {key: each for key, each in ASSET_ROW.items() if key != name}
        for odd in ODD_VALUES:
            yield ASSET_ROW | {name: odd}
            if isinstance(value, dict):
                yield from (ASSET_ROW | {name: value | {key: odd}} for key in [*value, "odd"])
            if isinstance(value, list):
                yield from (ASSET_ROW | {name: [value[0] | {key: odd}]} for key in [*value[0], "odd"])


def test_the_short_look_finds_what_the_close_one_finds(profile: Profile) -> None:
    """A row in a dict is looked at shortly first, one in another mapping is not: both say the same of anything."""
    for row in [ASSET_ROW, ASSET_ROW | {"odd": 1}, *_spoilt()]:
        shortly, closely = ({"assets": [form]} for form in (row, MappingProxyType(row)))
        assert validation.check(ASSETS, shortly, profile) == validation.check(ASSETS, closely, profile), row


def test_what_never_changes_is_judged_and_written_like_anything_else(profile: Profile) -> None:
    """Parts of a template keep what is known of them: the first time, the second, and under another profile."""
    other = profile.model_copy(update={"enums": {**profile.enums, "technology": ("Wind",)}})
    for row in [ASSET_ROW, *_spoilt()]:
        template, plain = compile_template({"assets": [row]}), {"assets": [row]}
        for wire in (profile, profile, other, profile):
            assert validation.check(ASSETS, template, wire) == validation.check(ASSETS, plain, wire), row
            if not validation.check(ASSETS, plain, wire).problems:
                assert codec.encode_rows(wire, ASSETS, template) == codec.encode_rows(wire, ASSETS, plain), row
                assert codec.canonical(template) == codec.dumps(plain)


def _leaves(tree: Mapping[str, object], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, name))
        elif not isinstance(value, list):
            yield (*path, name)


def _with(tree: Mapping[str, object], path: tuple[str, ...], value: object) -> dict[str, object]:
    """The same tree with another value there."""
    (name, *deeper) = path
    inner = tree[name]
    return {**tree, name: _with(inner, tuple(deeper), value) if deeper and isinstance(inner, dict) else value}


@pytest.mark.parametrize("path", sorted(_leaves(ASSET_ROW)))
def test_a_group_that_a_site_fills_in_part_is_judged_and_written_like_any_other(
    profile: Profile, path: tuple[str, ...]
) -> None:
    """A frame keeps what is known of its constants: whatever fills its place, first, again, and in another profile."""
    members = {**profile.asset.members, "owner": profile.asset.members["owner"].model_copy(update={"name": "holder"})}
    asset = Shape(action="Create", ref="assetName", require_any=profile.asset.require_any, members=members)
    other = profile.model_copy(update={"enums": {**profile.enums, "technology": ("Wind", "Battery")}, "asset": asset})
    for row in [ASSET_ROW, *islice(_spoilt(), 0, None, 13)]:
        if path not in set(_leaves(row)):
            continue
        template = compile_template({"assets": [_with(row, path, {"point": "p"})]})
        spec = MessageSpec(name="m", kind=ASSETS, trigger=RequestTrigger(), template=template)
        for value in (None, "_A", "_H", Decimal("12.5"), Decimal(-1), "2026-11-01", "", "Battery", "BM"):
            reading = Reading(point="p", value=value, quality=Quality.GOOD, at=0)
            filled = compose(spec, {"p": reading}).content
            plain = {"assets": [_without(row, path) if value is None else _with(row, path, value)]}
            for wire in (profile, other, profile):
                problems = validation.check(ASSETS, plain, wire)
                assert validation.check(ASSETS, filled, wire) == problems, plain
                if not problems.problems:
                    assert codec.encode_rows(wire, ASSETS, filled) == codec.encode_rows(wire, ASSETS, plain), plain
                    assert codec.canonical(filled) == codec.dumps(plain)


def _without(tree: Mapping[str, object], path: tuple[str, ...]) -> dict[str, object]:
    (name, *deeper) = path
    if not deeper:
        return {key: value for key, value in tree.items() if key != name}
    inner = tree[name]
    return {**tree, name: _without(inner, tuple(deeper)) if isinstance(inner, dict) else inner}
