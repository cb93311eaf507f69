"""The last step of every way in: commit a draft, send it if it may go at once, and tell of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.core.intake import UNBOUND
from gateway.core.message import Draft, Lane, Problem
from gateway.core.record import Appended, Changed, Outgoing
from gateway.core.relay import RelayRule, rules_of
from gateway.errors import SubmissionRefused
from gateway.flow.sender import Sender, Storing, stored
from gateway.flow.signals import Signals
from gateway.flow.wellbeing import Wellbeing
from gateway.ports import Clock, Journal
from gateway.settings.configuration import SiteConfig
from gateway.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every site's flow is given."""

    journal: Journal
    sender: Sender
    signals: Signals
    clock: Clock
    telemetry: Telemetry
    wellbeing: Wellbeing | None = None  # without it sites are shown nothing of it


class Acceptance:
    """One site's door to the journal."""

    def __init__(self, site: SiteConfig, services: Services) -> None:
        self._site = site
        self._services = services
        self._rules: dict[str, tuple[RelayRule, ...]] = {}
        self._lanes: dict[str, Lane] = {}

    async def commit(self, made: Draft, content: Mapping[str, object]) -> tuple[Draft, Appended]:
        """Commit a draft and send it if it may go at once; a draft that cannot be expressed comes back refused."""
        made, storing = self.begin(made, content)
        return made, await stored(storing)

    def begin(self, made: Draft, content: Mapping[str, object], *, first: bool = True) -> tuple[Draft, Storing]:
        """Begin what :meth:`commit` does; what is begun first is stored first.

        Of messages of one lane that are begun together only the ``first`` could be sent at once.
        """
        outgoing: Outgoing | None = None
        participant = self._site.participant
        if not made.problems:
            try:
                rows = self._services.sender.express(participant, made.kind, content)
                # a unit's assets are known in the commit only; it is taken for sending after it
                at_once = first and made.alignment is None and self._services.sender.can_send(made.lane, made.kind)
                outgoing = self._services.sender.outgoing(participant, made.kind, rows) if at_once else None
            except SubmissionRefused as refused:
                made = replace(made, problems=(Problem(code="not_expressible", message=str(refused)),))
        return made, self._services.sender.append(made, outgoing)

    def tell(self, made: Draft, appended: Appended) -> None:
        """Tell of what became of a draft, and wake whoever has something to write to the site now."""
        telemetry, labels = self._services.telemetry, {"site": self._site.site, "message": made.lane.message}
        if appended.existed:
            telemetry.emit("message_repeated" if appended.same else "message_conflicted", **labels, id=made.id)
        elif appended.problems:
            first = appended.problems[0]
            telemetry.emit("message_refused", **labels, code=first.code, id=made.id, reason=str(first))
        else:
            telemetry.emit("message_accepted", **labels, id=made.id, rows=made.rows, state=appended.state)
        if appended.relays or appended.sequels or appended.others:
            connections = frozenset(rule.connection for rule in made.rules) if appended.relays else frozenset()
            self._services.signals.changed(
                Changed(
                    message_id=made.id,
                    lane=made.lane,
                    state=appended.state,
                    moved=False,
                    relays=connections,
                    sequels=appended.sequels,
                    others=appended.others,
                )
            )

    def lane(self, message: str) -> Lane:
        """The lane of one message name of this site."""
        if message not in self._lanes:
            self._lanes[message] = Lane(
                environment=self._site.environment,
                participant=self._site.participant,
                site=self._site.site,
                message=message,
            )
        return self._lanes[message]

    def rules(self, message: str) -> tuple[RelayRule, ...]:
        """The site's own relays, as they stand now, for a message of this name."""
        if message not in self._rules:
            self._rules[message] = rules_of(self._site.relays, message) if message != UNBOUND else ()
        return self._rules[message]
