"""Which verdict goes back to which place of a site; the rules are kept with the message as they stood at acceptance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core.transaction import State

# What a mailbox's result block publishes; `awaiting` only where the site asked for progress.
MAILBOX_STATES = frozenset(
    {
        State.REFUSED,
        State.REJECTED,
        State.COMPLETED,
        State.PARTIAL,
        State.FAILED,
        State.EXPIRED,
        State.ESCALATED,
        State.PARKED,
    }
)
_STATES = {state.value: state for state in State}
FAILURES = frozenset({State.REFUSED, State.REJECTED, State.FAILED, State.PARTIAL, State.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayRule:
    """Where to write when a message enters one of ``on``.

    Either ``mailbox`` with the request's ``sequence`` (its result block), or ``reply``: where whoever sent the message
    under an id of its own wants its result (``id``, and what else the adapter noted), or ``write``: point name to a
    constant or, as ``{"field": "errors.0.message"}``, a value taken from the message. ``call`` has, likewise, the
    arguments of each point that is a method; it comes after what is written. With ``message`` it is a rule of that
    message of the site only, see :func:`rules_of`; a message keeps its own rules, so this is not kept with it.
    """

    connection: str
    on: frozenset[State]
    mailbox: str | None = None
    sequence: int = 0
    write: Mapping[str, object] = field(default_factory=dict)
    call: Mapping[str, Sequence[object]] = field(default_factory=dict)
    reply: Mapping[str, str] | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """One pending delivery, in order per (site, connection).

    ``result_seq`` is fixed in the journal before the first write, so that a repeat after a crash carries the same one.
    It stays None for a mailbox whose counter is not known yet, and always for ``awaiting``.
    """

    id: int
    message_id: str
    participant: str
    site: str
    event: State
    rule: RelayRule
    result_seq: int | None


def rules_of(rules: Sequence[RelayRule], message: str) -> tuple[RelayRule, ...]:
    """The rules of a site that this message is accepted with."""
    return tuple(replace(rule, message=None) for rule in rules if rule.message in {None, message})


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRule:
    """Where to write when a callback comes that is no verdict; ``write`` as in RelayRule, with a callback's fields."""

    connection: str
    write: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRelay:
    """One delivery of such a callback, in order per (site, connection); ``write`` holds what its points get.

    ``id`` is 0 until the journal has given it one.
    """

    site: str
    connection: str
    write: Mapping[str, object]
    id: int = 0


def due(rules: Sequence[RelayRule], state: State) -> list[RelayRule]:
    """The rules that a message entering ``state`` sets off, in the order of the YAML."""
    return [rule for rule in rules if state in rule.on]


def rule_to_json(rule: RelayRule) -> dict[str, object]:
    """Plain JSON members of a rule, for the journal."""
    return {
        "connection": rule.connection,
        "on": sorted(rule.on),
        "mailbox": rule.mailbox,
        "sequence": rule.sequence,
        "write": dict(rule.write),
        **({"call": {point: list(arguments) for point, arguments in rule.call.items()}} if rule.call else {}),
        **({} if rule.reply is None else {"reply": dict(rule.reply)}),
    }


def rule_from_json(data: Mapping[str, object]) -> RelayRule:
    """Read what :func:`rule_to_json` wrote."""
    on, mailbox, sequence, write = data["on"], data["mailbox"], data["sequence"], data["write"]
    reply, call = data.get("reply"), data.get("call", {})
    if not (isinstance(call, dict) and isinstance(on, list) and isinstance(sequence, int) and isinstance(write, dict)):
        raise TypeError(f"not a relay rule: {data!r}")
    return RelayRule(
        connection=str(data["connection"]),
        on=frozenset(_STATES[word] for word in on),
        mailbox=None if mailbox is None else str(mailbox),
        sequence=sequence,
        write=write,
        call={point: tuple(arguments) for point, arguments in call.items()},
        reply={str(key): str(value) for key, value in reply.items()} if isinstance(reply, dict) else None,
    )
