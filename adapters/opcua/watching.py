"""What a server tells by itself: one subscription, whose every answer is heard.

Rules
-----
* Every publish answer counts as a sign of life, also one without news; silence beyond the limit is a lost link.
* A value that the server, or we, had to throw away is a loss, and so is a gap in its numbering: the Overflow bit, a
  full inbox, a missing sequence number. After a loss everything is read again.
* What was told stays in the inbox until somebody takes it: a cancelled read loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from asyncua import ua

from adapters.opcua.config import OpcuaConnection, OpcuaPoint
from adapters.opcua.line import Line
from adapters.opcua.translation import Kind, good, overflowed, read_value
from gateway.core.point import PointSpec, Reading, is_news

_SECOND = 1_000_000  # µs
_MILLISECOND = 1_000  # µs
INBOX = 10_000  # readings that wait to be taken; beyond, the newest is read again instead
_SEQUENCES = 0xFFFFFFFF  # publish sequence numbers wrap to 1 (OPC 10000-4, 7.9)
_NUMERIC = frozenset(Kind) - {Kind.BOOLEAN, Kind.STRING}
_FILTER_REFUSED = frozenset({0x80430000, 0x80440000, 0x80450000, 0x808E0000})  # BadMonitoredItemFilter*, BadDeadband*


Happened = Callable[[int, Sequence[ua.Variant], int], None]  # a client handle, an event's fields, when it came


class Inbox:
    """Readings on their way from the server to :meth:`Session.read`; ``lossy`` says that some are missing."""

    def __init__(self, points: Mapping[str, PointSpec], stirred: asyncio.Event, limit: int = INBOX) -> None:
        self._points = points
        self._stirred = stirred
        self._limit = limit
        self._waiting: list[Reading] = []
        self._told: dict[str, Reading] = {}
        self.lossy = False

    def put(self, reading: Reading) -> None:
        """Keep a reading, if it is news."""
        if not is_news(self._points[reading.point], self._told.get(reading.point), reading):
            return
        self._told[reading.point] = reading
        if len(self._waiting) >= self._limit:
            self._waiting.clear()
            self._told.clear()
            self.lose()
            return
        self._waiting.append(reading)
        self._stirred.set()

    def lose(self) -> None:
        """Note that values were lost."""
        self.lossy = True
        self._stirred.set()

    def take(self) -> list[Reading]:
        """Everything that waits, in its order."""
        news, self._waiting = self._waiting, []
        return news


class Subscription:
    """The subscription of one session."""

    def __init__(
        self, line: Line, settings: OpcuaConnection, inbox: Inbox, heard: Callable[[Reading], None], happened: Happened
    ) -> None:
        self._line = line
        self._happened = happened
        self._settings = settings
        self._inbox = inbox
        self._heard = heard
        self._points: dict[int, PointSpec] = {}  # by client handle
        self._next_sequence: int | None = None
        self.id = 0  # the server's own
        self.gap = False  # an answer never came, with whatever was in it
        self._silence_s = settings.silence / _SECOND
        self.heard_at = 0.0  # the event loop's clock

    @property
    def silent_at(self) -> float:
        """When, on the event loop's clock, this will have been silent for too long."""
        return self.heard_at + self._silence_s

    async def open(self) -> None:
        """Create it on the server, so that it says something at least three times before we take it for dead.

        Raises:
            LinkLost: the server makes none.
        """
        interval_ms = self._settings.publish / _MILLISECOND
        parameters = ua.CreateSubscriptionParameters()
        parameters.RequestedPublishingInterval = interval_ms
        parameters.RequestedMaxKeepAliveCount = max(1, int(self._settings.silence / self._settings.publish / 3))
        parameters.RequestedLifetimeCount = 10 * parameters.RequestedMaxKeepAliveCount
        parameters.MaxNotificationsPerPublish = 0
        parameters.PublishingEnabled = True
        self.heard_at = asyncio.get_running_loop().time()
        made = await self._line.subscribe(parameters, self._on_publish)
        self.id = made.SubscriptionId
        # A server may choose to say less than asked; silence begins only after three of its own keep-alives.
        revised_s = made.RevisedPublishingInterval * made.RevisedMaxKeepAliveCount / 1000
        self._silence_s = max(self._silence_s, 3 * revised_s)

    async def watch(
        self, nodes: Sequence[tuple[PointSpec, OpcuaPoint, ua.NodeId, Kind | None]]
    ) -> list[tuple[PointSpec, int]]:
        """Ask to be told changes of these nodes; the answer names those that the server does not watch, and why.

        Raises:
            LinkLost: the connection is gone.
        """
        first = len(self._points) + 1
        asked = list(enumerate(nodes, start=first))
        self._points.update((handle, spec) for handle, (spec, *_) in asked)
        items = [self._item(handle, *node, filtered=True) for handle, node in asked]
        statuses = _statuses(await self._line.watch(self.id, items))
        again = [each for each, status in zip(asked, statuses, strict=True) if status & 0xFFFF0000 in _FILTER_REFUSED]
        unfiltered = [self._item(handle, *node, filtered=False) for handle, node in again]
        plain = _statuses(await self._line.watch(self.id, unfiltered))
        found = dict(zip((handle for handle, _ in asked), statuses, strict=True))
        found.update(zip((handle for handle, _ in again), plain, strict=True))
        return [(self._points[handle], status) for handle, status in found.items() if not good(status)]

    def _item(
        self, handle: int, spec: PointSpec, place: OpcuaPoint, node: ua.NodeId, kind: Kind | None, *, filtered: bool
    ) -> ua.MonitoredItemCreateRequest:
        parameters = ua.MonitoringParameters()
        parameters.ClientHandle = handle
        sampling = place.sampling or self._settings.sampling or self._settings.publish
        parameters.SamplingInterval = sampling / _MILLISECOND
        parameters.QueueSize = place.queue or self._settings.queue
        parameters.DiscardOldest = True
        if filtered and spec.deadband and kind in _NUMERIC:
            parameters.Filter = ua.DataChangeFilter(
                Trigger=ua.DataChangeTrigger.StatusValue,
                DeadbandType=ua.DeadbandType.Absolute,
                DeadbandValue=float(abs(spec.deadband / spec.scale)),
            )
        request = ua.MonitoredItemCreateRequest()
        request.ItemToMonitor = ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value)
        request.MonitoringMode = ua.MonitoringMode.Reporting
        request.RequestedParameters = parameters
        return request

    def _on_publish(self, result: ua.PublishResult) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        message = result.NotificationMessage
        self._count(int(message.SequenceNumber or 0), with_news=bool(message.NotificationData))
        at = self._line.now()
        for notification in message.NotificationData or ():
            if isinstance(notification, ua.DataChangeNotification):
                for item in notification.MonitoredItems or ():
                    self._on_change(item, at)
            elif isinstance(notification, ua.EventNotificationList):
                for event in notification.Events or ():
                    self._happened(int(event.ClientHandle), event.EventFields or (), at)
            elif isinstance(notification, ua.StatusChangeNotification):
                self._line.lose(f"the server ended the subscription: {notification.Status.name}")

    def _count(self, sequence: int, *, with_news: bool) -> None:
        """Notice a message that never came; a keep-alive carries the number of the message to come."""
        expected = self._next_sequence
        if expected is not None and sequence != expected:
            self.gap = True
            self._inbox.lose()
        self._next_sequence = sequence % _SEQUENCES + 1 if with_news else sequence

    def _on_change(self, item: ua.MonitoredItemNotification, at: int) -> None:
        spec = self._points.get(item.ClientHandle)
        if spec is None or item.Value is None:
            return
        reading = reading_of(spec, item.Value, at)
        if overflowed(status_of(item.Value)):
            self._inbox.lose()
        self._heard(reading)


def _statuses(made: Sequence[ua.MonitoredItemCreateResult]) -> list[int]:
    return [int(result.StatusCode.value) for result in made]


def status_of(data: ua.DataValue) -> int:
    """The 32 bits of a value's status; a server leaves a Good one out."""
    return 0 if data.StatusCode is None else int(data.StatusCode.value)


def kind_of(data: ua.DataValue) -> int:
    """The number of a value's built-in type; a text with a locale counts as a text."""
    if data.Value is None or data.Value.VariantType is None:
        return 0
    number = int(data.Value.VariantType.value)
    return int(Kind.STRING) if number == _LOCALIZED_TEXT else number


def value_of(data: ua.DataValue) -> object:
    """The value alone."""
    value = None if data.Value is None else data.Value.Value
    return value.Text if isinstance(value, ua.LocalizedText) else value


def reading_of(spec: PointSpec, data: ua.DataValue, at: int) -> Reading:
    """A reading of what the server said."""
    return read_value(spec, value_of(data), kind_of(data), status_of(data), at)


_LOCALIZED_TEXT = 21  # OPC 10000-6, 5.1.2
