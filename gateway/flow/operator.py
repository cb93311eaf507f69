"""What operators decide, carried out: what becomes of a message, of an unmatched callback, of a held participant.

Rules
-----
* Every act has an actor and a reason, and both are on disk with it.
* An act is judged by the state in its own commit; what can be done now is said when it is another one.
* A submission that is sent again keeps its id and bytes, and leaves like any other: when the SMP may be spoken to.
* Nobody asks about a message that was left behind, since its participant is not served in that environment any more:
  there an operator may end a doubt that is the gateway's elsewhere, and nothing is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core import acts, strict_json
from gateway.core.acts import Act, Decision
from gateway.core.control import (
    ACT,
    DISMISS,
    PARTICIPANTS,
    RELEASE,
    Acted,
    ActOrder,
    Dismissed,
    DismissOrder,
    Operation,
    ParticipantList,
    ParticipantStanding,
    Released,
    ReleaseOrder,
)
from gateway.core.message import ASSETS, Created, Lane, Message
from gateway.core.record import Changed
from gateway.core.transaction import TERMINAL, Event, State
from gateway.errors import ControlRefused, StrictJsonError, TransitionRefused
from gateway.flow.account import Account
from gateway.flow.elsewhere import SeeTo, everything
from gateway.flow.imports import Tenant
from gateway.flow.sender import Sender
from gateway.flow.signals import Signals
from gateway.ports import Call, Clock, Journal, OperationHandler, OperationHandlers
from gateway.telemetry import Telemetry

_ID = re.compile(r"[0-9a-f][0-9a-f-]{0,35}")
# What an operator calls each act, in the words of the command line.
WORDS: Mapping[Act, str] = {
    Act.RETRY: "retry",
    Act.REFUSE: "refuse",
    Act.RESEND: "resend",
    Act.RESOLVE_COMPLETED: "resolve --as completed",
    Act.RESOLVE_FAILED: "resolve --as failed",
}
# What to do about a message that allows no act, by what it waits for.
_PATIENCE: Mapping[State, str] = {
    State.SENDING: "it is being sent; look again in a moment",
    State.IN_DOUBT: "the gateway is asking the SMP; if that fails it becomes escalated, and then it is yours",
    State.AWAITING: "the SMP has it and owes the verdict; without one it becomes escalated, and then it is yours",
}
# How a submission that was left behind comes to be the operator's.
_GIVEN_UP: Mapping[State, Event] = {State.IN_DOUBT: Event.DOUBT_DEADLINE, State.AWAITING: Event.VERDICT_LIMIT}
_RESOLVING = frozenset({Act.RESOLVE_COMPLETED, Act.RESOLVE_FAILED})


class Operator:
    """Answers the operations of core.control that decide something; without a ``sender`` nothing can be sent."""

    def __init__(
        self,
        journal: Journal,
        accounts: Mapping[str, Account],
        tenants: Mapping[str, Tenant],
        *,
        sender: Sender | None,
        signals: Signals,
        clock: Clock,
        telemetry: Telemetry,
        see_to: SeeTo = everything,
    ) -> None:
        self._see_to = see_to
        self._journal = journal
        self._accounts = accounts
        self._tenants = tenants
        self._sender = sender
        self._signals = signals
        self._clock = clock
        self._telemetry = telemetry

    def handlers(self) -> OperationHandlers:
        """What is answered here; releasing needs accounts, which only a running gateway has."""
        handlers: dict[Operation[Any, Any], OperationHandler] = {ACT: self.act, DISMISS: self.dismiss}
        if self._sender is not None:
            handlers |= {PARTICIPANTS: self.participants, RELEASE: self.release}
        return handlers

    # ------------------------------------------------------------ messages
    async def act(self, call: Call) -> Acted:
        """Answer core.control.ACT."""
        if not isinstance(call.order, ActOrder):
            raise TypeError(call.order)
        message = await self._find(call.parameters["message"])
        self._see_to(message.lane.participant)
        order = call.order
        created = tuple(Created(ref=each.ref, smp_id=each.smp_id) for each in order.created)
        decision = Decision(act=order.act, actor=call.actor, reason=order.reason, created=created)
        left = self._is_left_behind(message)
        _judge(message, decision, left=left)
        try:
            if left and order.act in _RESOLVING:
                await self._give_up(message)
            changed = await (self._resend if order.act is Act.RESEND else self._decide)(message, decision)
        except TransitionRefused:  # it moved since it was looked at
            raise _not_now(await self._find(message.id), order.act) from None
        self._tell(decision, changed)
        now = await self._find(message.id)
        others = {each.message_id for each in changed} - {message.id}
        return Acted(message=message.id, act=order.act, before=message.state, state=now.state, others=sorted(others))

    def _is_left_behind(self, message: Message) -> bool:
        tenant = self._tenants.get(message.lane.participant)
        return tenant is None or tenant.environment != message.lane.environment

    async def _give_up(self, message: Message) -> None:
        """Commit ESCALATED for what the SMP may have of a message that was left behind."""
        said = f"left behind: {message.lane.participant} is not served in environment {message.lane.environment}"
        for submission in await self._journal.submissions(message.id):
            event = _GIVEN_UP.get(submission.state)
            if event is not None:
                changed = await self._journal.resolve(
                    submission.id, event, verdict=None, transaction_id=None, due_at=None, note=said
                )
                self._signals.changed(changed)

    async def _find(self, beginning: str) -> Message:
        found = await self._journal.named(beginning) if _ID.fullmatch(beginning) else []
        if len(found) > 1:
            said = f"several messages begin with {beginning}: {', '.join(found)}"
            raise ControlRefused("ambiguous", said, advice="give more of the id")
        message = await self._journal.message(found[0]) if found else None
        if message is None:
            said = f"no message begins with {beginning:.40}"
            raise ControlRefused("not_found", said, advice="`smp-gateway messages list` shows the ids")
        return message

    async def _decide(self, message: Message, decision: Decision) -> Sequence[Changed]:
        changed = await self._journal.decide(message.id, decision)
        for each in changed:
            self._signals.changed(each)
        return changed

    async def _resend(self, message: Message, decision: Decision) -> Sequence[Changed]:
        """Commit and dispatch every escalated submission of a message."""
        account = self._accounts.get(message.lane.participant)
        if self._sender is None or account is None:
            raise ControlRefused("needs_gateway", "sending needs a running gateway", advice="start it, then ask again")
        submissions = [each for each in await self._journal.submissions(message.id) if each.state is State.ESCALATED]
        if not submissions:
            raise TransitionRefused(message.state, decision.event)
        for submission in submissions:
            permit = account.permit(message.lane, message.kind)
            if permit is None:
                raise _unavailable(message)
            again = None
            try:
                attempt = account.attempt(submission.attempt.number + 1)
                again = await self._journal.resend(submission.id, decision, attempt)
            finally:
                if again is None:
                    permit.unused()
            if again is None:
                raise _too_late()
            self._sender.dispatch(again, permit)
        return [Changed(message_id=message.id, lane=message.lane, state=State.SENDING, before=message.state)]

    def _tell(self, decision: Decision, changed: Sequence[Changed]) -> None:
        for each in changed:
            self._telemetry.emit(
                "operator_acted",
                act=decision.act,
                actor=decision.actor,
                reason=decision.reason,
                message=each.message_id,
                state=each.state,
            )

    # ------------------------------------------------------------ callbacks
    async def dismiss(self, call: Call) -> Dismissed:
        """Answer core.control.DISMISS."""
        if not isinstance(call.order, DismissOrder):
            raise TypeError(call.order)
        name, order = call.parameters["participant"], call.order
        self._see_to(name)
        lane = Lane(environment=order.environment, participant=name, site="", message="")
        if not await self._journal.dismiss(lane, order.issuer, order.jti, actor=call.actor, reason=order.reason):
            said = f"callback {order.jti:.64} is no unmatched one"
            raise ControlRefused("wrong_state", said, advice="`smp-gateway callbacks show` says what became of it")
        self._signals.dismissed.set()
        self._telemetry.emit(
            "operator_acted", act="dismiss", actor=call.actor, reason=order.reason, participant=name, jti=order.jti
        )
        return Dismissed(jti=order.jti)

    # ------------------------------------------------------------ participants
    async def participants(self, _call: Call) -> ParticipantList:
        """Answer core.control.PARTICIPANTS."""
        return ParticipantList(participants=tuple(self._standing(each) for each in self._accounts.values()))

    def _standing(self, account: Account) -> ParticipantStanding:
        who = account.identity
        try:
            self._see_to(who.participant)
        except ControlRefused:
            return ParticipantStanding(
                participant=who.participant, environment=who.environment, logged_in=False, served=False
            )
        return ParticipantStanding(
            participant=who.participant,
            environment=who.environment,
            held=account.held,
            logged_in=account.ticket is not None,
            degraded=account.degraded,
        )

    async def release(self, call: Call) -> Released:
        """Answer core.control.RELEASE."""
        if not isinstance(call.order, ReleaseOrder):
            raise TypeError(call.order)
        name = call.parameters["participant"]
        account = self._accounts.get(name)
        if account is None:
            known = ", ".join(sorted(self._accounts))
            raise ControlRefused("not_found", f"no participant {name:.64}", advice=f"known: {known}")
        self._see_to(name)
        held = account.held
        if held is None:
            said = f"{name} is not held"
            raise ControlRefused("wrong_state", said, advice="`smp-gateway status` says what else does not work")
        await self._journal.audit_release(
            account.identity.environment, name, actor=call.actor, detail=f"{call.order.reason} (held: {held})"
        )
        account.release()
        self._telemetry.emit(
            "operator_acted", act="release", actor=call.actor, reason=call.order.reason, participant=name
        )
        return Released(participant=name, held=held)


def _judge(message: Message, decision: Decision, *, left: bool) -> None:
    """See that a message allows an act, and that what came with it belongs to the message.

    With ``left`` nobody else does anything about it.

    Raises:
        ControlRefused: it does not.
    """
    if decision.created and decision.act is not Act.RESOLVE_COMPLETED:
        raise ControlRefused("invalid", "ids of the SMP belong to resolve --as completed", advice="leave them out")
    mine = left and message.state in _GIVEN_UP and decision.act in _RESOLVING
    if message.state in TERMINAL or not (mine or acts.possible(message.state)):
        raise _not_now(message, decision.act, left=left)
    if left and decision.act is Act.RESEND:
        said = f"{message.lane.participant} is not served in environment {message.lane.environment} any more"
        advice = "find out at the SMP what became of it, then `messages resolve`"
        raise ControlRefused("left_behind", said, advice=advice)
    strangers = [each.ref for each in decision.created if each.ref not in _names(message)]
    if strangers:
        said = f"the message has no asset or unit {', '.join(map(repr, strangers[:5]))}"
        raise ControlRefused("invalid", said, advice="`smp-gateway messages show` lists its content")


def _not_now(message: Message, act: Act, *, left: bool = False) -> ControlRefused:
    """Say which acts a message allows now, or why none."""
    said = f"{WORDS[act]} is not possible: message {message.id} is {message.state}"
    allowed = acts.possible(message.state)
    if left and message.state in _GIVEN_UP:
        allowed = (Act.RESOLVE_COMPLETED, Act.RESOLVE_FAILED)
    if allowed:
        return ControlRefused("wrong_state", said, advice=f"possible now: {', '.join(WORDS[each] for each in allowed)}")
    return ControlRefused("wrong_state", said, advice=_PATIENCE.get(message.state, "that is final"))


def _unavailable(message: Message) -> ControlRefused:
    said = f"nothing can be sent for {message.lane.participant} right now"
    advice = "`smp-gateway status` says why; ask again when that is over"
    return ControlRefused("smp_unavailable", said, advice=advice, blame="smp")


def _too_late() -> ControlRefused:
    said = "its not-after has passed: it must not be sent any more"
    return ControlRefused("too_late", said, advice="find out at the SMP what became of it, then `messages resolve`")


def _names(message: Message) -> frozenset[str]:
    """What the message creates, by the names that the site gave."""
    try:
        content = strict_json.loads(message.content, limit=len(message.content))
    except StrictJsonError:
        return frozenset()
    rows = content.get("assets") if isinstance(content, dict) and message.kind == ASSETS else None
    units = [content.get("unit")] if isinstance(content, dict) else []
    found = [row for row in (rows if isinstance(rows, list) else units) if isinstance(row, dict)]
    return frozenset(str(row[name]) for row in found for name in ("assetName", "unitName") if name in row)
