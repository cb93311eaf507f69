"""Arrays of repeated register blocks: one declaration, the same message as if each block had been written out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.modbus import spec as modbus
from adapters.modbus.translation import bind_all, cut, read_point
from gateway.core.mapping import compose, points_of
from gateway.core.point import Reading
from gateway.core.request_plan import listed
from gateway.settings.configuration import Configuration, run_site_tests
from tests.settings.folder import Folder

FILE, TESTS = "sites/humber-inverters.yaml", "sites/humber-inverters.test.yaml"
SITE = """
site: humber-inverters
participant: exstor
connections: {{ppc: {{protocol: modbus, host: localhost}}}}
points:
  in_service: {{connection: ppc, address: "holding:10", type: uint16}}
{points}
arrays:
{arrays}
messages:
  inverters:
    kind: assets
    when: {{request: true}}
    assets: [{assets}]
"""
RATED, NAME = "scale_factor: 'holding:{factor}', scale: 0.001", "type: string, length: 4"
ASSET = (
    "{{technology: Battery, {each}assetName: {{point: {name}}}, meterPoints: [{{type: MPAN, id: '2000000000200', "
    "direction: Import}}], connection: {{gspGroup: _H}}, capacity: {{maxExportMw: {{expr: '{rated} * 0.5'}}}}}}"
)


@pytest.fixture
def humber(folder: Folder) -> Folder:
    for name in ("humber-inverters.yaml", "humber-inverters.test.yaml"):
        shutil.copy(folder.path / "examples" / name, folder.path / "sites" / name)
    return folder


def _message(configuration: Configuration, registers: list[int]) -> tuple[object, object]:
    """The content, or the problems, that these holding registers make."""
    site = configuration.sites["humber-inverters"]
    points = bind_all(site.connections["ppc"].config)
    snapshot: dict[str, Reading] = {
        name: read_point(point, cut(registers, range(len(registers)), point), 1) for name, point in points.items()
    }
    composed = compose(site.messages["inverters"], snapshot)
    return composed.content, [(problem.row, problem.field, problem.code) for problem in composed.problems]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), count=st.integers(1, 5), spare=st.integers(0, 6), shared=st.booleans())
def test_an_array_is_what_its_blocks_written_out_are(
    folder: Folder, data: st.DataObject, count: int, spare: int, *, shared: bool
) -> None:
    """Pins the registers of every element, scale factors of their own or of all, and the rows of what is wrong."""
    stride, first = 6 + spare, 20
    factors = [11 if shared else first + 1 + index * stride for index in range(count)]
    one = (
        f'    name: {{address: "holding:{first + 2}", {NAME}}}\n'
        f'    rated: {{address: "holding:{first}", type: uint16, {RATED.format(factor=factors[0])}}}'
    )
    array = f"  pcs:\n   connection: ppc\n   count: {count}\n   stride: {stride}\n   points:\n{one}"
    folded = SITE.format(
        points="", arrays=array, assets=ASSET.format(each="for_each: {array: pcs}, ", name="name", rated="rated")
    )
    written_out = SITE.format(
        points="\n".join(
            f'  name_{index}: {{connection: ppc, address: "holding:{first + 2 + index * stride}", {NAME}}}\n'
            f'  rated_{index}: {{connection: ppc, address: "holding:{first + index * stride}", type: uint16, '
            f"{RATED.format(factor=factor)}}}"
            for index, factor in enumerate(factors)
        ),
        arrays="",
        assets=", ".join(ASSET.format(each="", name=f"name_{index}", rated=f"rated_{index}") for index in range(count)),
    ).replace("arrays:\n", "")
    registers = data.draw(
        st.lists(st.sampled_from([0, 1, 0x4142, 0xFFFF, 0xFFFE]), min_size=80, max_size=80), label="registers"
    )
    (folder.path / FILE).write_text(folded, "utf-8")
    found = _message(folder.load(), registers)
    (folder.path / FILE).write_text(written_out, "utf-8")
    assert found == _message(folder.load(), registers)


@pytest.mark.parametrize(("used", "rows"), [(0, 0), (3, 3), (8, 8), (9, None)])
def test_the_plant_says_how_many_count(humber: Folder, used: int, rows: int | None) -> None:
    """Pins that the first so many elements become assets, none is a message too, and more than there are is refused."""
    registers = [0] * 2200
    registers[1990] = used
    content, problems = _message(humber.load(), registers)
    if rows is None:
        assert problems == [(None, None, "out_of_range")]
    else:
        assert isinstance(content, dict)
        assert len(content["assets"]) == rows
        assert problems == []


def test_a_message_waits_for_the_points_of_all_elements(humber: Folder) -> None:
    """Pins that each element's points, and the number of elements, are asked for like all others."""
    site = humber.load().sites["humber-inverters"]
    needed = points_of(site.messages["inverters"])
    assert needed[0] == "in_service"
    assert {f"pcs.{index}.{member}" for index in range(8) for member in ("rated", "energy", "status")} < set(needed)
    plan = modbus.plan(site.connections["ppc"].config) if modbus.plan is not None else None
    assert plan is not None
    shown = [listed(request.points) for request in plan.requests if request.every == 60_000_000]
    assert shown == ["pcs.0-6 energy rated", "pcs.7 energy rated"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("stride: 20 #", "stride: 4 #", "stride: one element takes 5 registers (2000..2004), so that the next would"),
        ("count: 8", "count: 1001", "count: 1001 is more than 1000"),
        (
            "stride: 20 #",
            "stride: 9100 #",
            "count: element 7: rated: holding:65700 with 1 registers is outside 0..65535",
        ),
        ("used: in_service", "used: in_servic", "arrays.pcs.used: there is no point 'in_servic'; did you mean"),
        ('status: {address: "holding:2004"', 'status: {address: "input:2004"', "points: an array lies in one table"),
        ('{address: "holding:2004", type', '{access: write, address: "holding:2004", type', "for reading"),
        ('{address: "holding:2004", type', '{connection: ppc, address: "holding:2004", type', "connection stands"),
        ("  in_service: {", '  rated: {connection: ppc, address: "input:1", type: int16}\n  in_service: {', "already"),
        ("for_each: {array: pcs}", "for_each: {array: psc}", "array: there is no array 'psc'; did you mean 'pcs'?"),
        ("for_each: {array: pcs}", "for_each: {arrays: pcs}", "write for_each: {array: NAME}"),
        ("HUMBER 7, HUMBER 8]", "HUMBER 7]", "each: 7 values for the 8 elements of array pcs"),
        ("HUMBER 7, HUMBER 8]", "HUMBER 7, HUMBER 7]", "assetName.each.7: "),
        ("owner: Example Storage Ltd", "owner: {each: [a]}, ", None),
        ("- for_each: {array: pcs} #", "- #", "assetName.each: each belongs to an asset with for_each: {array: NAME}"),
        ("{point: energy}", "{point: enery}", "there is no point 'enery'"),
        ("base: 1000, results: 1200", "base: 2035, results: 1200", "points.rated.address: 2040 lies"),
    ],
)
def test_each_mistake_is_told_where_the_array_says_it(humber: Folder, old: str, new: str, said: str | None) -> None:
    """Pins a sentence for each way to be wrong, once for all elements, at a place of the file."""
    humber.edit(FILE, old, new)
    told = [line for line in humber.told() if "warning" not in line]
    assert told
    if said is not None:
        assert any(said in line for line in told), told
    assert len(set(told)) == len(told)
    assert all(line.startswith(f"{FILE}:") for line in told)
    if "HUMBER" not in old and "{array" not in old and "- for_each" not in old:
        assert len(told) == 1, told


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{rated: 2.5, energy", "{ratd: 2.5, energy", "given.pcs.1.ratd: array pcs has no point 'ratd'; did you mean"),
        ("pcs: [{rated: 3.0", "pcs: [1, {rated: 3.0", "given.pcs: pcs is an array: write its elements"),
        ("pcs: [{", f"pcs: [{'{}, ' * 8}{{", "given.pcs: 9 elements, and array pcs has 8"),
    ],
)
def test_what_a_test_gives_to_an_array(humber: Folder, old: str, new: str, said: str) -> None:
    """Pins the sentences of the tests beside the site for values that no element has."""
    humber.edit(TESTS, old, new)
    _, problems = run_site_tests(humber.load(), environ={})
    assert any(said in str(problem) for problem in problems), problems


def test_a_point_of_an_array_outside_of_it(humber: Folder) -> None:
    """Pins what is said of a name that only the elements of an array have."""
    humber.edit(FILE, "startDate: 2026-12-01", "startDate: 2026-12-01\n      - {assetName: {point: status}}")
    said = "point status is one of array pcs; write for_each: {array: pcs} beside the asset's members"
    assert any(line.endswith(said) for line in humber.told())


def test_a_protocol_without_registers_has_no_arrays(folder: Folder) -> None:
    """Pins that what cannot be repeated is refused by the protocol's name."""
    array = 'arrays:\n  a: {connection: scada, count: 2, stride: 1, points: {p: {node: "ns=2;s=a"}}}\nmailboxes:'
    folder.edit("sites/wight-bess.yaml", "mailboxes:", array)
    (said,) = folder.told()
    assert said.endswith("arrays.a.connection: opcua has no registers that could be repeated")


def test_the_example_is_where_it_is_looked_for(humber: Folder) -> None:
    """Pins that the fixture's file is the shipped one, so that the other tests mean it."""
    assert humber.told() == []
    assert Path(humber.path / FILE).is_file()
