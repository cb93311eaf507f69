"""The durable store, and the leases of gateways that share one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from typing import Protocol

from gateway.core.acts import Decision
from gateway.core.attention import Unfinished
from gateway.core.callback import Callback
from gateway.core.evidence import ChainHead, Checkpoint, Cut
from gateway.core.message import Attempt, Draft, Hop, Hops, Lane, MailboxPosition, Message, Reference, Submission
from gateway.core.record import (
    Adopted,
    Adoption,
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
    SiteHold,
    Waiting,
)
from gateway.core.relay import CallbackRelay, Relay
from gateway.core.sharing import Hint, Lease, Node, Owner, Sight, Work
from gateway.core.transaction import Event, State
from gateway.core.verdict import Verdict


class Journal(Protocol):
    """The durable store. Each call is all or nothing, and on disk when it returns; `take` to `relayed` write.

    Cancelling a call leaves it unknown whether it was stored; the next read tells. Every method may raise
    ``JournalBroken``, after which the process must end.
    """

    async def append(self, draft: Draft, outgoing: Outgoing | None = None) -> Appended:
        """Store a message with its mailbox position, reference value, relays and audit in one commit.

        With ``outgoing`` and a free lane it goes to SENDING in the same commit.

        Raises:
            JournalFull: nothing was stored.
        """

    async def lanes(self) -> Sequence[Lane]:
        """The lanes that have a message which could be sent now, oldest message first."""

    async def head(self, lane: Lane) -> tuple[Message, Submission | None] | None:
        """The message of this lane to send next, or None; with its submission when that fell back to ACCEPTED."""

    async def waiting(self, lane: Lane, limit: int) -> Sequence[Waiting]:
        """The messages of this lane that may share a submission of ``limit`` rows, oldest first, the head always."""

    async def names_under_way(self, lane: Lane) -> frozenset[str]:
        """The names of rows of this lane that AWAIT a verdict after which they may have to go again."""

    async def take(self, message_id: str, outgoing: Outgoing) -> Submission | None:
        """Commit SENDING for an ACCEPTED head of a lane and what goes with it; None when it may not be sent (any more).

        A submission that exists keeps its id and bytes and only gains ``outgoing.attempt``.
        """

    async def retake(self, submission_id: str, event: Event, attempt: Attempt) -> Submission | None:
        """Commit SENDING for a submission in doubt (``Event.RESENT``).

        None when it is not in doubt any more, or when its message's not-after has passed; then it is due again later.
        """

    async def still_ours(self) -> None:
        """Make sure that no other gateway took over while this process slept; before each send and write to a site.

        Raises:
            JournalBroken: one has.
        """

    async def settle(self, submission_id: str, attempt: int, settlement: Settlement) -> Changed:
        """Store what became of an attempt; a callback that came before this transaction id is applied with it."""

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
        """Store what the reconciler found out, and how; an event the state does not know is kept as evidence only."""

    async def named(self, beginning: str) -> Sequence[str]:
        """The ids of the messages whose id begins so; not all of them, when they are many."""

    async def standings(self, message_ids: Sequence[str]) -> Mapping[str, tuple[State, int]]:
        """The state and the number of rows of those of these messages that exist."""

    async def submissions(self, message_id: str) -> Sequence[Submission]:
        """Everything that was made of a message for the SMP."""

    async def decide(self, message_id: str, decision: Decision) -> Sequence[Changed]:
        """Carry out what an operator decided about a message, with who and why.

        Raises:
            TransitionRefused: nothing of it waits for such a decision.
        """

    async def resend(self, submission_id: str, decision: Decision, attempt: Attempt) -> Submission | None:
        """Commit SENDING for an escalated submission, as an operator decided; None when its not-after has passed.

        Raises:
            TransitionRefused: it is not escalated (any more).
        """

    async def audit_release(self, environment: str, participant: str, *, actor: str, detail: str) -> None:
        """Keep that an operator released a held participant."""

    async def dismiss(self, lane: Lane, issuer: str, jti: str, *, actor: str, reason: str) -> bool:
        """Keep that an unmatched callback of the lane's participant needs nobody's attention, with who and why.

        It is still matched if it can be. False when it is matched, unknown or dismissed already.
        """

    async def hold_site(self, lane: Lane, *, held: bool, actor: str, reason: str) -> bool:
        """Keep that nothing may be written to ``lane.site``, or may again, with who and why; False when it is so."""

    async def site_holds(self) -> Mapping[str, SiteHold]:
        """The sites that are held."""

    async def postpone(self, submission_id: str, due_at: int) -> None:
        """Set when the reconciler looks at a submission next, and count the poll."""

    async def overdue(
        self, environment: str, participant: str, state: State, now: int, *, horizon: int, limit: int
    ) -> tuple[Sequence[Submission], int | None]:
        """A participant's submissions in this state (IN_DOUBT, AWAITING) whose time has come, longest overdue first.

        At most ``limit``; and when the time of the next one comes that is not due yet. What is due after ``horizon``,
        further away than any pause, was planned by a clock that has stepped back since, and is due now.
        """

    async def backlog(self, environment: str) -> int:
        """How many accepted messages of an environment wait to be sent."""

    async def park(self, message_id: str, reason: str) -> Changed | None:
        """Commit PARKED for what the SMP has nothing of; None when that is nothing (any more)."""

    async def expire(self, now: int) -> Sequence[Changed]:
        """End as EXPIRED what has waited for too long: messages past their not-after, units without their assets."""

    async def receive(
        self, evidence: Evidence, callback: Callback | None, fault: str | None, relays: Sequence[CallbackRelay] = ()
    ) -> Received:
        """Store a callback and whatever it decides in one commit; with ``fault`` it is quarantined.

        ``relays`` are due when it is new and no verdict.

        Raises:
            JournalFull: nothing was stored.
        """

    async def position(self, site: str, mailbox: str) -> MailboxPosition | None:
        """How far a mailbox was read, or None when it never was."""

    async def set_position(self, site: str, mailbox: str, position: MailboxPosition) -> None:
        """Move a mailbox without a message: a baseline, or an alarmed row of the restart table."""

    async def reference(self, lane: Lane) -> Reference | None:
        """The reference value of a change trigger, or None when there is none."""

    async def set_reference(self, lane: Lane, reference: Reference) -> None:
        """Store a baseline that fires nothing."""

    async def sequels(self, site: str) -> Sequence[Sequel]:
        """The messages of a site that the end of another one sets off and that are not made yet, oldest first."""

    async def owed(self, site: str) -> Owed:
        """What is not over yet for a site; messages that are still to be made after others count as open."""

    async def adopt(
        self, environment: str, participant: str, adoptions: Sequence[Adoption], *, actor: str, detail: str
    ) -> Adopted:
        """Keep assets made long ago, all or none; units that waited for them go on in the same commit."""

    async def next_relay(self, site: str, connection: str) -> tuple[Relay, Message] | None:
        """The oldest pending relay of this connection and its message, or None."""

    async def result(self, site: str, connection: str, mailbox: str, shown: int) -> tuple[Relay, Message] | None:
        """The newest result of a mailbox under this RESULT_SEQ, or for 0 the last that it was given; None: unknown."""

    async def number_relay(self, relay_id: int, found: int) -> Relay:
        """Fix the result sequence of a mailbox relay that has none, continuing from the one found at the site."""

    async def relayed(
        self, relay_id: int, hops: Hops, problem: str | None = None, *, written: bytes | None = None
    ) -> None:
        """Mark a relay as read back at the site, or, with a problem, as refused by the site for good.

        ``written`` says what was written and, without a problem, read back the same.
        """

    async def next_callback_relay(self, site: str, connection: str) -> CallbackRelay | None:
        """The oldest callback of another type that is to be written to this connection, or None."""

    async def callback_relayed(self, relay_id: int, problem: str | None = None) -> None:
        """Mark it as read back at the site, or, with a problem, as refused by the site for good."""

    async def chain_head(self, environment: str, participant: str) -> tuple[ChainHead, int] | None:
        """How far a participant's chain of evidence is, and the number of its last checkpoint (0: none yet)."""

    async def checkpoint(self, checkpoint: Checkpoint, jwks: Sequence[str]) -> None:
        """Keep a signed checkpoint of a chain, and the public keys that its participant signs with, as JWKs."""

    async def removable(self, environment: str, participant: str, before: int, *, limit: int) -> ChainHead | None:
        """How far a participant's chain could be cut since all to there ended ``before`` (µs UTC); None: nowhere.

        At most ``limit`` entries are looked at.
        What is open, owes its site something, or is younger stays, and whatever follows its first entry.
        """

    async def cut(self, cut: Cut) -> None:
        """Begin a chain after the entry that this cut names; what is before it may be removed from now on."""

    async def remove(self, environment: str, participant: str, *, limit: int) -> int:
        """Delete up to ``limit`` of the oldest entries before the cut, and what they tell of; how many there were."""

    def note(self, message_id: str, hop: Hop, at: int) -> None:
        """Remember a hop with the next commit, whatever that is; lost if the process dies before."""

    async def message(self, message_id: str) -> Message | None:
        """One message, or None."""

    async def unmatched(self, until: int) -> Mapping[str, int]:
        """How many callbacks of each participant that came until then belong to nothing that is known."""

    async def unfinished(self, since: Mapping[str, int]) -> Unfinished:
        """What is not over; verdicts count as overdue that were due ``since`` (µs UTC, by environment) or longer."""

    async def history(self, which: MessageFilter) -> Sequence[Message]:
        """Messages, newest first."""

    async def depth(self) -> Depth:
        """Counts for health and metrics."""


class Leases(Protocol):
    """Which participants this gateway serves, of those that all gateways on one journal share (core.sharing).

    Every method may raise ``JournalBroken``, after which the process must end.
    """

    async def look(self) -> Sight:
        """See every node and lease as they are."""

    async def enrol(self, owners: Collection[Owner]) -> None:
        """See to it that there is a lease for each of these."""

    async def claim(self, lease: Lease) -> bool:
        """Take a free lease as it was seen; what was under way for its participant is in doubt then.

        False when somebody else was quicker.
        """

    async def release(self, owner: Owner) -> None:
        """Give a lease back, of a participant for whom nothing is done here any more; the others are told."""

    async def bury(self, node: Node) -> None:
        """Take a node out that was seen dead, unless it has counted a turn since; its leases are free then."""

    async def divide(self, shares: int) -> None:
        """Say that this node uses one of so many shares of the SMP's rate, unless there are more nodes by now."""

    async def leave(self) -> None:
        """Say that this node is going to end, so that nobody leaves anything to it."""

    async def work(self) -> Work:
        """See what waits in the journal, whoever brought it there."""

    async def pause(self) -> None:
        """Wait until it is time for the next look; safe to cancel."""

    def hints(self) -> AsyncGenerator[Hint, None]:
        """Hear what other nodes say, until closed; some of it may be lost."""

    async def doubtful(self) -> None:
        """Wait until this node has been out of touch for so long that others may take it for dead; safe to cancel."""
