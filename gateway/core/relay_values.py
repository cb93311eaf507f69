"""What a relay brings to a site: values for its points, or the whole result for who asked under an id of its own."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from gateway.core.callback import Callback
from gateway.core.intake import called
from gateway.core.message import Message
from gateway.core.point import Value
from gateway.core.relay import CallbackRelay, CallbackRule, Relay

_RAW_BYTES = 64 * 1024  # far more than any point of a plant holds


def point_writes(relay: Relay, message: Message) -> list[tuple[str, Value]]:
    """What a rule's ``write`` puts into which point, in the order of the YAML.

    A ``{"field": path}`` that the message does not have (no error, no id) writes nothing.
    """
    values = ((point, _value(source, relay, message)) for point, source in relay.rule.write.items())
    return [(point, value) for point, value in values if value is not None]


def method_calls(relay: Relay, message: Message) -> list[tuple[str, tuple[Value | None, ...]]]:
    """What a rule's ``call`` hands to which method, in the YAML's order; None is what the message does not have."""
    return [
        (point, tuple(_argument(source, relay, message) for source in arguments))
        for point, arguments in relay.rule.call.items()
    ]


def callback_relay(site: str, rule: CallbackRule, callback: Callback, content: bytes) -> CallbackRelay:
    """What a callback that is no verdict brings to a site; ``raw`` is its text, cut where no point could hold more."""
    fields = {
        "raw": content[:_RAW_BYTES].decode("utf-8", "ignore"),
        "messageType": callback.message_type,
        "messageId": callback.message_id,
        "issuedAt": callback.issued_at,
        "transactionId": callback.transaction_id,
    }
    write = {
        point: fields.get(str(source["field"])) if isinstance(source, Mapping) else source
        for point, source in rule.write.items()
    }
    return CallbackRelay(
        site=site,
        connection=rule.connection,
        write={point: value for point, value in write.items() if value is not None},
    )


def callback_writes(relay: CallbackRelay) -> list[tuple[str, Value]]:
    """What a callback's relay puts into which point, in the order of the YAML."""
    values = ((point, _plain(source)) for point, source in relay.write.items())
    return [(point, value) for point, value in values if value is not None]


def result_of(relay: Relay, message: Message) -> dict[str, object]:
    """The result of a message as JSON members, for a site that asked under an id of its own; ``id`` is that id."""
    asked = (relay.rule.reply or {}).get("id")
    return {"id": asked, "message": message.lane.message, "messageId": message.id, **_members(relay, message)}


def _argument(source: object, relay: Relay, message: Message) -> Value | None:
    """One argument: also of what a method needs to know whose result it is, and whether it had it before."""
    if not isinstance(source, Mapping):
        return _plain(source)
    own: Mapping[str, object] = {
        "id": called(message.intake_key),
        "messageId": message.id,
        "message": message.lane.message,
        "number": relay.id,
    }
    name = str(source["field"])
    found = _plain(own[name] if name in own else _field(name, relay, message))
    return _plain(source.get("default")) if found is None else found


def _value(source: object, relay: Relay, message: Message) -> Value | None:
    return _plain(_field(str(source["field"]), relay, message) if isinstance(source, Mapping) else source)


def _plain(found: object) -> Value | None:
    if isinstance(found, bool | str | Decimal):
        return found
    return Decimal(str(found)) if isinstance(found, int | float) else None


def _field(path: str, relay: Relay, message: Message) -> object:
    """Follow a dotted path such as ``errors.0.message``; None where it leads nowhere."""
    node: object = _members(relay, message)
    for step in path.split("."):
        if isinstance(node, Mapping):
            node = node.get(step)
        elif isinstance(node, list) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        else:
            return None
    return node


def _members(relay: Relay, message: Message) -> dict[str, object]:
    return {
        "state": relay.event.value,
        "transactionId": message.transaction_id,
        "errors": [
            {"row": p.row, "ref": p.ref, "field": p.field, "code": p.code, "message": p.message}
            for p in message.problems
        ],
        "results": [{"ref": c.ref, "smpId": c.smp_id} for c in message.created],
    }
