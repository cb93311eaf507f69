"""What goes back into the sites: the oldest relay of a connection, its result sequence, and its end."""

from __future__ import annotations

from gateway.core.evidence import exhibits
from gateway.core.message import Hops, Lane, Message
from gateway.core.relay import CallbackRelay, Relay
from gateway.core.transaction import State
from gateway.edge.journal import attesting, moving, owing, rows
from gateway.edge.journal.statements import Commit, Reading
from gateway.errors import JournalError


def next_relay(reading: Reading, site: str, connection: str) -> tuple[Relay, Message] | None:
    """The oldest pending relay of a connection, with its message."""
    row = reading.one("next_relay", site=site, connection=connection)
    if row is None:
        return None
    relay = rows.relay(row)
    message = find_message(reading, relay.message_id)
    if message is None:
        raise JournalError(f"relay {relay.id} has no message")
    return relay, message


def find_result(reading: Reading, site: str, connection: str, mailbox: str, shown: int) -> tuple[Relay, Message] | None:
    """The newest result of a mailbox under this number, or its last one for 0, with its message."""
    if not shown:
        row = reading.one("mailbox_position", site=site, mailbox=mailbox)
        shown = 0 if row is None or row[3] is None else row[3]
    found = reading.all("relays_numbered", site=site, connection=connection, result_seq=shown)
    relay = next((relay for row in found if (relay := rows.relay(row)).rule.mailbox == mailbox), None)
    message = None if relay is None else find_message(reading, relay.message_id)
    return None if relay is None or message is None else (relay, message)


def find_message(reading: Reading, message_id: str) -> Message | None:
    """One message with its hops, or None."""
    row = reading.one("message_by_id", id=message_id)
    return None if row is None else rows.message(row, rows.hops(reading.all("hops", message_id=message_id)))


def number_relay(commit: Commit, relay_id: int, found: int) -> Relay:
    """Fix a relay's result sequence, continuing from the journal's counter, or else from the one found at the site."""
    relay = _find(commit, relay_id)
    mailbox = relay.rule.mailbox
    if relay.result_seq is not None or mailbox is None or relay.event is State.AWAITING:
        return relay
    row = commit.one("mailbox_position", site=relay.site, mailbox=mailbox)
    previous = found if row is None or row[3] is None else row[3]
    result_seq = owing.take_result_seq(commit, relay.site, mailbox, previous)
    commit.run("number_relay", id=relay_id, result_seq=result_seq)
    return _find(commit, relay_id)


def relayed(commit: Commit, relay_id: int, hops: Hops, written: bytes | None, problem: str | None) -> None:
    """Mark a relay as read back at the site or refused by it; one that was superseded meanwhile did get there."""
    state = "delivered" if problem is None else "rejected"
    row = commit.one("finish_relay", id=relay_id, state=state, problem=problem)
    if row is None:
        return
    message_id, connection, event = row
    moving.record_hops(commit, message_id, hops)
    kept = {"written": written}
    attesting.keep_exhibits(commit, message_id, kept)
    (lane,) = commit.all("lane_of_message", id=message_id)
    attesting.audit(
        commit,
        Lane.parse(lane[0]),
        message_id,
        f"relay_{state}",
        detail=problem or "",
        exhibits=exhibits(kept, {"connection": connection, "of": event}),
    )


def next_callback_relay(reading: Reading, site: str, connection: str) -> CallbackRelay | None:
    """The oldest callback of another type that waits for this connection."""
    row = reading.one("next_callback_relay", site=site, connection=connection)
    if row is None:
        return None
    return CallbackRelay(id=row[0], site=site, connection=connection, write=rows.load_writes(row[1]))


def callback_relayed(commit: Commit, relay_id: int, problem: str | None) -> None:
    """Mark it as read back at the site, or as refused by it."""
    state = "delivered" if problem is None else "rejected"
    commit.run("finish_callback_relay", id=relay_id, state=state, problem=problem)


def _find(reading: Reading, relay_id: int) -> Relay:
    row = reading.one("relay_by_id", id=relay_id)
    if row is None:
        raise JournalError(f"no relay {relay_id}")
    return rows.relay(row)
