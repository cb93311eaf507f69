"""From the journal to the SMP: one worker per lane that has something to send, one attempt at a time per lane.

Rules
-----
* A submission leaves only after its SENDING commit; whoever got it from the journal (append or take) dispatches it
  once.
* A local step that fails the same way three times parks its message: its lane stops, and people are told.
* The permit of the gate comes before the commit, so that nothing is SENDING that only waits for its turn.
* A worker lives while its lane has something to send and ends by itself; lanes never wait for each other.
* Stopping drains: workers that wait are cancelled, attempts under way end by the request's own time-out and are
  settled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gateway.core import answer, batch, codec
from gateway.core.answer import Meaning
from gateway.core.batch import Batch, Encoded
from gateway.core.message import Draft, Kind, Lane, Message, Submission
from gateway.core.profile import Profile
from gateway.core.record import Appended, Changed, Outgoing, Waiting
from gateway.core.transaction import State
from gateway.errors import JournalFull, SigningFailed, StrictJsonError, SubmissionRefused
from gateway.flow.account import Account, Ticket
from gateway.flow.gate import Permit
from gateway.flow.poison import Failure, Failures
from gateway.flow.settling import settled
from gateway.flow.signals import Signals
from gateway.ports import Clock, Entropy, Journal, Reply, SignedCall
from gateway.telemetry import Telemetry

Storing = asyncio.Task[Appended | JournalFull]  # a commit that was begun; a full journal is no end of the sender
T = TypeVar("T")


class Sender:
    """Sends what the journal says may be sent."""

    def __init__(
        self,
        journal: Journal,
        accounts: Mapping[str, Account],
        *,
        signals: Signals,
        clock: Clock,
        entropy: Entropy,
        telemetry: Telemetry,
    ) -> None:
        self._journal = journal
        self._accounts = accounts
        self._signals = signals
        self._clock = clock
        self._entropy = entropy
        self._telemetry = telemetry
        self._given: dict[Lane, deque[tuple[Submission, Permit | None]]] = {}
        self._running: dict[Lane, asyncio.Task[None]] = {}

        self._encodings: dict[Lane, Encoded] = {}  # of heads that have more parts to come
        self._staying: set[Lane] = set()  # lanes whose head waits for a verdict, whatever the pipeline
        self._hinted: set[Lane] = set()  # lanes woken while their worker was about to find nothing
        self._failures = Failures()
        self._failed: dict[Lane, Failure] = {}  # of the attempt that just ended
        self._leaving: set[str] = set()  # participants of whom nothing more is taken
        self._patient: set[Lane] = set()  # lanes whose worker only waits, and may be cancelled
        self._under_way: dict[asyncio.Task[Any], str] = {}  # commits and attempts, with their participant
        self._spawn: Callable[[Lane], asyncio.Task[None]] | None = None
        self._attempts: asyncio.TaskGroup | None = None
        signals.on_lane(self._moved)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send until left; leaving waits for the attempts under way."""
        async with asyncio.TaskGroup() as attempts, asyncio.TaskGroup() as workers:
            self._attempts = attempts
            self._spawn = lambda lane: workers.create_task(self._work(lane), name=f"lane {lane}")
            for lane in await self._journal.lanes():
                self.wake(lane)
            try:
                yield
            finally:
                self._spawn = None
                for task in self._running.values():
                    task.cancel()

    async def leave(self, participant: str) -> None:
        """Take nothing more of this participant, and wait until nothing of it is under way."""
        self._leaving.add(participant)
        try:
            for lane in [each for each in self._patient if each.participant == participant]:
                self._running[lane].cancel()
            while busy := self._busy(participant):
                await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leaving.discard(participant)

    def _busy(self, participant: str) -> list[asyncio.Task[Any]]:
        workers = [task for lane, task in self._running.items() if lane.participant == participant]
        return [*workers, *(task for task, whose in self._under_way.items() if whose == participant)]

    def can_send(self, lane: Lane, kind: Kind) -> bool:
        """Whether a message committed now could leave at once: not while its lane is being seen to."""
        account = self._accounts.get(lane.participant)
        return self._spawn is not None and lane not in self._running and account is not None and account.can_send(kind)

    def express(self, participant: str, kind: Kind, content: Mapping[str, object]) -> Batch:
        """Encode the rows of a new message's first submission.

        Raises:
            SubmissionRefused: the wire profile cannot express it.
        """
        return batch.first_of(self._accounts[participant].profile, kind, content)

    def outgoing(self, participant: str, kind: Kind, rows: Batch) -> Outgoing:
        """Prepare a submission of these rows: its own id, its exact bytes, its first attempt.

        Raises:
            SubmissionRefused: it is longer than the SMP takes.
        """
        account, submission_id = self._accounts[participant], self._entropy.uuid()
        body = codec.enclose(account.profile, kind, submission_id, rows.rows)
        return Outgoing(id=submission_id, body=body, attempt=account.attempt(1), portions=rows.portions)

    def append(self, draft: Draft, outgoing: Outgoing | None) -> Storing:
        """Begin to commit a message, and to send it at once when its lane is free; :func:`stored` waits for it.

        What is begun first is stored first, and what is begun meanwhile shares its commit. The caller may be cancelled
        (its link is lost): what was committed as SENDING is sent all the same.
        """
        return self._begin(self._append(draft, outgoing), draft.lane, f"append {draft.id}")

    async def _append(self, draft: Draft, outgoing: Outgoing | None) -> Appended | JournalFull:
        account = self._accounts.get(draft.lane.participant)
        permit = account.permit(draft.lane, draft.kind) if outgoing is not None and account is not None else None
        try:
            appended = await self._journal.append(draft, outgoing if permit is not None else None)
            if appended.submission is not None:
                self.dispatch(appended.submission, permit)
                permit = None
            elif appended.state is State.ACCEPTED:
                self.wake(draft.lane)
        except JournalFull as full:  # the caller's business, not the end of the sender
            return full
        finally:
            if permit is not None:
                permit.unused()
        return appended

    def dispatch(self, submission: Submission, permit: Permit | None = None) -> None:
        """Send a submission whose SENDING is committed; without a permit it falls back when it would have to wait."""
        self._given.setdefault(submission.lane, deque()).append((submission, permit))
        self.wake(submission.lane)

    def wake(self, lane: Lane) -> None:
        """See to a lane that may have something to send; a hint, safe to repeat."""
        if lane in self._running:
            self._hinted.add(lane)
        elif self._spawn is not None and self._serves(lane):
            self._running[lane] = self._spawn(lane)

    def _serves(self, lane: Lane) -> bool:
        """Whether the lane's participant is configured, and for the lane's environment: names never cross it."""
        account = self._accounts.get(lane.participant)
        return account is not None and account.identity.environment == lane.environment

    def _moved(self, changed: Changed) -> None:
        """See to the lane of a message that moved, unless that stopped blocking it before and has no rows left."""
        account = self._accounts.get(changed.lane.participant)
        waits = account is not None and account.profile.pipeline == "after_verdict"
        stayed = changed.lane in self._staying
        self._staying.discard(changed.lane)
        if stayed or changed.state is State.ACCEPTED or changed.before is not State.AWAITING or waits:
            self.wake(changed.lane)

    async def _work(self, lane: Lane) -> None:
        account = self._accounts[lane.participant]
        try:
            while True:
                self._hinted.discard(lane)
                if given := self._given.get(lane):
                    await self._carry(account, *given.popleft())
                elif lane.participant in self._leaving:
                    return
                elif (taken := await self._take(lane, account)) is not None:
                    await self._carry(account, *taken)
                elif lane not in self._hinted and lane not in self._failed:
                    return
                if (failure := self._failed.pop(lane, None)) is not None:
                    await self._fail(lane, failure)
        finally:
            del self._running[lane]
            if self._given.get(lane):  # committed as SENDING meanwhile: it leaves all the same
                self.wake(lane)
            else:
                self._given.pop(lane, None)

    async def _take(self, lane: Lane, account: Account) -> tuple[Submission, Permit] | None:
        """The lane's next submission, committed as SENDING, once the SMP may be spoken to; None when there is none."""
        found = await self._journal.head(lane)
        if found is None or lane.participant in self._leaving:
            return None
        permit = await self._patiently(lane, account.ready(lane, found[0].kind, found[0].accepted_at))
        submission = None
        try:
            submission = await self._commit(lane, account)
        finally:
            if submission is None:
                permit.unused()
        return None if submission is None else (submission, permit)

    async def _patiently(self, lane: Lane, waiting: Awaitable[T]) -> T:
        """Wait for something that may take hours, and be cancelled meanwhile without leaving anything half done."""
        self._patient.add(lane)
        try:
            return await waiting
        finally:
            self._patient.discard(lane)

    async def _commit(self, lane: Lane, account: Account) -> Submission | None:
        """Commit SENDING for the lane's head as it is now: the wait for the permit may have been hours."""
        found = await self._journal.head(lane)
        if found is None:
            return None
        message, earlier = found
        try:
            outgoing = await self._prepare(lane, account, message, earlier)
        except SubmissionRefused as error:  # the profile was changed since the acceptance
            self._failed[lane] = Failure(message.id, "not_expressible", str(error))
            return None
        except StrictJsonError as error:
            self._failed[lane] = Failure(message.id, "unreadable", f"its content cannot be read: {error}")
            return None
        return None if outgoing is None else await self._journal.take(message.id, outgoing)

    async def _fail(self, lane: Lane, failure: Failure) -> None:
        """Tell of a local step that failed, and try it again after a pause, or park the message."""
        self._telemetry.emit(
            "submission_failed",
            environment=lane.environment,
            code=failure.code,
            message=failure.message_id,
            reason=failure.reason,
        )
        pause = self._failures.note(failure.message_id, failure.reason)
        if pause is not None:
            if lane.participant not in self._leaving:
                await self._patiently(lane, asyncio.sleep(pause))
                self._hinted.add(lane)
            return
        changed = await self._journal.park(failure.message_id, failure.reason)
        if changed is not None:
            self._telemetry.emit(
                "message_parked", site=lane.site, message=lane.message, id=changed.message_id, reason=failure.reason
            )
            self._signals.changed(changed)

    async def _prepare(
        self, lane: Lane, account: Account, message: Message, earlier: Submission | None
    ) -> Outgoing | None:
        """What goes next in a lane: what fell back, else whatever has queued up, as far as it may go together.

        None when the message has ended meanwhile, or stays back for the sake of a verdict.
        """
        if earlier is not None:
            return Outgoing(id=earlier.id, body=earlier.body, attempt=account.attempt(earlier.attempt.number + 1))
        merges = message.kind in account.profile.merges
        waiting = await self._journal.waiting(lane, account.profile.limits.assets_per_submission if merges else 1)
        if not waiting or waiting[0].message_id != message.id:
            return None
        self._staying.add(lane)  # before the journal is asked, so that no verdict is missed meanwhile
        under_way = await self._journal.names_under_way(lane)
        rows = batch.gather(account.profile, waiting, under_way, self._encoded(lane, account.profile, waiting[0]))
        if rows is None:
            return None
        self._staying.discard(lane)
        return self.outgoing(lane.participant, message.kind, rows)

    def _encoded(self, lane: Lane, profile: Profile, head: Waiting) -> Encoded:
        """The rows of a lane's head; those of a message of several parts are kept from one part to the next."""
        kept = self._encodings.pop(lane, None)
        encoded = kept if kept is not None and kept.serves(profile, head) else batch.encode(profile, head)
        if sum(map(len, head.rows)) > profile.limits.assets_per_submission:
            self._encodings[lane] = encoded
        return encoded

    async def _carry(self, account: Account, submission: Submission, permit: Permit | None) -> None:
        """See one attempt through; a worker that is cancelled meanwhile leaves the attempt to end by itself."""
        work = self._attempt(account, submission, permit or account.permit(submission.lane, submission.kind))
        await asyncio.shield(self._begin(work, submission.lane, f"attempt {submission.id}"))

    def _begin(self, work: Coroutine[Any, Any, T], lane: Lane, name: str) -> asyncio.Task[T]:
        """Do what must come to its end, whoever waits for it."""
        if self._attempts is None:
            raise RuntimeError("the sender is not running")
        task = self._attempts.create_task(work, name=name)
        self._under_way[task] = lane.participant
        task.add_done_callback(self._under_way.pop)
        return task

    async def _attempt(self, account: Account, submission: Submission, permit: Permit | None) -> None:
        profile = account.profile
        ticket = account.ticket
        call, why = self._call(account, submission) if permit is not None else (None, "the SMP may not be spoken to")
        if ticket is None or permit is None or call is None:  # gone between the commit and now: nothing has left
            came = reply = Reply(handed_over=False, failure="no token at hand" if ticket is None else why)
            signature, signed_at = "", self._clock.now()
        else:
            signature, signed_at = call.token, self._clock.now()
            await self._journal.still_ours()
            came = await account.transport.submit(call, ticket.value)
            reply = account.believe(call, came)
        result = answer.interpret(
            profile, submission.kind, handed_over=reply.handed_over, status=reply.status, body=reply.body
        )
        if permit is not None:
            if ticket is not None and call is not None:
                self._failures.forget(submission.message_id)
                account.paced(permit, came, clear=result.meaning is not Meaning.UNCLEAR)
                self._heed(account, submission, result, ticket)
            permit.unused()
        settlement = settled(
            account.profile,
            submission,
            result,
            reply,
            signed=(signature, signed_at),
            now=self._clock.now(),
            entropy=self._entropy,
        )
        changed = await self._journal.settle(submission.id, submission.attempt.number, settlement)
        self._tell(submission, changed, result, reply)

    def _call(self, account: Account, submission: Submission) -> tuple[SignedCall | None, str]:
        """The signed request, or why it could not be signed, which counts against the message."""
        profile, kind = account.profile, submission.kind
        method, path = profile.endpoint(kind)
        try:
            return account.sign(method, path, submission.attempt, submission.body, message_id=submission.id), ""
        except SigningFailed as error:
            self._failed[submission.lane] = Failure(submission.message_id, "unsigned", str(error))
            return None, str(error)

    def _heed(self, account: Account, submission: Submission, result: answer.Answer, ticket: Ticket) -> None:
        """Let the account learn from an answer."""
        if result.meaning not in {Meaning.LOGIN, Meaning.UNSENT}:
            account.answered(submission.id)
        match result.meaning:
            case Meaning.LOGIN:
                account.unauthorized(ticket, submission.id)
            case Meaning.HOLD_PARTICIPANT:
                account.hold(result.note)
            case Meaning.HOLD_ENDPOINT:
                account.hold_endpoint(submission.kind, result.note)
            case Meaning.TRANSACTION | Meaning.VERDICT | Meaning.DECLINED:
                account.accepted(submission.kind)
            case Meaning.UNCLEAR | Meaning.UNSENT | Meaning.NOT_PROCESSED:
                pass

    def _tell(self, submission: Submission, changed: Changed, result: answer.Answer, reply: Reply) -> None:
        lane = submission.lane
        if reply.status is not None:
            self._telemetry.emit(
                "submission_answered",
                environment=lane.environment,
                status=reply.status,
                submission=submission.id,
                message=submission.message_id,
                transaction=result.transaction_id,
            )
        if result.meaning not in {Meaning.TRANSACTION, Meaning.VERDICT, Meaning.DECLINED}:
            self._telemetry.emit(
                "submission_failed",
                environment=lane.environment,
                code=result.meaning,
                submission=submission.id,
                reason=result.note or reply.failure,
            )
        for each in changed.all:
            if each.state is not State.ACCEPTED:  # that it may go again is no news, why it did not was told above
                self._telemetry.emit(
                    "message_moved", site=lane.site, message=lane.label, state=each.state, id=each.message_id
                )
        self._signals.changed(changed)


async def stored(storing: Storing) -> Appended:
    """Wait for a commit that was begun; it goes on when whoever waits is cancelled.

    Raises:
        JournalFull: nothing was stored.
    """
    appended = await asyncio.shield(storing)
    if isinstance(appended, JournalFull):
        raise appended
    return appended
