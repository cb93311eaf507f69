"""From what a site shows to the journal: judge the mailbox position, draft, commit, acknowledge and send at once.

After the commit the site's acknowledgement and the POST start together; neither waits for the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core import mailbox_position, schedule
from gateway.core.intake import UNBOUND, Intake, draft, followers, mailbox_rule, unbound, unconfigured
from gateway.core.mailbox_position import Step
from gateway.core.mapping import ChangeTrigger, EdgeTrigger, MailboxTrigger, MessageSpec, points_of
from gateway.core.message import Draft, Hop, Lane, MailboxPosition, Problem, Reference
from gateway.core.point import Reading, Snapshot, fresh
from gateway.core.profile import Profile
from gateway.core.record import Appended, Sequel
from gateway.core.transaction import State
from gateway.core.trigger import Baseline, Fire, intake_key, observe, observe_edge
from gateway.errors import JournalFull
from gateway.flow.acceptance import Acceptance, Services
from gateway.flow.submissions import Submissions
from gateway.ports import Busy, Committed, MailboxStatus, Refused, Request, Session, Submitted
from gateway.settings.configuration import SiteConfig


class Uplink:
    """One site's way up: requests of its mailboxes and changes of its points.

    What is ``closed`` takes in nothing more: the site keeps its requests, and only what was accepted before goes on.
    """

    def __init__(self, site: SiteConfig, profile: Profile, services: Services, *, closed: bool = False) -> None:
        self._site = site
        self._closed = closed
        self._profile = profile
        self._services = services
        self._acceptance = Acceptance(site, services)
        self._submissions = Submissions(site, profile, services, self._acceptance)
        self._positions: dict[str, MailboxPosition | None] = {}
        self._references: dict[str, Reference | None] = {}
        self._alarmed: dict[str, tuple[int, int]] = {}  # mailbox -> (sequence, crc) last told of
        self._requests: Mapping[tuple[str, int], MessageSpec] = {
            (spec.trigger.mailbox, spec.trigger.kind): spec
            for spec in site.messages.values()
            if isinstance(spec.trigger, MailboxTrigger)
        }
        self._changes: dict[str, list[MessageSpec]] = {}
        for spec in site.messages.values():
            if isinstance(spec.trigger, ChangeTrigger | EdgeTrigger):
                self._changes.setdefault(spec.trigger.point, []).append(spec)

    @property
    def site(self) -> str:
        """The name of the site."""
        return self._site.site

    def spec(self, message: str) -> MessageSpec | None:
        """A message of the site by its name, or None."""
        return self._site.messages.get(message)

    async def request(self, session: Session, request: Request, others: Snapshot) -> None:
        """Commit and acknowledge one mailbox request; ``others`` are the site's readings from other connections."""
        if self._closed:
            await session.confirm(request.receipt, Busy())
            return
        found = await self._position(request.mailbox)
        judgement = mailbox_position.judge(
            found,
            sequence=request.sequence,
            crc=request.crc,
            acknowledged=request.acknowledged,
            result_seq=request.result_seq,
            restart_expected=self._site.mailboxes[request.mailbox].restart_expected,
        )
        self._alarm(request.mailbox, judgement.alarms, sequence=request.sequence, crc=request.crc)
        match judgement.step:
            case Step.NEW if judgement.position is not None:
                await self._take_in(session, request, judgement.position, others)
            case Step.BASELINE if judgement.position is not None:
                await self._store(request.mailbox, judgement.position)
                await session.confirm(request.receipt, Committed())
            case Step.REPEAT:
                await session.confirm(request.receipt, Committed())
            case _:
                await session.confirm(request.receipt, Busy())

    async def submitted(self, connection: str, session: Session, asked: Sequence[Submitted], others: Snapshot) -> None:
        """Commit and acknowledge, in their order, messages that the site sent under ids of its own."""
        if self._closed:
            for each in asked:
                await session.confirm(each.receipt, Busy())
            return
        await self._submissions.take_in(connection, session, asked, others)

    async def status(self, status: MailboxStatus) -> None:
        """Keep durably that a mailbox showed zero, because whatever comes next is then new."""
        if status.request_seq != 0:
            return
        judgement = mailbox_position.judge(
            await self._position(status.mailbox),
            sequence=0,
            crc=0,
            acknowledged=status.acknowledged,
            result_seq=status.result_seq,
            restart_expected=self._site.mailboxes[status.mailbox].restart_expected,
        )
        self._alarm(status.mailbox, judgement.alarms, sequence=0, crc=0)
        if judgement.position is not None:
            await self._store(status.mailbox, judgement.position)

    async def reading(self, reading: Reading, snapshot: Snapshot) -> None:
        """Make the messages that a change of this point sets off."""
        for spec in () if self._closed else self._changes.get(reading.point, ()):
            await self._change(spec, reading, snapshot)

    async def timed(self, spec: MessageSpec, instant: int, snapshot: Snapshot) -> None:
        """Make the message of this instant (µs UTC), unless it was made, or is the first that this lane ever had.

        Raises:
            JournalFull: nothing was stored; it is still to be made.
        """
        lane = self._acceptance.lane(spec.name)
        before, at = await self._reference(lane), schedule.text_of(instant)
        if before is not None and before.value >= at:
            return
        reference = Reference(value=at, counter=0 if before is None else before.counter + 1)
        del self._references[spec.name]  # cancelled in the commit, only the journal knows whether it moved
        if before is None:
            await self._services.journal.set_reference(lane, reference)
        else:
            await self._fire(spec, reference, schedule.intake_key(instant), instant, snapshot)
        self._references[spec.name] = reference

    async def follow(self, sequel: Sequel, snapshot: Snapshot) -> None:
        """Make the message that the end of another one sets off; its verdict goes back by the site's own relays.

        Raises:
            JournalFull: nothing was stored; it is still to be made.
        """
        now, parent = self._services.clock.now(), sequel.parent
        intake = Intake(
            lane=self._acceptance.lane(sequel.message),
            key=parent.id,
            raw=parent.id.encode(),
            at=now,
            revision=self._site.revision,
            rules=self._acceptance.rules(sequel.message),
            followers=followers(self._site.messages, sequel.message),
            follows=parent,
            hops={Hop.SEEN: now, Hop.SNAPSHOT: now},
        )
        spec = self._site.messages.get(sequel.message)
        made, content = (
            draft(intake, spec, snapshot, self._profile)
            if spec is not None
            else (unconfigured(intake, sequel.kind), {})
        )
        self._acceptance.tell(*await self._acceptance.commit(made, content))

    async def requested(self, spec: MessageSpec, key: str, snapshot: Snapshot) -> tuple[Draft, Appended]:
        """Make a message that somebody asks for under this key, from what was read last.

        Raises:
            JournalFull: nothing was stored.
        """
        now = self._services.clock.now()
        intake = Intake(
            lane=self._acceptance.lane(spec.name),
            key=key,
            raw=key.encode(),
            at=now,
            revision=self._site.revision,
            rules=self._acceptance.rules(spec.name),
            followers=followers(self._site.messages, spec.name),
            hops={Hop.SEEN: now, Hop.SNAPSHOT: now},
        )
        made, content = draft(intake, spec, fresh(snapshot, self._site.points, now), self._profile)
        made, appended = await self._acceptance.commit(made, content)
        self._acceptance.tell(made, appended)
        return made, appended

    def lacks(self, message: str, snapshot: Snapshot) -> bool:
        """Whether a message to be made needs a point that was not read since the start."""
        spec = self._site.messages.get(message)
        return spec is not None and any(point not in snapshot for point in points_of(spec))

    async def _change(self, spec: MessageSpec, reading: Reading, snapshot: Snapshot) -> None:
        lane = self._acceptance.lane(spec.name)
        reference, news = await self._reference(lane), None
        match spec.trigger:
            case ChangeTrigger():
                news = observe(spec.trigger, reference, reading, self._site.points[reading.point].deadband)
            case EdgeTrigger():
                news = observe_edge(spec.trigger, reference, reading)
        if news is None:
            return
        del self._references[spec.name]  # cancelled in the commit, only the journal knows whether it moved
        match news:
            case Baseline():
                await self._services.journal.set_reference(lane, news.reference)
            case Fire():
                await self._fire(spec, news.reference, intake_key(news.reference), reading.at, snapshot)
        self._references[spec.name] = news.reference

    async def _fire(self, spec: MessageSpec, reference: Reference, key: str, seen_at: int, snapshot: Snapshot) -> None:
        intake = Intake(
            lane=self._acceptance.lane(spec.name),
            key=key,
            raw=reference.value.encode(),
            at=self._services.clock.now(),
            revision=self._site.revision,
            rules=self._acceptance.rules(spec.name),
            reference=reference,
            followers=followers(self._site.messages, spec.name),
            hops={Hop.SEEN: seen_at, Hop.SNAPSHOT: seen_at},
        )
        made, content = draft(intake, spec, fresh(snapshot, self._site.points, intake.at), self._profile)
        self._acceptance.tell(*await self._acceptance.commit(made, content))

    async def _reference(self, lane: Lane) -> Reference | None:
        if lane.message not in self._references:
            self._references[lane.message] = await self._services.journal.reference(lane)
        return self._references[lane.message]

    async def _take_in(self, session: Session, request: Request, position: MailboxPosition, others: Snapshot) -> None:
        made, content = self._draft(request, position, others)
        del self._positions[request.mailbox]  # cancelled in the commit, only the journal knows whether it moved
        try:
            made, appended = await self._acceptance.commit(made, content)
        except JournalFull:
            self._services.telemetry.emit("intake_paused", site=self._site.site, reason="the journal is full")
            await session.confirm(request.receipt, Busy())
            return
        try:
            if appended.existed and not appended.same:
                await session.confirm(request.receipt, Busy())  # judged against the journal's position it will be known
                return
            self._positions[request.mailbox] = position
            outcome = Refused(problems=appended.problems) if appended.state is State.REFUSED else Committed()
            await session.confirm(request.receipt, outcome)
        finally:
            self._acceptance.tell(
                made, appended
            )  # after the acknowledgement is on its way: telling takes its time from both ways
        now = self._services.clock.now()
        self._services.journal.note(made.id, Hop.ACKNOWLEDGED, now)
        self._services.telemetry.hop(Hop.ACKNOWLEDGED, (now - request.seen_at) / 1_000_000)

    def _draft(
        self, request: Request, position: MailboxPosition, others: Snapshot
    ) -> tuple[Draft, Mapping[str, object]]:
        spec = self._requests.get((request.mailbox, request.kind))
        box = self._site.mailboxes[request.mailbox]
        name = spec.name if spec is not None and request.fault is None else UNBOUND
        answer = mailbox_rule(box.connection, box.name, request.sequence, progress=box.progress)
        intake = Intake(
            lane=self._acceptance.lane(name),
            key=mailbox_position.intake_key(request.mailbox, position.generation, position.sequence),
            raw=request.raw,
            at=self._services.clock.now(),
            revision=self._site.revision,
            rules=(answer, *self._acceptance.rules(name)),
            mailbox=request.mailbox,
            position=position,
            followers=followers(self._site.messages, name),
            hops={Hop.SEEN: request.seen_at, Hop.SNAPSHOT: request.snapshot_at},
        )
        if request.fault is not None:
            problem = Problem(code=request.fault, message="the request block and its CRC do not agree")
            return unbound(intake, problem), {}
        if spec is None:
            problem = Problem(
                code="unknown_kind", message=f"no message is bound to kind {request.kind} of this mailbox"
            )
            return unbound(intake, problem), {}
        snapshot = fresh({**others, **request.snapshot}, self._site.points, intake.at)
        return draft(intake, spec, snapshot, self._profile)

    def _alarm(self, box: str, alarms: Sequence[str], *, sequence: int, crc: int) -> None:
        """Tell of each alarm once, however often the site shows the same request."""
        if not alarms or self._alarmed.get(box) == (sequence, crc):
            return
        self._alarmed[box] = (sequence, crc)
        for code in alarms:
            self._services.telemetry.emit(
                "mailbox_alarmed", site=self._site.site, mailbox=box, code=code, sequence=sequence
            )

    async def _store(self, box: str, position: MailboxPosition) -> None:
        await self._services.journal.set_position(self._site.site, box, position)
        self._positions[box] = position

    async def _position(self, box: str) -> MailboxPosition | None:
        if box not in self._positions:
            self._positions[box] = await self._services.journal.position(self._site.site, box)
        return self._positions[box]
