"""What the journal's suites speak: drafts, answers and callbacks of two participants, and a clock set by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import settings

from gateway.core.callback import Callback
from gateway.core.message import ASSETS, Attempt, Draft, Hop, Lane, MailboxPosition, Problem, Submission, message_id
from gateway.core.record import Evidence, Outgoing, Portion, Settlement
from gateway.core.relay import MAILBOX_STATES, RelayRule
from gateway.core.transaction import Event, State
from gateway.core.verdict import Verdict
from gateway.edge.journal.postgres import PostgresJournal, look
from gateway.edge.journal.reader import JournalReader
from gateway.edge.journal.sqlite import SqliteJournal
from gateway.ports import Journal

START = 1_795_000_000_000_000
SECOND = 1_000_000
BATTERY = Lane(environment="test", participant="exstor", site="hams-bess", message="battery")
UNIT_LANE = replace(BATTERY, message="hams-1")
FOREIGN = Lane(environment="test", participant="exflex", site="depot", message="chargers")
BAD_MPAN = Problem(row=0, ref="PCS 1", field="meterPoints[0].id", code="invalid_mpan", message="check digit")


class HandClock:
    """Moves on by 1 µs with each look, and further by hand."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> int:
        self.at += 1
        return self.at


@dataclass(frozen=True, slots=True)
class Place:
    """Where one journal lives: it can be opened again and again, and tells everything it was told to tell.

    With ``url`` it lives in a PostgreSQL database, otherwise in the file at ``path``.
    """

    path: Path
    url: str | None = None
    clock: HandClock = field(default_factory=HandClock)
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def open(self, *, after_verdict: bool = False) -> AbstractAsyncContextManager[Journal]:
        def event(name: str, **fields: object) -> None:
            self.events.append((name, fields))

        if self.url is not None:
            return PostgresJournal.open(self.url, clock=self.clock, pipeline_after_verdict=after_verdict, event=event)
        return SqliteJournal.open(self.path, clock=self.clock, pipeline_after_verdict=after_verdict, event=event)

    def look(self) -> AbstractContextManager[JournalReader]:
        """Look into it as people do."""
        return JournalReader.open(self.path) if self.url is None else look(self.url)

    def steps(self, message_id: str) -> list[tuple[State, str, State]]:
        """The audited steps of a message, in order."""
        with self.look() as reader:
            story = reader.story(message_id)
        rows = () if story is None else story.audit
        return [
            (row.from_state, row.event, row.to_state)
            for row in rows
            if row.from_state is not None and row.to_state is not None
        ]


@dataclass(frozen=True, slots=True)
class Engine:
    """One implementation; ``examples`` is how many random conversations it is given, of a hundred."""

    place: Callable[[Path], Place]
    examples: int = 100

    def trying(self, count: int) -> settings:
        """How often hypothesis tries a test that is worth this many examples."""
        return settings(max_examples=max(1, count * self.examples // 100), deadline=None)


def sqlite(folder: Path) -> Place:
    return Place(folder / "state" / "journal.db")


def mailbox_rule(sequence: int, *, progress: bool = False) -> RelayRule:
    on = MAILBOX_STATES | {State.AWAITING} if progress else MAILBOX_STATES
    return RelayRule(connection="plc", on=on, mailbox="plc", sequence=sequence)


def draft(
    sequence: int,
    lane: Lane = BATTERY,
    *,
    rules: Sequence[RelayRule] | None = None,
    problems: tuple[Problem, ...] = (),
    content: bytes = b'{"assets":[]}',
    not_after: int | None = None,
    result_seq: int | None = 0,
    rows: int = 3,
    salvage: bool = False,
) -> Draft:
    key = f"plc:1.{sequence}"
    return Draft(
        id=message_id(lane, key),
        lane=lane,
        kind=ASSETS,
        intake_key=key,
        raw=b"\x00\x01",
        content=content,
        rows=rows,
        salvage=salvage,
        rules=(mailbox_rule(sequence),) if rules is None else tuple(rules),
        revision="r1",
        accepted_at=START,
        problems=problems,
        not_after=not_after,
        mailbox="plc",
        position=MailboxPosition(
            generation=1, sequence=sequence, crc=sequence, result_seq=result_seq if sequence == 1 else None
        ),
        hops={Hop.SEEN: START - 2, Hop.SNAPSHOT: START - 1},
    )


def outgoing(name: str) -> Outgoing:
    return Outgoing(id=name, body=f"body of {name}".encode(), attempt=attempt(f"jti-{name}"))


def carrying(name: str, *portions: tuple[int, range], lane: Lane = BATTERY) -> Outgoing:
    """A submission of these rows of the messages of these sequences; each row's name is ``sequence.row``."""
    made = [
        Portion(message_id=draft(n, lane).id, rows=rows, names=tuple(f"{n}.{row}" for row in rows))
        for n, rows in portions
    ]
    return replace(outgoing(name), portions=tuple(made))


def attempt(jti: str) -> Attempt:
    return Attempt(number=1, jti=jti, iat=START // SECOND, key_id="exstor-2026-11")


def accepted(transaction: str) -> Settlement:
    return Settlement(
        event=Event.TRANSACTION,
        transaction_id=transaction,
        signature="sig",
        status=202,
        answer=b"{}",
        due_at=START + 60 * SECOND,
        hops={Hop.SIGNED: START + 1, Hop.SENT: START + 2, Hop.ANSWERED: START + 3},
    )


UNCLEAR = Settlement(event=Event.UNCLEAR, signature="sig", note="timed out", due_at=START)
NOT_PROCESSED = Settlement(event=Event.NOT_PROCESSED, signature="sig", status=503, note="later")
SUCCESS = Verdict(event=Event.SUCCESS, notification="Success")
FAILURE = Verdict(event=Event.FAILURE, problems=(BAD_MPAN,))


def evidence(jti: str, body: bytes | None = None, lane: Lane = BATTERY) -> Evidence:
    return Evidence(
        environment=lane.environment,
        participant=lane.participant,
        issuer="smp",
        jti=jti,
        body=body if body is not None else f"callback {jti}".encode(),
        signature="sig",
        received_at=START,
        hops={Hop.CALLED_BACK: START + 4, Hop.VERIFIED: START + 5},
    )


def callback(transaction: str | None, submission: str | None = None, verdict: Verdict | None = SUCCESS) -> Callback:
    return Callback(
        message_type="TransactionResult",
        message_id="c7",
        participant="exstor",
        transaction_id=transaction,
        submission_id=submission,
        verdict=verdict,
        issued_at="2026-11-23T10:15:30Z",
    )


async def sent(journal: Journal, sequence: int, name: str, lane: Lane = BATTERY) -> Submission:
    """Append a draft of a free lane, so that it is SENDING."""
    appended = await journal.append(draft(sequence, lane), outgoing(name))
    assert appended.submission is not None
    return appended.submission


async def overdue(journal: Journal, now: int) -> tuple[list[Submission], int | None]:
    """What is due of this lane's participant, in doubt or awaiting, and when the next one's time comes."""
    both = [
        await journal.overdue(
            BATTERY.environment, BATTERY.participant, state, now, horizon=now + 3600 * SECOND, limit=100
        )
        for state in (State.IN_DOUBT, State.AWAITING)
    ]
    later = [next_at for _, next_at in both if next_at is not None]
    return [each for due, _ in both for each in due], min(later, default=None)


async def state_of(journal: Journal, sequence: int, lane: Lane = BATTERY) -> State:
    message = await journal.message(draft(sequence, lane).id)
    assert message is not None
    return message.state
