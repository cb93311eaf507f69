"""A mailbox of nodes: when to look, in which order to read, and what it asks. The machine itself is core/mailbox.py.

Order of one look (core/binding.py)
-----------------------------------
1. the request, and what we wrote there (acknowledge, result sequence);
2. everything else: the mailbox's other roles, its payload, all other points of the connection;
3. the request again: only if it did not move, 1 and 2 belong together.

Nothing is remembered before the last answer is in, so that a cancelled look is as if it had never begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from adapters.opcua.nodes import Nodes
from gateway.core.binding import number_of, payload_of, read_block
from gateway.core.mailbox import Block, Frame, FrameReader, MailboxSpec, Role
from gateway.core.point import Reading, Snapshot
from gateway.ports import MailboxStatus, Receipt, Request

_OURS = (Role.ACKNOWLEDGE, Role.RESULT_SEQ)
_FIRST = (Role.REQUEST_SEQ, *_OURS)


class Desk:
    """One mailbox during one session; ``due`` is when to look next, on the event loop's clock."""

    def __init__(self, spec: MailboxSpec, nodes: Nodes, points: Sequence[str], interval_s: float) -> None:
        self.spec = spec
        self._nodes = nodes
        self._interval_s = interval_s
        self._frames = FrameReader(spec)
        self._confirmed = 0
        self._first = [spec.roles[role] for role in _FIRST]
        rest = [name for role, name in spec.roles.items() if role not in _FIRST and name in points]
        self._rest = [*dict.fromkeys((*rest, *spec.payload, *points))]
        self._status: MailboxStatus | None = None
        self._written: dict[str, int] = {}  # what we wrote there, by point
        self._hint: Reading | None = None  # the request as the server told it last
        self._hints = 0
        self.due = 0.0

    @property
    def watched(self) -> list[str]:
        """The points a change of which may mean something here, besides those read anyway."""
        return [self.spec.roles[role] for role in _OURS]

    def heard(self, reading: Reading) -> None:
        """Look soon, if the server told something of this mailbox that we did not write there ourselves."""
        roles = {point: role for role, point in self.spec.roles.items()}
        role = roles.get(reading.point)
        if role is None or self._written.get(reading.point) == reading.value:
            return
        if role is Role.REQUEST_SEQ:
            self._hint = reading
        self._hints += 1
        self.due = 0.0

    def wrote(self, role: Role, value: int) -> None:
        """Remember what was written and read back, so that its echo is no news."""
        if role in _OURS:
            self._written[self.spec.roles[role]] = value

    def confirmed(self, sequence: int) -> None:
        """Stop showing this request."""
        self._confirmed = sequence
        self._frames.confirmed(sequence)

    async def look(self) -> list[Request | MailboxStatus]:
        """Look once; empty when nothing is new.

        Raises:
            LinkLost: the connection is gone.
        """
        began = asyncio.get_running_loop().time()
        hints = self._hints
        first, at = await self._nodes.read(self._first)
        rest, _ = await self._nodes.read(self._rest)
        again, after = await self._nodes.read(self._first[:1])
        readings = {**rest, **first}
        try:
            block = read_block(self.spec, readings, self._nodes.raw)
            sequence = number_of(self.spec, Role.REQUEST_SEQ, again)
            ours = [number_of(self.spec, role, readings) for role in _OURS]
        except ValueError:  # a point of it is bad, which Nodes told: another look may find it well
            self._next(hints, began + self._interval_s)
            return []
        hint = self._hint
        seen = hint.at if hint is not None and hint.value == block.sequence else at
        frame = self._frames.observe(block, seen, sequence_after=sequence, after_at=after)
        status = self._moved(block, ours[0], ours[1], at)
        settled = sequence == block.sequence and sequence in {0, self._confirmed}
        self._next(hints, float("inf") if settled else began + self._interval_s)
        found = [] if frame is None else [self._request(frame, readings, ours, after)]
        return [*found, *status]

    def _next(self, hints: int, due: float) -> None:
        """Look again then, or at once if the server told something meanwhile."""
        self.due = due if self._hints == hints else 0.0

    def _moved(self, block: Block, acknowledged: int, result_seq: int, at: int) -> list[MailboxStatus]:
        status = MailboxStatus(
            mailbox=self.spec.name,
            request_seq=block.sequence,
            acknowledged=acknowledged,
            result_seq=result_seq,
            result_acknowledged=block.result_acknowledged,
            at=at,
        )
        if self._status is not None and _numbers(self._status) == _numbers(status):
            return []
        self._status = status
        return [status]

    def _request(self, frame: Frame, readings: Snapshot, ours: Sequence[int], at: int) -> Request:
        block, roles = frame.block, frozenset(self.spec.roles.values())
        brought = payload_of(self.spec, block, readings)
        return Request(
            mailbox=self.spec.name,
            sequence=block.sequence,
            kind=block.kind,
            crc=frame.crc,
            raw=block.raw,
            snapshot={name: reading for name, reading in brought.items() if name not in roles},
            receipt=Receipt(mailbox=self.spec.name, sequence=block.sequence),
            acknowledged=ours[0],
            result_seq=ours[1],
            seen_at=frame.seen_at,
            snapshot_at=at,
            fault=frame.fault,
        )


def _numbers(status: MailboxStatus) -> tuple[int | None, ...]:
    return status.request_seq, status.acknowledged, status.result_seq, status.result_acknowledged
