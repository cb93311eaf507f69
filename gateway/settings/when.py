"""What makes a message, as YAML says it: exactly one trigger, and what belongs to it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from gateway.core.mapping import (
    ChangeTrigger,
    EdgeTrigger,
    MailboxTrigger,
    MessageTrigger,
    RequestTrigger,
    TimeTrigger,
    Trigger,
    VerdictTrigger,
)
from gateway.core.relay import FAILURES
from gateway.core.schedule import Daily, Every
from gateway.core.transaction import State
from gateway.settings.part import Part
from gateway.settings.quantities import LONDON, WEEK, Duration, Name, PointName, Times, TimeZone, time_zone

ANY_FAILURE = "any_failure"
OTHER = "other"  # a callback that is no verdict: no state of a message
# The ends of a message that may set another one off.
END_WORDS = ("completed", "partial", "failed", "rejected", "refused", "expired", ANY_FAILURE)
_TRIGGERS = ("mailbox", "changes", "edge", "every", "at", "message", "request", *END_WORDS)
# Members that mean something beside one trigger only, and how that is written.
_BESIDE = {
    "kind": ("mailbox", "{mailbox: NAME, kind: NUMBER}"),
    "initial": ("changes", "{changes: POINT, initial: send}"),
    "on": ("edge", "{edge: POINT, on: falling}"),
    "zone": ("at", "{at: 06:30, zone: Europe/London}"),
    "days": ("at", "{at: 06:30, days: [mon, fri]}"),
    "dedupe": ("message", "{message: CONNECTION, dedupe: {window: 10m}}"),
    "progress": ("message", "{message: CONNECTION, progress: true}"),
}
_SECOND = 1_000_000  # µs


class Dedupe(Part):
    """What stands in for the id where the site's messages carry none."""

    window: Duration = Field(description="The same bytes within this time are the same message")


class When(Part):
    """What makes the message: a request, a point, the clock, a message of the site itself, or another one's end."""

    mailbox: Name | None = None
    kind: int | None = Field(default=None, ge=0, le=65535)
    changes: PointName | None = Field(default=None, description="Whenever this point has another value")
    initial: Literal["baseline", "send"] | None = None
    edge: PointName | None = Field(default=None, description="Whenever this point goes on: true, or other than 0")
    on: Literal["rising", "falling", "both"] | None = Field(default=None, description="Which edge; rising without it")
    every: Duration | None = Field(default=None, description="At each multiple of this time, in UTC")
    at: Times | None = Field(default=None, description="At these times of the day, such as 06:30")
    zone: TimeZone | None = Field(default=None, description="The time zone of `at`; Europe/London without it")
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] | None = Field(
        default=None, min_length=1, description="The days of the week of `at`; all without it"
    )
    message: Name | None = Field(
        default=None,
        description="The connection over which the site sends the message itself, with the protocol's own members",
    )
    dedupe: Dedupe | None = None
    progress: bool | None = Field(default=None, description="Also tell the site when the SMP has taken its message")
    completed: Name | None = Field(default=None, description="A message of this site; likewise the other ends")
    partial: Name | None = None
    failed: Name | None = None
    rejected: Name | None = None
    refused: Name | None = None
    expired: Name | None = None
    any_failure: Name | None = None
    request: Literal[True] | None = Field(
        default=None, description="An operator asks for it: smp-gateway messages request, or the control API"
    )

    @property
    def parent(self) -> tuple[str, str] | None:
        """The word and the message of a trigger after another message's verdict."""
        found = [(word, name) for word in END_WORDS if (name := getattr(self, word)) is not None]
        return found[0] if found else None

    @model_validator(mode="after")
    def _one_trigger(self) -> Self:
        triggers = [word for word in _TRIGGERS if getattr(self, word) is not None]
        if len(triggers) != 1:
            raise ValueError(
                "write one of {mailbox: NAME, kind: NUMBER}, {changes: POINT}, {edge: POINT}, {every: 15m}, "
                "{at: 06:30}, {message: CONNECTION, ...}, {request: true} and {completed: MESSAGE}, "
                f"or another end of a message: {', '.join(END_WORDS[1:])}"
            )
        for member, (trigger, written) in _BESIDE.items():
            if getattr(self, member) is not None and triggers != [trigger]:
                raise ValueError(f"{member} belongs to {trigger}: {written}")
        if self.mailbox is not None and self.kind is None:
            raise ValueError("mailbox and kind belong together: {mailbox: NAME, kind: NUMBER}")
        if self.every is not None and self.every % _SECOND:
            raise ValueError("every counts whole seconds")
        return self


def trigger_of(when: When) -> Trigger:
    """What the rest of the gateway knows as the trigger."""
    trigger: Trigger = RequestTrigger()
    if when.parent is not None:
        word, message = when.parent
        trigger = VerdictTrigger(message=message, on=states_of([word]))
    elif when.mailbox is not None and when.kind is not None:
        trigger = MailboxTrigger(mailbox=when.mailbox, kind=when.kind)
    elif when.message is not None:
        window = None if when.dedupe is None else when.dedupe.window
        trigger = MessageTrigger(connection=when.message, dedupe_us=window, progress=bool(when.progress))
    elif when.edge is not None:
        trigger = EdgeTrigger(point=when.edge, rising=when.on != "falling", falling=when.on in {"falling", "both"})
    elif when.every is not None:
        trigger = TimeTrigger(schedule=Every(period_us=when.every))
    elif when.at is not None:
        days = frozenset(WEEK.index(day) for day in when.days or WEEK)
        zone = when.zone or time_zone(LONDON)
        trigger = TimeTrigger(schedule=Daily(times=tuple(when.at), zone=zone, days=days))
    elif when.changes is not None:
        trigger = ChangeTrigger(point=when.changes, initial=when.initial == "send")
    return trigger


def states_of(words: list[str]) -> frozenset[State]:
    """The states that a relay's ``on`` means."""
    states = {State(word) for word in words if word not in {ANY_FAILURE, OTHER}}
    return frozenset(states | FAILURES if ANY_FAILURE in words else states)
