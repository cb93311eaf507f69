"""From the journal back into a site: one pending relay at a time per connection, written, read back, then marked.

Rules (assurance.md section 1 and 3)
------------------------------------
* No write before a fresh read of this connection; relays go in order, one consumption at a time.
* A mailbox's result is written only when the site has consumed the last one, unless it declares that the latest counts.
* The result sequence is fixed in the journal before the first write, so that a repeat after a crash carries the same
  one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.core import codec
from gateway.core.message import Hop, Message
from gateway.core.relay import CallbackRelay, Relay
from gateway.core.relay_values import callback_writes, method_calls, point_writes, result_of
from gateway.core.result_block import result_writes
from gateway.core.transaction import TERMINAL, State
from gateway.errors import PointRejected
from gateway.flow.acceptance import Services
from gateway.flow.cancellation import heed
from gateway.flow.pages import Pages
from gateway.ports import MailboxStatus, PointCall, PointWrite, ResultWrite, RoleWrite, Session, Write
from gateway.settings.configuration import SiteConfig


def written(steps: Sequence[Write]) -> bytes:
    """Writes as JSON, for the evidence."""
    return codec.dumps([_document(step) for step in steps])


def _document(step: Write) -> dict[str, object]:
    match step:
        case PointWrite():
            return {"point": step.point, "value": step.value}
        case PointCall():
            return {"call": step.point, "arguments": list(step.arguments)}
        case RoleWrite():
            return {"mailbox": step.mailbox, "role": step.role, "value": step.value}
        case ResultWrite():
            return {"to": dict(step.to), "result": dict(step.result)}


class Relayer:
    """One connection's way down, for as long as one session lives."""

    def __init__(self, site: SiteConfig, connection: str, services: Services) -> None:
        self.site = site  # as it is configured now
        self._connection = connection
        self._services = services
        self._status: dict[str, MailboxStatus] = {}
        self._written: dict[str, tuple[int, int]] = {}  # mailbox -> (result sequence it holds, since when)
        self._moved = asyncio.Event()  # set whenever a mailbox showed something new
        self.pages = Pages(site, connection, services, held=self._hold)

    def observe(self, status: MailboxStatus) -> None:
        """Learn what a mailbox shows: the result sequence it holds and the one it has consumed."""
        self._status[status.mailbox] = status
        held, since = self._written.setdefault(status.mailbox, (status.result_seq, status.at))
        if held and status.result_seq == 0 and status.at > since:  # the site lost its memory, and the result with it
            self._written[status.mailbox] = (0, status.at)
        self._moved.set()
        self.pages.observe(status)

    async def run(self, session: Session) -> None:
        """Deliver what is due until cancelled; raises LinkLost when the session ends."""
        wake = self._services.signals.relay(self.site.site, self._connection)
        while True:
            wake.clear()
            due = await self._services.journal.next_relay(self.site.site, self._connection)
            if due is not None:
                await self._deliver(session, *due)
                heed()  # only now: what the site has read is told to the journal first
                continue
            other = await self._services.journal.next_callback_relay(self.site.site, self._connection)
            if other is not None:
                await self._deliver_callback(session, other)
                heed()
            else:
                await wake.wait()

    async def _deliver_callback(self, session: Session, relay: CallbackRelay) -> None:
        """Write a callback that is no verdict; verdicts go first."""
        problem = None
        try:
            await session.write([PointWrite(point=p, value=value, fit=True) for p, value in callback_writes(relay)])
        except PointRejected as rejected:
            problem = str(rejected)
        await self._services.journal.callback_relayed(relay.id, problem)
        if problem is None:
            self._services.telemetry.emit("relay_delivered", site=relay.site, state="other", relay=relay.id)
        else:
            self._services.telemetry.emit("relay_refused", site=relay.site, relay=relay.id, reason=problem)

    async def _deliver(self, session: Session, relay: Relay, message: Message) -> None:
        started = self._services.clock.now()
        problem, steps = None, None
        try:
            relay, steps = await self._steps(relay, message)
            started = self._services.clock.now()
            async with self.pages.settled(relay):
                await session.write(steps)
                self.pages.wrote(relay, message)
        except PointRejected as rejected:
            problem = str(rejected)
        now = self._services.clock.now()
        if problem is None and relay.rule.mailbox is not None and relay.result_seq is not None:
            self._written[relay.rule.mailbox] = (relay.result_seq, now)
        final = problem is None and relay.event in TERMINAL  # the hops tell when the site knew the end
        hops = {Hop.RELAYED: started, Hop.READ_BACK: now} if final else {}
        await self._services.journal.relayed(relay.id, hops, problem, written=None if steps is None else written(steps))
        self._services.signals.progress(self.site.site).set()
        self._tell(relay, message, now, problem)

    async def _steps(self, relay: Relay, message: Message) -> tuple[Relay, list[Write]]:
        """The writes of one relay, once the site may take them, and the relay with its result sequence."""
        if relay.rule.reply is not None:
            return relay, [ResultWrite(to=relay.rule.reply, result=result_of(relay, message), number=relay.id)]
        box = self.site.mailboxes.get(relay.rule.mailbox or "")
        if box is None and relay.rule.mailbox is not None:
            raise PointRejected(relay.rule.mailbox, "is not a mailbox of this site any more")
        if box is None:
            return relay, [
                *(PointWrite(point=point, value=value, fit=True) for point, value in point_writes(relay, message)),
                *(PointCall(point=point, arguments=given) for point, given in method_calls(relay, message)),
            ]
        await self._consumed(box.name, latest=box.latest, repeated=relay.result_seq)
        if relay.result_seq is None and relay.event is not State.AWAITING:
            relay = await self._services.journal.number_relay(relay.id, self._status[box.name].result_seq)
        return relay, [
            RoleWrite(mailbox=box.name, role=role, value=value) for role, value in result_writes(box, relay, message)
        ]

    def _hold(self, box: str, result_seq: int) -> None:
        """A result that the site has had was shown once more; the next one waits until it is consumed."""
        self._written[box] = (result_seq, self._services.clock.now())

    async def _consumed(self, box: str, *, latest: bool, repeated: int | None) -> None:
        """Wait for a first reading of the mailbox, and then until its last result was consumed."""
        while True:
            self._moved.clear()
            status = self._status.get(box)
            if status is not None:
                last, _ = self._written[box]
                if latest or last in {0, repeated, status.result_acknowledged}:
                    return
            await self._moved.wait()

    def _tell(self, relay: Relay, message: Message, now: int, problem: str | None) -> None:
        telemetry = self._services.telemetry
        if problem is not None:
            telemetry.emit("relay_refused", site=relay.site, message=message.id, reason=problem)
            return
        telemetry.emit(
            "relay_delivered", site=relay.site, state=relay.event, message=message.id, result=relay.result_seq
        )
        if (called_back := message.hops.get(Hop.CALLED_BACK)) is not None:
            telemetry.hop(Hop.READ_BACK, (now - called_back) / 1_000_000)
