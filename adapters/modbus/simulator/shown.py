"""What a site reads in its mailbox's result block: a result, or a page of its errors and ids. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.mailbox import (
    HOST_BLOCK,
    HOST_REGISTERS,
    SMP_ID_REGISTERS,
    MailboxSpec,
    Role,
    register_bytes,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the gateway wrote into the result block."""

    for_sequence: int
    result_seq: int
    state: int
    error_count: int
    text: str


def result_in(block: Sequence[int]) -> Result:
    """Read a result block."""
    text = register_bytes(block[HOST_BLOCK[Role.TEXT] : HOST_REGISTERS]).split(b"\0", 1)[0]
    return Result(
        for_sequence=block[HOST_BLOCK[Role.RESULT_FOR]],
        result_seq=block[HOST_BLOCK[Role.RESULT_SEQ]],
        state=block[HOST_BLOCK[Role.STATE]],
        error_count=block[HOST_BLOCK[Role.ERROR_COUNT]],
        text=text.decode("ascii", "replace"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page: ``errors`` as (row, number), and the SMP's id with the row that it belongs to."""

    errors: tuple[tuple[int, int], ...]
    smp_id: str
    smp_row: int
    pages: int


def page_in(mailbox: MailboxSpec, block: Sequence[int]) -> Page:
    """Read the page in a whole result block of a mailbox with pages."""
    detail = block[HOST_REGISTERS : HOST_REGISTERS + 2 * mailbox.detail]
    after = HOST_REGISTERS + 2 * mailbox.detail
    text = register_bytes(block[after : after + SMP_ID_REGISTERS]).split(b"\0", 1)[0]
    pairs = zip(detail[::2], detail[1::2], strict=True)
    row, pages = block[after + SMP_ID_REGISTERS : after + SMP_ID_REGISTERS + 2]
    return Page(
        errors=tuple((row, number) for row, number in pairs if number),
        smp_id=text.decode("ascii", "replace"),
        smp_row=row,
        pages=pages,
    )
