"""Faults told over time by a file, and everything that such a file may have wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.simulator import Fault, Wait, scenario
from gateway.simulator.orders import Away, BeginOutage, Change, ExpireTokens, RotateKey
from tests.simulator.partners import Client, Host, asset, create

STORY = """\
seed: 7
faults: {lose-reply: 0.1, delay: 200ms}
steps:
  - {at: 30s, outage: {for: 2min, answer: 503}}
  - {after: 500, faults: {lose-reply: 0}, rotate-key: {overlap: 30s}}
  - {at: 5min, expire-tokens: true}
"""


def test_a_scenario_is_read(tmp_path: Path) -> None:
    """Pins every member of a scenario."""
    path = tmp_path / "story.yaml"
    path.write_text(STORY)
    told = scenario.read(path)
    assert told.start == Change(settings={Fault.LOSE_REPLY: 0.1, Wait.DELAY: 0.2}, seed=7)
    assert told.steps == (
        scenario.Step(at_s=30.0, after=None, orders=(BeginOutage(for_s=120.0, away=Away.UNAVAILABLE),)),
        scenario.Step(
            at_s=None, after=500, orders=(Change(settings={Fault.LOSE_REPLY: 0.0}), RotateKey(overlap_s=30.0))
        ),
        scenario.Step(at_s=300.0, after=None, orders=(ExpireTokens(),)),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- 1", ":1:1: a scenario has the members seed, faults, steps"),
        ("step: []", "did you mean steps?"),
        ("seed: x", "'x' is no whole number"),
        ("faults: {lose-replay: 0.1}", "did you mean lose-reply?"),
        ("faults: {busy: 1.5}", "busy: 1.5 is no probability"),
        ("faults: {busy: .nan}", "no probability"),
        ("faults: {delay: 5}", "delay: 5 is no duration"),
        ("faults: {delay: -5s}", "no duration"),
        ("faults: [busy]", "names and values are needed"),
        ("steps: 3", "steps: must be a list"),
        ("steps:\n- {at: 5s, outage: {for: 1s}}\n- {at: 5s}\n", ":3:1: steps.1: nothing to do"),
        ("steps:\n- {at: 5s, after: 3, expire-tokens: true}\n", "exactly one of at: and after:"),
        ("steps:\n- {expire-tokens: true}\n", "exactly one of at: and after:"),
        ("steps:\n- {after: -1, expire-tokens: true}\n", "no number of submissions"),
        ("steps:\n- {at: soon, expire-tokens: true}\n", "no duration"),
        ("steps:\n- {at: 1s, outrage: {for: 1s}}\n", "did you mean outage?"),
        ("steps:\n- {at: 1s, outage: {answer: refused}}\n", "outage.for is missing"),
        ("steps:\n- {at: 1s, outage: {for: 1s, answer: 404}}\n", "neither refused nor 503"),
        ("steps:\n- {at: 1s, outage: {fro: 1s}}\n", "did you mean for?"),
        ("steps:\n- {at: 1s, expire-tokens: {now: yes}}\n", "takes no members"),
        ("steps:\n- 5\n", "a step has at: or after:"),
        ("steps: [\n", ":2:1: "),
        ("\x00", ":1:1: "),
    ],
)
def test_a_wrong_scenario_says_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    """Pins the sentence, and the line where it is in a step."""
    path = tmp_path / "story.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        scenario.read(path)
    assert told in str(caught.value)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Pins that a second mistake does not wait for the first one's correction."""
    path = tmp_path / "story.yaml"
    path.write_text("seed: x\nfaults: {busy: 2, delay: 3}\nsteps:\n- {at: 1s}\n- {after: x, expire-tokens: 1}\n")
    with pytest.raises(ConfigError) as caught:
        scenario.read(path)
    assert len(caught.value.problems) == 6


async def test_steps_come_at_their_moment(client: Client, host: Host, tmp_path: Path) -> None:
    """Pins that what holds from the start holds, and that a step waits for its number of submissions."""
    path = tmp_path / "story.yaml"
    path.write_text(
        "faults: {callback-never: 1}\n"
        "steps:\n"
        "- {after: 2, faults: {callback-never: 0}, rotate-key: true}\n"
        "- {at: 1ms, faults: {callback-twice: 1}}\n"
    )
    before = client.smp.pki.signing.kid
    playing = asyncio.create_task(scenario.play(scenario.read(path), client.smp))
    await asyncio.sleep(0)  # one turn of the loop: what holds from the start holds
    await client.send("/assets", create(asset("A")))
    await client.smp.until(lambda entries: entries[0].callback == "abandoned")
    assert client.smp.pki.signing.kid == before
    assert not playing.done()
    await client.send("/assets", create(asset("B")))
    async with asyncio.timeout(20):
        await playing
    assert client.smp.pki.signing.kid != before
    assert client.smp.faults.chances[Fault.CALLBACK_TWICE] == 1.0
    await client.send("/assets", create(asset("C")))
    told = [await host.next() for _ in range(2)]
    assert all(path == "/smp/v1/callbacks/exstor" for path, _, _ in told)
