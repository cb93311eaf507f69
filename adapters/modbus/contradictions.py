"""What a Modbus connection, its points and its mailboxes say against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adapters.modbus.addresses import Stretch, Table
from adapters.modbus.config import ModbusConnection
from adapters.modbus.translation import Point, bind_all, home_of
from gateway.core.binding import SITE_ROLES
from gateway.core.mailbox import HEADER_REGISTERS, MailboxSpec, payload_window
from gateway.core.point import Access
from gateway.ports import ConnectionConfig

Contradiction = tuple[tuple[str, ...], str]


def contradictions(config: ConnectionConfig) -> Iterator[Contradiction]:
    """Yield each as (the way there below the site, a sentence)."""
    settings = config.settings
    if not isinstance(settings, ModbusConnection):
        return
    roles = {
        point: box.name
        for box in config.mailboxes.values()
        for role, point in box.roles.items()
        if role in SITE_ROLES.values()
    }
    for name, point in bind_all(config).items():
        path = ("points", name)
        if settings.role == "client":
            yield from (((*path, member), said) for member, said in _written(point))
        elif point.place.poll is not None:
            yield (*path, "poll"), "with role: server the site's masters write their values when they like"
        yield from (((*path, member), said) for member, said in _polled(point, config.mailboxes, roles))
        yield from (((*path, "address"), said) for said in _reached(point, settings))
    for box in config.mailboxes.values() if settings.role == "client" else ():
        yield from ((("mailboxes", box.name), said) for said in _mailbox(box, settings))


def _written(point: Point) -> Iterator[tuple[str, str]]:
    if point.spec.access is not Access.WRITE:
        return
    if point.table not in (Table.HOLDING, Table.COIL):
        yield "access", f"Modbus only reads {point.table}; what is written must be a holding register or a coil"
    if point.place.bit is not None:
        yield "bit", "a bit cannot be written alone: the other bits of its register would be written with it"
    if point.place.poll is not None:
        yield "poll", "a point that is written is not polled"


def _polled(point: Point, boxes: Mapping[str, MailboxSpec], roles: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    home = home_of(point, boxes)
    if point.place.poll is not None and home is not None:
        yield "poll", f"the payload of mailbox {home} is read with its request"
    if point.place.poll is not None and point.spec.name in roles:
        yield "poll", f"mailbox {roles[point.spec.name]} is looked at with every poll of its connection"
    if home is not None and point.place.scale_factor is not None:
        payload, reach = payload_window(boxes[home], boxes[home].capacity), point.place.reach
        if reach.start < payload.start or reach.stop > payload.stop:
            yield "scale_factor", f"it must lie in the payload of mailbox {home}, as the point does"


def _reached(point: Point, settings: ModbusConnection) -> Iterator[str]:
    reach, most = point.place.reach, settings.max_bits if point.table.bits else settings.max_registers
    if len(reach) > most:
        yield f"needs an answer of {len(reach)} registers, and the connection's max_registers is {most}"
    for stretch in settings.forbidden:
        if _touches(stretch, point.table, reach):
            yield f"lies in {stretch}, which is forbidden on this connection"


def _mailbox(box: MailboxSpec, settings: ModbusConnection) -> Iterator[str]:
    if box.bound:
        return
    if len(box.site_block) > settings.max_registers:
        room = settings.max_registers - HEADER_REGISTERS
        said = f"its block is read in one answer of at most {settings.max_registers} registers"
        yield f"{said}: write capacity: {room}" if room >= 0 else f"{said}, and its header alone has {HEADER_REGISTERS}"
    for stretch in settings.forbidden:
        if any(_touches(stretch, Table.HOLDING, block) for block in (*box.site_blocks, box.host_block)):
            yield f"its registers lie in {stretch}, which is forbidden on this connection"


def _touches(stretch: Stretch, table: Table, window: range) -> bool:
    return stretch.table is table and stretch.window.start < window.stop and window.start < stretch.window.stop
