"""What is compared after a kill run: what the plants saw, what the SMP has, and what the journal says; plain values."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.message import Lane, Submission
from gateway.core.record import MessageFilter
from gateway.core.transaction import TERMINAL, State
from gateway.edge.journal.postgres import look
from gateway.edge.journal.reader import AuditRow, JournalReader, MessageStory
from gateway.simulator.ledger import Ledger
from gateway.simulator.record import Arrival, Entry

EVERYTHING = 1_000_000_000
_REQUEST = re.compile(r"[^:]+:[0-9]+\.([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request of a plant; ``expected`` is the end that it must come to whatever happens on the way."""

    sequence: int
    name: str
    expected: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One result as the plant consumed it."""

    sequence: int
    result_seq: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantRecord:
    """What one plant did and saw, in its own order; ``unit`` is the message that each completed request sets off."""

    site: str
    participant: str
    unit: str | None = None
    asked: Mapping[int, Asked]
    acknowledged: frozenset[int]
    results: tuple[Read, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRecord:
    """What the SMP has: its transactions and, in their order, all arrivals."""

    entries: tuple[Entry, ...]
    arrivals: tuple[Arrival, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One submission as the journal has it.

    ``names`` are the message's own assets in its body, or its unit, which aligns the assets ``aligned``; ``committed``
    are the times at which its attempts went to disk (µs UTC). Without ``stands`` it was refused for another message's
    sake, and the message's rows went again.
    """

    id: str
    sha256: str
    names: tuple[str, ...]
    committed: tuple[int, ...]
    aligned: tuple[str, ...] = ()
    stands: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One message as the journal has it.

    ``sequence`` is that of the mailbox request; what no mailbox asked for has none, and ``follows`` the message whose
    end set it off.
    """

    id: str
    lane: Lane
    sequence: int | None
    state: State
    follows: str | None = None
    submissions: tuple[Sent, ...] = ()
    audit: tuple[AuditRow, ...] = ()
    verdicts: int = 0
    pending_relays: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRecord:
    """Every message in accept order."""

    messages: tuple[Kept, ...] = field(default=())


# ---------------------------------------------------------------- reading them
def read_plant(
    lines: Iterable[str], *, site: str, participant: str, ends: Mapping[str, State], unit: str | None = None
) -> PlantRecord:
    """Read what `simulate site --json` printed; ``ends`` says what each act must come to."""
    asked: dict[int, Asked] = {}
    acknowledged: set[int] = set()
    results: list[Read] = []
    for line in lines:
        told = json.loads(line)
        match told["event"]:
            case "raised":
                sequence = told["sequence"]
                asked[sequence] = Asked(sequence=sequence, name=told["name"], expected=ends[told["act"]])
            case "acknowledged":
                acknowledged.add(told["sequence"])
            case "result":
                read = Read(sequence=told["sequence"], result_seq=told["result_seq"], state=told["state"])
                results.append(read)
            case _:
                continue
    return PlantRecord(
        site=site,
        participant=participant,
        unit=unit,
        asked=asked,
        acknowledged=frozenset(acknowledged),
        results=tuple(results),
    )


def read_ledger(path: Path) -> LedgerRecord:
    """Read the simulated SMP's file."""
    return LedgerRecord(entries=tuple(Ledger.read(path)), arrivals=tuple(Ledger.read_arrivals(path)))


def opened(where: Path | str) -> AbstractContextManager[JournalReader]:
    """Look into a journal: a file, or the database at this URL."""
    return look(where) if isinstance(where, str) else JournalReader.open(where)


def read_journal(where: Path | str) -> JournalRecord:
    """Read every message with all that belongs to it."""
    with opened(where) as reader:
        newest_first = reader.history(MessageFilter(limit=EVERYTHING))
        stories = [reader.story(message.id) for message in reversed(newest_first)]
    return JournalRecord(messages=tuple(_kept(story) for story in stories if story is not None))


def states(path: Path) -> Mapping[tuple[str, int], State]:
    """The state of each request, by site and mailbox sequence; for a journal that nobody writes."""
    with JournalReader.open(path) as reader:
        found = reader.history(MessageFilter(limit=EVERYTHING))
    return {
        (each.lane.site, sequence): each.state for each in found if (sequence := _sequence(each.intake_key)) is not None
    }


def unended(path: Path, units: Mapping[str, str]) -> int:
    """How many messages have not ended, and how many units were not made yet; ``units`` by site."""
    with JournalReader.open(path) as reader:
        found = reader.history(MessageFilter(limit=EVERYTHING))
    made = {each.intake_key for each in found if each.lane.message == units.get(each.lane.site)}
    owed = {
        each.id
        for each in found
        if each.state is State.COMPLETED and each.lane.site in units and _sequence(each.intake_key) is not None
    }
    return len(owed - made) + sum(each.state not in TERMINAL for each in found)


def _kept(story: MessageStory) -> Kept:
    sequence = _sequence(story.message.intake_key)
    return Kept(
        id=story.message.id,
        lane=story.message.lane,
        sequence=sequence,
        state=story.message.state,
        follows=story.message.intake_key if sequence is None else None,
        submissions=tuple(_sent(each, story) for each in story.submissions),
        audit=story.audit,
        verdicts=_verdicts(story.audit),
        pending_relays=sum(relay.state == "pending" for relay in story.relays),
    )


def _sent(submission: Submission, story: MessageStory) -> Sent:
    own = [each for each in story.portions if each.submission_id == submission.id]
    body = json.loads(submission.body)
    rows = body.get("assets") or [body["unit"]]
    names = [row.get("assetName") or row["unitName"] for row in rows]
    places = [place for each in own for place in range(each.offset, each.offset + len(each.rows))]
    return Sent(
        id=submission.id,
        sha256=hashlib.sha256(submission.body).hexdigest(),
        names=tuple(names[place] for place in places),
        committed=tuple(each.started_at for each in story.attempts if each.submission_id == submission.id),
        aligned=tuple(rows[0].get("alignedAssets", ())),
        stands=any(each.fate is None or not each.fate.released for each in own),
    )


def _verdicts(audit: Sequence[AuditRow]) -> int:
    """How many steps were made because of a callback or a status answer that says the end."""
    return sum(row.to_state is not None and row.event in {"success", "failure", "partial_success"} for row in audit)


def _sequence(intake_key: str) -> int | None:
    """The sequence in `mailbox:generation.sequence`; a message after a verdict has its parent's id there."""
    found = _REQUEST.fullmatch(intake_key)
    return None if found is None else int(found[1])
