"""From an input to a draft, without I/O: names, rules, problems, and what moves with it."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from gateway.core.intake import UNBOUND, Intake, draft, mailbox_rule, unbound
from gateway.core.mapping import MailboxTrigger, MessageSpec, compile_template
from gateway.core.message import ASSETS, Lane, MailboxPosition, Problem, Reference
from gateway.core.point import Quality, Reading
from gateway.core.profile import Profile
from gateway.core.relay import MAILBOX_STATES
from gateway.core.transaction import State

LANE = Lane(environment="test", participant="exstor", site="hams-bess", message="battery")
INTAKE = Intake(
    lane=LANE,
    key="plc:1.7",
    raw=b"\x00\x07",
    at=1_000,
    revision="r1",
    rules=(mailbox_rule("plc", "plc", 7, progress=False),),
    mailbox="plc",
    position=MailboxPosition(generation=1, sequence=7, crc=9),
    reference=Reference(value="4", counter=2),
)
SPEC = MessageSpec(
    name="battery",
    kind=ASSETS,
    trigger=MailboxTrigger(mailbox="plc", kind=1),
    template=compile_template(
        {
            "assets": [
                {
                    "assetName": "HAMS 1",
                    "technology": "Battery",
                    "meterPoints": [{"type": "MPAN", "id": "2000000000200", "direction": "Import"}],
                    "connection": {"gspGroup": "_H"},
                    "capacity": {"maxExportMw": {"point": "limit"}},
                }
            ]
        }
    ),
)


def reading(value: Decimal | None, quality: Quality = Quality.GOOD) -> Reading:
    return Reading(point="limit", value=value, quality=quality, at=900)


def test_a_good_snapshot_becomes_a_draft_with_its_digits(profile: Profile) -> None:
    """The Decimal keeps its digits in the canonical content; everything that moves in the commit is there."""
    made, content = draft(INTAKE, SPEC, {"limit": reading(Decimal("12.50"))}, profile)
    assert made.problems == ()
    assert b'"maxExportMw":12.50' in made.content
    assert json.loads(made.content)["assets"][0]["assetName"] == "HAMS 1"
    assert content["assets"] is not None
    assert (made.rows, made.accepted_at, made.not_after, made.revision) == (1, 1_000, None, "r1")
    assert (made.position, made.reference, made.raw) == (INTAKE.position, INTAKE.reference, INTAKE.raw)


def test_the_same_input_has_the_same_id_and_another_has_not(profile: Profile) -> None:
    """The id follows from lane and intake key alone, whatever the values are by then."""
    one, _ = draft(INTAKE, SPEC, {"limit": reading(Decimal(1))}, profile)
    again, _ = draft(replace(INTAKE, at=2_000), SPEC, {"limit": reading(Decimal(2))}, profile)
    other, _ = draft(replace(INTAKE, key="plc:1.8"), SPEC, {"limit": reading(Decimal(1))}, profile)
    assert one.id == again.id != other.id


@pytest.mark.parametrize("snapshot", [{}, {"limit": reading(None, Quality.BAD)}, {"limit": reading(Decimal(-1))}])
def test_what_is_missing_bad_or_invalid_is_a_refused_draft(profile: Profile, snapshot: dict[str, Reading]) -> None:
    """It has problems that name the row, and is committed like an acceptance: position, rules and raw input stand."""
    made, _ = draft(INTAKE, SPEC, snapshot, profile)
    assert made.problems
    assert made.problems[0].row == 0
    assert (made.position, made.rules, made.raw) == (INTAKE.position, INTAKE.rules, INTAKE.raw)


def test_a_not_after_counts_from_the_acceptance(profile: Profile) -> None:
    """µs after the intake's own time."""
    made, _ = draft(INTAKE, replace(SPEC, not_after_us=500), {"limit": reading(Decimal(1))}, profile)
    assert made.not_after == 1_500


def test_an_unbound_request_is_kept_under_the_reserved_name() -> None:
    """No message of the site's: the reserved lane, no rows, its problem, and the position moves all the same."""
    made = unbound(INTAKE, Problem(code="unknown_kind", message="no message"))
    assert (made.lane.message, made.rows, made.content) == (UNBOUND, 0, b"{}")
    assert made.problems[0].code == "unknown_kind"
    assert made.position == INTAKE.position


@pytest.mark.parametrize("progress", [True, False])
def test_a_mailbox_answers_awaiting_only_where_asked(*, progress: bool) -> None:
    """Every other state that a mailbox publishes is there; awaiting with `progress: true` only."""
    rule = mailbox_rule("plc", "box", 7, progress=progress)
    assert rule.on >= MAILBOX_STATES
    assert (State.AWAITING in rule.on) is progress
    assert (rule.connection, rule.mailbox, rule.sequence) == ("plc", "box", 7)


def test_warnings_and_salvage_go_with_the_draft(profile: Profile) -> None:
    """A foreign distributor is a warning kept apart: nothing is refused for it, and nothing of it is in the content."""
    foreign = [{"type": "MPAN", "id": "1100000000114", "direction": "Import"}]
    assets = SPEC.template["assets"]
    assert isinstance(assets, list)
    template = compile_template({"assets": [{**assets[0], "meterPoints": foreign}]})
    spec = replace(SPEC, template=template, salvage=True)
    made, _ = draft(INTAKE, spec, {"limit": reading(Decimal(1))}, profile)
    assert (made.problems, made.salvage) == ((), True)
    assert [(w.row, w.field, w.code) for w in made.warnings] == [(0, "meterPoints[0].id", "gsp_mismatch")]
    assert b"gsp_mismatch" not in made.content
    plain, _ = draft(INTAKE, SPEC, {"limit": reading(Decimal(1))}, profile)
    assert (plain.warnings, plain.salvage) == ((), False)
