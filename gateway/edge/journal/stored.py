"""Every call of `ports.Journal`, whatever engine stores it: commands go to the writer, questions to the readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gateway.core.attention import Unfinished
from gateway.core.callback import Callback
from gateway.core.evidence import ChainHead, Checkpoint, Cut
from gateway.core.message import Attempt, Draft, Hop, Hops, Lane, MailboxPosition, Message, Reference, Submission
from gateway.core.record import (
    Appended,
    Changed,
    Depth,
    Evidence,
    MessageFilter,
    Outgoing,
    Owed,
    Poll,
    Received,
    Sequel,
    Settlement,
    Waiting,
)
from gateway.core.relay import CallbackRelay, Relay
from gateway.core.transaction import Event, State
from gateway.core.verdict import Verdict
from gateway.edge.journal import (
    chain,
    intake,
    listing,
    moving,
    relaying,
    retiring,
    rows,
    sending,
    verdicts,
)
from gateway.edge.journal.decisions import Decisions
from gateway.edge.journal.engine import Asking
from gateway.edge.journal.leases import Alone
from gateway.edge.journal.moving import Cause
from gateway.edge.journal.options import Options
from gateway.edge.journal.writer import Writer
from gateway.errors import JournalFull
from gateway.ports import Leases

_AT_ONCE = 500  # submissions, in one transaction of the restart


class StoredJournal(Decisions):
    """`ports.Journal` on whatever `writer`, ``lookups`` and ``lists`` reach; each engine has a way to open one.

    ``doubts`` says how many submissions the restart put into doubt, ``newest_at`` when the newest audit row
    before this start was written (µs UTC, None in an empty journal), ``epoch`` which life of this journal this is,
    ``away`` why the store cannot be reached just now, ``leases`` which participants this gateway serves.
    """

    def __init__(
        self,
        name: str,
        writer: Writer,
        lookups: Asking,
        lists: Asking,
        *,
        options: Options,
        event: Callable[..., None],
    ) -> None:
        super().__init__(name, writer, lookups, lists, event)
        self.epoch = writer.epoch
        self.doubts = 0
        self.away: str | None = None
        self.newest_at: int | None = None
        self.leases: Leases = Alone()
        self._options = options
        self.full = False

    async def begin(self) -> None:
        """Put what was under way into doubt; stands before everything else."""
        newest = await self._lookup(lambda reading: reading.one("newest_audit"))
        self.newest_at = None if newest is None else newest[0]
        self.doubts = await self._restart()
        self._event("journal_opened", path=self.name, epoch=self.epoch, doubts=self.doubts)

    async def _restart(self) -> int:
        """Step by step, so that no transaction outgrows the memory; who dies between leaves the rest to the next."""
        doubts = 0
        while more := await self._commit(partial(sending.restart, limit=_AT_ONCE)):
            doubts += more
        return doubts

    # ------------------------------------------------------------ intake
    async def append(self, draft: Draft, outgoing: Outgoing | None = None) -> Appended:
        """See `ports.Journal`."""
        command = partial(
            intake.append,
            draft=draft,
            outgoing=outgoing,
            full=self._options.is_full(),
            after_verdict=self._options.waits_for_verdict(draft.lane),
        )
        try:
            appended = await self._commit(command, intake=True)
        except JournalFull:
            if not self.full:
                self._event("journal_full", path=self.name)
            self.full = True
            raise
        if not appended.existed:
            if self.full:
                self._event("journal_has_room", path=self.name)
            self.full = False
            self._writer.note(draft.id, Hop.COMMITTED, self._writer.now())
        return appended

    async def position(self, site: str, mailbox: str) -> MailboxPosition | None:
        """See `ports.Journal`."""
        row = await self._lookup(lambda reading: reading.one("mailbox_position", site=site, mailbox=mailbox))
        return None if row is None else rows.position(row)

    async def set_position(self, site: str, mailbox: str, position: MailboxPosition) -> None:
        """See `ports.Journal`."""
        await self._commit(lambda commit: intake.set_position(commit, site, mailbox, position))

    async def reference(self, lane: Lane) -> Reference | None:
        """See `ports.Journal`."""
        row = await self._lookup(lambda reading: reading.one("reference", lane=str(lane)))
        return None if row is None else Reference(value=row[0], counter=row[1])

    async def set_reference(self, lane: Lane, reference: Reference) -> None:
        """See `ports.Journal`."""
        await self._commit(lambda commit: intake.set_reference(commit, lane, reference))

    def note(self, message_id: str, hop: Hop, at: int) -> None:
        """See `ports.Journal`."""
        self._writer.note(message_id, hop, at)

    # ------------------------------------------------------------ sending
    async def lanes(self) -> Sequence[Lane]:
        """See `ports.Journal`."""
        return await self._list(lambda reading: listing.lanes(reading, self._options))

    async def head(self, lane: Lane) -> tuple[Message, Submission | None] | None:
        """See `ports.Journal`."""
        after_verdict = self._options.waits_for_verdict(lane)
        return await self._lookup(lambda reading: sending.head(reading, lane, after_verdict=after_verdict))

    async def waiting(self, lane: Lane, limit: int) -> Sequence[Waiting]:
        """See `ports.Journal`."""
        return await self._list(lambda reading: sending.waiting(reading, lane, limit))

    async def names_under_way(self, lane: Lane) -> frozenset[str]:
        """See `ports.Journal`."""
        return await self._list(lambda reading: listing.names_under_way(reading, lane))

    async def take(self, message_id: str, outgoing: Outgoing) -> Submission | None:
        """See `ports.Journal`."""
        return await self._commit(
            lambda commit: sending.take(commit, message_id, outgoing, self._options.waits_for_verdict)
        )

    async def retake(self, submission_id: str, event: Event, attempt: Attempt) -> Submission | None:
        """See `ports.Journal`."""
        return await self._commit(lambda commit: sending.retake(commit, submission_id, event, attempt))

    async def settle(self, submission_id: str, attempt: int, settlement: Settlement) -> Changed:
        """See `ports.Journal`."""
        return await self._commit(lambda commit: sending.settle(commit, submission_id, attempt, settlement))

    async def resolve(
        self,
        submission_id: str,
        event: Event,
        *,
        verdict: Verdict | None,
        transaction_id: str | None,
        due_at: int | None,
        note: str,
        poll: Poll | None = None,
    ) -> Changed:
        """See `ports.Journal`."""
        cause = Cause(
            event=event,
            detail=note,
            transaction_id=transaction_id,
            problems=() if verdict is None else verdict.problems,
            created=() if verdict is None else verdict.created,
            due_at=due_at,
        )
        return await self._commit(lambda commit: verdicts.resolve(commit, submission_id, cause, poll))

    async def postpone(self, submission_id: str, due_at: int) -> None:
        """See `ports.Journal`."""
        await self._commit(lambda commit: commit.run("postpone", id=submission_id, due_at=due_at))

    async def overdue(
        self, environment: str, participant: str, state: State, now: int, *, horizon: int, limit: int
    ) -> tuple[Sequence[Submission], int | None]:
        """See `ports.Journal`."""
        whose: dict[str, str | int] = {
            "environment": environment,
            "participant": participant,
            "state": state,
            "until": now,
            "horizon": horizon,
        }
        return await self._list(lambda reading: listing.overdue(reading, whose, limit))

    async def backlog(self, environment: str) -> int:
        """See `ports.Journal`."""
        return await self._list(lambda reading: listing.backlog(reading, environment))

    async def park(self, message_id: str, reason: str) -> Changed | None:
        """See `ports.Journal`."""
        cause = Cause(event=Event.POISON, detail=reason)
        return await self._commit(lambda commit: moving.move_unsent(commit, message_id, cause))

    async def expire(self, now: int) -> Sequence[Changed]:
        """See `ports.Journal`."""
        return await self._commit(lambda commit: sending.expire(commit, now, self._options.is_ours))

    # ------------------------------------------------------------ verdicts and relays
    async def receive(
        self, evidence: Evidence, callback: Callback | None, fault: str | None, relays: Sequence[CallbackRelay] = ()
    ) -> Received:
        """See `ports.Journal`; a full disk is JournalFull here too."""
        return await self._commit(
            lambda commit: verdicts.receive(commit, evidence, callback, fault, relays), intake=True
        )

    async def next_callback_relay(self, site: str, connection: str) -> CallbackRelay | None:
        """See `ports.Journal`."""
        return await self._lookup(lambda reading: relaying.next_callback_relay(reading, site, connection))

    async def callback_relayed(self, relay_id: int, problem: str | None = None) -> None:
        """See `ports.Journal`."""
        await self._commit(lambda commit: relaying.callback_relayed(commit, relay_id, problem))

    async def sequels(self, site: str) -> Sequence[Sequel]:
        """See `ports.Journal`."""
        return await self._list(lambda reading: listing.sequels(reading, site))

    async def owed(self, site: str) -> Owed:
        """See `ports.Journal`."""
        return await self._list(lambda reading: listing.owed(reading, site))

    async def next_relay(self, site: str, connection: str) -> tuple[Relay, Message] | None:
        """See `ports.Journal`."""
        return await self._lookup(lambda reading: relaying.next_relay(reading, site, connection))

    async def result(self, site: str, connection: str, mailbox: str, shown: int) -> tuple[Relay, Message] | None:
        """See `ports.Journal`."""
        return await self._lookup(lambda reading: relaying.find_result(reading, site, connection, mailbox, shown))

    async def number_relay(self, relay_id: int, found: int) -> Relay:
        """See `ports.Journal`."""
        return await self._commit(lambda commit: relaying.number_relay(commit, relay_id, found))

    async def relayed(
        self, relay_id: int, hops: Hops, problem: str | None = None, *, written: bytes | None = None
    ) -> None:
        """See `ports.Journal`."""
        await self._commit(lambda commit: relaying.relayed(commit, relay_id, hops, written, problem))

    async def chain_head(self, environment: str, participant: str) -> tuple[ChainHead, int] | None:
        """See `ports.Journal`."""
        return await self._lookup(lambda reading: chain.head(reading, environment, participant))

    async def checkpoint(self, checkpoint: Checkpoint, jwks: Sequence[str]) -> None:
        """See `ports.Journal`."""
        await self._commit(lambda commit: chain.keep_checkpoint(commit, checkpoint, jwks))

    async def removable(self, environment: str, participant: str, before: int, *, limit: int) -> ChainHead | None:
        """See `ports.Journal`."""
        return await self._list(lambda reading: retiring.removable(reading, environment, participant, before, limit))

    async def cut(self, cut: Cut) -> None:
        """See `ports.Journal`."""
        await self._commit(lambda commit: retiring.keep_cut(commit, cut))

    async def remove(self, environment: str, participant: str, *, limit: int) -> int:
        """See `ports.Journal`."""
        return await self._commit(lambda commit: retiring.remove(commit, environment, participant, limit))

    # ------------------------------------------------------------ looking
    async def message(self, message_id: str) -> Message | None:
        """See `ports.Journal`."""
        return await self._lookup(lambda reading: relaying.find_message(reading, message_id))

    async def unmatched(self, until: int) -> Mapping[str, int]:
        """See `ports.Journal`."""
        return await self._list(lambda reading: dict(reading.all("unmatched_callbacks", until=until)))

    async def unfinished(self, since: Mapping[str, int]) -> Unfinished:
        """See `ports.Journal`."""
        return await self._list(lambda reading: listing.unfinished(reading, since))

    async def history(self, which: MessageFilter) -> Sequence[Message]:
        """See `ports.Journal`."""
        return await self._list(lambda reading: listing.history(reading, which))

    async def depth(self) -> Depth:
        """See `ports.Journal`."""
        return await self._list(listing.depth)

    async def hold(self) -> None:
        """Keep the journal for as long as this runs; where others stand by, it must run.

        Raises:
            JournalBroken: another gateway has taken over.
        """

    async def integrity(self) -> None:
        """Look for damage, which may take long; not every engine leaves that to us. Safe to cancel.

        Raises:
            JournalBroken: what is stored is damaged.
        """
