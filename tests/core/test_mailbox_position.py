"""The restart table of assurance.md section 3, row by row, and what must hold whatever a site does."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.mailbox_position import Alarm, Step, intake_key, judge, see_zero
from gateway.core.message import MailboxPosition


def at(generation: int, sequence: int, crc: int = 0xC, result_seq: int | None = None) -> MailboxPosition:
    return MailboxPosition(generation=generation, sequence=sequence, crc=crc, result_seq=result_seq)


@dataclass(frozen=True)
class Row:
    name: str
    before: MailboxPosition | None
    sequence: int
    step: Step
    after: MailboxPosition | None = None
    alarms: tuple[Alarm, ...] = ()
    crc: int = 0xC
    acknowledged: int = 0
    restart_expected: bool = False


ROWS = [
    Row("same sequence, same crc: acknowledge again", at(1, 5), 5, Step.REPEAT, acknowledged=4),
    Row(
        "same, although the old number of before a restart is still in ACK", at(2, 3), 3, Step.REPEAT, acknowledged=500
    ),
    Row("same sequence, other crc: send nothing", at(1, 5), 5, Step.REUSED, None, (Alarm.SEQUENCE_REUSED,), crc=0xD),
    Row("zero after a number: next generation", at(1, 5), 0, Step.IDLE, at(2, 0, 0), (Alarm.SITE_RESTARTED,)),
    Row("zero, expected: no alarm", at(1, 5), 0, Step.IDLE, at(2, 0, 0), restart_expected=True),
    Row("zero again: nothing moves", at(2, 0, 0), 0, Step.IDLE),
    Row("zero, and no row yet: remembered", None, 0, Step.IDLE, at(1, 0, 0, 9), acknowledged=5),
    Row("the first after zero is new", at(2, 0, 0), 1, Step.NEW, at(2, 1)),
    Row("after zero, also the number that ACK still shows", at(2, 0, 0), 5, Step.NEW, at(2, 5), acknowledged=5),
    Row("after zero, any number, without a gap alarm", at(2, 0, 0), 40, Step.NEW, at(2, 40)),
    Row("the next one", at(1, 5), 6, Step.NEW, at(1, 6), acknowledged=5),
    Row(
        "the next one, though we were not told that the last was acknowledged",
        at(1, 6),
        7,
        Step.NEW,
        at(1, 7),
        acknowledged=5,
    ),
    Row("the next one after a wrap, ACK still from before it", at(2, 1), 2, Step.NEW, at(2, 2), acknowledged=65535),
    Row(
        "older, over the wrap, and one more is waiting",
        at(1, 65530),
        4,
        Step.NEW,
        at(2, 4, result_seq=9),
        (Alarm.JOURNAL_OLDER,),
        acknowledged=3,
    ),
    Row("the wrap: next generation, no alarm", at(1, 65535), 1, Step.NEW, at(2, 1), acknowledged=65535),
    Row(
        "smaller: next generation, alarm",
        at(1, 500),
        3,
        Step.NEW,
        at(2, 3),
        (Alarm.SEQUENCE_BACKWARDS,),
        acknowledged=500,
    ),
    Row("smaller, memory lost", at(1, 500), 3, Step.NEW, at(2, 3), (Alarm.SEQUENCE_BACKWARDS,)),
    Row(
        "smaller, memory restored", at(1, 500), 201, Step.NEW, at(2, 201), (Alarm.SEQUENCE_BACKWARDS,), acknowledged=200
    ),
    Row("a gap: new, alarm", at(1, 5), 9, Step.NEW, at(1, 9), (Alarm.SEQUENCE_GAP,), acknowledged=5),
    Row("no row, acknowledged: the baseline", None, 5, Step.BASELINE, at(1, 5, result_seq=9), acknowledged=5),
    Row("no row, not acknowledged: new", None, 5, Step.NEW, at(1, 5, result_seq=9), acknowledged=4),
    Row("no row, never acknowledged: new", None, 1, Step.NEW, at(1, 1, result_seq=9)),
    Row(
        "the journal is older: baseline",
        at(1, 5),
        15,
        Step.BASELINE,
        at(2, 15, result_seq=9),
        (Alarm.JOURNAL_OLDER,),
        acknowledged=15,
    ),
    Row("older by one", at(1, 5), 6, Step.BASELINE, at(2, 6, result_seq=9), (Alarm.JOURNAL_OLDER,), acknowledged=6),
    Row(
        "older, over the wrap",
        at(1, 65530),
        3,
        Step.BASELINE,
        at(2, 3, result_seq=9),
        (Alarm.JOURNAL_OLDER,),
        acknowledged=3,
    ),
    Row(
        "older, and one more is waiting: new",
        at(1, 5),
        16,
        Step.NEW,
        at(2, 16, result_seq=9),
        (Alarm.JOURNAL_OLDER,),
        acknowledged=15,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_restart_table(row: Row) -> None:
    """Each row of the table: what the request is, what is stored, and who is told."""
    judgement = judge(
        row.before,
        sequence=row.sequence,
        crc=row.crc,
        acknowledged=row.acknowledged,
        result_seq=9,
        restart_expected=row.restart_expected,
    )
    assert (judgement.step, judgement.position, judgement.alarms) == (row.step, row.after, row.alarms)


NUMBERS = st.one_of(st.integers(0, 65535), st.sampled_from([0, 1, 2, 65534, 65535]))
POSITIONS = st.none() | st.builds(at, st.integers(1, 5), NUMBERS)


@given(before=POSITIONS, sequence=NUMBERS, acknowledged=NUMBERS, crc=st.sampled_from([0xC, 0xD]))
def test_a_key_is_never_given_twice(before: MailboxPosition | None, sequence: int, acknowledged: int, crc: int) -> None:
    """New means a higher (generation, sequence) than ever before; 0 is never new."""
    judgement = judge(before, sequence=sequence, crc=crc, acknowledged=acknowledged, result_seq=0)
    if judgement.step is not Step.NEW:
        return
    assert sequence != 0
    assert judgement.position is not None
    if before is not None:
        assert (judgement.position.generation, judgement.position.sequence) > (before.generation, before.sequence)


@given(before=POSITIONS, sequence=NUMBERS, acknowledged=NUMBERS)
def test_what_is_stored_is_then_known(before: MailboxPosition | None, sequence: int, acknowledged: int) -> None:
    """After a crash behind the commit the same request is a repeat, whatever it was the first time."""
    first = judge(before, sequence=sequence, crc=0xC, acknowledged=acknowledged, result_seq=0)
    if first.position is None:
        return
    again = judge(first.position, sequence=sequence, crc=0xC, acknowledged=acknowledged, result_seq=0)
    assert again.position is None
    assert again.step in (Step.REPEAT, Step.IDLE)
    assert again.alarms == ()


def test_seeing_zero_twice_is_seeing_it_once() -> None:
    """A site that stays at 0 does not burn generations."""
    assert see_zero(see_zero(at(1, 5))) == see_zero(at(1, 5)) == at(2, 0, 0)


def test_intake_keys_name_mailbox_generation_and_sequence() -> None:
    """The form that message ids are made of must never change."""
    assert intake_key("plc", 2, 17) == "plc:2.17"
