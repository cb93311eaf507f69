"""The requests of a connection as `check` shows them, and how long they take. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.modbus.blocks import Limits, plan
from adapters.modbus.config import ModbusConnection, Transport
from adapters.modbus.mailboxes import OURS
from adapters.modbus.translation import Point, bind_all, divide
from gateway.core.mailbox import HOST_BLOCK, MailboxSpec, Role
from gateway.core.request_plan import PlannedRequest, RequestPlan
from gateway.ports import ConnectionConfig

_SECOND = 1_000_000  # µs
# On a serial line (MODBUS over serial line V1.02, 2.5.1): bits of a character, characters of silence around two frames,
# of a read request, and of its answer beside the data.
_BITS, _SILENCE, _REQUEST, _ANSWER = 11, 7, 8, 5


def request_plan(config: ConnectionConfig) -> RequestPlan | None:
    """What one connection asks for; None where the site asks us.

    Raises:
        TypeError: the configuration is another protocol's.
    """
    if not isinstance(config.settings, ModbusConnection):
        raise TypeError(f"{config.name}: {type(config.settings).__name__} is not a Modbus connection")
    settings = config.settings
    if settings.role == "server":
        return None
    return RequestPlan(
        line=f"{settings.host}:{settings.tcp_port}"
        if settings.transport is Transport.RTU_OVER_TCP
        else f"{config.site}/{config.name}",
        requests=tuple(_requests(config, settings)),
    )


def _requests(config: ConnectionConfig, settings: ModbusConnection) -> Iterator[PlannedRequest]:
    points = bind_all(config)
    payloads, classes = divide(points.values(), config.mailboxes, settings)
    for box in config.mailboxes.values():
        yield from _mailbox(box, points, payloads[box.name], settings)
    for every, members in classes.items():
        yield from _points(members, every, settings)


def _mailbox(
    box: MailboxSpec, points: dict[str, Point], payload: list[Point], settings: ModbusConnection
) -> Iterator[PlannedRequest]:
    """What is read of a mailbox with every poll: our numbers and the site's, and the request's number again."""
    if box.bound:
        asked = [points[box.roles[role]] for role in (Role.REQUEST_SEQ, *OURS)]
        yield from _points(asked, settings.poll, settings)
        yield from _points(asked[:1], settings.poll, settings)
        return
    first = box.results + HOST_BLOCK[Role.ACKNOWLEDGE]
    names = tuple(point.spec.name for point in payload)
    name = f"mailbox {box.name}"
    for window, brings in (
        (range(first, first + len(OURS)), ()),
        *((part, ()) for part in (box.page_block,) if part),
        (box.site_block, names),
        (box.site_block[:1], ()),
    ):
        yield PlannedRequest(
            what=f"holding:{_span(window)}",
            every=settings.poll,
            takes=_takes(len(window), settings),
            points=(name, *brings),
        )


def _points(points: list[Point], every: int, settings: ModbusConnection) -> Iterator[PlannedRequest]:
    for block in plan(points, Limits.of(settings)):
        cells = len(block.window)
        yield PlannedRequest(
            what=f"{block.table}:{_span(block.window)}",
            every=every,
            takes=_takes(-(-cells // 16) if block.table.bits else cells, settings),
            points=tuple(point.spec.name for point in block.points),
        )


def _takes(registers: int, settings: ModbusConnection) -> int:
    if settings.transport is not Transport.RTU_OVER_TCP:
        return settings.latency
    characters = _REQUEST + _ANSWER + 2 * registers + _SILENCE
    return settings.latency + characters * _BITS * _SECOND // settings.baud


def _span(window: range) -> str:
    return f"{window.start}" if len(window) == 1 else f"{window.start}-{window.stop - 1}"
