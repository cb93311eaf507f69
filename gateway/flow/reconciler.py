"""Finds out what became of submissions that are in doubt or overdue, by asking the SMP; `core.reconciliation` decides.

It also ends messages whose not-after has passed. It sleeps until the next row of the journal is due, or is woken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.core import answer, codec
from gateway.core.answer import FindingKind, StatusFinding
from gateway.core.message import Attempt, Submission
from gateway.core.reconciliation import Step, can_ask, decide
from gateway.core.record import Changed
from gateway.core.transaction import Event
from gateway.flow.account import Account
from gateway.flow.sender import Sender
from gateway.flow.signals import Signals
from gateway.ports import Clock, Entropy, Journal
from gateway.telemetry import Telemetry

_AT_ONCE = 8  # status calls under way at the same time, so that a backlog of doubts cannot crowd out fresh messages
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

    async def run(self) -> None:
        """Work until cancelled."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def look(submission: Submission) -> None:
            async with places:
                await self._look(submission)

        while True:
            self._signals.overdue.clear()
            for changed in await self._journal.expire(self._clock.now()):
                self._tell(changed)
            due, next_at = await self._journal.overdue(self._clock.now())
            if due:
                async with asyncio.TaskGroup() as group:
                    for submission in due:
                        group.create_task(look(submission), name=f"look {submission.id}")
                continue
            await self._sleep(next_at)

    async def _sleep(self, next_at: int | None) -> None:
        pause = _LONGEST_SLEEP_S
        if next_at is not None:
            pause = min(max((next_at - self._clock.now()) / 1_000_000, 0.0), pause)
        try:
            async with asyncio.timeout(pause):
                await self._signals.overdue.wait()
        except TimeoutError:
            return

    async def _look(self, submission: Submission) -> None:
        account = self._accounts.get(submission.lane.participant)
        if account is None:  # the participant was removed from the configuration; its evidence stays
            await self._journal.postpone(submission.id, self._clock.now() + 60_000_000)
            return
        finding = await self._ask(account, submission)
        step = decide(account.profile, submission, finding, self._clock.now())
        pause = max(int(step.pause * self._entropy.jitter(account.profile.timings.poll_jitter)), 1)
        if step.resend:
            await self._resend(account, submission, step)
        elif step.event is not None:
            due_at = self._clock.now() + pause if step.event is Event.FOUND_PENDING else None
            self._tell(
                await self._journal.resolve(
                    submission.id,
                    step.event,
                    verdict=step.verdict,
                    transaction_id=step.transaction_id,
                    due_at=due_at,
                    note=step.note,
                )
            )
        else:
            await self._journal.postpone(submission.id, self._clock.now() + pause)

    async def _ask(self, account: Account, submission: Submission) -> StatusFinding | None:
        """One status call; None when the SMP could not be asked."""
        ticket = account.ticket
        if ticket is None or not account.gate.open or not can_ask(account.profile, submission):
            return None
        by_id = submission.transaction_id
        path, body = codec.encode_status(
            account.profile, transaction_id=by_id, submission_id=None if by_id is not None else submission.id
        )
        attempt: Attempt = account.attempt(1)
        call = account.sign(account.profile.methods.status, path, attempt, body, message_id=attempt.jti)
        account.gate.spend()
        reply = account.believe(call, await account.transport.submit(call, ticket.value))
        if not reply.handed_over:
            account.gate.failed(reply.failure)
            return None
        account.gate.reached()
        finding = answer.read_status(account.profile, reply.status, reply.body)
        if finding.kind is FindingKind.LOGIN:
            account.unauthorized(ticket)
        if reply.retry_after is not None:
            account.gate.pause(reply.retry_after)
        self._telemetry.emit(
            "status_polled",
            environment=submission.lane.environment,
            outcome=finding.kind,
            submission=submission.id,
            transaction=finding.transaction_id,
        )
        return finding

    async def _resend(self, account: Account, submission: Submission, step: Step) -> None:
        if not account.can_send(submission.kind):
            await self._journal.postpone(submission.id, self._clock.now() + account.profile.timings.poll_first_us)
            return
        again = await self._journal.retake(submission.id, Event.RESENT, account.attempt(submission.attempt.number + 1))
        if again is not None:
            self._telemetry.emit(
                "submission_resent", environment=submission.lane.environment, submission=submission.id, reason=step.note
            )
            self._sender.dispatch(again)

    def _tell(self, changed: Changed) -> None:
        if changed.moved:
            lane = changed.lane
            self._telemetry.emit(
                "message_moved", site=lane.site, message=lane.message, state=changed.state, id=changed.message_id
            )
        self._signals.changed(changed)
