"""Finds out what became of submissions that are in doubt or overdue, by asking the SMP; `core.reconciliation` decides.

Rules
-----
* Each participant has two watchers, one for doubts, which block lanes, and one for verdicts that are late. They share
  nothing but the gate: a dead live SMP never delays the test one, nor one participant's thousands another's one.
* Status calls wait at the gate like everything else, as enquiries, and :data:`_AT_ONCE` at a time per watcher.
* What cannot be asked now, because the SMP is away or the participant is held, waits and is not judged meanwhile: the
  doubt deadline counts from when the SMP could be spoken to (again).
* Messages whose not-after has passed are ended here as well. Everybody sleeps until the next row of the journal is due,
  or is woken, and looks once a second, so that a stepped clock delays nothing for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from gateway.core import answer, codec
from gateway.core.answer import FindingKind, StatusFinding
from gateway.core.message import Attempt, Submission
from gateway.core.reconciliation import Step, can_ask, decide, longest_pause
from gateway.core.record import Changed, Poll
from gateway.core.transaction import Event, State
from gateway.errors import SigningFailed
from gateway.flow.account import Account
from gateway.flow.gate import Permit
from gateway.flow.sender import Sender
from gateway.flow.signals import Signals
from gateway.ports import Clock, Entropy, Journal
from gateway.telemetry import Telemetry

_AT_ONCE = 4
_LONGEST_SLEEP_S = 1.0  # bounds how late a not-after, or a first poll made due meanwhile, is noticed


class Reconciler:
    """Resolves doubts and fetches verdicts that did not come by themselves."""

    def __init__(
        self,
        journal: Journal,
        accounts: Mapping[str, Account],
        *,
        sender: Sender,
        signals: Signals,
        clock: Clock,
        entropy: Entropy,
        telemetry: Telemetry,
    ) -> None:
        self._journal = journal
        self._accounts = accounts
        self._sender = sender
        self._signals = signals
        self._clock = clock
        self._entropy = entropy
        self._telemetry = telemetry

    async def attend(self, account: Account) -> None:
        """See to one participant's submissions until cancelled."""
        async with asyncio.TaskGroup() as group:
            for state in (State.IN_DOUBT, State.AWAITING):
                name = f"{state} of {account.identity.participant}"
                group.create_task(self._watch(account, state), name=name)

    async def expire(self) -> None:
        """End what may not be sent any more, until cancelled."""
        while True:
            for changed in await self._journal.expire(self._clock.now()):
                self._tell(changed)
            await asyncio.sleep(_LONGEST_SLEEP_S)

    async def _watch(self, account: Account, state: State) -> None:
        """See to one participant's submissions in one state.

        What is to be sent again waits for its turn, perhaps for as long as an endpoint is held, and keeps no other
        from being looked at.
        """
        owner = account.identity
        wake = self._signals.overdue(owner.participant, state)
        resending: set[str] = set()

        def resent(task: asyncio.Task[None]) -> None:
            resending.discard(task.get_name())
            wake.set()

        async with asyncio.TaskGroup() as resends:
            while True:
                wake.clear()
                now = self._clock.now()
                due, next_at = await self._journal.overdue(
                    owner.environment,
                    owner.participant,
                    state,
                    now,
                    horizon=now + longest_pause(account.profile),
                    limit=_AT_ONCE + len(resending),
                )
                fresh = [submission for submission in due if submission.id not in resending]
                for submission, step in await self._look_at(account, fresh):
                    resending.add(submission.id)
                    work = self._resend(account, submission, step)
                    resends.create_task(work, name=submission.id).add_done_callback(resent)
                if not fresh:
                    await self._sleep(wake, next_at)

    async def _look_at(self, account: Account, due: Sequence[Submission]) -> list[tuple[Submission, Step]]:
        """Look at these beside each other; which of them are to be sent again."""
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(self._look(account, each), name=f"look {each.id}") for each in due]
        steps = ((submission, look.result()) for submission, look in zip(due, looks, strict=True))
        return [(submission, step) for submission, step in steps if step.resend]

    async def _sleep(self, wake: asyncio.Event, next_at: int | None) -> None:
        pause = _LONGEST_SLEEP_S
        if next_at is not None:
            pause = min(max((next_at - self._clock.now()) / 1_000_000, 0.0), pause)
        try:
            async with asyncio.timeout(pause):
                await wake.wait()
        except TimeoutError:
            return

    async def _look(self, account: Account, submission: Submission) -> Step:
        """Ask what became of a submission and store what follows, unless that is to send it again."""
        asked = await self._ask(account, submission) if can_ask(account.profile, submission) else None
        finding, poll = (None, None) if asked is None else asked
        step = decide(account.profile, submission, finding, self._clock.now(), askable_since=account.gate.askable_since)
        pause = max(int(step.pause * self._entropy.jitter(account.profile.timings.poll_jitter)), 1)
        if step.event is not None:
            due_at = self._clock.now() + pause if step.event is Event.FOUND_PENDING else None
            self._tell(
                await self._journal.resolve(
                    submission.id,
                    step.event,
                    verdict=step.verdict,
                    transaction_id=step.transaction_id,
                    due_at=due_at,
                    note=step.note,
                    poll=poll,
                )
            )
        elif not step.resend:
            await self._journal.postpone(submission.id, self._clock.now() + pause)
        return step

    async def _ask(self, account: Account, submission: Submission) -> tuple[StatusFinding, Poll] | None:
        """One status call, once it may be made; None when no byte of it reached the SMP."""
        permit = await account.enquire(submission.lane)
        try:
            return await self._call(account, submission, permit)
        except SigningFailed as error:
            self._telemetry.emit(
                "submission_failed",
                environment=submission.lane.environment,
                code="unsigned",
                submission=submission.id,
                reason=str(error),
            )
            return None
        finally:
            permit.unused()

    async def _call(
        self, account: Account, submission: Submission, permit: Permit
    ) -> tuple[StatusFinding, Poll] | None:
        ticket = account.ticket
        if ticket is None:
            return None
        by_id = submission.transaction_id
        path, body = codec.encode_status(
            account.profile, transaction_id=by_id, submission_id=None if by_id is not None else submission.id
        )
        attempt: Attempt = account.attempt(1)
        call = account.sign(account.profile.methods.status, path, attempt, body, message_id=attempt.jti)
        came = await account.transport.submit(call, ticket.value)
        reply = account.believe(call, came)
        finding = answer.read_status(account.profile, reply.status, reply.body)
        account.paced(permit, came, clear=finding.kind is not FindingKind.UNREADABLE)
        if not reply.handed_over:
            return None
        if finding.kind is FindingKind.LOGIN:
            account.unauthorized(ticket)
        elif finding.kind is not FindingKind.UNREADABLE:
            account.enquired()
        self._telemetry.emit(
            "status_polled",
            environment=submission.lane.environment,
            outcome=finding.kind,
            submission=submission.id,
            transaction=finding.transaction_id,
        )
        return finding, Poll(
            url=call.url,
            request=body,
            signature=call.token,
            status=reply.status,
            answer=reply.body,
            answer_signature=reply.signature,
        )

    async def _resend(self, account: Account, submission: Submission, step: Step) -> None:
        permit = await account.enquire(submission.lane, submission.kind)
        again = None
        try:
            attempt = account.attempt(submission.attempt.number + 1)
            again = await self._journal.retake(submission.id, Event.RESENT, attempt)
        finally:
            if again is None:
                permit.unused()
        if again is not None:
            self._telemetry.emit(
                "submission_resent", environment=submission.lane.environment, submission=submission.id, reason=step.note
            )
            self._sender.dispatch(again, permit)

    def _tell(self, changed: Changed) -> None:
        for each in changed.all:
            if each.moved:
                lane = each.lane
                self._telemetry.emit(
                    "message_moved", site=lane.site, message=lane.label, state=each.state, id=each.message_id
                )
        self._signals.changed(changed)
