"""Who is woken when the journal has something new: hints only, the journal is the truth and is always asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core.record import Changed
from gateway.core.transaction import BLOCKING, State

_FOR_PEOPLE = frozenset({State.ESCALATED, State.PARKED})


class Signals:
    """The in-process wake-ups between the two halves, which otherwise meet only in the journal."""

    def __init__(self) -> None:
        self._relays: dict[tuple[str, str], asyncio.Event] = {}
        self._sequels: dict[str, asyncio.Event] = {}
        self._read: dict[str, asyncio.Event] = {}
        self._progress: dict[str, asyncio.Event] = {}
        self._overdue: dict[tuple[str, State], asyncio.Event] = {}
        self.unmatched = asyncio.Event()  # set when a callback came that belongs to nothing that is known
        self.dismissed = asyncio.Event()  # set when somebody said that such a callback needs no attention
        self.attention = asyncio.Event()  # set when a message began or ceased to wait for people
        self._lane_listeners: list[Callable[[Changed], None]] = []

    def relay(self, site: str, connection: str) -> asyncio.Event:
        """The event that is set when a relay may be due on this connection."""
        return self._relays.setdefault((site, connection), asyncio.Event())

    def overdue(self, participant: str, state: State) -> asyncio.Event:
        """The event that is set when one of the participant's submissions in this state may be due."""
        return self._overdue.setdefault((participant, state), asyncio.Event())

    def sequels(self, site: str) -> asyncio.Event:
        """The event that is set when a message of this site may have to be made because another one ended."""
        return self._sequels.setdefault(site, asyncio.Event())

    def read(self, site: str) -> asyncio.Event:
        """The event that is set when a point of this site was read that was not known yet."""
        return self._read.setdefault(site, asyncio.Event())

    def progress(self, site: str) -> asyncio.Event:
        """The event that is set when a message of this site moved, or a relay to it is over."""
        return self._progress.setdefault(site, asyncio.Event())

    def on_lane(self, listener: Callable[[Changed], None]) -> None:
        """Call ``listener`` when a message moved to where it may no longer block its lane."""
        self._lane_listeners.append(listener)

    def changed(self, changed: Changed) -> None:
        """Spread the news of one commit, of every message that it moved."""
        for each in changed.all:
            self._spread(each)

    def _spread(self, changed: Changed) -> None:
        self.progress(changed.lane.site).set()
        for connection in changed.relays:
            self.relay(changed.lane.site, connection).set()
        if changed.sequels:
            self.sequels(changed.lane.site).set()
        if changed.state is State.IN_DOUBT:
            self.overdue(changed.lane.participant, changed.state).set()
        if changed.moved and {changed.state, changed.before} & _FOR_PEOPLE:
            self.attention.set()
        # a message that was ACCEPTED and still is has rows left, and one of its submissions may have freed the lane
        if changed.state is State.ACCEPTED or (changed.moved and changed.state not in BLOCKING):
            for listener in self._lane_listeners:
                listener(changed)
