"""The tests that stand beside a site's file: given readings, this message is expected, or this refusal.

They say for ever what the YAML was meant to do, and `smp-gateway check` runs them without any plant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Self

from pydantic import Field, model_validator

from gateway.core.intake import Intake, draft
from gateway.core.message import Lane
from gateway.core.point import Quality, Reading
from gateway.core.profile import Profile
from gateway.errors import ConfigProblem
from gateway.settings.document import Document, Path
from gateway.settings.explain import validate
from gateway.settings.part import Part
from gateway.settings.quantities import Name, Text, among, shown
from gateway.settings.resolved import Configuration, SiteConfig

ENDING = ".test.yaml"
_NOW = 1_767_225_600_000_000  # 2026-01-01T00:00Z; nothing of a test is old


class Case(Part):
    """One test."""

    name: Text = ""
    message: Name
    given: dict[str, object] = Field(
        default_factory=dict,
        description="Points and their values, in their unit; an array's as a list: [{POINT: VALUE}]",
    )
    sent: object = Field(default=None, description="The JSON that the site sends, where the message comes of that")
    expect: dict[str, object] | None = Field(default=None, description="Members that must be so; others may be more")
    refused: list[Text] | None = Field(default=None, description="The codes for which it must be refused")

    @model_validator(mode="after")
    def _one_outcome(self) -> Self:
        if (self.expect is None) == (self.refused is None):
            raise ValueError("write what is expected: expect: {assets: [...]}, or refused: [mpan_check_digit]")
        return self


class TestFile(Part):
    """sites/NAME.test.yaml."""

    __test__ = False  # it is no test of ours
    site: Name
    tests: list[Case] = Field(min_length=1)


def run_tests(configuration: Configuration, documents: list[Document]) -> tuple[int, list[ConfigProblem]]:
    """Run every test; how many there were, and what is wrong with them or with what they met."""
    count, problems = 0, [problem for document in documents for problem in document.problems]
    for document in documents:
        file, found = validate(TestFile, document.tree, document)
        problems += found
        if file is None:
            continue
        site = configuration.sites.get(file.site)
        if site is None:
            said = f"there is no site {shown(file.site)}{among(file.site, configuration.sites)}"
            problems.append(document.problem(("site",), said))
            continue
        profile = configuration.environments[site.environment].profile
        for number, case in enumerate(file.tests):
            count += 1
            told = (document.problem(("tests", number, *at), said) for at, said in _run(case, site, profile))
            problems += told
    return count, problems


def _run(case: Case, site: SiteConfig, profile: Profile) -> Iterator[tuple[Path, str]]:
    spec = site.messages.get(case.message)
    values, unknown = _given(case.given, site)
    for at, said in unknown:
        yield ("given", *at), said
    if spec is None:
        yield ("message",), f"there is no message {shown(case.message)}{among(case.message, site.messages)}"
    if spec is None or unknown:
        return
    lane = Lane(environment=site.environment, participant=site.participant, site=site.site, message=case.message)
    snapshot = {point: _reading(point, value) for point, value in values.items()}
    intake = Intake(lane=lane, key="test", raw=b"", at=_NOW, revision=site.revision)
    made, content = draft(intake, spec, snapshot, profile, case.sent)
    if case.refused is not None:
        codes = sorted({problem.code for problem in made.problems})
        if codes != sorted(set(case.refused)):
            yield ("refused",), f"it is {'refused for ' + ', '.join(codes) if codes else 'not refused'}"
        return
    for problem in made.problems:
        yield ("expect",), f"it is refused: {problem}"
    if not made.problems:
        yield from _differences(case.expect, content, ("expect",))


def _given(given: Mapping[str, object], site: SiteConfig) -> tuple[dict[str, object], list[tuple[Path, str]]]:
    """The value of each point, an array's written as a list of its elements; and what there is no point for."""
    values: dict[str, object] = {}
    unknown: list[tuple[Path, str]] = []
    for name, value in given.items():
        array = site.arrays.get(name)
        if array is None:
            values[name] = value
            if name not in site.points:
                unknown.append(((name,), f"there is no point {shown(name)}{among(name, [*site.points, *site.arrays])}"))
            continue
        elements = value if isinstance(value, list) else []
        if not isinstance(value, list) or not all(isinstance(element, Mapping) for element in value):
            unknown.append(((name,), f"{name} is an array: write its elements, such as [{{POINT: VALUE}}, ...]"))
        elif len(elements) > array.count:
            unknown.append(((name,), f"{len(elements)} elements, and array {name} has {array.count}"))
        else:
            for index, element in enumerate(elements):
                values |= {array.point(index, member): own for member, own in element.items()}
                unknown += [
                    ((name, index, member), f"array {name} has no point {shown(member)}{among(member, array.members)}")
                    for member in element
                    if member not in array.members
                ]
    return values, unknown


def _reading(point: str, value: object) -> Reading:
    if value is None:
        return Reading(point=point, value=None, quality=Quality.NOT_AVAILABLE, at=_NOW)
    if isinstance(value, bool | str | Decimal):
        return Reading(point=point, value=value, at=_NOW)
    return Reading(point=point, value=Decimal(str(value)), at=_NOW)


def _differences(wanted: object, found: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for name, value in wanted.items():
            if name not in found:
                yield (*path, name), "the message has no such member"
            else:
                yield from _differences(value, found[name], (*path, name))
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            yield path, f"expected {len(wanted)} of them, found {len(found)}"
        for number, (value, other) in enumerate(zip(wanted, found, strict=False)):
            yield from _differences(value, other, (*path, number))
    elif wanted is not found and (isinstance(wanted, bool) or isinstance(found, bool) or wanted != found):
        yield path, f"expected {shown(wanted)}, found {shown(found)}"
