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
from itertools import combinations

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
    SMP_ROW = "smp_row"
    PAGES = "pages"
    PAGE = "page"


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
# With ``pages: ADDRESS`` three registers more: the row of that id, how many pages there are, and which one is shown.
_PAGE_ROLES = (Role.SMP_ROW, Role.PAGES, Role.PAGE)
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
    and ``error_numbers`` what each code is in a register. ``pages`` is the site's register that asks for another page
    of them (core/result_block.py).

    Raises:
        ValueError: the blocks leave the address space or overlap, or there is nothing that pages could show.
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
    pages: int | None = None
    error_numbers: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bound:
            return
        if not 0 <= self.capacity <= PAYLOAD_MAX:
            raise ValueError(f"capacity: {self.capacity} is outside 0..{PAYLOAD_MAX}")
        blocks = {"base": self.site_block, "results": self.host_block, "pages": self.page_block}
        for name, block in blocks.items():
            if block.start < 0 or block.stop > SEQUENCES:
                raise ValueError(f"{name}: registers {block.start}..{block.stop - 1} are outside 0..65535")
        for (one, first), (other, second) in combinations(blocks.items(), 2):
            if first and second and first.start < second.stop and second.start < first.stop:
                raise ValueError(f"the blocks at {one} {first.start} and {other} {second.start} overlap")
        if self.pages is not None and not self.detail:
            raise ValueError("pages needs detail: how many errors a page lists")

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
        more += len(_PAGE_ROLES) if self.pages is not None else 0
        return range(self.results, self.results + HOST_REGISTERS + more)

    @property
    def page_block(self) -> range:
        """The one register in which the site asks for a page, where it does."""
        return range(0) if self.pages is None else range(self.pages, self.pages + 1)

    @property
    def site_blocks(self) -> tuple[range, ...]:
        """Every register that the site writes."""
        return tuple(block for block in (self.site_block, self.page_block) if block)

    def place(self, role: Role) -> int | None:
        """Where a role that we write stands in the standard layout; None where it has none."""
        after = HOST_REGISTERS + 2 * self.detail
        further = {Role.DETAIL: HOST_REGISTERS, Role.SMP_ID: after} if self.detail else {}
        if self.pages is not None:
            further |= {role: at for at, role in enumerate(_PAGE_ROLES, start=after + SMP_ID_REGISTERS)}
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


# ---------------------------------------------------------------- numbers and texts of a result (core/result_block.py)
def next_result_seq(previous: int) -> int:
    """The result sequence after ``previous``; 0 is skipped, since it means that there is no result."""
    return previous + 1 if previous + 1 < SEQUENCES else 1


def state_code(state: State) -> int:
    """The number of a published state in the STATE register.

    Raises:
        KeyError: this state is never published.
    """
    return STATE_CODES[state]


def text_registers(text: str, size: int = TEXT_REGISTERS) -> list[int]:
    """Lay ASCII text into so many registers, high byte first, padded with NUL.

    Raises:
        ValueError: not ASCII, or longer than the registers hold.
    """
    data = text.encode("ascii")
    if len(data) > 2 * size:
        raise ValueError(f"{len(data)} characters do not fit into {size} registers")
    return list(struct.unpack(f">{size}H", data.ljust(2 * size, b"\0")))
