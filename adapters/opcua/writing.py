"""Writes, each read back: what may be written, as which type, and what follows when it did not take.

Rules
-----
* Only points with ``access: write``, among them those that a mailbox's roles are bound to; the rest is refused.
* A value is written as the node's own type, without time stamps; it is refused, never clamped. What was read back is
  compared as that type has it.
* The roles of one result share a request; RESULT_SEQ goes alone and last, since it makes the rest valid.
* One retry, then the write is refused for good. A status that means "not now" ends the session instead: the runtime
  comes back later and writes the same again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from asyncua import ua

from adapters.opcua.calling import Caller
from adapters.opcua.line import Line
from adapters.opcua.nodes import Nodes
from adapters.opcua.translation import Kind, good, same, transient, write_value
from adapters.opcua.watching import status_of, value_of
from gateway.core.binding import role_point
from gateway.core.mailbox import MailboxSpec, Role
from gateway.core.point import Access, Value
from gateway.errors import LinkLost, PointRejected
from gateway.ports import PointCall, ResultWrite, RoleWrite, Write

_ATTEMPTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One value on its way into one node; ``name`` is what people call it."""

    name: str
    node: ua.NodeId
    kind: Kind
    value: bool | int | float | str


class Writer:
    """Writes over one line."""

    def __init__(self, line: Line, nodes: Nodes, caller: Caller, mailboxes: Mapping[str, MailboxSpec]) -> None:
        self._line = line
        self._caller = caller
        self._nodes = nodes
        self._mailboxes = mailboxes

    async def write(self, steps: Sequence[Write]) -> None:
        """Make the steps in order, a row of roles of one mailbox as one step.

        Raises:
            LinkLost: the outcome is unknown.
            PointRejected: a step is not allowed, or did not take; later ones were not made.
        """
        for together, group in groupby(steps, key=_together):
            row = list(group)
            if together is not None:
                await self._deliver([await self._role(step) for step in row if isinstance(step, RoleWrite)])
                continue
            for step in row:
                if isinstance(step, ResultWrite):
                    raise PointRejected("result", "a server is never told results under an id of its own")
                if isinstance(step, PointCall):
                    await self._caller.call(step)
                elif isinstance(step, RoleWrite):
                    await self._deliver([await self._role(step)])
                else:
                    await self._deliver([await self._order(step.point, step.point, step.value)])

    async def _role(self, step: RoleWrite) -> Order:
        name, box = f"{step.mailbox}.{step.role}", self._mailboxes.get(step.mailbox)
        if box is None:
            raise PointRejected(step.mailbox, "is not a mailbox of this connection")
        try:
            point, value = role_point(box, step.role, step.value)
        except ValueError as error:
            raise PointRejected(name, str(error)) from error
        return await self._order(name, point, value)

    async def _order(self, name: str, point: str, value: Value) -> Order:
        spec, node = self._nodes.specs.get(point), self._nodes.id_of(point)
        if spec is None:
            raise PointRejected(name, "is not a point of this connection")
        if spec.access is not Access.WRITE:
            raise PointRejected(name, "is not declared with access: write")
        if self._nodes.places[point].called:
            raise PointRejected(name, "is a method, which is called and holds no value")
        kind = await self._nodes.kind(point)
        if node is None or kind is None:
            where = self._nodes.places[point].where
            raise PointRejected(name, f"{where} cannot be written: the server does not know it, or its type")
        try:
            return Order(name=name, node=node, kind=kind, value=write_value(spec, kind, value))
        except ValueError as error:
            raise PointRejected(name, str(error)) from error

    async def _deliver(self, orders: Sequence[Order]) -> None:
        reason = (orders[0].name, "")
        for _ in range(_ATTEMPTS):
            statuses = await self._line.write([(o.node, ua.Variant(o.value, ua.VariantType(o.kind))) for o in orders])
            refused = [(order, status) for order, status in zip(orders, statuses, strict=True) if not good(status)]
            for order, status in refused:
                if transient(status):
                    raise LinkLost(f"{order.name}: {named(status)}")
                reason = order.name, f"the server refused it: {named(status)}"
            if not refused:
                difference = await self._difference(orders)
                if difference is None:
                    return
                reason = difference
        raise PointRejected(*reason)

    async def _difference(self, orders: Sequence[Order]) -> tuple[str, str] | None:
        """Read everything back; None when it is what was written."""
        data, _ = await self._line.read([order.node for order in orders])
        for order, found in zip(orders, data, strict=True):
            if not good(status_of(found)) or not same(order.kind, value_of(found), order.value):
                return order.name, f"holds {value_of(found)!r:.60} after {order.value!r:.60} was written"
        return None


def _together(step: Write) -> str | None:
    """The roles of one mailbox may share a request, except the one that makes the others valid."""
    return step.mailbox if isinstance(step, RoleWrite) and step.role is not Role.RESULT_SEQ else None


def named(status: int) -> str:
    """A status code as people know it."""
    return ua.StatusCode(ua.UInt32(status)).name
