"""Messages that a site sends itself, under an id of its own choice: MQTT messages, OPC UA's `Submit`.

Rules
-----
* Nothing is acknowledged before it is on disk, as accepted or as refused; when the journal is full the site keeps it.
* Messages that came together share commits; they are stored, and acknowledged, in the order in which they came.
* Same id and same content: the stored outcome again. Same id, other content: refused under a key of its own, alarmed.
* What cannot be believed (no JSON, no id, a bad signature) is refused without touching the id that it names.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from gateway.core.intake import (
    UNBOUND,
    Intake,
    caller_key,
    dedupe_keys,
    draft,
    followers,
    reply_rule,
    reused_key,
    unbound,
    unread_key,
)
from gateway.core.mapping import MessageSpec, MessageTrigger
from gateway.core.message import Draft, Hop, Lane, Problem, message_id
from gateway.core.point import Snapshot, fresh
from gateway.core.profile import Profile
from gateway.core.record import Appended
from gateway.core.transaction import State
from gateway.errors import JournalFull
from gateway.flow.acceptance import Acceptance, Services
from gateway.flow.sender import Storing, stored
from gateway.ports import Busy, Committed, Refused, Session, Submitted
from gateway.settings.configuration import SiteConfig

_NO_ID = Problem(code="no_id", message="the message brings no id")


@dataclass(frozen=True, slots=True)
class _Begun:
    """A message whose commit was begun."""

    asked: Submitted
    made: Draft
    storing: Storing


class Submissions:
    """One site's way in for messages under the site's own ids."""

    def __init__(self, site: SiteConfig, profile: Profile, services: Services, acceptance: Acceptance) -> None:
        self._site = site
        self._profile = profile
        self._services = services
        self._acceptance = acceptance

    async def take_in(self, connection: str, session: Session, asked: Sequence[Submitted], others: Snapshot) -> None:
        """Commit and acknowledge messages in the order in which they came, those that wait together in few commits.

        ``others`` are the site's readings besides those that the messages bring.
        """
        begun: deque[_Begun] = deque()
        lanes: set[Lane] = set()
        try:
            for each in asked:
                if each.key is None and each.fault is None:  # whether it is new, only the journal knows
                    await self._acknowledge(session, begun)
                made, content = await self._draft(connection, each, others)
                made, storing = self._acceptance.begin(made, content, first=made.lane not in lanes)
                begun.append(_Begun(each, made, storing))
                if not made.problems:
                    lanes.add(made.lane)
                await asyncio.sleep(0)  # a flood of one site keeps nobody else from the loop for longer than a message
            await self._acknowledge(session, begun)
        finally:
            for left in begun:  # the link was lost; they are on disk all the same, or will be
                left.storing.add_done_callback(partial(self._tell_late, left.made))

    async def _acknowledge(self, session: Session, begun: deque[_Begun]) -> None:
        """Acknowledge what was begun, one after the other, each when it is stored."""
        full = False
        while begun:
            asked = begun[0].asked
            try:
                made, appended = await self._stored(begun[0])
            except JournalFull:
                begun.popleft()
                if not full:
                    self._services.telemetry.emit("intake_paused", site=self._site.site, reason="the journal is full")
                full = True
                await session.confirm(asked.receipt, Busy())
                continue
            begun.popleft()
            try:
                await session.confirm(asked.receipt, await self._outcome(made, appended))
            finally:
                self._acceptance.tell(made, appended)
            if not appended.existed:
                now = self._services.clock.now()
                self._services.journal.note(made.id, Hop.ACKNOWLEDGED, now)
                self._services.telemetry.hop(Hop.ACKNOWLEDGED, (now - asked.seen_at) / 1_000_000)

    async def _stored(self, begun: _Begun) -> tuple[Draft, Appended]:
        """Wait for one commit; a known id with another content makes a refusal of its own."""
        made, appended = begun.made, await stored(begun.storing)
        if appended.existed and not appended.same:
            self._acceptance.tell(made, appended)
            return await self._acceptance.commit(_reused(made), {})
        return made, appended

    def _tell_late(self, made: Draft, storing: Storing) -> None:
        """Tell of what was stored though nobody waited for it any more."""
        if not storing.cancelled() and storing.exception() is None:
            appended = storing.result()
            if not isinstance(appended, JournalFull):
                self._acceptance.tell(made, appended)

    async def _draft(self, connection: str, asked: Submitted, others: Snapshot) -> tuple[Draft, Mapping[str, object]]:
        spec, fault = self._spec(asked)
        trigger = spec.trigger if spec is not None else None
        if spec is None or not isinstance(trigger, MessageTrigger):
            return unbound(self._intake(connection, asked, UNBOUND, unread_key(asked.raw)), fault), {}
        intake = self._intake(
            connection, asked, spec.name, await self._key(asked, spec, trigger), progress=trigger.progress
        )
        snapshot = fresh({**others, **asked.snapshot}, self._site.points, intake.at)
        return draft(intake, spec, snapshot, self._profile, asked.document)

    def _spec(self, asked: Submitted) -> tuple[MessageSpec | None, Problem]:
        """The message that is asked for; None, and then why, when nothing can be made of it."""
        spec = self._site.messages.get(asked.message)
        trigger = spec.trigger if spec is not None else None
        if asked.fault is not None:
            return None, asked.fault
        if not isinstance(trigger, MessageTrigger):
            return None, Problem(code="unknown_message", message=f"the site has no message {asked.message}")
        return (spec if asked.key is not None or trigger.dedupe_us else None), _NO_ID

    async def _key(self, asked: Submitted, spec: MessageSpec, trigger: MessageTrigger) -> str:
        """The intake key: the caller's id, or the one under which the same bytes came within the window."""
        if asked.key is not None or trigger.dedupe_us is None:
            return caller_key(asked.key or "")
        now = self._services.clock.now()
        before, key = dedupe_keys(asked.raw, now, trigger.dedupe_us)
        stored = await self._services.journal.message(message_id(self._acceptance.lane(spec.name), before))
        return before if stored is not None and now - stored.accepted_at < trigger.dedupe_us else key

    def _intake(self, connection: str, asked: Submitted, name: str, key: str, *, progress: bool = False) -> Intake:
        answers = (reply_rule(connection, asked.reply, progress=progress),) if asked.reply else ()
        return Intake(
            lane=self._acceptance.lane(name),
            key=key,
            raw=asked.raw,
            at=self._services.clock.now(),
            revision=self._site.revision,
            rules=(*answers, *self._acceptance.rules(name)),
            followers=followers(self._site.messages, name),
            hops={Hop.SEEN: asked.seen_at, Hop.SNAPSHOT: asked.seen_at},
        )

    async def _outcome(self, made: Draft, appended: Appended) -> Committed | Refused:
        if appended.state is not State.REFUSED:
            return Committed(message_id=made.id, state=appended.state)
        problems = appended.problems
        if appended.existed:  # what was wrong the first time is the stored outcome
            stored = await self._services.journal.message(made.id)
            problems = stored.problems if stored is not None else problems
        return Refused(problems=problems, message_id=made.id)


def _reused(made: Draft) -> Draft:
    """The refusal of a known id that came with another content; the message that has the id stays as it is."""
    problem = Problem(code="id_reused", message="this id was used before with another content; take a new one")
    lane = replace(made.lane, message=UNBOUND)
    key = reused_key(made.lane.message, made.intake_key, made.raw)
    refused = replace(made, id=message_id(lane, key), lane=lane, intake_key=key, problems=(problem,), not_after=None)
    return replace(refused, creates=(), alignment=None, followers=())
