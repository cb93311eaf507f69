"""One poll of a connection: mailboxes and points in few requests, as one snapshot.

Order
-----
1. per mailbox, what we wrote there (ACK_SEQ, RESULT_SEQ) and what the site asks;
2. the points of the classes that are due; while a request waits, of all classes, since its message may need them;
3. per mailbox, the request sequence again: only if it did not move, 1 and 2 belong together.

Nothing is remembered before the last answer is in, so that a cancelled poll is as if it had never begun; only what the
device refuses is remembered at once. While nothing asks, registers that hold what they held when they were told are not
decoded again: most of a plant stands still, and a thousand plants are polled by one core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from adapters.modbus.addresses import Table
from adapters.modbus.blocks import Limits, Planner, ReadBlock
from adapters.modbus.config import ModbusConnection
from adapters.modbus.line import DeviceRefusal, NotWritten, Wire
from adapters.modbus.mailboxes import BlockBox, Box, Glimpse, PointBox
from adapters.modbus.translation import Point, divide, faulty, raw_bytes, read_point
from gateway.core.mailbox import Frame
from gateway.core.point import Quality, Reading, is_news
from gateway.ports import ConnectionConfig, MailboxStatus, Reachable, Receipt, Request, Resources

News = Reading | Request | MailboxStatus | Reachable

_SECOND = 1_000_000  # µs


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What one poll brought; ``torn`` says that a sequence moved meanwhile, so that another look pays at once."""

    news: Sequence[News]
    torn: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a request was answered last, and which of its points are read anew in any case: not good, or aging."""

    block: ReadBlock
    cells: Sequence[int]
    unsure: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Harvest:
    """What one poll has read: readings, the bytes of their values as a mailbox of points counts them, and the answers.

    With ``lazy`` what is as it was told is left out.
    """

    lazy: bool = False
    readings: dict[str, Reading] = field(default_factory=dict)
    raw: dict[str, bytes] = field(default_factory=dict)
    answers: dict[tuple[Table, int], _Answer] = field(default_factory=dict)


class Poller:
    """What must be known between two polls of one session."""

    def __init__(
        self,
        line: Wire,
        config: ConnectionConfig,
        settings: ModbusConnection,
        points: Mapping[str, Point],
        resources: Resources,
    ) -> None:
        self._line = line
        self._event = resources.event
        self._labels = {"site": config.site, "connection": config.name}
        self._specs = {name: spec for name, (spec, _) in config.points.items()}
        limits = Limits.of(settings)
        payloads, self._classes = divide(points.values(), config.mailboxes, settings)
        self._boxes: dict[str, Box] = {
            name: PointBox(spec, line, points, limits) if spec.bound else BlockBox(spec, line, payloads[name])
            for name, spec in config.mailboxes.items()
        }
        self._periods = {point.spec.name: period for period, members in self._classes.items() for point in members}
        self._planners = {
            period: Planner(members, limits, settings.retest) for period, members in self._classes.items()
        }
        self._probe = Planner(points.values(), limits, settings.retest) if self._only_written(points) else None
        self._bound = any(spec.bound for spec in config.mailboxes.values())
        self._readings: dict[str, Reading] = {}  # as last told
        self._answers: dict[tuple[Table, int], _Answer] = {}  # of requests, by where they begin
        self._refused: dict[str, Reading] = {}  # points that are left out for now
        self._statuses: dict[str, MailboxStatus] = {}
        self._troubles: set[str] = set()
        self._reached = False

    @property
    def periods(self) -> frozenset[int]:
        """The periods of all classes, in µs; mailboxes belong to the connection's own."""
        return frozenset(self._classes)

    def confirmed(self, mailbox: str, sequence: int) -> None:
        """Stop showing this request."""
        self._boxes[mailbox].frames.confirmed(sequence)

    async def poll(self, due: Collection[int]) -> Poll:
        """Look once at the mailboxes and at the points of these periods.

        Raises:
            LinkLost: the connection is gone.
        """
        statuses: list[MailboxStatus] = []
        glimpses = {name: seen for name in self._boxes if (seen := await self._glimpse(name, statuses)) is not None}
        asked = any(self._boxes[name].frames.asks(seen.sequence) for name, seen in glimpses.items())
        harvest = await self._read_points(self._classes if asked else due, lazy=not (asked or self._bound))
        readings = harvest.readings
        torn = False
        requests: list[Request] = []
        found = dict(readings)
        for name, seen in glimpses.items():
            again = await self._sequence(name)
            if again is None:
                continue
            torn = torn or again[0] != seen.sequence
            request, status = self._look(name, seen, again, readings, harvest.raw)
            statuses += status
            if request is not None:
                found |= request.snapshot
                requests.append(request)
        self._answers |= harvest.answers
        return Poll(news=[*requests, *self._changed(found.values()), *self._moved(statuses), *self._reach()], torn=torn)

    def _look(
        self,
        name: str,
        seen: Glimpse,
        again: tuple[int, int],
        readings: dict[str, Reading],
        raw: Mapping[str, bytes],
    ) -> tuple[Request | None, list[MailboxStatus]]:
        """Put one mailbox together; nothing where a role of it has no value, which its point tells."""
        box, (sequence, at) = self._boxes[name], again
        try:
            block = box.block(seen, readings, raw)
        except ValueError as error:
            self._trouble(f"mailbox {name}", str(error))
            return None, []
        self._relief(f"mailbox {name}")
        frame = box.frames.observe(block, seen.at, sequence_after=sequence, after_at=at)
        status = MailboxStatus(
            mailbox=name,
            request_seq=block.sequence,
            acknowledged=seen.acknowledged,
            result_seq=seen.result_seq,
            result_acknowledged=block.result_acknowledged,
            at=seen.ours_at,
            page=seen.page,
        )
        if frame is None:
            return None, [status]
        return _request(name, frame, seen, box.snapshot(block, readings, seen.at), at), [status]

    async def _glimpse(self, name: str, statuses: list[MailboxStatus]) -> Glimpse | None:
        """Look at a mailbox; None where the device refuses, or a role has no value, which is told once."""
        began = self._line.now()
        try:
            return await self._boxes[name].glimpse()
        except NotWritten:
            acknowledged, result_seq, consumed, page = await self._boxes[name].unseen()
            status = MailboxStatus(
                mailbox=name,
                request_seq=None,
                acknowledged=acknowledged,
                result_seq=result_seq,
                result_acknowledged=consumed,
                at=began,
                page=page,
            )
            statuses.append(status)
            return None
        except (DeviceRefusal, ValueError) as fault:
            self._trouble(f"mailbox {name}", str(fault))
            return None

    async def _sequence(self, name: str) -> tuple[int, int] | None:
        """Read a request's number once more, and when; None as above."""
        try:
            return await self._boxes[name].sequence()
        except (DeviceRefusal, ValueError) as fault:
            self._trouble(f"mailbox {name}", str(fault))
            return None

    async def _read_points(self, periods: Collection[int], *, lazy: bool) -> _Harvest:
        """The points of these classes."""
        harvest = _Harvest(lazy)
        for period in sorted(periods):
            planner = self._planners[period]
            for block in planner.requests(self._monotonic()):
                await self._read_block(planner, block, harvest)
            for name, last in self._refused.items() if self._refused else ():
                if name not in harvest.readings and self._periods.get(name) == period:
                    harvest.readings[name] = replace(last, at=self._line.now())
        if self._probe is not None:
            for block in self._probe.requests(self._monotonic()):
                await self._read_block(self._probe, block, _Harvest())
        return harvest

    async def _read_block(self, planner: Planner, block: ReadBlock, harvest: _Harvest) -> bool:
        """Read one block; whether it was answered as a whole."""
        try:
            cells, at = await self._line.read(block.table, block.window)
        except DeviceRefusal as refusal:
            return await self._bisect(planner, block, refusal, harvest)
        key = (block.table, block.window.start)
        before = self._answers.get(key)
        if before is None or before.block is not block or not harvest.lazy:
            wanted: Iterable[int] = range(len(block.points))
        elif before.cells == cells:
            wanted = before.unsure
        else:  # the rest holds what was told of it, and nothing has been the matter with it since
            wanted = sorted(before.unsure | block.moved(before.cells, cells))
        unsure = {place for place in wanted if not self._read_one(block, place, cells, at, harvest)}
        harvest.answers[key] = _Answer(block, cells, frozenset(unsure))
        return True

    def _read_one(self, block: ReadBlock, place: int, cells: Sequence[int], at: int, harvest: _Harvest) -> bool:
        """Read one point of an answer; whether its value stands for as long as its cells do."""
        point, own = block.points[place], cells[block.parts[place]]
        name = point.spec.name
        reading = harvest.readings[name] = read_point(point, own, at)
        if self._bound:
            harvest.raw[name] = raw_bytes(point, own)
        if self._refused:
            self._refused.pop(name, None)
        if self._troubles:
            self._relief(name)
        return reading.quality is Quality.GOOD and point.spec.max_age is None

    async def _bisect(self, planner: Planner, block: ReadBlock, refusal: DeviceRefusal, harvest: _Harvest) -> bool:
        """One address can spoil a request for all: find it, and leave it out for a while."""
        halves = block.halves() if refusal.of_an_address else None
        if halves is None:
            for point in block.points:
                harvest.readings[point.spec.name] = self._faulty(point, refusal)
            self._answers.pop((block.table, block.window.start), None)
            if not refusal.transient:
                self._refused.update((point.spec.name, harvest.readings[point.spec.name]) for point in block.points)
                planner.leave_out(block.points, self._monotonic())
            return False
        whole = [await self._read_block(planner, half, harvest) for half in halves]
        if all(whole):
            planner.keep_apart(halves[1], self._monotonic())
        return False

    def _faulty(self, point: Point, refusal: DeviceRefusal) -> Reading:
        if not isinstance(refusal, NotWritten):  # its quality says it, and it is nobody's failure
            self._trouble(point.spec.name, str(refusal))
        return faulty(point, refusal.fault, f"{refusal} for {point.place.address}", self._line.now())

    def _changed(self, readings: Iterable[Reading]) -> list[Reading]:
        news = [r for r in readings if is_news(self._specs[r.point], self._readings.get(r.point), r)]
        self._readings.update((reading.point, reading) for reading in news)
        return news

    def _moved(self, statuses: Iterable[MailboxStatus]) -> list[MailboxStatus]:
        news = [status for status in statuses if _numbers(self._statuses.get(status.mailbox)) != _numbers(status)]
        self._statuses.update((status.mailbox, status) for status in news)
        return news

    def _reach(self) -> list[Reachable]:
        """Told once where nothing is read, so that what is only written is written at all."""
        if self._probe is None or self._reached:
            return []
        self._reached = True
        return [Reachable(at=self._line.now())]

    def _only_written(self, points: Mapping[str, Point]) -> bool:
        return bool(points) and not self._boxes and not any(self._classes.values())

    def _monotonic(self) -> int:
        return int(asyncio.get_running_loop().time() * _SECOND)

    def _trouble(self, what: str, detail: str) -> None:
        if what not in self._troubles:
            self._troubles.add(what)
            self._event("point_read_failed", **self._labels, what=what, detail=detail)

    def _relief(self, what: str) -> None:
        if what in self._troubles:
            self._troubles.discard(what)
            self._event("point_read_recovered", **self._labels, what=what)


def _request(mailbox: str, frame: Frame, seen: Glimpse, snapshot: dict[str, Reading], at: int) -> Request:
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


def _numbers(status: MailboxStatus | None) -> tuple[int | None, ...] | None:
    if status is None:
        return None
    return status.request_seq, status.acknowledged, status.result_seq, status.result_acknowledged, status.page
