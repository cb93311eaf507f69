"""Pages of a result: together they are the whole list, and never parts of two results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.mailbox import MailboxSpec, Role
from gateway.core.message import ASSETS, Created, Lane, Message, Problem
from gateway.core.relay import MAILBOX_STATES, Relay, RelayRule
from gateway.core.result_block import RoleWrites, page_count, page_writes, result_writes
from gateway.core.transaction import State

BOX = MailboxSpec(name="plc", connection="plc", base=1000, results=1200, detail=3, pages=1300, progress=True)


def message(errors: int, created: int, ident: int = 1) -> Message:
    """One of as many rows as it takes; the numbers of its errors and its ids tell it from every other."""
    return Message(
        id=f"m{ident}",
        lane=Lane(environment="test", participant="exstor", site="hams-bess", message="battery"),
        kind=ASSETS,
        intake_key=f"plc:1.{ident}",
        content=json.dumps({"assets": [{"assetName": f"N{row}"} for row in range(created)]}).encode(),
        rows=created,
        state=State.PARTIAL,
        accepted_at=0,
        updated_at=0,
        problems=tuple(Problem(row=row, code=f"{ident}.{row}", message="no") for row in range(errors)),
        created=tuple(Created(ref=f"N{row}", smp_id=f"{ident}-{row}") for row in reversed(range(created))),
    )


def relay(result_seq: int | None, event: State = State.PARTIAL) -> Relay:
    rule = RelayRule(connection="plc", on=MAILBOX_STATES | {State.AWAITING}, mailbox="plc", sequence=7)
    return Relay(id=1, message_id="m", participant="p", site="s", event=event, rule=rule, result_seq=result_seq)


def numbered(box: MailboxSpec, *messages: Message) -> MailboxSpec:
    """The mailbox with a number, from 1, for every code that these messages use."""
    codes = [problem.code for each in messages for problem in each.problems]
    return replace(box, error_numbers={code: number for number, code in enumerate(codes, start=1)})


def pairs(value: object) -> list[tuple[int, int]]:
    assert isinstance(value, tuple)
    return [pair for pair in zip(value[::2], value[1::2], strict=True) if pair != (0, 0)]


@given(errors=st.integers(0, 70), created=st.integers(0, 20), detail=st.integers(1, 32))
def test_the_pages_put_together_are_the_whole_list(errors: int, created: int, detail: int) -> None:
    """Every error once and in order, every id once with the row that asked for it, and nothing on the page after."""
    asked = message(errors, created)
    box = numbered(replace(BOX, detail=detail, pages=1900), asked)
    pages = [dict(page_writes(box, asked, page)) for page in range(1, page_count(box, asked) + 1)]
    assert all(page[Role.PAGES] == len(pages) for page in pages)
    found = [pair for page in pages for pair in pairs(page[Role.DETAIL])]
    assert found == [(row, row + 1) for row in range(errors)]
    ids = [(page[Role.SMP_ID], page[Role.SMP_ROW]) for page in pages if page[Role.SMP_ID]]
    assert ids == [(f"1-{row}", row) for row in reversed(range(created))]
    beyond = dict(page_writes(box, asked, len(pages) + 1))
    assert (pairs(beyond[Role.DETAIL]), beyond[Role.SMP_ID], beyond[Role.SMP_ROW]) == ([], "", 0xFFFF)


def test_where_nothing_is_known_there_are_no_pages() -> None:
    """The site is answered all the same, so that it need not wait for ever."""
    written = dict(page_writes(BOX, None, 4))
    assert (written[Role.PAGES], written[Role.SMP_ID], written[Role.PAGE]) == (0, "", 4)


STEPS = st.lists(st.one_of(st.just("result"), st.just("progress"), st.integers(1, 9)), max_size=12)


@given(steps=STEPS, cut=st.integers(0, 200), order=st.randoms(use_true_random=False))
def test_a_page_never_mixes_two_results(steps: Sequence[str | int], cut: int, order: object) -> None:
    """After any write of any story, cut anywhere: where PAGE is k, everything is page k of the result in RESULT_SEQ."""
    results = {seq: message(5 * seq, seq, seq) for seq in range(1, 14)}
    box = numbered(BOX, *results.values())
    held: dict[Role, object] = {Role.PAGE: 0}
    seq, done = 0, 0
    shuffle: Callable[[RoleWrites], None] = getattr(order, "shuffle")  # noqa: B009 - hypothesis's random has no type
    for step in steps:
        seq += step == "result"
        if step == "progress":
            writes = result_writes(box, relay(None, State.AWAITING), message(0, 0))
        elif step == "result":
            writes = result_writes(box, relay(seq), results[seq])
        else:
            writes = page_writes(box, results.get(seq), int(step))
        for role, value in _as_requests(writes, shuffle):
            if done == cut:
                break
            held[role], done = value, done + 1
            page = held[Role.PAGE]
            assert isinstance(page, int)
            if page:
                shown = held.get(Role.RESULT_SEQ)
                assert isinstance(shown, int | None)
                wanted = dict(page_writes(box, results.get(shown or 0), page))
                assert {role: held.get(role) for role in wanted} == wanted


def _as_requests(writes: RoleWrites, shuffle: Callable[[RoleWrites], None]) -> RoleWrites:
    """What lies between the marks is one request, and whoever takes it may lay it out in any order."""
    laid: RoleWrites = []
    group: RoleWrites = []
    for write in writes:
        if write[0] in {Role.PAGE, Role.RESULT_SEQ}:
            shuffle(group)
            laid += [*group, write]
            group = []
        else:
            group.append(write)
    return [*laid, *group]


def test_pages_follow_the_first_id_and_need_a_register_of_their_own() -> None:
    """Row of the id, count and page come last in the block; without detail, or in another block, it is a mistake."""
    places = [BOX.place(role) for role in (Role.SMP_ID, Role.SMP_ROW, Role.PAGES, Role.PAGE)]
    assert places == [1244, 1260, 1261, 1262]
    assert (BOX.host_block.stop, BOX.page_block) == (1263, range(1300, 1301))
    for detail, pages, said in ((0, 1300, "needs detail"), (3, 1262, "overlap"), (3, 1003, "overlap")):
        with pytest.raises(ValueError, match=said):
            replace(BOX, detail=detail, pages=pages)
