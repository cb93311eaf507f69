"""A kind of message that no code knows: declared in the profile, mapped in a site's YAML, sent and decided as any."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.core.mailbox import state_code
from gateway.core.transaction import State
from gateway.simulator.ledger import Ledger
from tests.system.front import Answer
from tests.system.rig import world
from tests.system.wire import OTHER_V7

PATH = "/registry/v7/availabilities"


def with_availability(text: str) -> str:
    """Let a plant declare how much it can export by KIND 7."""
    return text.replace(
        "\nmessages:\n",
        "\nmessages:\n  availability:\n    kind: availability\n    when: {mailbox: plc, kind: 7}\n"
        '    content: {group: SOUTH 1, exportMw: {point: export_limit}, from: "2026-12-01"}\n',
    )


async def test_a_further_kind_goes_all_the_way(tmp_path: Path) -> None:
    """Its bytes are signed and stand under the profile's names; the callback's verdict reaches the plant."""
    async with world(tmp_path, wire=OTHER_V7, sites=with_availability) as here, here.gateway() as running:
        sequence = await here.ask("hams-bess", "unused", kind=7)
        result = await here.plants["hams-bess"].result(sequence)
        message = await running.reaches("hams-bess", State.COMPLETED, message="availability")
        (seen,) = here.front.requests(PATH)
        (submission,) = here.story(message.id).submissions
    assert (result.state, result.for_sequence) == (state_code(State.COMPLETED), sequence)
    assert seen.content == submission.body
    assert json.loads(seen.content) == {
        "requestRef": submission.id,
        "operation": "declare",
        "availability": {"group": "SOUTH 1", "exportMw": 1.0, "from": "2026-12-01"},
    }
    (entry,) = Ledger.read(here.smp.ledger.path)
    assert (entry.kind, entry.submission) == ("availability", submission.id)


async def test_an_answer_lost_is_resolved_for_a_further_kind_too(tmp_path: Path) -> None:
    """201 lost on the way, no de-duplication: the status call finds it, sent once, one effect."""
    async with world(tmp_path, wire=OTHER_V7, sites=with_availability) as here, here.gateway() as running:
        here.smp.faults.hold_callbacks()
        here.front.plan(PATH, Answer(forward=True, cut=True))
        await here.ask("hams-bess", "unused", kind=7)
        message = await running.reaches("hams-bess", State.COMPLETED, message="availability")
    assert State.IN_DOUBT in {row.to_state for row in here.story(message.id).audit}
    assert len(here.front.requests(PATH)) == len(here.effects()) == 1


async def test_what_the_schema_refuses_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    """A reading that the schema does not allow: REFUSED with its place, nothing leaves."""

    def narrow(text: str) -> str:
        return text.replace("minimum: 0, multipleOf: 0.1", "minimum: 2, multipleOf: 0.1")

    async with (
        world(tmp_path, wire=OTHER_V7, profile=narrow, sites=with_availability) as here,
        here.gateway() as running,
    ):
        sequence = await here.ask("hams-bess", "unused", kind=7)
        result = await here.plants["hams-bess"].result(sequence)
        message = await running.reaches("hams-bess", State.REFUSED, message="availability")
    assert result.state == state_code(State.REFUSED)
    assert [(problem.field, problem.code) for problem in message.problems] == [("exportMw", "minimum")]
    assert not here.front.requests(PATH)


WITHDRAWALS = "/registry/v7/withdrawals"


def with_withdrawal(text: str) -> str:
    """Let a plant take an asset out of the register by KIND 8."""
    return text.replace(
        "\nmessages:\n",
        "\nmessages:\n  withdrawal:\n    kind: withdrawal\n    when: {mailbox: plc, kind: 8}\n"
        "    content: {name: {point: asset_name}}\n",
    )


async def test_a_kind_that_the_smp_decides_in_its_answer(tmp_path: Path) -> None:
    """COMPLETED and FAILED by the signed answer alone: no callback, no status call, the plant is told as always."""
    async with world(tmp_path, wire=OTHER_V7, sites=with_withdrawal) as here, here.gateway() as running:
        sequence = await here.ask("hams-bess", "HAMS 1", kind=8)
        result = await here.plants["hams-bess"].result(sequence)
        message = await running.reaches("hams-bess", State.COMPLETED, message="withdrawal")
        (entry,) = Ledger.read(here.smp.ledger.path)
    assert (result.state, result.for_sequence) == (state_code(State.COMPLETED), sequence)
    story = here.story(message.id)
    assert not story.callbacks
    assert [attempt.status for attempt in story.attempts] == [200]
    assert story.attempts[0].answer_signature
    steps = [row.to_state for row in story.audit if row.to_state is not None]  # the relay may be attested by now
    assert steps[-2:] == [State.SENDING, State.COMPLETED]
    assert (entry.kind, entry.callback, message.transaction_id) == ("withdrawal", None, entry.transaction_id)
    assert not here.front.requests("/registry/v7/jobs")


async def test_a_decision_that_was_lost_is_found_by_its_status(tmp_path: Path) -> None:
    """The answer that decides is cut off: IN_DOUBT, and the status call brings the same verdict, sent once."""
    async with world(tmp_path, wire=OTHER_V7, sites=with_withdrawal) as here, here.gateway() as running:
        here.front.plan(WITHDRAWALS, Answer(forward=True, cut=True))
        await here.ask("hams-bess", "HAMS 1", kind=8)
        message = await running.reaches("hams-bess", State.COMPLETED, message="withdrawal")
    assert State.IN_DOUBT in {row.to_state for row in here.story(message.id).audit}
    assert len(here.front.requests(WITHDRAWALS)) == len(here.effects()) == 1


async def test_a_kinds_own_limit_of_bytes_refuses_before_anything_leaves(tmp_path: Path) -> None:
    """The profile's limit for all kinds is far larger: it is the kind's own that counts."""

    def longer(text: str) -> str:
        return with_withdrawal(text).replace("content: {name: {point: asset_name}}", f"content: {{name: {'x' * 8000}}}")

    async with world(tmp_path, wire=OTHER_V7, sites=longer) as here, here.gateway() as running:
        await here.ask("hams-bess", "unused", kind=8)
        message = await running.reaches("hams-bess", State.REFUSED, message="withdrawal")
    assert "the SMP takes" in message.problems[0].message
    assert not here.front.requests(WITHDRAWALS)
