"""Every way out of doubt that a profile may offer, each alone, and none: what the ledger says is what we end with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import not_
from pathlib import Path
from random import Random

import pytest

from gateway.core.acts import Act, Decision
from gateway.core.record import Disposition
from gateway.core.transaction import State
from gateway.simulator.faults import CUT
from tests.system.rig import SITES, Running, World, holds, world

OFFERED = ("echo_submission: true", "status_by_submission: true", "deduplicates: {assets: true, units: true}")
QUICK = {
    "request": "500ms",
    "max_processing": "100ms",
    "settle": "600ms",
    "poll_first": "50ms",
    "poll_longest": "200ms",
    "doubt_deadline": "15s",
}
ROUNDS = 25  # for each of the four: 100 in all


def only(kept: str) -> Callable[[str], str]:
    """The profile with this capability alone."""

    def changed(text: str) -> str:
        for line in OFFERED:
            assert text.count(line) == 1, line
            if not line.startswith(kept or "none"):
                text = text.replace(line, line.replace("true", "false"))
        return text

    return changed


async def doubts(here: World, running: Running, sites: Sequence[str] = ("hams-bess",)) -> list[tuple[str, State]]:
    """Lose replies before or after the SMP's commit, evenly: each asset's name and what we say became of it.

    ``sites`` are in doubt beside each other.
    """
    dice, ends = Random(7), []
    for number in range(ROUNDS // len(sites) + 1):
        for site in sites:
            faults = here.smp.faults.before_commit if dice.random() < 0.5 else here.smp.faults.after_commit
            faults.append(CUT)
            await here.ask(site, f"{site} {number}")
            await holds(partial(not_, faults))
        for site in sites:
            message = await running.reaches(site, State.COMPLETED, State.FAILED, State.ESCALATED, number=number)
            ends.append((f"{site} {number}", message.state))
            if message.state is State.ESCALATED:  # the lane goes on when people have looked into the SMP
                decision = Decision(act=Act.RESOLVE_FAILED, actor="test", reason="looked")
                await running.gateway.journal.decide(message.id, decision)
    return ends


@pytest.mark.parametrize("way", ["status_by_submission", "deduplicates"])
async def test_with_one_way_of_asking_every_doubt_is_resolved_to_what_the_ledger_says(tmp_path: Path, way: str) -> None:
    """Status by submission, or de-duplication, alone: all end COMPLETED, each with one effect, in order."""
    async with world(tmp_path, timings=QUICK, profile=only(way)) as here, here.gateway() as running:
        ends = await doubts(here, running, SITES if way == "status_by_submission" else SITES[:1])
        stories = [here.story(message.id) for message in await running.messages()]
    doubted = [story for story in stories if State.IN_DOUBT in {row.to_state for row in story.audit}]
    assert len(doubted) > 0.8 * len(stories)  # a busy machine's own lost reply may take the fault of the next message
    assert {state for _, state in ends} == {State.COMPLETED}
    effects = here.effects()
    assert sorted(effects) == sorted(name for name, _ in ends)
    for site in SITES:
        own = [name for name, _ in ends if name.startswith(site)]
        assert [name for name in effects if name.startswith(site)] == own


async def test_with_echoes_alone_what_the_smp_has_is_found_and_the_rest_is_for_people(tmp_path: Path) -> None:
    """A callback that names the submission resolves it; where none comes, nobody can know: ESCALATED, never resent."""
    async with (
        world(tmp_path, timings=QUICK | {"doubt_deadline": "1s"}, profile=only("echo_submission")) as here,
        here.gateway() as running,
    ):
        ends = await doubts(here, running)
        sent = len(here.front.requests("/assets"))
    effects = here.effects()
    assert {state for _, state in ends} == {State.COMPLETED, State.ESCALATED}
    assert sorted(name for name, state in ends if state is State.COMPLETED) == sorted(effects)
    assert sent == len(ends)


async def test_without_any_way_every_doubt_is_for_people_and_nothing_is_resent(tmp_path: Path) -> None:
    """100 % ESCALATED, 0 sent again, whatever the SMP did with it."""
    async with world(tmp_path, timings=QUICK, profile=only("")) as here, here.gateway() as running:
        ends = await doubts(here, running)
        sent = len(here.front.requests("/assets"))
    assert {state for _, state in ends} == {State.ESCALATED}
    assert sent == len(ends)
    assert 0 < len(here.effects()) < len(ends)


async def test_an_orphan_that_fits_one_doubt_is_shown_beside_it_and_decides_nothing(tmp_path: Path) -> None:
    """Without any way out, the verdict comes under an unknown transaction: people find it beside the doubt."""
    async with world(tmp_path, timings=QUICK, profile=only("")) as here, here.gateway() as running:
        here.smp.faults.after_commit.append(CUT)
        await here.ask("hams-bess", "HAMS 1")
        message = await running.reaches("hams-bess", State.ESCALATED)
        await holds(lambda: here.events("callback_received", disposition="orphan"))
        (still,) = await running.messages("hams-bess")
        story = here.story(message.id)
    assert still.state is State.ESCALATED
    (shown,) = story.callbacks
    assert shown.disposition is Disposition.ORPHAN
    assert shown.note.startswith("may be of this submission: transaction ")
    assert [row.event for row in story.audit].count("callback_suggested") == 1
