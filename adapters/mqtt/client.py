"""The MQTT client: a fresh line per session, messages told one by one, each acknowledged when it is on disk.

Rules
-----
* Messages are told in the order of their arrival, all that wait here, and each again until it is confirmed.
* PUBACKs go out in the order of arrival (MQTT 5.0 section 4.6), so one waits for those before it.
* Busy withholds the PUBACK: the broker keeps the message, and sends no more than ``receive_maximum`` behind it. From
  one that sends more (MQTT 3.1.1 cannot be told) nothing is taken out of the socket until there is room.
* Readings are told as the latest of each point; they are never waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

from paho.mqtt.packettypes import PacketTypes

from adapters.mqtt.broker import ONLINE, Line
from adapters.mqtt.config import MqttConnection
from adapters.mqtt.keys import site_keys
from adapters.mqtt.reason_codes import reason_text, refused
from adapters.mqtt.routes import Message, Routes
from adapters.mqtt.translation import Arrived, bad, correlation_of, result_payload, value_payload, write_fault
from gateway.core import jws
from gateway.core.point import Quality, Reading, fit_text, raw_of
from gateway.errors import LinkLost, PointRejected, SecretError
from gateway.ports import (
    Busy,
    Committed,
    ConnectionConfig,
    News,
    PointCall,
    PointWrite,
    Reachable,
    Receipt,
    Refused,
    Resources,
    ResultWrite,
    Session,
    Submitted,
    Write,
)

_BUSY_PAUSE_S = 1.0  # a full journal is not asked again at once
_TEXT_LENGTH = 1000  # of what people read


class MqttAdapter:
    """One connection of a site."""

    def __init__(self, config: ConnectionConfig, resources: Resources) -> None:
        if not isinstance(config.settings, MqttConnection):
            raise TypeError(f"{config.name}: {type(config.settings).__name__} is not an MQTT connection")
        self._config = config
        self._settings = config.settings
        self._resources = resources
        self._routes = Routes(config, limit=config.settings.payload_limit)
        self._known = False  # whether the broker had a session of ours before

    def connect(self) -> AbstractAsyncContextManager[Session]:
        """Open a new session; entering raises LinkLost when the broker cannot be reached or does not want us."""
        return self._connect()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Session]:
        settings, resources = self._settings, self._resources
        find = site_keys(resources, settings.signed_by, self._config.site)
        session = MqttSession(self._config, self._routes, find, resources)
        try:
            password = None if settings.password is None else resources.secret(settings.password)
            tls = resources.client_tls(settings.ca, settings.certificate, settings.key) if settings.broker.tls else None
        except SecretError as error:
            raise LinkLost(str(error)) from error
        line = Line(
            settings,
            settings.client_id or f"smp-{self._config.site}-{self._config.name}",
            password=None if password is None else password.decode("utf-8", "replace").rstrip("\r\n"),
            tls=tls,
            clock=resources.clock,
            on_arrival=session.arrived,
        )
        try:
            await line.open()
            if self._known and not line.session_present:
                session.tell("broker_session_lost", broker=str(settings.broker))
            await session.begin(line)
            self._known = True
            yield session
        finally:
            await line.close()


@dataclass(slots=True)
class _Delivery:
    """A PUBLISH of QoS 1 that is not acknowledged yet, and the message that it is, if it is one."""

    mid: int
    message: Submitted | None = None
    done: bool = False


class MqttSession:
    """One live line; see `ports.Session` for the contract."""

    def __init__(self, config: ConnectionConfig, routes: Routes, find: jws.Find | None, resources: Resources) -> None:
        if not isinstance(config.settings, MqttConnection):
            raise TypeError(f"{config.name} is not an MQTT connection")
        self._labels = {"site": config.site, "connection": config.name}
        self._settings = config.settings
        self._routes = routes
        self._find = find
        self._resources = resources
        self._line: Line | None = None
        self._deliveries: deque[_Delivery] = deque()
        self._unconfirmed: dict[Receipt, _Delivery] = {}  # the messages among them, in the same order
        self._readings: dict[str, Reading] = {}
        self._news: deque[News] = deque()
        self._failing: set[str] = set()
        self._strange = False
        self._numbers = 0
        self._not_before = 0.0  # loop time before which a message that met Busy is not told again
        self._arrived = asyncio.Event()

    async def begin(self, line: Line) -> None:
        """Subscribe, and say that we are there."""
        self._line = line
        granted = await line.listen(self._routes.requests) if self._routes.requests else {}
        for topic, code in granted.items():
            if code != 1:
                said = reason_text(code, PacketTypes.SUBACK) if refused(code) else f"only QoS {code} is granted"
                raise LinkLost(f"the broker does not let us take messages on {topic}: {said}")
        granted = await line.listen(self._routes.readings) if self._routes.readings else {}
        now = self._resources.clock.now()
        for topic, code in granted.items():
            for point in self._routes.points_on(topic) if refused(code) else ():
                said = f"the broker does not let us read {topic}: {reason_text(code, PacketTypes.SUBACK)}"
                self._observe(bad(point, now, "not_authorised", said))
        if self._settings.status is not None:
            await line.send(self._settings.status, ONLINE, retain=True)
        self._news.append(Reachable(at=now))
        self._acknowledge(line)

    def tell(self, event: str, **fields: object) -> None:
        """Tell of an event of this connection."""
        self._resources.event(event, **self._labels, **fields)

    def arrived(self, arrived: Arrived, mid: int) -> None:
        """Take one PUBLISH from the line."""
        message = self._routes.message(arrived, self._find)
        told = None
        if message is None:
            self._take_readings(arrived)
        elif not arrived.retained or message.asked.key is not None:  # without an id it was a message when it was sent
            told = self._submitted(message, arrived.at)
        if told is not None or arrived.qos:
            delivery = _Delivery(mid if arrived.qos else 0, told, done=told is None)
            self._deliveries.append(delivery)
            if told is not None:
                self._unconfirmed[told.receipt] = delivery
        if self._line is not None:
            self._acknowledge(self._line)
            if len(self._deliveries) > self._settings.receive_maximum:
                self._line.pause()
        self._arrived.set()

    async def read(self) -> Sequence[News]:
        """Wait for readings, and for messages that are not confirmed."""
        await asyncio.sleep(0)  # what is told again and again must not keep the loop from everything else
        while True:
            line = self._alive()
            self._arrived.clear()
            if news := self._due():
                return news
            await self._something(line)

    async def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        """Acknowledge the message, and whatever arrived with it or behind it and waited for nothing but this."""
        line = self._alive()
        if isinstance(outcome, Busy):
            self._not_before = asyncio.get_running_loop().time() + _BUSY_PAUSE_S
            return
        delivery = self._unconfirmed.pop(receipt, None)
        if delivery is not None:
            delivery.done = True
        self._acknowledge(line)

    async def write(self, steps: Sequence[Write]) -> None:
        """Publish, each confirmed by the broker's PUBACK."""
        for step in steps:
            await self._resources.still_ours()
            line = self._alive()
            match step:
                case PointWrite():
                    await self._write_point(line, step)
                case ResultWrite():
                    topic = step.to.get("topic", "")
                    code = await line.send(topic, result_payload(step.result), correlation=correlation_of(step.to))
                    self._accepted(topic, code)
                case PointCall():
                    raise PointRejected(step.point, "MQTT has no methods")
                case _:
                    raise PointRejected(step.mailbox, "MQTT has no mailboxes")

    async def _write_point(self, line: Line, step: PointWrite) -> None:
        if step.point not in self._routes.writable:
            raise PointRejected(step.point, "it is not for writing")
        spec, place = self._routes.writable[step.point]
        value = fit_text(step.value, _TEXT_LENGTH) if step.fit and isinstance(step.value, str) else step.value
        fault = write_fault(spec, place, value)
        if fault is not None:
            raise PointRejected(step.point, fault)
        raw = raw_of(spec, value) if isinstance(value, Decimal) else value
        self._accepted(step.point, await line.send(place.topic, value_payload(raw), retain=place.retain))

    @staticmethod
    def _accepted(what: str, code: int) -> None:
        if refused(code):
            raise PointRejected(what, f"the broker does not take it: {reason_text(code, PacketTypes.PUBACK)}")

    # ------------------------------------------------------------ inside
    def _alive(self) -> Line:
        if self._line is None:
            raise LinkLost("not connected")
        self._line.check()
        return self._line

    def _due(self) -> list[News]:
        """What can be told now: all readings, then all messages."""
        news: list[News] = [*self._news, *self._readings.values()]
        self._news.clear()
        self._readings.clear()
        if asyncio.get_running_loop().time() >= self._not_before:
            news += [each.message for each in self._unconfirmed.values() if each.message is not None]
        return news

    async def _something(self, line: Line) -> None:
        """Wait until something arrived, a pause is over, or the line is lost."""
        pause = self._not_before - asyncio.get_running_loop().time()
        arrival = asyncio.ensure_future(self._arrived.wait())
        try:
            await asyncio.wait(
                (arrival, line.ended),
                timeout=pause if pause > 0 else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            arrival.cancel()

    def _submitted(self, message: Message, at: int) -> Submitted:
        self._numbers += 1
        return Submitted(
            message=message.name,
            key=message.asked.key,
            raw=message.asked.raw,
            document=message.asked.document,
            snapshot=message.snapshot,
            receipt=Receipt(mailbox=message.name, sequence=self._numbers),
            reply=message.asked.reply,
            seen_at=at,
            fault=message.asked.fault,
        )

    def _take_readings(self, arrived: Arrived) -> None:
        readings = self._routes.observed(arrived)
        if readings is None and not self._strange:
            self._strange = True  # a subscription that the broker kept from an earlier YAML
            self.tell("topic_unknown", topic=arrived.topic)
        for reading in readings or ():
            self._observe(reading)

    def _observe(self, reading: Reading) -> None:
        """Keep the latest reading of a point; tell when it begins and when it ceases to be bad."""
        self._readings[reading.point] = reading
        if reading.quality is Quality.GOOD:
            if reading.point in self._failing:
                self._failing.discard(reading.point)
                self.tell("point_read_recovered", point=reading.point)
        elif reading.point not in self._failing:
            self._failing.add(reading.point)
            self.tell("point_read_failed", point=reading.point, reason=reading.detail)

    def _acknowledge(self, line: Line) -> None:
        """Acknowledge from the front what is done."""
        mids = []
        while self._deliveries and self._deliveries[0].done:
            mids.append(self._deliveries.popleft().mid)
        if mids:
            line.acknowledge(mid for mid in mids if mid)
        if len(self._deliveries) <= self._settings.receive_maximum:
            line.resume()
