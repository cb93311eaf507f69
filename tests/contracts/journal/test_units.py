"""Units and what they wait for, the registry of names, whose they are, and messages that a verdict sets off."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.core.message import (
    ASSETS,
    UNIT,
    Alignment,
    Created,
    Creation,
    Draft,
    Follower,
    Lane,
    Message,
    Ref,
    message_id,
)
from gateway.core.record import Adoption, Appended, Asset, AssetFilter, Origin, Received
from gateway.core.transaction import Event, State
from gateway.core.verdict import Verdict
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BAD_MPAN,
    BATTERY,
    FAILURE,
    FOREIGN,
    START,
    UNIT_LANE,
    Place,
    accepted,
    callback,
    draft,
    evidence,
    outgoing,
    state_of,
)

OTHER = replace(BATTERY, site="solent-bess")  # another site of the same participant
DAY = 24 * 3600 * 1_000_000
WAIT_UNTIL = START + DAY


def assets(sequence: int, *names: str, lane: Lane = BATTERY, group: str | None = "_H") -> Draft:
    content = {"assets": [{"assetName": name, "connection": {"gspGroup": group}} for name in names]}
    return replace(
        draft(sequence, lane, rules=(), content=json.dumps(content).encode()),
        rows=len(names),
        creates=tuple(Creation(row=row, name=name, gsp_group=group) for row, name in enumerate(names)),
        mailbox=None,
    )


def unit(sequence: int, *refs: Ref, lane: Lane = UNIT_LANE, name: str = "HAMS-1", limit: int = 1000) -> Draft:
    return replace(
        draft(sequence, lane, rules=(), content=json.dumps({"unit": {"unitName": name}}).encode()),
        kind=UNIT,
        rows=1,
        raw=f"unit {sequence}".encode(),
        creates=(Creation(row=0, name=name, gsp_group="_H"),),
        alignment=Alignment(refs=refs, gsp_group="_H", limit=limit, wait_until=WAIT_UNTIL),
        mailbox=None,
    )


def named(name: str) -> Ref:
    return Ref(asset=name)


def of(lane: Lane) -> Ref:
    return Ref(lane=lane)


async def found(journal: Journal, made: Draft) -> Message:
    message = await journal.message(made.id)
    assert message is not None
    return message


async def send(journal: Journal, made: Draft, name: str) -> Appended:
    """Append, and let the SMP take it where it was sent."""
    appended = await journal.append(made, outgoing(name))
    if appended.submission is not None:
        await journal.settle(name, 1, accepted(f"TX-{name}"))
    return appended


async def decide(journal: Journal, name: str, verdict: Verdict, lane: Lane = BATTERY) -> Received:
    return await journal.receive(evidence(f"j-{name}", lane=lane), callback(f"TX-{name}", name, verdict), None)


def success(*names: str) -> Verdict:
    created = tuple(Created(ref=name, smp_id=f"SMP-{name}") for name in names)
    return Verdict(event=Event.SUCCESS, notification="Success", created=created)


def aligned(message: Message) -> list[str] | None:
    names: list[str] | None = json.loads(message.content)["unit"].get("alignedAssets")
    return names


def registry(place: Place) -> dict[str, Asset]:
    with place.look() as reader:
        return {asset.name: asset for asset in reader.assets(AssetFilter())}


async def test_a_unit_waits_for_the_last_message_and_goes_on_with_its_verdict(journal: Journal, place: Place) -> None:
    """WAITING until the very commit that creates the last asset; then ACCEPTED, complete, and told of."""
    await send(journal, assets(1, "A", "B"), "s1")
    waiting = await journal.append(unit(2, of(BATTERY)), None)
    assert waiting.state is State.WAITING
    assert await journal.head(UNIT_LANE) is None
    received = await decide(journal, "s1", success("A", "B"))
    assert received.changed is not None
    assert [(each.lane, each.before, each.state) for each in received.changed.others] == [
        (UNIT_LANE, State.WAITING, State.ACCEPTED)
    ]
    assert aligned(await found(journal, unit(2))) == ["A", "B"]
    assert await journal.lanes() == [UNIT_LANE]
    assert place.steps(unit(2).id) == [
        (State.RECEIVED, "valid", State.ACCEPTED),
        (State.ACCEPTED, "dependency_missing", State.WAITING),
        (State.WAITING, "dependencies_met", State.ACCEPTED),
    ]


async def test_a_unit_whose_assets_are_there_waits_for_nothing(journal: Journal) -> None:
    """Each asset once, in the order of the entries, whichever entry names it."""
    await send(journal, assets(1, "A", "B"), "s1")
    await decide(journal, "s1", success("A", "B"))
    appended = await journal.append(unit(2, named("B"), of(BATTERY)), None)
    assert appended.state is State.ACCEPTED
    assert aligned(await found(journal, unit(2))) == ["B", "A"]


async def test_a_success_without_results_has_created_everything(journal: Journal, place: Place) -> None:
    """An SMP that names nothing in its success has created what it was sent."""
    await send(journal, assets(1, "A"), "s1")
    await decide(journal, "s1", success())
    assert (registry(place)["A"].there, registry(place)["A"].smp_id) == (True, None)


async def test_what_the_smp_names_unasked_is_seen(journal: Journal, place: Place) -> None:
    """A name in the results that no message asked for is kept as seen."""
    await send(journal, assets(1, "A"), "s1")
    await decide(journal, "s1", success("A", "B"))
    assert [(each.name, each.origin) for each in registry(place).values()] == [
        ("A", Origin.CREATED),
        ("B", Origin.SEEN),
    ]


async def test_a_unit_may_ask_before_its_message_has_come(journal: Journal) -> None:
    """With no message of that name so far, the next one is meant, and its names complete the unit."""
    assert (await journal.append(unit(1, of(BATTERY), named("X")), None)).state is State.WAITING
    await send(journal, assets(2, "A"), "s1")
    assert aligned(await found(journal, unit(1))) == ["A", "X"]
    await decide(journal, "s1", success("A"))
    assert await state_of(journal, 1, UNIT_LANE) is State.WAITING
    await send(journal, assets(3, "X", lane=OTHER), "s2")
    received = await decide(journal, "s2", success("X"))
    assert received.changed is not None
    assert [each.state for each in received.changed.others] == [State.ACCEPTED]


@pytest.mark.parametrize("early", [True, False], ids=["waiting", "asked later"])
async def test_a_unit_is_refused_with_the_asset_and_its_reason(journal: Journal, *, early: bool) -> None:
    """dependency_failed, alike for the unit that waits and for the one that comes after the failure."""
    await send(journal, assets(1, "PCS 1"), "s1")
    if early:
        await journal.append(unit(2, of(BATTERY)), None)
    received = await decide(journal, "s1", FAILURE)
    if not early:
        appended = await journal.append(unit(2, of(BATTERY)), None)
        assert appended.problems == (await found(journal, unit(2))).problems
    elif received.changed is not None:
        assert [each.state for each in received.changed.others] == [State.REFUSED]
    refused = await found(journal, unit(2))
    (problem,) = refused.problems
    assert (refused.state, problem.code, problem.ref) == (State.REFUSED, "dependency_failed", "PCS 1")
    assert problem.message == (
        "asset 'PCS 1' is not there: message battery of site hams-bess is failed: row 0 meterPoints[0].id: check digit"
    )


async def test_an_older_success_does_not_stand_in_for_the_last_failure(journal: Journal) -> None:
    """The last message of the name is meant, whatever became of it."""
    await send(journal, assets(1, "A"), "s1")
    await decide(journal, "s1", success("A"))
    await journal.append(replace(assets(2, "PCS 1"), problems=(BAD_MPAN,)), None)
    appended = await journal.append(unit(3, of(BATTERY)), None)
    assert (appended.state, appended.problems[0].ref) == (State.REFUSED, "PCS 1")


async def test_a_refused_message_that_nobody_can_read_back_refuses_the_unit(journal: Journal) -> None:
    """A number of 301 digits is kept as it came: no reason for the journal to stop when a unit asks for its assets."""
    unreadable = replace(assets(1), content=b'{"assets":[{"assetName":"A","capacity":1%s}]}' % (b"0" * 300), rows=1)
    await journal.append(replace(unreadable, problems=(BAD_MPAN,)), None)
    appended = await journal.append(unit(2, of(BATTERY)), None)
    assert (appended.state, appended.problems[0].ref) == (State.REFUSED, "battery")


async def test_a_name_that_is_there_survives_a_failed_second_creation(journal: Journal, place: Place) -> None:
    """The SMP refuses to create it again; it is there all the same, and a unit may align it."""
    await send(journal, assets(1, "PCS 1"), "s1")
    await decide(journal, "s1", success("PCS 1"))
    await send(journal, assets(2, "PCS 1"), "s2")
    await decide(journal, "s2", FAILURE)
    assert registry(place)["PCS 1"].there
    assert (await journal.append(unit(3, of(BATTERY)), None)).state is State.ACCEPTED


async def test_a_partial_verdict_serves_one_unit_and_refuses_the_other(journal: Journal) -> None:
    """Each unit by its own assets: what was created serves, what was not refuses, in one commit."""
    await send(journal, assets(1, "A", "PCS 1"), "s1")
    await journal.append(unit(2, named("A")), None)
    await journal.append(unit(3, named("PCS 1"), lane=replace(UNIT_LANE, message="hams-2"), name="HAMS-2"), None)
    verdict = Verdict(event=Event.PARTIAL_SUCCESS, created=(Created(ref="A", smp_id="1"),), problems=(BAD_MPAN,))
    received = await decide(journal, "s1", verdict)
    assert received.changed is not None
    assert {each.lane.message: each.state for each in received.changed.others} == {
        "hams-1": State.ACCEPTED,
        "hams-2": State.REFUSED,
    }


async def test_assets_of_two_sites_and_of_no_other_participant(journal: Journal) -> None:
    """The same name of another participant neither serves nor blocks."""
    await send(journal, assets(1, "X", lane=FOREIGN), "s1")
    await decide(journal, "s1", success("X"), FOREIGN)
    await send(journal, assets(2, "A"), "s2")
    await send(journal, assets(3, "X", lane=OTHER), "s3")
    assert (await journal.append(unit(4, of(BATTERY), of(OTHER)), None)).state is State.WAITING
    await decide(journal, "s2", success("A"))
    assert await state_of(journal, 4, UNIT_LANE) is State.WAITING
    await decide(journal, "s3", success("X"))
    assert await state_of(journal, 4, UNIT_LANE) is State.ACCEPTED
    assert aligned(await found(journal, unit(4))) == ["A", "X"]


async def test_a_name_belongs_to_the_lane_that_is_creating_it(journal: Journal) -> None:
    """Another lane is refused and told which, until the owner's verdict; its own and other participants are not."""
    await send(journal, assets(1, "A", "B"), "s1")
    taken = await journal.append(assets(2, "C", "B", lane=OTHER), outgoing("s2"))
    assert (taken.state, taken.submission) == (State.REFUSED, None)
    assert [(each.row, each.code, each.message) for each in taken.problems] == [
        (1, "name_taken", "'B' is being created by message battery of site hams-bess, which is awaiting")
    ]
    assert (await journal.append(assets(3, "A"), None)).state is State.ACCEPTED
    assert (await journal.append(assets(4, "A", lane=FOREIGN), None)).state is State.ACCEPTED
    assert (await journal.append(assets(5, "C", lane=OTHER), None)).state is State.ACCEPTED
    await decide(journal, "s1", FAILURE)
    assert (await journal.append(assets(6, "B", lane=OTHER), None)).state is State.ACCEPTED


async def test_a_reference_to_a_name_of_another_lane_waits(journal: Journal) -> None:
    """Asking for what another lane creates is no offence: the unit waits, and goes on with it."""
    await send(journal, assets(1, "A", lane=OTHER), "s1")
    assert (await journal.append(unit(2, named("A")), None)).state is State.WAITING
    await decide(journal, "s1", success("A"))
    assert await state_of(journal, 2, UNIT_LANE) is State.ACCEPTED


async def test_another_open_message_of_the_name_keeps_the_unit_waiting(journal: Journal) -> None:
    """A failure is not the end of a name that a second message of its lane is still creating."""
    await send(journal, assets(1, "PCS 1"), "s1")
    await send(journal, assets(2, "PCS 1"), "s2")
    await journal.append(unit(3, named("PCS 1")), None)
    await decide(journal, "s1", FAILURE)
    assert await state_of(journal, 3, UNIT_LANE) is State.WAITING
    await decide(journal, "s2", success("PCS 1"))
    assert await state_of(journal, 3, UNIT_LANE) is State.ACCEPTED


async def test_waiting_blocks_what_comes_after_it_in_its_lane_only(journal: Journal) -> None:
    """What was accepted before the waiting unit may be sent, what comes after it may not, other lanes go on."""
    await journal.append(unit(1, name="U1"), None)
    await journal.append(unit(2, named("A"), name="U2"), None)
    await journal.append(unit(3, name="U3"), None)
    head = await journal.head(UNIT_LANE)
    assert head is not None
    assert head[0].id == unit(1).id
    assert await journal.lanes() == [UNIT_LANE]
    assert await journal.take(head[0].id, outgoing("s1")) is not None
    await journal.settle("s1", 1, accepted("TX-s1"))
    assert (await journal.head(UNIT_LANE), await journal.lanes()) == (None, [])
    assert (await journal.append(assets(4, "B"), outgoing("s2"))).state is State.SENDING


async def test_a_unit_that_waited_too_long_expires_and_says_for_what(journal: Journal, place: Place) -> None:
    """At the wait limit, or at its not-after where that comes first; assets that come later change nothing."""
    await journal.append(unit(1, named("A"), of(OTHER)), None)
    await journal.append(replace(unit(2, named("A"), name="U2"), not_after=START + 5 * 1_000_000), None)
    place.clock.at = START + 6 * 1_000_000
    assert [each.message_id for each in await journal.expire(place.clock.now())] == [unit(2).id]
    place.clock.at = WAIT_UNTIL
    (expired,) = await journal.expire(place.clock.now())
    (problem,) = (await found(journal, unit(1))).problems
    assert (expired.state, problem.code) == (State.EXPIRED, "wait_limit")
    assert problem.message == (
        "waits for the next message battery of site solent-bess, "
        "'A' (nobody creates it; if it was made long ago, adopt it)"
    )
    await send(journal, assets(3, "A"), "s1")
    received = await decide(journal, "s1", success("A"))
    assert received.changed is not None
    assert received.changed.others == ()


async def test_waiting_outlives_a_restart(place: Place) -> None:
    """What a unit waits for is on disk: the asset that comes in the next life serves it."""
    async with place.open() as journal:
        await send(journal, assets(1, "A"), "s1")
        await journal.append(unit(2, of(BATTERY)), None)
    async with place.open() as journal:
        assert await state_of(journal, 2, UNIT_LANE) is State.WAITING
        await decide(journal, "s1", success("A"))
        assert await state_of(journal, 2, UNIT_LANE) is State.ACCEPTED


async def test_assets_of_another_gsp_group_refuse_the_unit(journal: Journal) -> None:
    """As soon as the group is known: at acceptance, or when the asset comes; an unknown group is no problem."""
    await send(journal, assets(1, "A", group="_B"), "s1")
    at_once = await journal.append(unit(2, of(BATTERY)), None)
    assert [(each.code, each.message) for each in at_once.problems] == [
        ("gsp_group_mismatch", "asset 'A' lies in GSP group _B, the unit in _H")
    ]
    await journal.append(unit(3, named("X")), None)
    await send(journal, assets(4, "X", lane=OTHER, group="_B"), "s2")
    await decide(journal, "s2", success("X"))
    assert await state_of(journal, 3, UNIT_LANE) is State.REFUSED
    await send(journal, assets(5, "Y", lane=OTHER, group=None), "s3")
    assert (await journal.append(unit(6, named("Y")), None)).state is State.WAITING


async def test_a_unit_aligns_no_more_assets_than_the_smp_takes(journal: Journal) -> None:
    """The limit counts assets, each once, over all entries."""
    await send(journal, assets(1, "A", "B"), "s1")
    assert (await journal.append(unit(2, of(BATTERY), named("A"), limit=2), None)).state is State.WAITING
    over = await journal.append(unit(3, of(BATTERY), named("C"), limit=2, name="U3"), None)
    assert [each.code for each in over.problems] == ["too_many"]


async def test_the_same_request_for_a_unit_again_is_the_same_unit(journal: Journal) -> None:
    """Though its content was completed meanwhile, the same bytes are the same request; others are not."""
    await send(journal, assets(1, "A"), "s1")
    await journal.append(unit(2, of(BATTERY)), None)
    again = await journal.append(unit(2, of(BATTERY)), None)
    other = await journal.append(replace(unit(2, of(BATTERY)), raw=b"else"), None)
    assert (again.existed, again.same, other.existed, other.same) == (True, True, True, False)


async def test_adopted_assets_serve_units(journal: Journal, place: Place) -> None:
    """Assets made long ago end a wait, are kept once however often they are told, and keep their ids."""
    await journal.append(unit(1, named("OLD 1"), named("OLD 2")), None)
    told = [Adoption(line=2, name="OLD 1", smp_id="SMP-9", gsp_group="_H"), Adoption(line=3, name="OLD 2")]
    first = await journal.adopt("test", "exstor", told, actor="operator", detail="fleet.csv")
    again = await journal.adopt("test", "exstor", told, actor="operator", detail="fleet.csv")
    assert (first.new, first.known, [each.state for each in first.others]) == (2, 0, [State.ACCEPTED])
    assert (again.new, again.known, again.others) == (0, 2, ())
    asset = registry(place)["OLD 1"]
    assert (asset.smp_id, asset.origin, asset.there) == ("SMP-9", Origin.ADOPTED, True)


async def test_an_adoption_that_contradicts_what_is_known_stores_nothing(journal: Journal, place: Place) -> None:
    """Every contradiction with its line, and not one row of the file is kept."""
    await send(journal, assets(1, "A"), "s1")
    await decide(journal, "s1", success("A"))
    await send(journal, assets(2, "B"), "s2")
    told = [
        Adoption(line=2, name="NEW"),
        Adoption(line=3, name="A", smp_id="SMP-other"),
        Adoption(line=4, name="A", gsp_group="_B"),
        Adoption(line=5, name="B"),
    ]
    adopted = await journal.adopt("test", "exstor", told, actor="operator", detail="fleet.csv")
    assert adopted.faults == (
        (3, "'A' is known as SMP-A, not SMP-other"),
        (4, "'A' was created in GSP group _H, not _B"),
        (5, "'B' is being created by message battery of site hams-bess; wait for its verdict"),
    )
    assert set(registry(place)) == {"A"}


async def test_an_adoption_in_another_group_refuses_the_unit(journal: Journal) -> None:
    """What the participant says of its old assets counts like what its messages say."""
    await journal.append(unit(1, named("OLD")), None)
    adopted = await journal.adopt(
        "test", "exstor", [Adoption(line=2, name="OLD", gsp_group="_B")], actor="operator", detail=""
    )
    assert [each.state for each in adopted.others] == [State.REFUSED]


FOLLOWED = (Follower(message="hams-1", kind=UNIT, on=frozenset({State.COMPLETED})),)


async def test_an_end_sets_off_a_message_exactly_once(place: Place) -> None:
    """It is written with the verdict, outlives restarts, and is taken away by the message itself."""
    parent = replace(assets(1, "A"), followers=FOLLOWED)
    child = replace(
        unit(2, Ref(lane=BATTERY, message_id=parent.id)),
        id=message_id(UNIT_LANE, parent.id),
        intake_key=parent.id,
        follows=parent.id,
    )
    async with place.open() as journal:
        await send(journal, parent, "s1")
        assert await journal.sequels("hams-bess") == []
        received = await decide(journal, "s1", success("A"))
        assert received.changed is not None
        assert received.changed.sequels
    async with place.open() as journal:
        (sequel,) = await journal.sequels("hams-bess")
        assert (sequel.parent.id, sequel.message, sequel.kind) == (parent.id, "hams-1", UNIT)
        assert await journal.sequels("solent-bess") == []
        assert (await journal.append(child, None)).state is State.ACCEPTED
    async with place.open() as journal:
        assert await journal.sequels("hams-bess") == []
        assert (await journal.append(child, None)).existed


async def test_only_the_ends_that_are_asked_for_set_anything_off(journal: Journal) -> None:
    """A refusal at acceptance counts as an end as much as a verdict does."""
    on_refusal = (Follower(message="alarm", kind=ASSETS, on=frozenset({State.REFUSED})),)
    await send(journal, replace(assets(1, "PCS 1"), followers=FOLLOWED), "s1")
    received = await decide(journal, "s1", FAILURE)
    refused = await journal.append(replace(assets(2, "A"), problems=(BAD_MPAN,), followers=on_refusal), None)
    assert received.changed is not None
    assert (received.changed.sequels, refused.sequels) == (False, True)
    assert [each.message for each in await journal.sequels("hams-bess")] == ["alarm"]
