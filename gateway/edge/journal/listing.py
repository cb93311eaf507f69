"""Readings that may look at many rows: what could be sent, what is overdue, what there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from gateway.core.attention import Unfinished
from gateway.core.message import Lane, Message, Submission
from gateway.core.record import Asset, AssetFilter, Depth, MessageFilter, Owed, Sequel
from gateway.core.transaction import State
from gateway.edge.journal import rows
from gateway.edge.journal.statements import Reading


class Lanes(Protocol):
    """What a journal knows of lanes (stored.Options)."""

    @property
    def is_ours(self) -> Callable[[Lane], bool]:
        """Whether this gateway has the lease of a lane's participant."""

    def waits_for_verdict(self, lane: Lane) -> bool:
        """Whether AWAITING blocks this lane."""


def lanes(reading: Reading, of: Lanes) -> Sequence[Lane]:
    """The lanes of ours that have a message which could be sent now, oldest message first."""
    accepted = [lane for name, _ in reading.all("accepted_lanes") if of.is_ours(lane := Lane.parse(name))]
    return [lane for lane in accepted if not is_blocked(reading, lane, after_verdict=of.waits_for_verdict(lane))]


def is_blocked(reading: Reading, lane: Lane, *, after_verdict: bool) -> bool:
    """Whether a message of this lane keeps the next one from being sent."""
    if reading.one("lane_blocking", lane=str(lane)) is not None:
        return True
    return after_verdict and reading.one("lane_awaiting", lane=str(lane), participant=lane.participant) is not None


def names_under_way(reading: Reading, lane: Lane) -> frozenset[str]:
    """The names of rows that the SMP has, and that may have to go again: merged ones, and those to be salvaged."""
    found = reading.all("names_under_way", lane=str(lane), participant=lane.participant)
    return frozenset(name for (text,) in found for name in rows.load_names(text))


def overdue(reading: Reading, whose: Mapping[str, str | int], limit: int) -> tuple[Sequence[Submission], int | None]:
    """The submissions whose time has come, longest overdue first, and when the next one's comes.

    ``whose`` names environment, participant, state, until when, and the horizon (ports.Journal.overdue).
    """
    found = [rows.submission(row) for row in reading.all("overdue_submissions", **whose, limit=limit)]
    row = reading.one("next_due", **whose)
    return found, None if row is None else row[0]


def backlog(reading: Reading, environment: str) -> int:
    """How many messages wait to be sent."""
    row = reading.one("count_backlog", environment=environment)
    return 0 if row is None else int(row[0])


def history(reading: Reading, which: MessageFilter) -> Sequence[Message]:
    """Messages, newest first."""
    found = reading.all(
        "history",
        environment=which.environment,
        participant=which.participant,
        site=which.site,
        state=which.state,
        limit=which.limit,
    )
    return [rows.message(row, rows.hops(reading.all("hops", message_id=row[0]))) for row in found]


def unfinished(reading: Reading, since: Mapping[str, int]) -> Unfinished:
    """See `ports.Journal.unfinished`."""
    messages = {(Lane.parse(lane), State(state)): count for lane, state, count in reading.all("open_messages")}
    overdue = {
        (environment, participant): count
        for environment, until in since.items()
        for participant, count in reading.all("overdue_verdicts", environment=environment, until=until)
    }
    return Unfinished(messages=messages, overdue=overdue)


def depth(reading: Reading) -> Depth:
    """How many messages are in each state, and relays are pending."""
    row = reading.one("count_relays")
    counts = {State(state): count for state, count in reading.all("count_messages")}
    return Depth(messages=counts, relays=0 if row is None else row[0])


def sequels(reading: Reading, site: str) -> Sequence[Sequel]:
    """The messages of a site that are to be made because another one ended, oldest first."""
    found = reading.all("sequels", site=site)
    return [Sequel(parent=rows.message(row[2:], {}), message=row[0], kind=row[1]) for row in found]


def owed(reading: Reading, site: str) -> Owed:
    """What is not over yet for a site."""
    open_rules = [rows.load_rules(text) for (text,) in reading.all("open_rules", site=site)]
    pending = {connection for (connection,) in reading.all("connections_owed", site=site)}
    promised = {rule.connection for rules in open_rules for rule in rules}
    sequels = reading.one("count_sequels", site=site)
    messages = len(open_rules) + (0 if sequels is None else int(sequels[0]))
    return Owed(messages=messages, connections=frozenset(pending | promised))


def assets(reading: Reading, which: AssetFilter) -> Sequence[Asset]:
    """What the registry holds, by name."""
    found = reading.all(
        "assets", environment=which.environment, participant=which.participant, kind=which.kind, limit=which.limit
    )
    return [rows.asset(row) for row in found]
