"""The mailbox: how a site raises a request in registers, and how it learns what became of it. Pure, for every protocol.

Two blocks of registers (:data:`SITE_BLOCK`, :data:`HOST_BLOCK`) and a machine in two halves:

* The **frame half** (:class:`FrameReader`) runs where the registers are read: is this block whole, and does it ask for
  anything? Nothing is believed before the sequence was read again after the block and the CRC fits.
* The **position half** (:func:`judge`) runs against the journal: is this request new, known, or a sign that site or
  journal went back in time?

What must always hold
---------------------
* A sequence of 0 never makes a message. A stored sequence of 0 means "0 was seen in this generation", so that whatever
  non-zero sequence comes next is new, also when it equals one of the generation before.
* (generation, sequence) never repeats for two different requests: every step back begins a generation.
* RESULT_SEQ is written last, skips 0, and is fixed in the journal before the first write.
* The CRC guards against tearing, not against tampering.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.core.message import MailboxPosition, Message
from gateway.core.point import fit_text
from gateway.core.relay import Relay
from gateway.core.transaction import State


class Role(StrEnum):
    """What one register, or a run of them, means to the mailbox."""

    REQUEST_SEQ = "request_seq"
    KIND = "kind"
    LENGTH = "length"
    CRC = "crc"
    RESULT_ACKNOWLEDGE = "result_acknowledge"
    PAYLOAD = "payload"
    ACKNOWLEDGE = "acknowledge"
    RESULT_SEQ = "result_seq"
    RESULT_FOR = "result_for"
    STATE = "state"
    ERROR_COUNT = "error_count"
    HEARTBEAT = "heartbeat"
    TEXT = "text"


# The standard layout: role -> offset from the start of its block, in registers.
SITE_BLOCK: Mapping[Role, int] = {
    Role.REQUEST_SEQ: 0,
    Role.KIND: 1,
    Role.LENGTH: 2,
    Role.CRC: 3,  # two registers, high word first
    Role.RESULT_ACKNOWLEDGE: 5,
    Role.PAYLOAD: 6,
}
_HOST_ROLES = (
    Role.ACKNOWLEDGE,
    Role.RESULT_SEQ,
    Role.RESULT_FOR,
    Role.STATE,
    Role.ERROR_COUNT,
    Role.HEARTBEAT,
    Role.TEXT,
)
HOST_BLOCK: Mapping[Role, int] = {role: offset for offset, role in enumerate(_HOST_ROLES)}
HEADER_REGISTERS = SITE_BLOCK[Role.PAYLOAD]
PAYLOAD_MAX = 119  # with the header, one FC3 read of at most 125 registers
TEXT_REGISTERS = 32  # two ASCII characters each
TEXT_CHARACTERS = 2 * TEXT_REGISTERS
HOST_REGISTERS = HOST_BLOCK[Role.TEXT] + TEXT_REGISTERS
SEQUENCES = 0x10000  # a sequence is an unsigned register
TORN_POLLS = 3  # polls that a block may fail its CRC with an unchanged sequence before it is refused

STATE_CODES: Mapping[State, int] = {
    State.AWAITING: 1,
    State.COMPLETED: 2,
    State.FAILED: 3,
    State.REJECTED: 4,
    State.REFUSED: 5,
    State.EXPIRED: 6,
    State.PARTIAL: 7,
    State.ESCALATED: 8,
    State.PARKED: 9,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxSpec:
    """A mailbox as the site's YAML declares it; ``base`` and ``results`` are register addresses of its two blocks.

    ``capacity`` is how many payload registers the site provides, ``latest`` that it wants only the latest result.

    Raises:
        ValueError: the blocks leave the address space or overlap.
    """

    name: str
    connection: str
    layout: str = "standard"
    base: int
    results: int
    capacity: int = PAYLOAD_MAX
    crc: bool = True
    progress: bool = False
    restart_expected: bool = False
    latest: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.capacity <= PAYLOAD_MAX:
            raise ValueError(f"capacity: {self.capacity} is outside 0..{PAYLOAD_MAX}")
        for name, block in (("base", self.site_block), ("results", self.host_block)):
            if block.start < 0 or block.stop > SEQUENCES:
                raise ValueError(f"{name}: registers {block.start}..{block.stop - 1} are outside 0..65535")
        if self.site_block.start < self.host_block.stop and self.host_block.start < self.site_block.stop:
            raise ValueError(f"the blocks at base {self.base} and results {self.results} overlap")

    @property
    def site_block(self) -> range:
        """The registers that the site writes."""
        return range(self.base, self.base + HEADER_REGISTERS + self.capacity)

    @property
    def host_block(self) -> range:
        """The registers that the gateway writes, and the only ones of this mailbox that it may."""
        return range(self.results, self.results + HOST_REGISTERS)


def crc32(registers: Sequence[int]) -> int:
    """CRC-32/ISO-HDLC over registers, each as two bytes, high byte first."""
    return zlib.crc32(register_bytes(registers))


def register_bytes(registers: Sequence[int]) -> bytes:
    """Registers as bytes, high byte first."""
    return struct.pack(f">{len(registers)}H", *registers)


def payload_window(spec: MailboxSpec, length: int) -> range:
    """The addresses that a request of LENGTH ``length`` has filled; with ``spec.capacity``, all that it could."""
    first = spec.base + SITE_BLOCK[Role.PAYLOAD]
    return range(first, first + min(length, spec.capacity))


# ---------------------------------------------------------------- the frame half
@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The site's block as one read showed it; ``crc`` is the site's, ``computed`` ours over the same registers.

    ``payload`` holds at most the registers read; with ``length`` beyond them the block cannot be whole.
    """

    sequence: int
    kind: int
    length: int
    crc: int
    result_acknowledged: int
    payload: tuple[int, ...]
    computed: int
    raw: bytes


def parse_block(registers: Sequence[int]) -> Block:
    """Take the site's block apart; ``registers`` start at the mailbox's base.

    Raises:
        ValueError: fewer registers than the header has.
    """
    if len(registers) < HEADER_REGISTERS:
        raise ValueError(f"{len(registers)} registers are less than a mailbox header")
    sequence, kind, length, crc_high, crc_low, result_acknowledged = registers[:HEADER_REGISTERS]
    payload = tuple(registers[HEADER_REGISTERS : HEADER_REGISTERS + length])
    return Block(
        sequence=sequence,
        kind=kind,
        length=length,
        crc=crc_high << 16 | crc_low,
        result_acknowledged=result_acknowledged,
        payload=payload,
        computed=crc32([sequence, kind, length, *payload]),
        raw=register_bytes(registers),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A request that is whole, or so long not whole that it must be refused: then ``fault`` says why.

    ``crc`` is the site's own, or ours where the mailbox has none. ``seen_at`` (µs UTC) is when it first showed.
    """

    block: Block
    crc: int
    seen_at: int
    fault: str | None = None


class FrameReader:
    """Tell for each poll whether it shows a request, again until confirmed; one per session, so also per connect."""

    def __init__(self, spec: MailboxSpec) -> None:
        self._spec = spec
        self._confirmed = 0
        self._seen = (0, 0)  # sequence, and when it first showed
        self._torn_polls = 0

    def observe(self, block: Block, at: int, *, sequence_after: int, after_at: int) -> Frame | None:
        """Judge one poll: the block, the sequence as read again after it, and when each arrived (µs UTC).

        None means that nothing is asked, or nothing that can be believed yet: the next poll tells.
        """
        if block.sequence == 0:
            self._confirmed = 0  # the same number may come again, and is then another request
        if sequence_after != block.sequence:
            self._show(sequence_after, after_at)
            return None
        self._show(block.sequence, at)
        if block.sequence == self._confirmed:
            return None
        fault = None if block.length == len(block.payload) else "bad_length"
        if self._spec.crc and block.crc != block.computed:
            fault = "bad_crc"
        if fault is not None:
            self._torn_polls += 1
            if self._torn_polls < TORN_POLLS:
                return None
        crc = block.crc if self._spec.crc else block.computed
        return Frame(block=block, crc=crc, seen_at=self._seen[1], fault=fault)

    def confirmed(self, sequence: int) -> None:
        """Remember that the site was told; this sequence asks for nothing more until another one came between."""
        self._confirmed = sequence

    def _show(self, sequence: int, at: int) -> None:
        if self._seen[0] != sequence:
            self._seen, self._torn_polls = (sequence, at), 0


# ---------------------------------------------------------------- the position half
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


# ---------------------------------------------------------------- the result block
def next_result_seq(previous: int) -> int:
    """The result sequence after ``previous``; 0 is skipped, since it means that there is no result."""
    return previous + 1 if previous + 1 < SEQUENCES else 1


def state_code(state: State) -> int:
    """The number of a published state in the STATE register.

    Raises:
        KeyError: this state is never published.
    """
    return STATE_CODES[state]


def result_text(message: Message) -> str:
    """The first error of a message as the TEXT registers show it: ASCII, at most 64 characters, cut with ``...``."""
    return fit_text(str(message.problems[0]), TEXT_CHARACTERS) if message.problems else ""


def text_registers(text: str) -> list[int]:
    """Lay ASCII text into the TEXT registers, high byte first, padded with NUL.

    Raises:
        ValueError: not ASCII, or longer than the registers hold.
    """
    data = text.encode("ascii")
    if len(data) > TEXT_CHARACTERS:
        raise ValueError(f"{len(data)} characters do not fit into {TEXT_REGISTERS} registers")
    return list(struct.unpack(f">{TEXT_REGISTERS}H", data.ljust(TEXT_CHARACTERS, b"\0")))


def result_writes(spec: MailboxSpec, relay: Relay, message: Message) -> list[tuple[Role, int | str]]:
    """What to write for one relay, in this order; RESULT_SEQ comes last and makes the rest valid.

    ``awaiting`` is written in place, without a RESULT_SEQ, and only where the mailbox asks for progress.

    Raises:
        ValueError: a result without its sequence.
    """
    if relay.event is State.AWAITING and not spec.progress:
        return []
    writes: list[tuple[Role, int | str]] = [
        (Role.RESULT_FOR, relay.rule.sequence),
        (Role.STATE, state_code(relay.event)),
        (Role.ERROR_COUNT, min(len(message.problems), SEQUENCES - 1)),
        (Role.TEXT, result_text(message)),
    ]
    if relay.event is State.AWAITING:
        return writes
    if relay.result_seq is None:
        raise ValueError(f"relay {relay.id} has no result sequence yet")
    return [*writes, (Role.RESULT_SEQ, relay.result_seq)]
