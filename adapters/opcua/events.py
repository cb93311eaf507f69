"""Events of the site's server, each of which makes a message: what is asked for, and what one says.

Rules
-----
* The filter asks for the fields that the YAML names, of events of the type and its subtypes. Which message one makes
  follows from its handle; which event it is from its EventId, or from the field that is the `id`.
* An event waits here, and is told again, until it is confirmed: it is on disk then, as accepted or as refused.
* Nobody keeps an event for us. What was lost, by the server (EventQueueOverflow), on the way (a gap in the numbering)
  or here (too many wait), is told as an error, and with ``refresh`` the server tells again what is still so: its
  conditions (OPC 10000-9, 5.5.7), under their old ids, of which the journal knows those that it has.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial

from asyncua import ua

from adapters.opcua.addresses import NodeAddress
from adapters.opcua.config import OpcuaTrigger
from adapters.opcua.line import Line, standard
from adapters.opcua.translation import good, plain
from gateway.core import codec
from gateway.core.document import caller_id, digest
from gateway.core.message import Problem
from gateway.ports import Busy, Committed, ConnectionConfig, Receipt, Refused, Resources, Submitted

WAITING = 1_000  # events that wait to be confirmed; those beyond are lost
_QUEUE = 1_000  # events that the server keeps between two publishes
_PAUSE_S = 1.0  # a full journal is not asked again at once
_ID_BYTES = 64  # of an EventId that is written out
_RAW_BYTES = 1024 * 1024
_SERVER = NodeAddress(0, int(ua.ObjectIds.Server), "i=2253")
_OVERFLOW = standard(ua.ObjectIds.EventQueueOverflowEventType)
_REFRESH_REQUIRED = standard(ua.ObjectIds.RefreshRequiredEventType)
# What a server says to every subscription, whatever its filter is (OPC 10000-4, 7.22.3; OPC 10000-9, 5.11).
_OF_THE_SERVER = frozenset(
    {
        _OVERFLOW,
        _REFRESH_REQUIRED,
        standard(ua.ObjectIds.RefreshStartEventType),
        standard(ua.ObjectIds.RefreshEndEventType),
    }
)
_ALWAYS = ("EventId", "EventType")  # picked besides, first
# The members of BaseEventType (OPC 10000-5, 6.4.2), which every event has.
_OF_EVERY_EVENT = frozenset(
    {*_ALWAYS, "SourceNode", "SourceName", "Time", "ReceiveTime", "LocalTime", "Message", "Severity"}
)


class Events:
    """The events of one session."""

    def __init__(self, line: Line, config: ConnectionConfig, resources: Resources) -> None:
        self._line = line
        self._tell = partial(resources.event, site=config.site, connection=config.name)
        triggers = {name: own for name, own in config.triggers.items() if isinstance(own, OpcuaTrigger)}
        self._triggers = {name: own for name, own in triggers.items() if own.event is not None}
        self._handles = dict(enumerate(self._triggers, start=1))
        self._unwatched = set(self._triggers)
        self._failing: set[str] = set()
        self._waiting: dict[Receipt, Submitted] = {}
        self._numbers = 0
        self._not_before = -math.inf  # loop time before which an event that met Busy is not told again
        self.lossy = False

    @property
    def due(self) -> float:
        """When, on the event loop's clock, events are to be told again."""
        return self._not_before if self._waiting else math.inf

    async def watch(self, subscription: int) -> bool:
        """Ask to be told of the events that are not watched yet; whether the server does it, for each of them.

        Raises:
            LinkLost: the connection is gone.
        """
        for handle, name in self._handles.items():
            if name not in self._unwatched:
                continue
            refused = await self._watch(subscription, handle, name)
            if refused is None:
                self._unwatched.discard(name)
                if name in self._failing:
                    self._tell("site_events_recovered", message=name)
                self._failing.discard(name)
                await self._refresh(subscription, name)
            elif name not in self._failing:
                self._failing.add(name)
                self._tell("site_events_failed", message=name, reason=refused)
        return not self._unwatched

    def happened(self, handle: int, fields: Sequence[ua.Variant], at: int) -> None:
        """Take in what the server tells of one event; ``at`` is when it came, in µs UTC."""
        name = self._handles.get(handle)
        if name is None or len(fields) != len(_ALWAYS) + len(self._triggers[name].fields or ()):
            return
        kind = fields[1].Value
        if kind in _OF_THE_SERVER:
            self.lossy = self.lossy or kind in {_OVERFLOW, _REFRESH_REQUIRED}
        elif len(self._waiting) >= WAITING:
            self.lossy = True
        else:
            submitted = self._submitted(name, fields, at)
            self._waiting[submitted.receipt] = submitted
        self._line.stirred.set()

    def waiting(self) -> list[Submitted]:
        """The events that are not confirmed, oldest first; none for a while after the journal was full."""
        return list(self._waiting.values()) if asyncio.get_running_loop().time() >= self._not_before else []

    def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> bool:
        """Let go of an event that is on disk; False when it is none of ours."""
        if receipt not in self._waiting:
            return False
        if isinstance(outcome, Busy):
            self._not_before = asyncio.get_running_loop().time() + _PAUSE_S
        else:
            del self._waiting[receipt]
        return True

    async def lost(self, subscription: int) -> None:
        """Tell that events were, or may have been, lost, and ask again for what is still so.

        Raises:
            LinkLost: the connection is gone.
        """
        self.lossy = False
        watched = [name for name in self._triggers if name not in self._unwatched]
        if watched:
            self._tell("site_events_lost", messages=", ".join(watched))
        for name in watched:
            await self._refresh(subscription, name)

    # ------------------------------------------------------------ inside
    async def _watch(self, subscription: int, handle: int, name: str) -> str | None:
        """Ask for the events of one message; why the server does not tell of them, or None."""
        trigger = self._triggers[name]
        asked = [NodeAddress(space, "", "") for path in (trigger.fields or {}).values() for space, _ in path]
        if trigger.event is None:
            return None
        source, kind, *spaces = await self._line.resolve([trigger.source or _SERVER, trigger.event, *asked])
        if source is None or kind is None or None in spaces:
            return "the server does not know a namespace of its source, its type or its fields"
        numbers = iter([space.NamespaceIndex for space in spaces if space is not None])
        paths = [
            [ua.QualifiedName(word, next(numbers)) for _, word in path] for path in (trigger.fields or {}).values()
        ]
        (made,) = await self._line.watch(subscription, [_item(handle, source, _filter(kind, paths))])
        if not good(int(made.StatusCode.value)):
            return f"the server does not tell of them: {made.StatusCode.name}"
        results = getattr(made.FilterResult, "SelectClauseResults", None) or ()
        bad = [
            word
            for word, status in zip((*_ALWAYS, *(trigger.fields or ())), results, strict=False)
            if not status.is_good()
        ]
        if bad:  # the events come all the same, without these
            self._tell("site_events_failed", message=name, reason=f"the server's events have no {', '.join(bad)}")
        return None

    async def _refresh(self, subscription: int, name: str) -> None:
        if not self._triggers[name].refresh:
            return
        method = standard(ua.ObjectIds.ConditionType_ConditionRefresh)
        argument = ua.Variant(subscription, ua.VariantType.UInt32)
        answer = await self._line.call(standard(ua.ObjectIds.ConditionType), method, [argument])
        if not answer.StatusCode.is_good():
            said = f"what is still so cannot be asked for: {answer.StatusCode.name}"
            self._tell("site_events_failed", message=name, reason=said)

    def _submitted(self, name: str, fields: Sequence[ua.Variant], at: int) -> Submitted:
        trigger = self._triggers[name]
        picked = dict(zip(trigger.fields or (), map(_member, fields[len(_ALWAYS) :]), strict=True))
        raw = codec.dumps(picked)
        key = _event_id(fields[0].Value) if trigger.id is None else caller_id(picked[trigger.id])
        fault = None
        if len(raw) > _RAW_BYTES:
            fault = Problem(code="too_long", message=f"the event's fields are {len(raw)} bytes; {_RAW_BYTES} are read")
            raw = raw[:4096]
        elif key is None:
            said = "has no EventId" if trigger.id is None else f"has no id that could be one in its field {trigger.id}"
            fault = Problem(code="no_id", message=f"the event {said}")
        self._numbers += 1
        return Submitted(
            message=name,
            key=None if fault is not None else key,
            raw=raw,
            document=None if fault is not None else picked,
            snapshot={},
            receipt=Receipt(mailbox=f"event of {name}", sequence=self._numbers),
            reply={},
            seen_at=at,
            fault=fault,
        )


def _filter(kind: ua.NodeId, paths: Sequence[list[ua.QualifiedName]]) -> ua.EventFilter:
    """Ask for these fields of events of this type, subtypes included."""
    wanted = [[ua.QualifiedName(word, 0)] for word in _ALWAYS]
    condition = ua.ContentFilterElement()
    condition.FilterOperator = ua.FilterOperator.OfType
    condition.FilterOperands = [ua.LiteralOperand(Value=ua.Variant(kind, ua.VariantType.NodeId))]
    found = ua.EventFilter()
    found.SelectClauses = [_operand(kind, path) for path in (*wanted, *paths)]
    found.WhereClause.Elements = [condition]
    return found


def _operand(kind: ua.NodeId, path: list[ua.QualifiedName]) -> ua.SimpleAttributeOperand:
    of_all = path[0].NamespaceIndex == 0 and path[0].Name in _OF_EVERY_EVENT
    operand = ua.SimpleAttributeOperand()
    operand.TypeDefinitionId = standard(ua.ObjectIds.BaseEventType) if of_all else kind
    operand.BrowsePath = path
    operand.AttributeId = ua.AttributeIds.Value
    return operand


def _item(handle: int, source: ua.NodeId, wanted: ua.EventFilter) -> ua.MonitoredItemCreateRequest:
    request = ua.MonitoredItemCreateRequest()
    request.ItemToMonitor = ua.ReadValueId(NodeId=source, AttributeId=ua.AttributeIds.EventNotifier)
    request.MonitoringMode = ua.MonitoringMode.Reporting
    request.RequestedParameters = ua.MonitoringParameters(
        ClientHandle=handle, SamplingInterval=0.0, Filter=wanted, QueueSize=_QUEUE, DiscardOldest=True
    )
    return request


def _event_id(value: object) -> str | None:
    if not isinstance(value, bytes) or not value:
        return None
    return value.hex() if len(value) <= _ID_BYTES else digest(value)


def _member(field: ua.Variant) -> object:
    """A field as a member of the document; None for what has no value in JSON."""
    value: object = field.Value
    match value:
        case ua.LocalizedText():
            value = value.Text
        case ua.QualifiedName():
            value = value.Name
        case ua.NodeId():
            value = value.to_string()
        case _:
            pass
    return plain(int(field.VariantType.value), value)
