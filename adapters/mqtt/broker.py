"""One connection to a broker: aiomqtt with the acknowledgements, the bounds and the ends that a durable intake needs.

Rules
-----
* Nothing is acknowledged by the library: PUBACK goes out when :meth:`Line.acknowledge` says so.
* The library never connects twice: a lost line stays lost, and every call says so.
* Connecting blocks, so it has a thread of its own: brokers that do not answer must not fill the loop's executor.
* Whatever way it ends, the socket is closed: a forgotten one would come back later and take over our client id.
* Of a packet that is longer than is taken only the beginning is kept. MQTT 5 brokers are told not to send such ones.
* The loop never watches a number whose socket is closed: the next connection, of any site, may have been given it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import struct
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import aiomqtt
from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from adapters.mqtt.config import MqttConnection
from adapters.mqtt.reason_codes import ending
from adapters.mqtt.translation import Arrived
from gateway.errors import LinkLost, PointRejected
from gateway.ports import Clock

_SECOND = 1_000_000  # µs
_GOODBYE_S = 1.0
_PIECE = 64 * 1024  # bytes of one receive
_PACKETS_AT_ONCE = 16  # in one turn of the loop, so that a flood of one broker keeps nobody else from it
_PUBACK = struct.Struct(">BBH")
_AROUND = 16  # bytes of a PUBLISH beside its topic, correlation data and payload, at most
_SILENT = logging.getLogger("smp_gateway.mqtt")
_SILENT.disabled = True  # what there is to tell is told as named events
ONLINE, OFFLINE = b"online", b"offline"


class _TlsSocket(ssl.SSLSocket):
    """A socket that closes when its handshake fails; the library only forgets it."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - its own signature
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class _Head(bytearray):
    """The beginning of a packet that is longer than is taken; the rest is let go, so that it fills no memory."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def __iadd__(self, data: bytes) -> Self:  # type: ignore[override,misc]  # the library appends nothing else
        self.extend(memoryview(data)[: max(self._room - len(self), 0)])
        return self


class Line(aiomqtt.Client):
    """``on_arrival(arrived, mid)`` is called for each PUBLISH; whoever takes one of QoS 1 must acknowledge its mid."""

    def __init__(
        self,
        settings: MqttConnection,
        client_id: str,
        *,
        password: str | None,
        tls: ssl.SSLContext | None,
        clock: Clock,
        on_arrival: Callable[[Arrived, int], None],
    ) -> None:
        modern = settings.version == "5"
        super().__init__(
            settings.broker.host,
            settings.broker.port,
            username=settings.username,
            password=password,
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if modern else aiomqtt.ProtocolVersion.V311,
            clean_session=None if modern else False,
            clean_start=False if modern else paho.MQTT_CLEAN_START_FIRST_ONLY,
            will=None if settings.status is None else aiomqtt.Will(settings.status, OFFLINE, qos=1, retain=True),
            timeout=settings.timeout / _SECOND,
            keepalive=settings.keepalive // _SECOND,
            properties=_connect_properties(settings) if modern else None,
            tls_context=tls,
            logger=_SILENT,
        )
        if tls is not None:
            tls.sslsocket_class = _TlsSocket
        self.session_present = False
        self._status = settings.status
        self._clock = clock
        self._on_arrival = on_arrival
        self._confirmations: dict[int, asyncio.Future[int]] = {}
        self._file: int | None = None  # the socket's number while it is open
        self._paused = False
        self._received, self._taken = b"", 0  # what the socket gave, and how much of it the library has
        self._acknowledged: list[int] = []  # in this turn of the loop
        self._longest: int | None = None  # packet that the broker takes, where it says so
        self._packet_limit = settings.packet_limit
        self._receive = self._client._sock_recv  # noqa: SLF001 - the library has no limit of its own
        self._client._sock_recv = self._bounded  # type: ignore[method-assign,assignment]  # noqa: SLF001
        self._client.manual_ack_set(on=True)
        self._client.connect_timeout = settings.timeout / _SECOND

    async def open(self) -> None:
        """Connect.

        Raises:
            LinkLost: nobody answers, or the broker does not want us.
        """
        threads = ThreadPoolExecutor(1, thread_name_prefix="mqtt-connect")
        try:
            connecting = asyncio.get_running_loop().run_in_executor(threads, self._client_connect)
            try:
                await asyncio.shield(connecting)
            except asyncio.CancelledError:
                connecting.add_done_callback(self._late)
                raise
            await self._wait_for(self._connected, timeout=None)
        except (OSError, ValueError, aiomqtt.MqttError) as error:
            self._cut()
            raise LinkLost(f"{self._hostname}:{self._port}: {ending(error)}") from error
        except BaseException:
            self._cut()
            raise
        finally:
            threads.shutdown(wait=False)

    async def close(self) -> None:
        """Say goodbye within a second, as far as the broker still listens, and close the socket."""
        with contextlib.suppress(LinkLost, TimeoutError, aiomqtt.MqttError):
            async with asyncio.timeout(_GOODBYE_S):
                if self._status is not None and not self._disconnected.done():
                    await self.send(self._status, OFFLINE, retain=True)
                self._send_acknowledged()
                if self._client.disconnect() == paho.MQTT_ERR_SUCCESS:
                    await asyncio.shield(self._disconnected)
        self._cut()

    @property
    def ended(self) -> asyncio.Future[None]:
        """Done when the line is lost."""
        return self._disconnected

    def check(self) -> None:
        """Raise LinkLost if the line is lost."""
        if self._disconnected.done():
            raise LinkLost(ending(self._disconnected.exception()))

    def pause(self) -> None:
        """Leave what the broker sends in the socket, until :meth:`resume`; in the end that stops the broker."""
        if self._file is not None and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._file)

    def resume(self) -> None:
        """Take in again what the broker sends."""
        if self._file is not None and self._paused:
            self._paused = False
            self._loop.add_reader(self._file, self._readable)
            self._loop.call_soon(self._readable)  # TLS may hold bytes that the socket does not show

    async def listen(self, topics: Mapping[str, int]) -> dict[str, int]:
        """Subscribe to filters, each with its QoS; returns what the broker granted, 128 and more for a refusal.

        Raises:
            LinkLost: no answer came, or one to something else.
        """
        self.check()
        granted = await self._guard(self.subscribe([(topic, qos) for topic, qos in topics.items()]))
        codes = [code.value if isinstance(code, ReasonCode) else int(code) for code in granted]
        if len(codes) != len(topics):
            raise LinkLost(f"the broker answered {len(codes)} of {len(topics)} subscriptions")
        return dict(zip(topics, codes, strict=True))

    async def send(self, topic: str, payload: bytes, *, retain: bool = False, correlation: bytes | None = None) -> int:
        """Publish with QoS 1; returns the broker's reason code once it has the message, 0 for MQTT 3.1.1.

        Raises:
            LinkLost: whether the broker has it is unknown.
            PointRejected: the broker takes no packet of this length.
        """
        self.check()
        size = len(topic.encode()) + len(payload) + len(correlation or b"") + _AROUND
        if self._longest is not None and size > self._longest:
            raise PointRejected(topic, f"a packet of {size} bytes; the broker takes {self._longest}")
        properties = None
        if correlation is not None and self._client.protocol == paho.MQTTv5:
            properties = _properties(PacketTypes.PUBLISH, CorrelationData=correlation)
        info = self._client.publish(topic, payload, 1, retain, properties)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise LinkLost(f"cannot publish: {paho.error_string(info.rc)}")
        confirmed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._confirmations[info.mid] = confirmed
        try:
            return await self._answered(confirmed)
        finally:
            del self._confirmations[info.mid]

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Send PUBACKs, in this order."""
        self.check()
        if not self._acknowledged:
            self._loop.call_soon(self._send_acknowledged)
        self._acknowledged += mids

    def _send_acknowledged(self) -> None:
        """Send what was acknowledged in this turn of the loop, as one piece (MQTT 5.0 section 3.4, MQTT 3.1.1)."""
        mids, self._acknowledged = self._acknowledged, []
        if mids and not self._disconnected.done():
            packets = b"".join(_PUBACK.pack(0x40, 2, mid) for mid in mids)
            self._client._packet_queue(paho.PUBACK, packets, 0, 0)  # noqa: SLF001 - its own way sends each alone

    async def _answered(self, confirmed: asyncio.Future[int]) -> int:
        done, _ = await asyncio.wait(
            (confirmed, self._disconnected), timeout=self.timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if confirmed in done:
            return confirmed.result()
        self.check()
        raise LinkLost(f"the broker did not confirm within {self.timeout:g} s")

    async def _guard(self, call: Any) -> Any:  # noqa: ANN401 - aiomqtt's two shapes of granted QoS
        try:
            return await call
        except aiomqtt.MqttError as error:
            raise LinkLost(ending(error)) from error

    def _late(self, connecting: asyncio.Future[None]) -> None:
        """Close what a thread opened after nobody waited for it any more; why it could not is nobody's business."""
        if not connecting.cancelled():
            connecting.exception()
        self._loop.call_soon(self._cut)

    def _cut(self) -> None:
        """Close the socket, whatever state it is in."""
        for future in (self._disconnected, self._connected):
            if future.done():
                future.exception()  # looked at: it has been told where it mattered
            else:
                future.set_result(None)
        self._client._sock_close()  # noqa: SLF001 - the only way that does not wait for a silent broker
        if self._misc_task is not None:
            self._misc_task.cancel()

    def _bounded(self, wanted: int) -> bytes:
        """Hand the library a piece; what exceeds the limit of a packet is not kept.

        It asks for each packet three times, the first two for a byte; the socket is asked for all that is there.
        """
        packet = self._client._in_packet  # noqa: SLF001
        if packet["remaining_length"] > self._packet_limit and not isinstance(packet["packet"], _Head):
            packet["packet"] = _Head(self._packet_limit)
        if self._taken >= len(self._received):
            self._received, self._taken = self._receive(_PIECE), 0
        piece = self._received[self._taken : self._taken + wanted]
        self._taken += len(piece)
        return piece

    def _readable(self) -> None:
        """Take in what is there, as long as it is wanted; a broken connection ends the line."""
        try:
            for _ in range(_PACKETS_AT_ONCE):
                if self._paused or self._file is None:
                    return
                self._client.loop_read()
                pending = getattr(self._client.socket(), "pending", None)
                if self._taken >= len(self._received) and (pending is None or not pending()):
                    return
            self._loop.call_soon(self._readable)  # the socket no longer shows what was taken out of it
        except Exception as error:  # noqa: BLE001 - whatever the library meets in the bytes of a broker
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    def _writable(self) -> None:
        """Go on with what could not be sent at once; a broken connection ends the line."""
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001 - as in _readable
            if not self._disconnected.done():
                self._disconnected.set_exception(error)
        if self._file is not None and not self._client.want_write():
            self._loop.remove_writer(self._file)

    def _attach(self, sock: Any) -> None:  # noqa: ANN401
        if not self._is_open(sock):
            return
        self._file = sock.fileno()
        self._loop.add_reader(sock.fileno(), self._readable)
        self._misc_task = self._loop.create_task(self._misc_loop(), name=f"mqtt keepalive {self._hostname}")

    def _attach_writing(self, sock: Any) -> None:  # noqa: ANN401
        if self._is_open(sock):
            self._loop.add_writer(sock.fileno(), self._writable)

    def _is_open(self, sock: object) -> bool:
        """Whether this is still our socket; otherwise its number may be another connection's by now."""
        return sock is self._client.socket()

    # ------------------------------------------------------------ called by the library
    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ANN401, ARG002
        self._loop.call_soon_threadsafe(self._attach, sock)

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ANN401, ARG002
        self._loop.call_soon_threadsafe(self._attach_writing, sock)

    def _on_socket_close(self, client: Any, userdata: Any, sock: Any) -> None:  # noqa: ANN401
        self._file = None
        super()._on_socket_close(client, userdata, sock)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:  # noqa: ANN401
        if not self._connected.done():  # closed before it was open
            self._connected.set_exception(aiomqtt.MqttError(f"the broker closed the connection: {reason_code}"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:  # noqa: ANN401
        self.session_present = bool(flags.session_present)
        self._longest = getattr(properties, "MaximumPacketSize", None)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:  # noqa: ANN401, ARG002
        properties = message.properties
        self._on_arrival(
            Arrived(
                topic=_topic_of(message),
                payload=bytes(message.payload),
                qos=message.qos,
                retained=message.retain,
                at=self._clock.now(),
                response_topic=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
            ),
            message.mid,
        )

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:  # noqa: ANN401, ARG002
        confirmed = self._confirmations.get(mid)
        if confirmed is not None and not confirmed.done():
            confirmed.set_result(reason_code.value if isinstance(reason_code, ReasonCode) else int(reason_code))


def _topic_of(message: paho.MQTTMessage) -> str:
    try:
        return message.topic
    except UnicodeDecodeError:  # no broker may pass this on; it matches nothing of ours
        return ""


def _connect_properties(settings: MqttConnection) -> Properties:
    return _properties(
        PacketTypes.CONNECT,
        SessionExpiryInterval=min(settings.session_expiry // _SECOND, 0xFFFFFFFF),
        ReceiveMaximum=settings.receive_maximum,
        MaximumPacketSize=settings.packet_limit,
    )


def _properties(packet: int, **values: object) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
