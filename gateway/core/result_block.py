"""What the gateway writes into a mailbox's result block: a result, and any page of its errors and ids. Pure.

Pages
-----
Page k shows the errors (k - 1) * N + 1 to k * N of a mailbox with ``detail: N``, and the SMP's id of the k-th thing
that was created, with the row that asked for it. Page 1 comes with each result; the site asks for another one by its
number.

* PAGE is 0 before anything of a page changes, and is written last: whenever it is k, everything beside it is page k of
  the result whose number is in RESULT_SEQ. So the numbers of two results are never mixed, however the site looks.
* Progress (``awaiting``) does not touch pages: they stay those of RESULT_SEQ.
* A page that there is not is empty: no errors, no id.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.alignment import rows_of
from gateway.core.mailbox import (
    SEQUENCES,
    SMP_ID_REGISTERS,
    TEXT_CHARACTERS,
    MailboxSpec,
    Role,
    state_code,
)
from gateway.core.message import Message, Problem
from gateway.core.point import fit_text
from gateway.core.relay import Relay
from gateway.core.transaction import State

NO_ROW = 0xFFFF  # the row of an error that means the whole message, and of no id
OTHER_ERROR = 0xFFFF  # the number of a code that the wire profile's table does not have

RoleWrites = list[tuple[Role, int | str | tuple[int, ...]]]


def result_text(message: Message) -> str:
    """The first error of a message as the TEXT registers show it: ASCII, at most 64 characters, cut with ``...``."""
    return fit_text(str(message.problems[0]), TEXT_CHARACTERS) if message.problems else ""


def detail_registers(spec: MailboxSpec, problems: Sequence[Problem]) -> tuple[int, ...]:
    """The first errors as pairs of row and number; pairs that are not used are zero, and no error has the number 0."""
    pairs = [
        (_row(problem.row), spec.error_numbers.get(problem.code, OTHER_ERROR)) for problem in problems[: spec.detail]
    ]
    return tuple(number for pair in [*pairs, *[(0, 0)] * (spec.detail - len(pairs))] for number in pair)


def result_writes(spec: MailboxSpec, relay: Relay, message: Message) -> RoleWrites:
    """What to write for one relay, in this order; RESULT_SEQ comes last and makes the rest valid, but for PAGE.

    ``awaiting`` is written in place, without a RESULT_SEQ, and only where the mailbox asks for progress.

    Raises:
        ValueError: a result without its sequence.
    """
    progress = relay.event is State.AWAITING
    if progress and not spec.progress:
        return []
    writes: RoleWrites = [
        (Role.RESULT_FOR, relay.rule.sequence),
        (Role.STATE, state_code(relay.event)),
        (Role.ERROR_COUNT, min(len(message.problems), SEQUENCES - 1)),
        (Role.TEXT, result_text(message)),
    ]
    paged = spec.pages is not None
    if spec.detail and not (progress and paged):
        writes += _page(spec, message, 1)
    writes = [write for write in writes if spec.has(write[0])]
    if progress:
        return writes
    if relay.result_seq is None:
        raise ValueError(f"relay {relay.id} has no result sequence yet")
    writes.append((Role.RESULT_SEQ, relay.result_seq))
    return [(Role.PAGE, 0), *writes, (Role.PAGE, 1)] if paged else writes


def page_writes(spec: MailboxSpec, message: Message | None, page: int) -> RoleWrites:
    """Show this page (from 1) of a result; without a message there are no pages."""
    return [(Role.PAGE, 0), *_page(spec, message, page), (Role.PAGE, page)]


def page_count(spec: MailboxSpec, message: Message) -> int:
    """How many pages show all errors and all ids of a message."""
    return min(max(-(-len(message.problems) // spec.detail), len(message.created)), SEQUENCES - 1)


def _page(spec: MailboxSpec, message: Message | None, page: int) -> RoleWrites:
    problems, created = ((), ()) if message is None else (message.problems, message.created)
    errors = problems[(page - 1) * spec.detail : page * spec.detail]
    thing = created[page - 1] if page <= len(created) else None
    writes: RoleWrites = [
        (Role.DETAIL, detail_registers(spec, errors)),
        (Role.SMP_ID, "" if thing is None else fit_text(thing.smp_id, 2 * SMP_ID_REGISTERS)),
    ]
    if spec.pages is None:
        return writes
    row = rows_of(message.content).get(thing.ref) if message is not None and thing is not None else None
    pages = 0 if message is None else page_count(spec, message)
    return [*writes, (Role.SMP_ROW, _row(row)), (Role.PAGES, pages)]


def _row(row: int | None) -> int:
    return NO_ROW if row is None else min(row, NO_ROW - 1)
