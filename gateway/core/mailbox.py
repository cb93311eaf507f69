"""The mailbox: how a site raises a request in registers, and how it learns what became of it. Pure, for every protocol.

Its roles lie in two blocks of registers (:data:`SITE_BLOCK`, :data:`HOST_BLOCK`), or are points that the site already
has (core/binding.py). The machine has two halves:

* The **frame half** (:class:`FrameReader`) runs where the registers are read: is this block whole, and does it ask for
  anything? Nothing is believed before the sequence was read again after the block and the CRC fits.
* The **position half** (core/mailbox_position.py) runs against the journal: is this request new, known, or a sign that
  site or journal went back in time?

What must always hold
---------------------
* A sequence of 0 never makes a message.
* RESULT_SEQ is written last, skips 0, and is fixed in the journal before the first write.
* The CRC guards against tearing, not against tampering.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.message import Message, Problem
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
    DETAIL = "detail"
    SMP_ID = "smp_id"


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
# With ``detail: N`` the block goes on: N pairs of row and error number, then the SMP's id of the first thing created.
DETAIL_MAX = 32
SMP_ID_REGISTERS = 16
NO_ROW = 0xFFFF  # the row of an error that means the whole message
OTHER_ERROR = 0xFFFF  # the number of a code that the wire profile's table does not have
BOUND = "points"  # the layout whose roles are points
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
    """A mailbox as the site's YAML declares it.

    In the standard layout ``base`` and ``results`` are register addresses of its two blocks, and ``capacity`` is how
    many payload registers the site provides. In the layout ``points`` its ``roles`` are points of the connection, and
    ``payload`` names the points that belong to a request, in the order in which LENGTH and CRC count them.
    ``latest`` says that the site wants only the latest result. ``detail`` is how many errors the result block lists,
    and ``error_numbers`` what each code is in a register.

    Raises:
        ValueError: the blocks leave the address space or overlap.
    """

    name: str
    connection: str
    layout: str = "standard"
    base: int = 0
    results: int = 0
    capacity: int = PAYLOAD_MAX
    roles: Mapping[Role, str] = field(default_factory=dict)
    payload: tuple[str, ...] = ()
    crc: bool = True
    progress: bool = False
    restart_expected: bool = False
    latest: bool = False
    detail: int = 0
    error_numbers: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bound:
            return
        if not 0 <= self.capacity <= PAYLOAD_MAX:
            raise ValueError(f"capacity: {self.capacity} is outside 0..{PAYLOAD_MAX}")
        for name, block in (("base", self.site_block), ("results", self.host_block)):
            if block.start < 0 or block.stop > SEQUENCES:
                raise ValueError(f"{name}: registers {block.start}..{block.stop - 1} are outside 0..65535")
        if self.site_block.start < self.host_block.stop and self.host_block.start < self.site_block.stop:
            raise ValueError(f"the blocks at base {self.base} and results {self.results} overlap")

    @property
    def bound(self) -> bool:
        """Whether the roles are points of the site, instead of blocks of registers."""
        return self.layout == BOUND

    @property
    def site_block(self) -> range:
        """The registers that the site writes."""
        return range(0) if self.bound else range(self.base, self.base + HEADER_REGISTERS + self.capacity)

    @property
    def host_block(self) -> range:
        """The registers that the gateway writes, and the only ones of this mailbox that it may."""
        if self.bound:
            return range(0)
        more = 2 * self.detail + SMP_ID_REGISTERS if self.detail else 0
        return range(self.results, self.results + HOST_REGISTERS + more)

    def place(self, role: Role) -> int | None:
        """Where a role that we write stands in the standard layout; None where it has none."""
        further = {Role.DETAIL: HOST_REGISTERS, Role.SMP_ID: HOST_REGISTERS + 2 * self.detail} if self.detail else {}
        offset = {**HOST_BLOCK, **further}.get(role)
        return None if offset is None else self.results + offset

    def has(self, role: Role) -> bool:
        """Whether the site has a place for this role; in the standard layout it has one for each."""
        return role in self.roles if self.bound else True


def crc32(registers: Sequence[int]) -> int:
    """CRC-32/ISO-HDLC over registers, each as two bytes, high byte first."""
    return zlib.crc32(register_bytes(registers))


def register_bytes(registers: Sequence[int]) -> bytes:
    """Registers as bytes, high byte first."""
    return struct.pack(f">{len(registers)}H", *registers)


def payload_window(spec: MailboxSpec, length: int) -> range:
    """The addresses that a request of LENGTH ``length`` has filled; with ``spec.capacity``, all that it could."""
    first = SITE_BLOCK[Role.PAYLOAD]
    return spec.site_block[first : first + length]


# ---------------------------------------------------------------- the frame half
@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The site's block as one read showed it; ``crc`` is the site's, ``computed`` ours over the same registers.

    ``payload`` holds at most the registers read, and none where the payload is points. With a LENGTH beyond what there
    is to read the block is not ``complete``.
    """

    sequence: int
    kind: int
    length: int
    crc: int
    result_acknowledged: int
    payload: tuple[int, ...]
    computed: int
    raw: bytes
    complete: bool


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
        complete=length == len(payload),
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
        fault = None if block.complete else "bad_length"
        if self._spec.crc and block.crc != block.computed:
            fault = "bad_crc"
        if fault is not None:
            self._torn_polls += 1
            if self._torn_polls < TORN_POLLS:
                return None
        crc = block.crc if self._spec.crc else block.computed
        return Frame(block=block, crc=crc, seen_at=self._seen[1], fault=fault)

    def asks(self, sequence: int) -> bool:
        """Whether this number, if it stays, is a request that was not confirmed."""
        return sequence not in {0, self._confirmed}

    def confirmed(self, sequence: int) -> None:
        """Remember that the site was told; this sequence asks for nothing more until another one came between."""
        self._confirmed = sequence

    def _show(self, sequence: int, at: int) -> None:
        if self._seen[0] != sequence:
            self._seen, self._torn_polls = (sequence, at), 0


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


def detail_registers(spec: MailboxSpec, problems: Sequence[Problem]) -> tuple[int, ...]:
    """The first errors as pairs of row and number; pairs that are not used are zero, and no error has the number 0."""
    pairs = [
        (
            NO_ROW if problem.row is None else min(problem.row, NO_ROW - 1),
            spec.error_numbers.get(problem.code, OTHER_ERROR),
        )
        for problem in problems[: spec.detail]
    ]
    return tuple(number for pair in [*pairs, *[(0, 0)] * (spec.detail - len(pairs))] for number in pair)


def text_registers(text: str, size: int = TEXT_REGISTERS) -> list[int]:
    """Lay ASCII text into so many registers, high byte first, padded with NUL.

    Raises:
        ValueError: not ASCII, or longer than the registers hold.
    """
    data = text.encode("ascii")
    if len(data) > 2 * size:
        raise ValueError(f"{len(data)} characters do not fit into {size} registers")
    return list(struct.unpack(f">{size}H", data.ljust(2 * size, b"\0")))


def result_writes(spec: MailboxSpec, relay: Relay, message: Message) -> list[tuple[Role, int | str | tuple[int, ...]]]:
    """What to write for one relay, in this order; RESULT_SEQ comes last and makes the rest valid.

    ``awaiting`` is written in place, without a RESULT_SEQ, and only where the mailbox asks for progress.

    Raises:
        ValueError: a result without its sequence.
    """
    if relay.event is State.AWAITING and not spec.progress:
        return []
    writes: list[tuple[Role, int | str | tuple[int, ...]]] = [
        (Role.RESULT_FOR, relay.rule.sequence),
        (Role.STATE, state_code(relay.event)),
        (Role.ERROR_COUNT, min(len(message.problems), SEQUENCES - 1)),
        (Role.TEXT, result_text(message)),
    ]
    if spec.detail:
        first = message.created[0].smp_id if message.created else ""
        writes.append((Role.DETAIL, detail_registers(spec, message.problems)))
        writes.append((Role.SMP_ID, fit_text(first, 2 * SMP_ID_REGISTERS)))
    writes = [write for write in writes if spec.has(write[0])]
    if relay.event is State.AWAITING:
        return writes
    if relay.result_seq is None:
        raise ValueError(f"relay {relay.id} has no result sequence yet")
    return [*writes, (Role.RESULT_SEQ, relay.result_seq)]
