"""What exists at the SMP, who is creating what, and which units wait for it; `core.alignment` decides, this executes.

Rules
-----
* A name is claimed in the commit that accepts its message and let go in the one that ends it; another lane's message
  that would create it meanwhile is refused.
* What a submission created moves from `claim` to `asset` in the commit of its verdict, and so do the units that waited
  for it. Claims that are left when their message ends become assets that are not there, with the reason.
* A `need` lives exactly as long as its unit is WAITING. An asset that is there never goes away again.
* Nothing here moves a message: that is `moving`'s, which is told the consequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.core import alignment
from gateway.core.alignment import Known, Ruling, Standing
from gateway.core.message import ASSETS, Alignment, Created, Draft, Lane, Problem
from gateway.core.transaction import TERMINAL, Event, State
from gateway.edge.journal import rows
from gateway.edge.journal.statements import Commit, Reading

_ASSET, _LANE = "asset", "lane"  # what a need is for
_TOLD = 20  # names of one message whose owners are told


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """What another message has to go through because of this commit."""

    message_id: str
    event: Event
    detail: str = ""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A unit as the registry sees it now: what follows, and its content and alignment as far as they are known."""

    ruling: Ruling
    alignment: Alignment
    content: bytes

    @property
    def waits_for(self) -> str:
        """A sentence about what is missing; empty when nothing is."""
        lanes = self.alignment.open_lanes
        return alignment.waits_for(self.ruling.missing, lanes) if self.ruling.missing or lanes else ""


# ---------------------------------------------------------------- a message arrives
def claim(commit: Commit, draft: Draft) -> tuple[Problem, ...]:
    """Claim the names that a draft creates, or say which of them belong to another lane's open message."""
    for each in draft.creates:
        commit.run(
            "insert_claim",
            message_id=draft.id,
            name=each.name,
            environment=draft.lane.environment,
            participant=draft.lane.participant,
            kind=draft.kind,
            line=each.row,
            gsp_group=each.gsp_group,
        )
    if draft.problems or not draft.creates:
        return ()
    foreign = commit.all("foreign_claims", message_id=draft.id, lane=str(draft.lane), limit=_TOLD)
    if foreign:
        commit.run("delete_claims", message_id=draft.id)
    return tuple(_taken(draft, *row) for row in foreign)


def _taken(draft: Draft, line: int, name: str, lane: str, state: str) -> Problem:
    owner = Lane.parse(lane)
    said = f"{name!r} is being created by message {owner.message} of site {owner.site}, which is {state}"
    return Problem(row=line if draft.kind == ASSETS else None, ref=name, code="name_taken", message=said)


def place(commit: Commit, draft: Draft, wanted: Alignment) -> Placed:
    """Judge a unit before it is stored, and keep what it needs unless it is refused."""
    for lane in wanted.open_lanes:
        last = commit.one("last_of_lane", lane=str(lane))
        wanted = wanted if last is None else wanted.bound(lane, last[0])
    return _place(commit, draft.id, draft.lane, draft.content, wanted)


def arrived(commit: Commit, draft: Draft) -> list[Consequence]:
    """Bind the units that wait for the next message of this lane, now that it is stored."""
    lane = str(draft.lane)
    owner = {"environment": draft.lane.environment, "participant": draft.lane.participant}
    waiting = commit.all("needs_of", what=_LANE, name=lane, **owner) if draft.kind == ASSETS else ()
    found = [_bind(commit, unit_id, draft.lane, draft.id) for (unit_id,) in waiting]
    return [each for each in found if each is not None]


def _bind(commit: Commit, unit_id: str, lane: Lane, message_id: str) -> Consequence | None:
    wanted, content = _alignment(commit, unit_id)
    (row,) = commit.all("lane_of_message", id=unit_id)
    commit.run("delete_needs", message_id=unit_id)
    placed = _place(commit, unit_id, Lane.parse(row[0]), content, wanted.bound(lane, message_id))
    commit.must("update_alignment", id=unit_id, alignment=rows.dump_alignment(placed.alignment), content=placed.content)
    if placed.ruling.problems:
        return _refusal(unit_id, placed.ruling.problems)
    return None if placed.waits_for else _met(unit_id)


def _place(commit: Commit, unit_id: str, own: Lane, content: bytes, wanted: Alignment) -> Placed:
    known = _known_of(commit, own, wanted)
    ruling = alignment.judge(wanted, known)
    lanes = wanted.open_lanes
    if not lanes and not ruling.problems:
        content = alignment.completed(content, (each.name for each in known))
    needs = [*((_ASSET, each.name) for each in ruling.missing), *((_LANE, str(lane)) for lane in lanes)]
    for what, name in () if ruling.problems else needs:
        commit.run(
            "insert_need",
            message_id=unit_id,
            what=what,
            name=name,
            environment=own.environment,
            participant=own.participant,
        )
    return Placed(ruling=ruling, alignment=wanted, content=content)


def _known_of(reading: Reading, own: Lane, wanted: Alignment) -> list[Known]:
    """What is known of every asset that a unit aligns, each once, in its own order."""
    found: dict[str, Known] = {}
    for ref in wanted.refs:
        if ref.asset is not None:
            found.setdefault(ref.asset, _known(reading, own, ref.asset))
        elif ref.message_id is not None:
            for each in _known_of_message(reading, own, ref.message_id):
                found.setdefault(each.name, each)
    return list(found.values())


def _known_of_message(reading: Reading, own: Lane, message_id: str) -> Iterable[Known]:
    (row,) = reading.all("message_ending", id=message_id)
    lane, _, content, state, problems, _ = row
    source, ended = Lane.parse(lane), State(state) in TERMINAL
    note = alignment.ending(source, State(state), rows.load_problems(problems)) if ended else ""
    names = alignment.names_in(content)
    if not names:
        yield Known(name=source.message, standing=Standing.FAILED, note=note)
    for name in names:
        yield _known(reading, own, name, failed=note)


def _known(reading: Reading, own: Lane, name: str, *, failed: str = "") -> Known:
    """``failed`` is why an asset of which nothing else is known is not there."""
    key = {"environment": own.environment, "participant": own.participant, "kind": ASSETS, "name": name}
    row = reading.one("asset", **key)
    if row is not None and row[6]:
        return Known(name=name, standing=Standing.THERE, gsp_group=row[7])
    claimed = reading.one("claim_of_name", **key)
    if claimed is not None:
        owner = Lane.parse(claimed[0])
        note = f"message {owner.message} of site {owner.site} creates it"
        return Known(name=name, standing=Standing.COMING, gsp_group=claimed[1], note=note)
    note = failed if row is None else row[9]
    return Known(name=name, standing=Standing.FAILED if note else Standing.UNKNOWN, note=note)


# ---------------------------------------------------------------- the SMP decides
def created(
    commit: Commit, message_id: str, lane: Lane, whole: Sequence[range], results: Sequence[Created]
) -> list[Consequence]:
    """Register what a submission created of a message: the rows that are ``whole``, and what the SMP names."""
    settled = False
    for span in whole:
        found = commit.all("settle_claims", message_id=message_id, first=span.start, end=span.stop)
        settled = settled or bool(found)
    for each in results:
        named = commit.one("settle_claim", message_id=message_id, name=each.ref, smp_id=each.smp_id)
        settled = settled or named is not None
        if named is None:
            _see(commit, message_id, lane, each)
    return _settle(commit, message_id) if settled else []


def _see(commit: Commit, message_id: str, lane: Lane, result: Created) -> None:
    """Keep what the SMP names unasked, unless a message of ours is about to have it."""
    key = {"environment": lane.environment, "participant": lane.participant, "name": result.ref}
    row = commit.one("message_ending", id=message_id)
    if row is not None and commit.one("claim_of_name", kind=row[1], **key) is None:
        commit.run("see_asset", kind=row[1], smp_id=result.smp_id, message_id=message_id, **key)


def _settle(commit: Commit, message_id: str) -> list[Consequence]:
    """Move the settled claims of a message into the registry, and tell the units that needed them."""
    needed = commit.all("needs_settled", message_id=message_id)
    commit.run("delete_needs_settled", message_id=message_id)
    commit.run("assets_settled", message_id=message_id)
    commit.run("delete_claims_settled", message_id=message_id)
    return served(
        commit,
        [(unit_id, Known(name=name, standing=Standing.THERE, gsp_group=group)) for unit_id, name, group in needed],
    )


def served(commit: Commit, news: Iterable[tuple[str, Known]]) -> list[Consequence]:
    """What follows for units of which each asset in ``news`` is there now; their needs of these are gone already."""
    by_unit: dict[str, list[Known]] = {}
    for unit_id, asset in news:
        by_unit.setdefault(unit_id, []).append(asset)
    return [each for unit_id, assets in by_unit.items() if (each := _served(commit, unit_id, assets)) is not None]


def _served(commit: Commit, unit_id: str, assets: Sequence[Known]) -> Consequence | None:
    wanted, _ = _alignment(commit, unit_id)
    problems = tuple(problem for each in assets if (problem := alignment.fault(wanted, each)) is not None)
    if problems:
        return _refusal(unit_id, problems)
    row = commit.one("count_needs", message_id=unit_id)
    return _met(unit_id) if row is None or row[0] == 0 else None


def ended(commit: Commit, message_id: str) -> tuple[list[Consequence], bool]:
    """Let go what a message that ended did not create; and say whether its end sets other messages off."""
    (row,) = commit.all("message_ending", id=message_id)
    lane, kind, _, word, text, followers = row
    source, state = Lane.parse(lane), State(word)
    set_off = [each for each in rows.load_followers(followers) if state in each.on]
    for each in set_off:
        commit.run("insert_sequel", parent_id=message_id, message=each.message, kind=each.kind, site=source.site)
    if state is State.COMPLETED:
        return [], bool(set_off)
    problems = rows.load_problems(text)
    commit.run("assets_failed", message_id=message_id, note=alignment.ending(source, state, problems))
    key = {"environment": source.environment, "participant": source.participant, "kind": kind}
    for problem in problems:
        if problem.ref is not None:
            note = alignment.ending(source, state, (problem,))
            commit.run("note_asset_failed", name=problem.ref, message_id=message_id, note=note, **key)
    failed: dict[str, str] = {}
    for unit_id, name in commit.all("needs_failed", message_id=message_id):
        failed.setdefault(unit_id, name)
    commit.run("delete_claims", message_id=message_id)
    return [_failed(commit, source, unit_id, name) for unit_id, name in failed.items()], bool(set_off)


def _failed(commit: Commit, source: Lane, unit_id: str, name: str) -> Consequence:
    wanted, _ = _alignment(commit, unit_id)
    problem = alignment.fault(wanted, _known(commit, source, name))
    return _refusal(unit_id, () if problem is None else (problem,))


def _refusal(unit_id: str, problems: tuple[Problem, ...]) -> Consequence:
    return Consequence(
        message_id=unit_id,
        event=Event.DEPENDENCY_FAILED,
        detail=str(problems[0]) if problems else "",
        problems=problems,
    )


def _met(unit_id: str) -> Consequence:
    return Consequence(message_id=unit_id, event=Event.DEPENDENCIES_MET, detail="every aligned asset is there")


def _alignment(reading: Reading, unit_id: str) -> tuple[Alignment, bytes]:
    (row,) = reading.all("alignment", id=unit_id)
    return rows.load_alignment(row[0]), row[1]


def missing_of(reading: Reading, unit_id: str, own: Lane) -> str:
    """A sentence about what a WAITING unit waits for."""
    wanted, _ = _alignment(reading, unit_id)
    missing = [each for each in _known_of(reading, own, wanted) if each.standing is not Standing.THERE]
    return alignment.waits_for(missing, wanted.open_lanes)
