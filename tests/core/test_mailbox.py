"""The frame half of the mailbox, its result block, and what a declaration may say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.mailbox import (
    BOUND,
    HOST_REGISTERS,
    PAYLOAD_MAX,
    SITE_BLOCK,
    TORN_POLLS,
    Block,
    Frame,
    FrameReader,
    MailboxSpec,
    Role,
    crc32,
    next_result_seq,
    parse_block,
    payload_window,
    state_code,
    text_registers,
)
from gateway.core.message import ASSETS, Created, Lane, Message, Problem
from gateway.core.relay import MAILBOX_STATES, Relay, RelayRule
from gateway.core.result_block import detail_registers, result_writes
from gateway.core.transaction import State

SPEC = MailboxSpec(name="plc", connection="plc", base=1000, results=1200)
WORDS = st.integers(0, 0xFFFF)


def registers(sequence: int, payload: list[int], *, kind: int = 1, crc: int | None = None) -> list[int]:
    crc = crc32([sequence, kind, len(payload), *payload]) if crc is None else crc
    return [sequence, kind, len(payload), crc >> 16, crc & 0xFFFF, 0, *payload]


def block(sequence: int, payload: list[int] | None = None, *, crc: int | None = None) -> Block:
    return parse_block(registers(sequence, payload or [7], crc=crc))


def look(reader: FrameReader, shown: Block, after: int | None = None, at: int = 100) -> Frame | None:
    return reader.observe(shown, at, sequence_after=shown.sequence if after is None else after, after_at=at + 1)


def test_the_crc_is_the_public_one() -> None:
    """CRC-32/ISO-HDLC's published check value, over registers with the high byte first."""
    assert crc32([0x3132, 0x3334, 0x3536, 0x3738]) == 0x9AE0DAAF  # "12345678"


@given(
    sequence=st.integers(1, 0xFFFF), payload=st.lists(WORDS, max_size=PAYLOAD_MAX), rest=st.lists(WORDS, max_size=20)
)
def test_a_whole_block_is_a_frame(sequence: int, payload: list[int], rest: list[int]) -> None:
    """Whatever lies behind LENGTH does not count."""
    shown = parse_block([*registers(sequence, payload), *rest])
    frame = look(FrameReader(SPEC), shown)
    assert frame is not None
    assert frame.fault is None
    assert frame.block.payload == tuple(payload)
    assert frame.crc == shown.computed


@given(payload=st.lists(WORDS, min_size=1, max_size=PAYLOAD_MAX), where=st.integers(0, 1000), bit=st.integers(0, 15))
def test_one_wrong_bit_is_never_a_frame(payload: list[int], where: int, bit: int) -> None:
    """A block that differs from what the CRC covers by one bit is not believed."""
    cells = registers(9, payload)
    covered = [1, *range(SITE_BLOCK[Role.PAYLOAD], len(cells))]  # KIND and the payload
    cells[covered[where % len(covered)]] ^= 1 << bit
    assert look(FrameReader(SPEC), parse_block(cells)) is None


def test_a_sequence_that_moved_is_torn() -> None:
    """The block is believed only when the sequence read after it is the same; the new one counts as seen from then."""
    reader = FrameReader(SPEC)
    assert look(reader, block(4), after=5, at=100) is None
    frame = look(reader, block(5), at=900)
    assert frame is not None
    assert frame.seen_at == 101


def test_a_bad_crc_is_refused_after_three_polls() -> None:
    """Twice it may be a torn write; the third poll with the same sequence says bad_crc, with the site's own crc."""
    reader = FrameReader(SPEC)
    looks = [look(reader, block(3, crc=0xBAD), at=at) for at in (10, 20, 30)]
    assert looks[: TORN_POLLS - 1] == [None, None]
    assert looks[-1] is not None
    assert (looks[-1].fault, looks[-1].crc, looks[-1].seen_at) == ("bad_crc", 0xBAD, 10)


def test_a_crc_that_heals_is_a_frame_and_another_sequence_counts_anew() -> None:
    """Polls are counted per sequence, and a block that becomes whole is a request like any other."""
    reader = FrameReader(SPEC)
    assert look(reader, block(3, crc=0xBAD)) is None
    healed = look(reader, block(3))
    assert healed is not None
    assert healed.fault is None
    reader.confirmed(3)
    assert [look(reader, block(4, crc=0xBAD)) for _ in range(2)] == [None, None]


def test_a_request_comes_again_until_it_is_confirmed() -> None:
    """Confirming silences one sequence; the next one speaks."""
    reader = FrameReader(SPEC)
    assert look(reader, block(1)) == look(reader, block(1))
    reader.confirmed(1)
    assert look(reader, block(1, [8])) is None
    assert look(reader, block(2)) is not None


def test_zero_asks_nothing_but_ends_what_was_confirmed() -> None:
    """After a site showed 0 the very same number is another request, first seen when it came again."""
    reader = FrameReader(SPEC)
    look(reader, block(1), at=1)
    reader.confirmed(1)
    assert look(reader, block(0), at=2) is None
    again = look(reader, block(1), at=3)
    assert again is not None
    assert again.seen_at == 3


def test_a_mailbox_without_crc_takes_ours() -> None:
    """`crc: none` believes the block as it is, and names it by our own crc; an impossible LENGTH is still refused."""
    reader = FrameReader(replace(SPEC, crc=False))
    frame = look(reader, block(1, crc=0))
    assert frame is not None
    assert frame.crc == crc32([1, 1, 1, 7])
    too_long = parse_block([2, 1, 200, 0, 0, 0, 1, 2, 3])
    assert [found and found.fault for found in (look(reader, too_long) for _ in range(3))] == [None, None, "bad_length"]


def test_a_header_is_the_least() -> None:
    """Less than a header cannot be taken apart."""
    with pytest.raises(ValueError, match="less than a mailbox header"):
        parse_block([1, 2, 3])


def test_the_payload_window_ends_with_length_and_capacity() -> None:
    """Points beyond LENGTH were not filled, and beyond the capacity were not even read."""
    assert payload_window(SPEC, 3) == range(1006, 1009)
    assert payload_window(replace(SPEC, capacity=10), 200) == range(1006, 1016)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"base": 65500}, "base: registers 65500..65624 are outside 0..65535"),
        ({"results": -1}, "results: registers -1..36 are outside"),
        ({"results": 1100}, "overlap"),
        ({"results": 970}, "overlap"),
        ({"capacity": 120}, "capacity: 120 is outside 0..119"),
    ],
)
def test_blocks_must_fit_and_keep_apart(members: dict[str, int], words: str) -> None:
    """A mailbox that cannot be is refused with its numbers."""
    with pytest.raises(ValueError, match=words):
        replace(SPEC, **members)  # type: ignore[arg-type]  # int members only


def test_neighbouring_blocks_are_fine() -> None:
    """Touching is not overlapping."""
    assert replace(SPEC, results=1125).host_block == range(1125, 1125 + HOST_REGISTERS)
    assert replace(SPEC, results=1000 - HOST_REGISTERS).host_block.stop == SPEC.site_block.start


# ---------------------------------------------------------------- the result block
MESSAGE = Message(
    id="m",
    lane=Lane(environment="test", participant="exstor", site="hams-bess", message="battery"),
    kind=ASSETS,
    intake_key="plc:1.7",
    content=b"{}",
    rows=1,
    state=State.FAILED,
    accepted_at=0,
    updated_at=0,
    problems=(
        Problem(row=17, field="meterPoints[0].id", code="INVALID_MPAN", message="check digit"),
        Problem(code="OTHER", message="more"),
    ),
)


def relay(event: State, result_seq: int | None = 3) -> Relay:
    rule = RelayRule(connection="plc", on=MAILBOX_STATES, mailbox="plc", sequence=7)
    return Relay(
        id=1, message_id="m", participant="exstor", site="hams-bess", event=event, rule=rule, result_seq=result_seq
    )


def test_a_result_ends_with_its_sequence() -> None:
    """RESULT_SEQ comes last, after everything it makes valid."""
    assert result_writes(SPEC, relay(State.FAILED), MESSAGE) == [
        (Role.RESULT_FOR, 7),
        (Role.STATE, 3),
        (Role.ERROR_COUNT, 2),
        (Role.TEXT, "row 17 meterPoints[0].id: check digit"),
        (Role.RESULT_SEQ, 3),
    ]


def test_progress_is_written_in_place() -> None:
    """Awaiting carries no RESULT_SEQ, and nothing at all unless the mailbox asks for progress."""
    awaiting = relay(State.AWAITING, None)
    assert result_writes(SPEC, awaiting, MESSAGE) == []
    written = result_writes(replace(SPEC, progress=True), awaiting, MESSAGE)
    assert (Role.STATE, 1) in written
    assert Role.RESULT_SEQ not in dict(written)


def test_a_result_without_its_number_is_our_own_mistake() -> None:
    """The number is fixed in the journal before anything is written."""
    with pytest.raises(ValueError, match="no result sequence"):
        result_writes(SPEC, relay(State.COMPLETED, None), MESSAGE)


@given(st.text(max_size=300))
def test_the_text_always_fits_the_registers(words: str) -> None:
    """Whatever an SMP says, 64 printable ASCII characters reach the site, cut with dots."""
    problem = Problem(code="X", message=words)
    text = dict(result_writes(SPEC, relay(State.FAILED), replace(MESSAGE, problems=(problem,))))[Role.TEXT]
    assert isinstance(text, str)
    assert len(text) <= 64
    assert text.isascii()
    assert not text or text.isprintable()
    assert len(text_registers(text)) == 32
    if len(words) > 64:
        assert text.endswith("...")


def test_text_lies_high_byte_first_and_padded() -> None:
    """Two characters per register."""
    assert text_registers("ABC")[:3] == [0x4142, 0x4300, 0]
    with pytest.raises(ValueError, match="do not fit"):
        text_registers("x" * 65)


def test_result_sequences_skip_zero() -> None:
    """0 means that there is no result."""
    assert [next_result_seq(n) for n in (0, 1, 65534, 65535)] == [1, 2, 65535, 1]


def test_every_published_state_has_its_code() -> None:
    """The numbers of assurance.md, once each."""
    codes = [state_code(state) for state in (State.AWAITING, State.COMPLETED, State.FAILED, State.REJECTED)]
    assert codes == [1, 2, 3, 4]
    published = MAILBOX_STATES | {State.AWAITING}
    assert sorted(state_code(state) for state in published) == list(range(1, 10))
    with pytest.raises(KeyError):
        state_code(State.SENDING)


def test_a_result_tells_only_the_roles_that_the_site_has() -> None:
    """Pins the result of a mailbox of points, with RESULT_SEQ still last."""
    roles = {Role.STATE: "state", Role.RESULT_SEQ: "seq", Role.REQUEST_SEQ: "req", Role.ACKNOWLEDGE: "ack"}
    bound = MailboxSpec(name="ems", connection="scada", layout=BOUND, roles=roles)
    written = result_writes(bound, relay(State.FAILED), MESSAGE)
    assert [role for role, _ in written] == [Role.STATE, Role.RESULT_SEQ]


DETAILED = replace(SPEC, detail=3, error_numbers={"INVALID_MPAN": 100, "required": 20})


def test_detail_lists_errors_as_row_and_number() -> None:
    """Row 65535 is the whole message, number 65535 a code that the profile's table does not have, 0 no error at all."""
    problems = (
        Problem(row=17, code="INVALID_MPAN", message="check digit"),
        Problem(code="strange", message="?"),
        Problem(row=70000, code="required", message="is missing"),
        Problem(row=3, code="required", message="is missing"),
    )
    assert detail_registers(DETAILED, problems) == (17, 100, 0xFFFF, 0xFFFF, 0xFFFE, 20)
    assert detail_registers(DETAILED, problems[:1]) == (17, 100, 0, 0, 0, 0)


def test_detail_and_the_first_id_follow_the_text_before_the_sequence() -> None:
    """Their places are after the text; RESULT_SEQ still comes last; without detail there is no such place."""
    assert (DETAILED.place(Role.DETAIL), DETAILED.place(Role.SMP_ID)) == (1200 + 38, 1200 + 44)
    assert DETAILED.host_block == range(1200, 1200 + 60)
    assert (SPEC.place(Role.DETAIL), SPEC.place(Role.KIND)) == (None, None)
    message = replace(
        MESSAGE, problems=(), created=(Created(ref="A", smp_id="SMP-1"), Created(ref="B", smp_id="SMP-2"))
    )
    written = result_writes(DETAILED, relay(State.COMPLETED), message)
    assert written[-3:-1] == [(Role.DETAIL, (0,) * 6), (Role.SMP_ID, "SMP-1")]
    assert written[-1][0] is Role.RESULT_SEQ
