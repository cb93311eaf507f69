"""A mailbox in the device: in blocks of registers, or with its roles in points that the site already has.

Both kinds are looked at in the same steps (polling.py); the machine itself is core/mailbox.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from adapters.modbus.addresses import Table
from adapters.modbus.blocks import Limits, plan
from adapters.modbus.line import Wire
from adapters.modbus.translation import Point, cut, read_point, too_short
from gateway.core.binding import number_of, payload_of, read_block
from gateway.core.mailbox import (
    HOST_BLOCK,
    SITE_BLOCK,
    Block,
    FrameReader,
    MailboxSpec,
    Role,
    parse_block,
    payload_window,
)
from gateway.core.point import Reading, Snapshot

OURS = (Role.ACKNOWLEDGE, Role.RESULT_SEQ)  # what we write there and look at with every poll


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """A mailbox as the first step of a poll showed it; ``block`` where that was all of it, else ``readings``.

    ``ours_at`` is when our own numbers were read: a write may have come between them and the rest. ``page`` is the
    page that the site asks for, 0 for none.
    """

    sequence: int
    acknowledged: int
    result_seq: int
    ours_at: int
    at: int
    page: int = 0
    block: Block | None = None
    readings: Mapping[str, Reading] = field(default_factory=dict)


class Box(Protocol):
    """One mailbox during one session; whatever reads raises LinkLost, DeviceRefusal, and ValueError for no number."""

    spec: MailboxSpec
    frames: FrameReader

    async def glimpse(self) -> Glimpse:
        """Read what we wrote there and what the site asks, in as few requests as it takes."""

    async def unseen(self) -> tuple[int, int, int, int]:
        """Where the site has not raised anything yet: acknowledged, result sequence, result acknowledged, page."""

    async def sequence(self) -> tuple[int, int]:
        """Read the request's number alone, and when."""

    def block(self, seen: Glimpse, readings: Snapshot, raw: Mapping[str, bytes]) -> Block:
        """What the site asks, once everything else was read too."""

    def snapshot(self, block: Block, readings: Snapshot, at: int) -> dict[str, Reading]:
        """The readings as this request brings them; ``at`` is when its block arrived."""


class BlockBox:
    """A mailbox in the standard layout."""

    def __init__(self, spec: MailboxSpec, line: Wire, payload: Sequence[Point]) -> None:
        self.spec = spec
        self.frames = FrameReader(spec)
        self._line = line
        self._payload = payload

    async def glimpse(self) -> Glimpse:
        """The numbers that we wrote, the page that the site asks for, then the site's block in one read."""
        first = self.spec.results + HOST_BLOCK[Role.ACKNOWLEDGE]
        (acknowledged, result_seq), ours_at = await self._line.read(Table.HOLDING, range(first, first + len(OURS)))
        page = await self._page()
        registers, at = await self._line.read(Table.HOLDING, self.spec.site_block)
        block = parse_block(registers)
        return Glimpse(
            sequence=block.sequence,
            acknowledged=acknowledged,
            result_seq=result_seq,
            ours_at=ours_at,
            at=at,
            page=page,
            block=block,
        )

    async def unseen(self) -> tuple[int, int, int, int]:
        """Our numbers, what the site has consumed, and the page that it asks for."""
        first = self.spec.results + HOST_BLOCK[Role.ACKNOWLEDGE]
        (acknowledged, result_seq), _ = await self._line.read(Table.HOLDING, range(first, first + len(OURS)))
        consumed = self.spec.base + SITE_BLOCK[Role.RESULT_ACKNOWLEDGE]
        (result_acknowledged,), _ = await self._line.read(Table.HOLDING, range(consumed, consumed + 1))
        return acknowledged, result_seq, result_acknowledged, await self._page()

    async def sequence(self) -> tuple[int, int]:
        """The first register of the block."""
        (sequence,), at = await self._line.read(Table.HOLDING, self.spec.site_block[:1])
        return sequence, at

    def block(self, seen: Glimpse, readings: Snapshot, raw: Mapping[str, bytes]) -> Block:  # noqa: ARG002 - of both kinds
        """It came with the first look."""
        if seen.block is None:
            raise ValueError("the block was not read")
        return seen.block

    def snapshot(self, block: Block, readings: Snapshot, at: int) -> dict[str, Reading]:
        """The points in the payload are decoded from the checked block itself."""
        whole = payload_window(self.spec, len(block.payload))
        payload = {
            point.spec.name: read_point(point, cut(block.payload, whole, point), at)
            if point.place.reach.stop <= whole.stop
            else too_short(point, block.length, at)
            for point in self._payload
        }
        return {**readings, **payload}

    async def _page(self) -> int:
        if self.spec.pages is None:
            return 0
        (page,), _ = await self._line.read(Table.HOLDING, self.spec.page_block)
        return page


class PointBox:
    """A mailbox whose roles are points of the connection (core/binding.py)."""

    def __init__(self, spec: MailboxSpec, line: Wire, points: Mapping[str, Point], limits: Limits) -> None:
        self.spec = spec
        self.frames = FrameReader(spec)
        self._line = line
        self._first = plan((points[spec.roles[role]] for role in (Role.REQUEST_SEQ, *OURS)), limits)
        self._request = points[spec.roles[Role.REQUEST_SEQ]]

    async def glimpse(self) -> Glimpse:
        """The request's number and ours; the rest comes with all other points."""
        readings: dict[str, Reading] = {}
        for block in self._first:
            cells, at = await self._line.read(block.table, block.window)
            for point in block.points:
                readings[point.spec.name] = read_point(point, cut(cells, block.window, point), at)
        request, acknowledged, result_seq = (number_of(self.spec, role, readings) for role in (Role.REQUEST_SEQ, *OURS))
        return Glimpse(
            sequence=request,
            acknowledged=acknowledged,
            result_seq=result_seq,
            ours_at=min(reading.at for reading in readings.values()),
            at=readings[self._request.spec.name].at,
            readings=readings,
        )

    async def unseen(self) -> tuple[int, int, int, int]:
        """Our numbers; what the site has consumed is not known either, and there are no pages."""
        readings: dict[str, Reading] = {}
        for block in self._first:
            for point in block.points:
                if point is not self._request:
                    cells, at = await self._line.read(point.table, point.place.reach)
                    readings[point.spec.name] = read_point(point, cells, at)
        acknowledged, result_seq = (number_of(self.spec, role, readings) for role in OURS)
        return acknowledged, result_seq, 0, 0

    async def sequence(self) -> tuple[int, int]:
        """The request's point."""
        point = self._request
        cells, at = await self._line.read(point.table, point.place.reach)
        reading = read_point(point, cells, at)
        return number_of(self.spec, Role.REQUEST_SEQ, {reading.point: reading}), at

    def block(self, seen: Glimpse, readings: Snapshot, raw: Mapping[str, bytes]) -> Block:
        """What the roles and the payload show, put together."""
        return read_block(self.spec, {**readings, **seen.readings}, raw)

    def snapshot(self, block: Block, readings: Snapshot, at: int) -> dict[str, Reading]:  # noqa: ARG002 - of both kinds
        """Everything but the roles; a payload point beyond LENGTH has no value."""
        roles = frozenset(self.spec.roles.values())
        return {n: reading for n, reading in payload_of(self.spec, block, readings).items() if n not in roles}
