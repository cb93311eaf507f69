"""The judge itself: a run in which everything was kept is clean, and each kind of violation is seen and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from gateway.core.message import Lane
from gateway.core.transaction import Event, State
from gateway.edge.journal.reader import AuditRow
from gateway.simulator.record import Arrival, Entry, Outcome, Status
from tests.crash.checker import Kind, check
from tests.crash.records import Asked, JournalRecord, Kept, LedgerRecord, PlantRecord, Read, Sent

HAMS = Lane(environment="test", participant="exstor", site="hams-bess", message="battery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The three records of one run."""

    plant: PlantRecord
    ledger: LedgerRecord
    journal: JournalRecord

    def kinds(self) -> set[Kind]:
        return {violation.kind for violation in check([self.plant], self.ledger, self.journal)}

    def message(self, index: int, **changes: object) -> Run:
        messages = list(self.journal.messages)
        messages[index] = replace(messages[index], **changes)  # type: ignore[arg-type]  # a test names real fields
        return replace(self, journal=JournalRecord(messages=tuple(messages)))

    def entry(self, index: int, **changes: object) -> Run:
        entries = list(self.ledger.entries)
        entries[index] = replace(entries[index], **changes)  # type: ignore[arg-type]  # a test names real fields
        return replace(self, ledger=replace(self.ledger, entries=tuple(entries)))

    def arrivals(self, *arrivals: Arrival) -> Run:
        return replace(self, ledger=replace(self.ledger, arrivals=arrivals))

    def results(self, *results: Read) -> Run:
        return replace(self, plant=replace(self.plant, results=results))


def step(before: State, event: Event, after: State) -> AuditRow:
    return AuditRow(
        at=0, actor="gateway", event=event, submission_id=None, from_state=before, to_state=after, detail=""
    )


def audit(end: State, verdict: Event) -> tuple[AuditRow, ...]:
    return (
        step(State.RECEIVED, Event.VALID, State.ACCEPTED),
        step(State.ACCEPTED, Event.TAKEN, State.SENDING),
        step(State.SENDING, Event.TRANSACTION, State.AWAITING),
        step(State.AWAITING, verdict, end),
    )


def kept(sequence: int, name: str, end: State, verdict: Event) -> Kept:
    sent = Sent(id=f"s{sequence}", sha256=f"h{sequence}", names=(name,), committed=(sequence * 100,))
    return Kept(
        id=f"m{sequence}",
        lane=HAMS,
        sequence=sequence,
        state=end,
        submissions=(sent,),
        audit=audit(end, verdict),
        verdicts=1,
    )


def arrival(seq: int, submission: str, at: int, *, sha256: str = "") -> Arrival:
    return Arrival(
        seq=seq,
        at=at,
        last_byte_ns=0,
        participant="exstor",
        submission=submission,
        sha256=sha256 or f"h{submission[1:]}",
        outcome=Outcome.ACCEPTED,
        transaction_id=f"TX-{submission}",
    )


def entry(seq: int, status: Status, effects: tuple[str, ...]) -> Entry:
    return Entry(
        seq=seq,
        received_at=0,
        participant="exstor",
        submission=f"s{seq}",
        sha256=f"h{seq}",
        transaction_id=f"TX-s{seq}",
        kind="assets",
        status=status,
        completed_at=0,
        effects=effects,
        errors=(),
        arrivals=1,
        callback=None,
        deliveries=(),
    )


def unit(ident: str, parent: str, end: State, at: int) -> Kept:
    """A unit that follows a request; ``at`` is when its attempt was committed."""
    verdict = Event.SUCCESS if end is State.COMPLETED else Event.FAILURE
    sent = Sent(id=f"s{ident}", sha256=f"h{ident}", names=("HAMS-1",), aligned=("HAMS-BESS 1",), committed=(at,))
    return Kept(
        id=f"m{ident}",
        lane=replace(HAMS, message="hams-1"),
        sequence=None,
        follows=parent,
        state=end,
        submissions=(sent,),
        audit=audit(end, verdict),
        verdicts=1,
    )


def followed() -> Run:
    """The good run at a site whose completed requests set off a unit."""
    run = good()
    made = unit("9", "m1", State.COMPLETED, 350)
    sent = replace(entry(9, Status.SUCCESS, ("HAMS-1",)), kind="units")
    created = replace(run.ledger.entries[0], completed_at=340)
    return replace(
        run,
        plant=replace(run.plant, unit="hams-1"),
        journal=JournalRecord(messages=(*run.journal.messages, made)),
        ledger=LedgerRecord(
            entries=(created, run.ledger.entries[1], sent), arrivals=(*run.ledger.arrivals, arrival(9, "s9", 360))
        ),
    )


def good() -> Run:
    """A new asset that was created, the same again that failed, and a mistyped one that was refused."""
    asked = [
        Asked(sequence=1, name="HAMS-BESS 1", expected=State.COMPLETED),
        Asked(sequence=2, name="HAMS-BESS 1", expected=State.FAILED),
        Asked(sequence=3, name="HAMS-BESS 3", expected=State.REFUSED),
    ]
    refused = (step(State.RECEIVED, Event.INVALID, State.REFUSED),)
    return Run(
        plant=PlantRecord(
            site="hams-bess",
            participant="exstor",
            asked={each.sequence: each for each in asked},
            acknowledged=frozenset({1, 2, 3}),
            results=(
                Read(sequence=3, result_seq=65535, state="refused"),
                Read(sequence=1, result_seq=1, state="completed"),
                Read(sequence=2, result_seq=2, state="failed"),
            ),
        ),
        ledger=LedgerRecord(
            entries=(entry(1, Status.SUCCESS, ("HAMS-BESS 1",)), entry(2, Status.FAILED, ())),
            arrivals=(arrival(1, "s1", 150), arrival(2, "s2", 250)),
        ),
        journal=JournalRecord(
            messages=(
                kept(1, "HAMS-BESS 1", State.COMPLETED, Event.SUCCESS),
                kept(2, "HAMS-BESS 1", State.FAILED, Event.FAILURE),
                Kept(id="m3", lane=HAMS, sequence=3, state=State.REFUSED, audit=refused),
            )
        ),
    )


def test_a_run_that_kept_everything_is_clean() -> None:
    """Pins that the judge is not red by itself, also where result numbers wrap past 0."""
    assert good().kinds() == set()


def test_a_repeated_arrival_after_a_second_commit_is_clean() -> None:
    """Pins that a resend is no violation when its own attempt was committed before it."""
    run = good()
    first = run.journal.messages[0].submissions[0]
    again = run.message(0, submissions=(replace(first, committed=(100, 160)),))
    assert again.arrivals(arrival(1, "s1", 150), arrival(2, "s1", 170), arrival(3, "s2", 250)).kinds() == set()


def test_an_innocent_message_that_went_again_is_clean() -> None:
    """Pins that a submission which the SMP refused for another message's sake may be followed by one that stands."""
    run = good()
    first = run.journal.messages[0].submissions[0]
    merged = replace(first, id="s2", stands=False)
    merged = replace(merged, sha256="h2", committed=(200,))
    assert run.message(0, submissions=(first, merged)).kinds() == set()


def test_a_run_with_units_is_clean() -> None:
    """Pins that a unit after its asset is no violation, whatever number it has."""
    assert followed().kinds() == set()


def test_a_second_unit_of_the_name_that_the_smp_refused_is_clean() -> None:
    """Pins that only the first unit of a name is expected to be created."""
    run = followed()
    asked = {**run.plant.asked, 4: Asked(sequence=4, name="HAMS-BESS 4", expected=State.COMPLETED)}
    plant = replace(run.plant, asked=asked, acknowledged=frozenset({1, 2, 3, 4}))
    plant = replace(plant, results=(*plant.results, Read(sequence=4, result_seq=3, state="completed")))
    last = unit("8", "m4", State.FAILED, 450)
    last = replace(last, submissions=(replace(last.submissions[0], aligned=("HAMS-BESS 4",)),))
    messages = (*run.journal.messages, kept(4, "HAMS-BESS 4", State.COMPLETED, Event.SUCCESS), last)
    created = replace(entry(4, Status.SUCCESS, ("HAMS-BESS 4",)), completed_at=440)
    refused = replace(entry(8, Status.FAILED, ()), kind="units")
    ledger = replace(
        run.ledger,
        entries=(*run.ledger.entries, created, refused),
        arrivals=(*run.ledger.arrivals, arrival(10, "s4", 430), arrival(11, "s8", 460)),
    )
    assert Run(plant=plant, ledger=ledger, journal=JournalRecord(messages=messages)).kinds() == set()


def unit_missing(run: Run) -> Run:
    ledger = replace(run.ledger, entries=run.ledger.entries[:2], arrivals=run.ledger.arrivals[:2])
    return replace(run, ledger=ledger, journal=JournalRecord(messages=run.journal.messages[:3]))


def unit_twice(run: Run) -> Run:
    return replace(run, journal=JournalRecord(messages=(*run.journal.messages, run.journal.messages[3])))


def unit_of_a_failed_asset(run: Run) -> Run:
    return run.message(3, follows="m2")


def unit_before_its_asset(run: Run) -> Run:
    return run.entry(0, completed_at=361)


def unit_without_its_asset(run: Run) -> Run:
    return run.entry(0, effects=())


def unit_of_other_assets(run: Run) -> Run:
    sent = replace(run.journal.messages[3].submissions[0], aligned=("TRENT-CHP 1",))
    return run.message(3, submissions=(sent,))


def unit_unfinished(run: Run) -> Run:
    return run.message(3, state=State.WAITING)


def unit_refused(run: Run) -> Run:
    return run.message(3, state=State.REFUSED)


def unit_failed(run: Run) -> Run:
    return run.message(3, state=State.FAILED)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (unit_missing, Kind.UNFOLLOWED),
        (unit_twice, Kind.DOUBLED),
        (unit_of_a_failed_asset, Kind.UNASKED),
        (unit_before_its_asset, Kind.UNIT_EARLY),
        (unit_without_its_asset, Kind.UNIT_EARLY),
        (unit_of_other_assets, Kind.FOREIGN),
        (unit_unfinished, Kind.UNFINISHED),
        (unit_refused, Kind.WRONG_END),
        (unit_failed, Kind.WRONG_END),
    ],
)
def test_each_violation_of_a_unit_is_named(spoil: Callable[[Run], Run], kind: Kind) -> None:
    """Pins that a run whose unit was spoilt in one way is red, and for that reason among others."""
    assert kind in spoil(followed()).kinds()


def lost(run: Run) -> Run:
    return replace(run, journal=JournalRecord(messages=run.journal.messages[:2]))


def unasked(run: Run) -> Run:
    return replace(run, plant=replace(run.plant, asked={1: run.plant.asked[1], 2: run.plant.asked[2]}))


def doubled(run: Run) -> Run:
    return replace(run, journal=JournalRecord(messages=(*run.journal.messages, run.journal.messages[2])))


def unfinished(run: Run) -> Run:
    return run.message(0, state=State.AWAITING)


def wrong_end(run: Run) -> Run:
    return run.message(0, state=State.FAILED)


def created_twice(run: Run) -> Run:
    return run.entry(1, effects=("HAMS-BESS 1",))


def two_transactions(run: Run) -> Run:
    return run.entry(1, submission="s1")


def submitted_twice(run: Run) -> Run:
    first, second = run.journal.messages[0].submissions[0], run.journal.messages[1].submissions[0]
    return run.message(0, submissions=(first, second))


def sent_again_although_created(run: Run) -> Run:
    first = replace(run.journal.messages[0].submissions[0], stands=False)
    return run.message(0, submissions=(first,))


def reordered(run: Run) -> Run:
    return run.arrivals(arrival(1, "s2", 250), arrival(2, "s1", 260))


def unknown_submission(run: Run) -> Run:
    return run.arrivals(*run.ledger.arrivals, arrival(3, "s9", 900))


def sent_before_commit(run: Run) -> Run:
    return run.arrivals(arrival(1, "s1", 99), arrival(2, "s2", 250))


def one_commit_two_arrivals(run: Run) -> Run:
    return run.arrivals(arrival(1, "s1", 150), arrival(2, "s1", 170), arrival(3, "s2", 250))


def other_bytes(run: Run) -> Run:
    return run.arrivals(arrival(1, "s1", 150, sha256="x"), arrival(2, "s2", 250))


def unknown_to_the_smp(run: Run) -> Run:
    return replace(run, ledger=LedgerRecord(entries=run.ledger.entries[1:], arrivals=run.ledger.arrivals[1:]))


def verdict_without_word(run: Run) -> Run:
    return run.message(0, verdicts=0)


def verdict_applied_twice(run: Run) -> Run:
    return run.message(1, verdicts=2)


def bad_step(run: Run) -> Run:
    steps = run.journal.messages[0].audit
    return run.message(0, audit=(*steps[:1], *steps[2:]))


def unknown_event(run: Run) -> Run:
    row = replace(step(State.AWAITING, Event.SUCCESS, State.COMPLETED), event="wished")
    return run.message(0, audit=(*run.journal.messages[0].audit[:-1], row))


def short_audit(run: Run) -> Run:
    return run.message(0, audit=run.journal.messages[0].audit[:-1])


def unread(run: Run) -> Run:
    return run.results(*run.plant.results[:2])


def read_twice(run: Run) -> Run:
    return run.results(*run.plant.results, Read(sequence=2, result_seq=3, state="failed"))


def read_wrong(run: Run) -> Run:
    return run.results(*run.plant.results[:2], Read(sequence=2, result_seq=2, state="completed"))


def out_of_turn(run: Run) -> Run:
    return run.results(*run.plant.results[:2], Read(sequence=2, result_seq=4, state="failed"))


def kept_for_another(run: Run) -> Run:
    return run.message(0, lane=replace(HAMS, participant="exflex"))


def sent_by_another(run: Run) -> Run:
    return run.entry(0, participant="exflex")


def other_asset(run: Run) -> Run:
    sent = replace(run.journal.messages[0].submissions[0], names=("TRENT-CHP 1",))
    return run.message(0, submissions=(sent,))


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lost, Kind.LOST),
        (unasked, Kind.UNASKED),
        (doubled, Kind.DOUBLED),
        (unfinished, Kind.UNFINISHED),
        (wrong_end, Kind.WRONG_END),
        (created_twice, Kind.EFFECT_TWICE),
        (two_transactions, Kind.EFFECT_TWICE),
        (submitted_twice, Kind.SUBMITTED_TWICE),
        (sent_again_although_created, Kind.SPARED),
        (reordered, Kind.REORDERED),
        (unknown_submission, Kind.UNCOMMITTED),
        (sent_before_commit, Kind.UNCOMMITTED),
        (one_commit_two_arrivals, Kind.UNCOMMITTED),
        (other_bytes, Kind.OTHER_BYTES),
        (unknown_to_the_smp, Kind.UNFOUNDED),
        (verdict_without_word, Kind.UNFOUNDED),
        (verdict_applied_twice, Kind.UNFOUNDED),
        (bad_step, Kind.BAD_STEP),
        (unknown_event, Kind.BAD_STEP),
        (short_audit, Kind.BAD_STEP),
        (unread, Kind.UNREAD),
        (read_twice, Kind.READ_TWICE),
        (read_wrong, Kind.READ_WRONG),
        (out_of_turn, Kind.READ_OUT_OF_TURN),
        (kept_for_another, Kind.FOREIGN),
        (sent_by_another, Kind.FOREIGN),
        (other_asset, Kind.FOREIGN),
    ],
)
def test_each_violation_is_named(spoil: Callable[[Run], Run], kind: Kind) -> None:
    """Pins that a run spoilt in one way is red, and for that reason among others."""
    assert kind in spoil(good()).kinds()


def test_what_was_never_acknowledged_may_be_missing() -> None:
    """Pins that a request raised but not acknowledged before the end is nobody's loss."""
    run = good()
    raised = {**run.plant.asked, 4: Asked(sequence=4, name="HAMS-BESS 4", expected=State.COMPLETED)}
    assert replace(run, plant=replace(run.plant, asked=raised)).kinds() == set()
