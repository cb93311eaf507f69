"""The mailbox's position half: is a request new, known, or a sign that site or journal went back in time? Pure.

What must always hold
---------------------
* A stored sequence of 0 means "0 was seen in this generation", so that whatever non-zero sequence comes next is new,
  also when it equals one of the generation before.
* (generation, sequence) never repeats for two different requests: every step back begins a generation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.core.mailbox import SEQUENCES
from gateway.core.message import MailboxPosition


class Step(StrEnum):
    """What a request is, in the light of the journal."""

    NEW = "new"  # make a message of it, store the position with it, acknowledge
    REPEAT = "repeat"  # known and stored: acknowledge again, no message
    REUSED = "reused"  # a known number with another content: send nothing
    BASELINE = "baseline"  # acknowledged before this journal began: store the position, make no message
    IDLE = "idle"  # nothing is asked; a position, if there is one, is to be stored


class Alarm(StrEnum):
    """What people should know about a mailbox; bounded words for metrics."""

    SITE_RESTARTED = "site_restarted"
    SEQUENCE_REUSED = "sequence_reused"
    SEQUENCE_BACKWARDS = "sequence_backwards"
    SEQUENCE_GAP = "sequence_gap"
    JOURNAL_OLDER = "journal_older"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What to do; ``position`` is what to store, or None. Its ``result_seq`` None keeps the journal's own counter."""

    step: Step
    position: MailboxPosition | None = None
    alarms: tuple[Alarm, ...] = ()


def judge(
    position: MailboxPosition | None,
    *,
    sequence: int,
    crc: int,
    acknowledged: int,
    result_seq: int,
    restart_expected: bool = False,
) -> Judgement:
    """Compare what a mailbox shows with what the journal knows; the rows of the restart table, in order.

    ``acknowledged`` and ``result_seq`` are ACK_SEQ and RESULT_SEQ as found at the site. Works for a sequence of 0 too.
    """
    if position is None:
        return _judge_first(sequence, crc, acknowledged, result_seq)
    if sequence == position.sequence:
        if sequence == 0:
            return Judgement(step=Step.IDLE)
        if crc == position.crc:
            return Judgement(step=Step.REPEAT)
        return Judgement(step=Step.REUSED, alarms=(Alarm.SEQUENCE_REUSED,))
    if sequence == 0:
        alarms = () if restart_expected else (Alarm.SITE_RESTARTED,)
        return Judgement(step=Step.IDLE, position=see_zero(position), alarms=alarms)
    here = replace(position, sequence=sequence, crc=crc, result_seq=None)
    return _judge_move(position, here, acknowledged, result_seq)


def see_zero(position: MailboxPosition) -> MailboxPosition:
    """Where a mailbox stands once the site showed 0: at the start of the next generation, if it is not there yet."""
    seen = MailboxPosition(generation=position.generation + 1, sequence=0, crc=0)
    return position if position.sequence == 0 else seen


def _judge_first(sequence: int, crc: int, acknowledged: int, result_seq: int) -> Judgement:
    """Nothing is known of this mailbox; 0 is remembered too, so that whatever follows it is new."""
    position = MailboxPosition(generation=1, sequence=sequence, crc=crc if sequence else 0, result_seq=result_seq)
    if sequence == 0:
        return Judgement(step=Step.IDLE, position=position)
    return Judgement(step=Step.BASELINE if acknowledged == sequence else Step.NEW, position=position)


def _judge_move(before: MailboxPosition, here: MailboxPosition, acknowledged: int, result_seq: int) -> Judgement:
    """A non-zero sequence that is not the stored one; ``here`` is it, as if it belonged to the same generation.

    A site acknowledged further than this journal knows means that the journal is an older copy: what was acknowledged
    is the baseline, but a sequence beyond it never was and must not be lost. What lies between is unknown, so a
    generation begins, and results continue from the site's counter.
    """
    following = replace(here, generation=here.generation + 1)
    if before.sequence == 0:
        return Judgement(step=Step.NEW, position=here)
    if acknowledged == here.sequence or _ahead(acknowledged, before.sequence):
        step = Step.BASELINE if acknowledged == here.sequence else Step.NEW
        return Judgement(step=step, position=replace(following, result_seq=result_seq), alarms=(Alarm.JOURNAL_OLDER,))
    if here.sequence > before.sequence:
        alarms = () if here.sequence == before.sequence + 1 else (Alarm.SEQUENCE_GAP,)
        return Judgement(step=Step.NEW, position=here, alarms=alarms)
    wrapped = (before.sequence, here.sequence) == (SEQUENCES - 1, 1)
    return Judgement(step=Step.NEW, position=following, alarms=() if wrapped else (Alarm.SEQUENCE_BACKWARDS,))


def _ahead(acknowledged: int, sequence: int) -> bool:
    """Whether ``acknowledged`` comes after ``sequence``, counting around the wrap as RFC 1982 does; 0 is no number."""
    return acknowledged != 0 and 0 < (acknowledged - sequence) % SEQUENCES < SEQUENCES // 2


def intake_key(mailbox: str, generation: int, sequence: int) -> str:
    """Name a request so that it can be told from every other one of its site."""
    return f"{mailbox}:{generation}.{sequence}"
