"""One poll of a connection: mailboxes and points in few requests, as one snapshot.

Order
-----
1. per mailbox, what we wrote there (ACK_SEQ, RESULT_SEQ), then the site's block in one read;
2. the points outside the blocks;
3. per mailbox, the request sequence again: only if it did not move, 1 and 2 belong together.

Nothing is remembered before the last answer is in, so that a cancelled poll is as if it had never begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapters.modbus.blocks import ReadBlock, plan
from adapters.modbus.config import Table
from adapters.modbus.line import DeviceRefusal, Line
from adapters.modbus.translation import Point, faulty, read_point, too_short
from gateway.core.mailbox import HOST_BLOCK, Block, Frame, FrameReader, MailboxSpec, Role, parse_block, payload_window
from gateway.core.point import Access, Reading, is_news
from gateway.ports import ConnectionConfig, MailboxStatus, Receipt, Request, Resources

News = Reading | Request | MailboxStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What one poll brought; ``torn`` says that a sequence moved meanwhile, so that another look pays at once."""

    news: Sequence[News]
    torn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Glimpse:
    """A mailbox as the first half of a poll showed it."""

    block: Block
    at: int
    acknowledged: int
    result_seq: int


class Poller:
    """What must be known between two polls of one session."""

    def __init__(self, line: Line, config: ConnectionConfig, points: Iterable[Point], resources: Resources) -> None:
        self._line = line
        self._event = resources.event
        self._labels = {"site": config.site, "connection": config.name}
        self._boxes = config.mailboxes
        self._frames = {name: FrameReader(box) for name, box in config.mailboxes.items()}
        self._specs = {name: spec for name, (spec, _) in config.points.items()}
        self._payloads, outside = _divide(points, config.mailboxes)
        self._blocks = plan(outside)
        self._readings: dict[str, Reading] = {}  # as last told
        self._statuses: dict[str, MailboxStatus] = {}
        self._troubles: set[str] = set()

    def confirmed(self, mailbox: str, sequence: int) -> None:
        """Stop showing this request."""
        self._frames[mailbox].confirmed(sequence)

    async def poll(self) -> Poll:
        """Look once at everything.

        Raises:
            LinkLost: the connection is gone.
        """
        glimpses = {name: seen for name, box in self._boxes.items() if (seen := await self._glimpse(box)) is not None}
        readings = await self._read_points()
        torn = False
        requests: list[Request] = []
        found = list(readings.values())
        for name, glimpse in glimpses.items():
            again = await self._sequence(self._boxes[name])
            if again is None:
                continue
            (sequence, at), block = again, glimpse.block
            torn = torn or sequence != block.sequence
            frame = self._frames[name].observe(block, glimpse.at, sequence_after=sequence, after_at=at)
            if frame is not None:
                payload = self._payload(name, block, glimpse.at)
                found += payload.values()
                requests.append(_request(name, frame, glimpse, {**readings, **payload}, at))
        return Poll(news=[*requests, *self._changed(found), *self._moved(glimpses)], torn=torn)

    async def _glimpse(self, box: MailboxSpec) -> _Glimpse | None:
        """Read both blocks of a mailbox; None where the device refuses, which is told once."""
        first = box.results + HOST_BLOCK[Role.ACKNOWLEDGE]
        try:
            (acknowledged, result_seq), _ = await self._line.read(Table.HOLDING, range(first, first + 2))
            registers, at = await self._line.read(Table.HOLDING, box.site_block)
        except DeviceRefusal as refusal:
            self._trouble(f"mailbox {box.name}", str(refusal))
            return None
        return _Glimpse(block=parse_block(registers), at=at, acknowledged=acknowledged, result_seq=result_seq)

    async def _sequence(self, box: MailboxSpec) -> tuple[int, int] | None:
        """Read REQUEST_SEQ once more, and when; None where the device refuses."""
        try:
            (sequence,), at = await self._line.read(Table.HOLDING, box.site_block[:1])
        except DeviceRefusal as refusal:
            self._trouble(f"mailbox {box.name}", str(refusal))
            return None
        self._relief(f"mailbox {box.name}")
        return sequence, at

    async def _read_points(self) -> dict[str, Reading]:
        readings: dict[str, Reading] = {}
        for block in self._blocks:
            for point, reading in await self._read_block(block):
                readings[point.spec.name] = reading
        return readings

    async def _read_block(self, block: ReadBlock) -> list[tuple[Point, Reading]]:
        try:
            cells, at = await self._line.read(block.table, block.window)
        except DeviceRefusal as refusal:
            if len(block.points) == 1:
                return [(block.points[0], self._refused(block.points[0], refusal))]
        else:
            for point in block.points:
                self._relief(point.spec.name)
            return [(point, read_point(point, _cut(cells, block.window, point), at)) for point in block.points]
        # One address can spoil a request for all: from now on, in this session, each point is read on its own.
        parts = block.split()
        self._blocks = tuple(part for each in self._blocks for part in (parts if each is block else (each,)))
        return [reading for part in parts for reading in await self._read_block(part)]

    def _refused(self, point: Point, refusal: DeviceRefusal) -> Reading:
        self._trouble(point.spec.name, str(refusal))
        return faulty(point, "device_exception", f"{refusal} for {point.place.address}", self._line.now())

    def _payload(self, mailbox: str, block: Block, at: int) -> dict[str, Reading]:
        """Decode the points that lie in the payload from the checked block itself."""
        whole = payload_window(self._boxes[mailbox], len(block.payload))
        return {
            point.spec.name: read_point(point, _cut(block.payload, whole, point), at)
            if point.place.window.stop <= whole.stop
            else too_short(point, block.length, at)
            for point in self._payloads[mailbox]
        }

    def _changed(self, readings: Iterable[Reading]) -> list[Reading]:
        news = [r for r in readings if is_news(self._specs[r.point], self._readings.get(r.point), r)]
        self._readings.update((reading.point, reading) for reading in news)
        return news

    def _moved(self, glimpses: Mapping[str, _Glimpse]) -> list[MailboxStatus]:
        statuses = [
            MailboxStatus(
                mailbox=name,
                request_seq=seen.block.sequence,
                acknowledged=seen.acknowledged,
                result_seq=seen.result_seq,
                result_acknowledged=seen.block.result_acknowledged,
                at=seen.at,
            )
            for name, seen in glimpses.items()
        ]
        news = [status for status in statuses if _numbers(self._statuses.get(status.mailbox)) != _numbers(status)]
        self._statuses.update((status.mailbox, status) for status in news)
        return news

    def _trouble(self, what: str, detail: str) -> None:
        if what not in self._troubles:
            self._troubles.add(what)
            self._event("point_read_failed", **self._labels, what=what, detail=detail)

    def _relief(self, what: str) -> None:
        if what in self._troubles:
            self._troubles.discard(what)
            self._event("point_read_recovered", **self._labels, what=what)


def _divide(
    points: Iterable[Point], mailboxes: Mapping[str, MailboxSpec]
) -> tuple[dict[str, list[Point]], list[Point]]:
    """Part the points into those of each payload and all others; points that are only written are not polled."""
    payloads: dict[str, list[Point]] = {name: [] for name in mailboxes}
    outside: list[Point] = []
    for point in points:
        if point.spec.access is Access.WRITE:
            continue
        home = outside
        for name, box in mailboxes.items():
            if point.table is Table.HOLDING and point.place.address.register in payload_window(box, box.capacity):
                home = payloads[name]
        home.append(point)
    return payloads, outside


def _cut(cells: Sequence[int], window: range, point: Point) -> Sequence[int]:
    first = point.place.window.start - window.start
    return cells[first : first + point.place.size]


def _request(mailbox: str, frame: Frame, seen: _Glimpse, snapshot: dict[str, Reading], at: int) -> Request:
    return Request(
        mailbox=mailbox,
        sequence=frame.block.sequence,
        kind=frame.block.kind,
        crc=frame.crc,
        raw=frame.block.raw,
        snapshot=snapshot,
        receipt=Receipt(mailbox=mailbox, sequence=frame.block.sequence),
        acknowledged=seen.acknowledged,
        result_seq=seen.result_seq,
        seen_at=frame.seen_at,
        snapshot_at=at,
        fault=frame.fault,
    )


def _numbers(status: MailboxStatus | None) -> tuple[int, ...] | None:
    if status is None:
        return None
    return status.request_seq, status.acknowledged, status.result_seq, status.result_acknowledged
