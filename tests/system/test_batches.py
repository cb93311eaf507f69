"""Many rows in one message, many messages in one submission, and rows that the SMP refuses, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.messages import app as messages_app
from gateway.core import batch
from gateway.core.batch import Encoded
from gateway.core.mailbox import state_code
from gateway.core.message import Message
from gateway.core.profile import Profile
from gateway.core.record import Waiting
from gateway.core.transaction import State
from gateway.simulator.faults import CUT
from tests.system.front import Answer
from tests.system.rig import Running, World, holds, world

BAY = "hams-bess"


def fleet(count: int, *settings: str) -> Callable[[str], str]:
    """Give hams-bess a message of ``count`` assets, the first named by the PLC, the others ``fleet N``."""
    row = (
        "      - {{assetName: {name}, technology: Battery, connection: {{gspGroup: _H}}, "
        'meterPoints: [{{type: MPAN, id: "2000000000200"}}], capacity: {{maxExportMw: {{point: export_limit}}}}}}'
    )
    rows = [row.format(name="{point: asset_name}"), *(row.format(name=f"fleet {n}") for n in range(1, count))]

    def edit(text: str) -> str:
        if f"site: {BAY}" not in text:
            return text
        head, _ = text.split("    assets:\n")
        return head + "".join(f"    {line}\n" for line in settings) + "    assets:\n" + "\n".join(rows) + "\n"

    return edit


def limit(count: int) -> Callable[[str], str]:
    """Let a submission hold so many assets."""
    return lambda text: text.replace("assets_per_submission: 1000", f"assets_per_submission: {count}")


def names(here: World) -> list[list[str]]:
    """The assets of each submission that reached the SMP's front, in order."""
    return [
        [asset["assetName"] for asset in json.loads(seen.body)["assets"]] for seen in here.front.requests("/assets")
    ]


def fleet_names(first: str, count: int) -> list[str]:
    return [first, *(f"fleet {n}" for n in range(1, count))]


async def ended(running: Running, number: int = 0) -> Message:
    """The site's message of this number, once it has ended."""
    return await running.reaches(
        BAY, State.COMPLETED, State.PARTIAL, State.FAILED, State.REJECTED, State.EXPIRED, number=number
    )


async def exists(here: World, running: Running, name: str) -> None:
    """Let another site of the participant create an asset of this name."""
    await here.ask("solent-bess", name)
    await running.reaches("solent-bess", State.COMPLETED)


async def queue_behind(here: World, running: Running, requests: Sequence[str]) -> None:
    """Hold the first request at the SMP's door, and raise the others meanwhile; returns when all are on disk."""
    here.front.gate.clear()
    for n, name in enumerate(requests):
        await here.plants[BAY].acknowledged(await here.ask(BAY, name))
        if n == 0:
            await holds(lambda: here.front.requests("/assets"))
    await running.reaches(BAY, State.ACCEPTED, number=len(requests) - 1)
    here.front.gate.set()


async def test_2500_rows_become_three_submissions_in_order(tmp_path: Path) -> None:
    """One request of the PLC: 1000, 1000 and 500 assets, each once, one COMPLETED message, one result for the PLC."""
    async with world(tmp_path, sites=fleet(2500)) as here, here.gateway() as running:
        sequence = await here.ask(BAY, "HAMS 0")
        result = await here.plants[BAY].result(sequence)
        message = await ended(running)
    assert (result.state, message.rows) == (state_code(State.COMPLETED), 2500)
    assert [len(each) for each in names(here)] == [1000, 1000, 500]
    assert here.effects() == fleet_names("HAMS 0", 2500)
    assert [each.ref for each in message.created] == fleet_names("HAMS 0", 2500)
    assert len(here.story(message.id).submissions) == 3


async def test_a_message_is_read_once_for_all_its_further_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part is made of the content at hand; the four after it share one reading of the journal's."""
    read: list[str] = []

    def encode(profile: Profile, waiting: Waiting) -> Encoded:
        read.append(waiting.message_id)
        return original(profile, waiting)

    original = batch.encode
    monkeypatch.setattr(batch, "encode", encode)
    async with world(tmp_path, sites=fleet(10), profile=limit(2)) as here, here.gateway() as running:
        await here.ask(BAY, "HAMS 0")
        message = await ended(running)
    assert message.state is State.COMPLETED
    assert [len(each) for each in names(here)] == [2] * 5
    assert read == [message.id]


async def test_a_lost_reply_for_the_second_of_three_parts(tmp_path: Path) -> None:
    """The SMP has the part and its answer is lost: the doubt is resolved before the third goes, nothing doubled."""
    async with world(tmp_path, sites=fleet(6), profile=limit(2)) as here, here.gateway() as running:
        here.front.plan("/assets", Answer(forward=True, status=202, body=b"{"), Answer(cut=True, forward=True))
        await here.ask(BAY, "HAMS 0")
        message = await ended(running)
    assert message.state is State.COMPLETED
    assert here.effects() == fleet_names("HAMS 0", 6)
    assert State.IN_DOUBT in {row.to_state for row in here.story(message.id).audit}


async def test_a_restart_in_the_middle_goes_on_with_the_rows_left(tmp_path: Path) -> None:
    """Ended after the first part while the second is at the SMP: the third goes after the restart, each row once."""
    async with world(tmp_path, sites=fleet(6), profile=limit(2)) as here:
        here.smp.faults.after_commit.extend([202, CUT])
        async with here.gateway() as running:
            await here.ask(BAY, "HAMS 0")
            await holds(lambda: len(here.smp.ledger.arrivals()) >= 2)
        async with here.gateway() as running:
            message = await ended(running)
    assert message.state is State.COMPLETED
    assert here.effects() == fleet_names("HAMS 0", 6)


async def test_a_refused_part_ends_its_rows_only(tmp_path: Path) -> None:
    """The second part holds a name that exists: PARTIAL, with the error in the message's own row."""
    async with world(tmp_path, sites=fleet(6), profile=limit(2)) as here, here.gateway() as running:
        await exists(here, running, "fleet 3")
        await here.ask(BAY, "HAMS 0")
        message = await ended(running)
    assert message.state is State.PARTIAL
    assert [(p.row, p.ref, p.code) for p in message.problems] == [(3, "fleet 3", "DUPLICATE_ASSET")]
    assert here.effects() == ["fleet 3", "HAMS 0", "fleet 1", "fleet 4", "fleet 5"]


async def test_what_queued_up_behind_a_slow_smp_goes_together(tmp_path: Path) -> None:
    """Three requests raised while the first is under way share one submission; each gets its own verdict and ids."""
    async with world(tmp_path) as here, here.gateway() as running:
        await queue_behind(here, running, ["A", "B", "C", "D"])
        messages = [await ended(running, n) for n in range(4)]
    assert names(here) == [["A"], ["B", "C", "D"]]
    assert [message.state for message in messages] == [State.COMPLETED] * 4
    assert [[each.ref for each in message.created] for message in messages] == [["A"], ["B"], ["C"], ["D"]]


async def test_one_bad_message_costs_the_others_a_submission_only(tmp_path: Path) -> None:
    """B exists already: A, C and D ask to be merged with it, B ends FAILED with its error, C and D go again."""
    async with world(tmp_path) as here, here.gateway() as running:
        await here.ask(BAY, "B")
        await ended(running)
        await queue_behind(here, running, ["A", "B", "C", "D"])
        messages = [await ended(running, n) for n in range(1, 5)]
    assert names(here) == [["B"], ["A"], ["B", "C", "D"], ["C", "D"]]
    assert [message.state for message in messages] == [
        State.COMPLETED,
        State.FAILED,
        State.COMPLETED,
        State.COMPLETED,
    ]
    assert [(p.row, p.code) for p in messages[1].problems] == [(0, "DUPLICATE_ASSET")]
    assert [message.problems for message in messages[2:]] == [(), ()]
    assert here.effects() == ["B", "A", "C", "D"]
    where = (str(here.folder / "gateway.yaml"), messages[2].id, "--state", str(here.state))
    shown = CliRunner().invoke(messages_app, ["show", *where, "--json"]).stdout
    assert [(each["state"], each["rows"][0]["fate"]) for each in json.loads(shown)["submissions"]] == [
        ("failed", "again"),
        ("completed", None),
    ]
    assert "rows 0-0 (sent again" in " ".join(CliRunner().invoke(messages_app, ["show", *where]).stdout.split())


async def test_a_name_twice_in_the_queue_goes_in_two_submissions(tmp_path: Path) -> None:
    """The names of a payload stay unique: the second B waits for the next one, and is refused by the SMP itself."""
    async with world(tmp_path) as here, here.gateway() as running:
        await queue_behind(here, running, ["A", "B", "B", "C"])
        messages = [await ended(running, n) for n in range(4)]
    assert names(here)[:3] == [["A"], ["B"], ["B", "C"]]
    assert [message.state for message in messages] == [
        State.COMPLETED,
        State.COMPLETED,
        State.FAILED,
        State.COMPLETED,
    ]


async def test_a_later_message_of_the_same_name_does_not_overtake_one_that_goes_again(tmp_path: Path) -> None:
    """B is refused with the message beside it and goes again: the second B, raised meanwhile, still comes after it."""
    async with world(tmp_path) as here, here.gateway() as running:
        await exists(here, running, "X")
        here.smp.faults.hold_callbacks()
        await queue_behind(here, running, ["A", "X", "B"])
        await running.reaches(BAY, State.AWAITING, number=2)
        await here.plants[BAY].acknowledged(await here.ask(BAY, "B"))
        await here.plants[BAY].acknowledged(await here.ask(BAY, "C"))
        here.smp.faults.release_callbacks()
        messages = [await ended(running, n) for n in range(5)]
    assert names(here)[1:] == [["A"], ["X", "B"], ["B"], ["B", "C"], ["C"]]
    assert [message.state for message in messages] == [
        State.COMPLETED,
        State.FAILED,
        State.COMPLETED,
        State.FAILED,
        State.COMPLETED,
    ]


async def test_a_merged_refusal_without_rows_sets_everybody_apart(tmp_path: Path) -> None:
    """The SMP answers 422 and says no row: each message goes alone, and nobody pays for another."""
    error = b'{"errors":[{"code":"TOO_BUSY_DAY","message":"not like this"}]}'
    async with world(tmp_path) as here, here.gateway() as running:
        here.front.intercept = lambda seen: (
            Answer(status=422, body=error) if len(json.loads(seen.body).get("assets", ())) == 2 else None
        )
        await queue_behind(here, running, ["A", "B", "C"])
        messages = [await ended(running, n) for n in range(3)]
    assert names(here) == [["A"], ["B", "C"], ["B"], ["C"]]
    assert [message.state for message in messages] == [State.COMPLETED] * 3


async def test_salvage_sends_the_good_rows_again(tmp_path: Path) -> None:
    """One of five names exists: the other four are created by a second submission, and the message is PARTIAL."""
    async with world(tmp_path, sites=fleet(5, "salvage: true")) as here, here.gateway() as running:
        await exists(here, running, "fleet 2")
        result = await here.plants[BAY].result(await here.ask(BAY, "HAMS 0"))
        message = await ended(running)
    assert (result.state, message.state) == (state_code(State.PARTIAL), State.PARTIAL)
    assert [(p.row, p.ref) for p in message.problems] == [(2, "fleet 2")]
    good = ["HAMS 0", "fleet 1", "fleet 3", "fleet 4"]
    assert names(here)[1:] == [fleet_names("HAMS 0", 5), good]
    assert [each.ref for each in message.created] == good
    assert here.effects() == ["fleet 2", *good]


async def test_without_the_profiles_word_every_message_goes_by_itself(tmp_path: Path) -> None:
    """`merges: []`: what queued up goes one by one, in order."""
    async with (
        world(tmp_path, profile=lambda text: text.replace("merges: [assets]", "merges: []")) as here,
        here.gateway() as running,
    ):
        await queue_behind(here, running, ["A", "B", "C"])
        await ended(running, 2)
    assert names(here) == [["A"], ["B"], ["C"]]


async def test_a_warning_is_shown_and_refuses_nothing(tmp_path: Path) -> None:
    """An MPAN of another distributor's group: COMPLETED, never on the wire, and told by `messages list` and `show`."""
    async with world(tmp_path) as here, here.gateway() as running:
        await here.ask(BAY, "HAMS 0", mpan="1100000000114")
        message = await ended(running)
    assert (message.state, message.problems) == (State.COMPLETED, ())
    (seen,) = here.front.requests("/assets")
    assert set(json.loads(seen.body)) == {"messageId", "action", "assets"}
    where = [str(here.folder / "gateway.yaml"), "--state", str(here.state)]
    (listed,) = json.loads(CliRunner().invoke(messages_app, ["list", *where, "--json"]).stdout)
    assert [(w["row"], w["code"]) for w in listed["warnings"]] == [(0, "gsp_mismatch")]
    assert "warning: row 0 meterPoints[0].id" in CliRunner().invoke(messages_app, ["list", *where]).stdout
    shown = CliRunner().invoke(messages_app, ["show", where[0], message.id, *where[1:]]).stdout
    assert "warning, gsp_mismatch: row 0" in shown
