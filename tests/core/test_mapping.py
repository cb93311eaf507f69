from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.mapping import (
    MailboxTrigger,
    MessageSpec,
    MessageTrigger,
    compile_template,
    compose,
    points_of,
)
from gateway.core.message import ASSETS, UNIT
from gateway.core.places import Slot
from gateway.core.point import Quality, Reading, Snapshot

TREE: dict[str, object] = {
    "assets": [
        {
            "assetName": {"point": "asset_name"},
            "technology": "Battery",
            "meterPoints": [{"type": "MPAN", "id": {"point": "mpan"}, "direction": "Import"}],
            "capacity": {"maxExportMw": {"point": "export_limit"}, "energyMwh": 100},
            "endDate": None,
        },
        {"assetName": "SECOND", "capacity": {"maxExportMw": {"point": "export_limit"}}},
    ]
}


def message(tree: dict[str, object]) -> MessageSpec:
    trigger = MailboxTrigger(mailbox="plc", kind=1)
    return MessageSpec(name="battery", kind=ASSETS, trigger=trigger, template=compile_template(tree))


def readings(**values: Decimal | str) -> Snapshot:
    return {name: Reading(point=name, value=value, at=1) for name, value in values.items()}


def test_fills_every_place() -> None:
    """Pins the content: values as read, constants and null as written, in lists and maps alike."""
    snapshot = readings(asset_name="HAMS BESS PCS 1", mpan="2000000000200", export_limit=Decimal("12.50"))
    composed = compose(message(TREE), snapshot)
    assert composed.problems == ()
    assert composed.content == {
        "assets": [
            {
                "assetName": "HAMS BESS PCS 1",
                "technology": "Battery",
                "meterPoints": [{"type": "MPAN", "id": "2000000000200", "direction": "Import"}],
                "capacity": {"maxExportMw": Decimal("12.50"), "energyMwh": 100},
                "endDate": None,
            },
            {"assetName": "SECOND", "capacity": {"maxExportMw": Decimal("12.50")}},
        ]
    }
    first = composed.content["assets"]
    assert isinstance(first, list)
    assert str(first[0]["capacity"]["maxExportMw"]) == "12.50"  # the digits of the scale, not a float's


def test_names_every_unusable_reading() -> None:
    """Pins that all bad readings are told at once, each with row, name, member, code and detail."""
    bad = Reading(
        point="export_limit", value=Decimal(61), quality=Quality.BAD, at=1, fault="out_of_range", detail="61 is outside"
    )
    short = Reading(point="mpan", value=None, quality=Quality.BAD, at=1, fault="payload_too_short")
    composed = compose(message(TREE), {**readings(asset_name="A"), "export_limit": bad, "mpan": short})
    told = [(problem.row, problem.ref, problem.field, problem.code, problem.message) for problem in composed.problems]
    assert told == [
        (0, "A", "meterPoints[0].id", "payload_too_short", "point mpan: payload too short"),
        (0, "A", "capacity.maxExportMw", "out_of_range", "point export_limit: 61 is outside"),
        (1, "SECOND", "capacity.maxExportMw", "out_of_range", "point export_limit: 61 is outside"),
    ]


@pytest.mark.parametrize(
    ("reading", "code"),
    [
        (None, "not_available"),
        (Reading(point="p", value=None, at=1), "not_available"),
        (Reading(point="p", value=None, quality=Quality.NOT_AVAILABLE, at=1), "not_available"),
        (Reading(point="p", value=Decimal(1), quality=Quality.BAD, at=1), "bad"),
    ],
)
def test_never_uses_a_reading_that_is_not_good(reading: Reading | None, code: str) -> None:
    """Pins that a value of doubtful quality never reaches the content."""
    spec = message({"assets": [{"assetName": "A", "ramp": {"upMwPerMin": {"point": "p"}}}]})
    composed = compose(spec, {} if reading is None else {"p": reading})
    assert [(problem.field, problem.code) for problem in composed.problems] == [("ramp.upMwPerMin", code)]
    assert composed.content == {"assets": [{"assetName": "A", "ramp": {}}]}


def test_points_of_lists_each_point_once() -> None:
    """Pins the order of the template and the absence of repeats."""
    assert points_of(message(TREE)) == ("asset_name", "mpan", "export_limit")


def test_unit_content_has_no_rows() -> None:
    """Pins that problems of a unit name no row and a path within the unit."""
    template = compile_template({"unit": {"unitName": "HAMS-1", "maxExportMw": {"point": "p"}}})
    trigger = MailboxTrigger(mailbox="plc", kind=2)
    (problem,) = compose(MessageSpec(name="u", kind=UNIT, trigger=trigger, template=template), {}).problems
    assert (problem.row, problem.ref, problem.field) == (None, "HAMS-1", "maxExportMw")


# a member of these names says where its value comes from
WAYS = frozenset({"point", "path"})
names = st.text(st.characters(categories=("Ll", "Lu")), min_size=1, max_size=5).filter(lambda name: name not in WAYS)
trees = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.just({"point": "p"}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@given(rows=st.lists(st.dictionaries(names, trees, max_size=3), min_size=1, max_size=3))
def test_composing_replaces_places_and_nothing_else(rows: list[dict[str, object]]) -> None:
    """Pins that a good reading yields the very tree with its places filled, whatever the tree."""

    def filled(node: object) -> object:
        if node == {"point": "p"}:
            return Decimal("0.3")
        if isinstance(node, dict):
            return {key: filled(value) for key, value in node.items()}
        return [filled(item) for item in node] if isinstance(node, list) else node

    spec = message({"assets": rows})
    composed = compose(spec, readings(p=Decimal("0.3")))
    assert composed.problems == ()
    assert composed.content == {"assets": filled(rows)}
    missing = compose(spec, {})
    assert bool(missing.problems) == bool(points_of(spec))
    assert Slot(point="p") not in _flat(missing.content)


def _flat(node: object) -> list[object]:
    if isinstance(node, dict):
        return [leaf for value in node.values() for leaf in _flat(value)]
    return [leaf for item in node for leaf in _flat(item)] if isinstance(node, list) else [node]


def _sent(assets: object) -> MessageSpec:
    return MessageSpec(
        name="chargers",
        kind=ASSETS,
        trigger=MessageTrigger(connection="mqtt"),
        template=compile_template({"assets": assets}),
    )


CHARGERS = [
    {"assetName": "DEPOT"},
    {
        "for_each": "chargers",
        "assetName": {"path": "name"},
        "meterPoints": [{"id": {"path": "mpan", "optional": True}}],
        "capacity": {"maxExportMw": {"path": "kw", "scale": Decimal("0.001")}, "energyMwh": {"point": "energy"}},
    },
]


def test_an_asset_for_each_element_of_a_list() -> None:
    """Paths begin at the element, points come from the readings, fixed assets stand beside; scaled exactly."""
    energy = Reading(point="energy", value=Decimal(2), at=1)
    document = {"chargers": [{"name": "C1", "kw": Decimal(22), "mpan": "2"}, {"name": "C2", "kw": Decimal("7.4")}]}
    composed = compose(_sent(CHARGERS), {"energy": energy}, document)
    assert composed.problems == ()
    assert composed.content["assets"] == [
        {"assetName": "DEPOT"},
        {
            "assetName": "C1",
            "meterPoints": [{"id": "2"}],
            "capacity": {"maxExportMw": Decimal("0.022"), "energyMwh": Decimal(2)},
        },
        {
            "assetName": "C2",
            "meterPoints": [{}],
            "capacity": {"maxExportMw": Decimal("0.0074"), "energyMwh": Decimal(2)},
        },
    ]


def test_what_a_row_lacks_names_row_and_member() -> None:
    """Row 2 is the second charger, since the fixed asset is row 0."""
    energy = Reading(point="energy", value=Decimal(2), at=1)
    document = {"chargers": [{"name": "C1", "kw": Decimal(22)}, {"name": "C2", "kw": "much"}]}
    (problem,) = compose(_sent(CHARGERS), {"energy": energy}, document).problems
    assert (problem.row, problem.ref, problem.field, problem.code) == (2, "C2", "capacity.maxExportMw", "not_a_number")


def test_rows_that_are_no_list_are_a_problem() -> None:
    """And not a message with fewer assets than the site meant."""
    (problem,) = compose(_sent(CHARGERS), {}, {"chargers": {"name": "C1"}}).problems
    assert (problem.code, problem.message) == ("no_rows", "chargers is not a list")


def test_an_expression_fills_its_place_or_says_why_not() -> None:
    """Pins the value, the point that is missing, the text that is no number, and the division by 0."""
    spec = message({"assets": [{"assetName": "A", "capacity": {"maxExportMw": {"expr": "pcs_1 / pcs_2"}}}]})
    assert points_of(spec) == ("pcs_1", "pcs_2")
    composed = compose(spec, readings(pcs_1=Decimal("12.5"), pcs_2=Decimal(2)))
    assert composed.content == {"assets": [{"assetName": "A", "capacity": {"maxExportMw": Decimal("6.25")}}]}
    for snapshot, code, words in (
        (readings(pcs_1=Decimal(1)), "not_available", "point pcs_2: was not read"),
        (readings(pcs_1=Decimal(1), pcs_2="two"), "not_a_number", "point pcs_2 is not a number"),
        (readings(pcs_1=Decimal(1), pcs_2=Decimal(0)), "not_a_number", "pcs_1 / pcs_2 has no value"),
    ):
        (problem,) = compose(spec, snapshot).problems
        assert (problem.row, problem.ref, problem.field) == (0, "A", "capacity.maxExportMw")
        assert (problem.code, problem.message) == (code, words)
