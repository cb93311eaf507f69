"""What a site is owed: the relay rows of a message that entered a state, each with its result number if known."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.mailbox import next_result_seq
from gateway.core.message import Lane
from gateway.core.relay import RelayRule, due
from gateway.core.transaction import TERMINAL, State
from gateway.edge.journal import rows
from gateway.edge.journal.statements import Commit


def make_relays(
    commit: Commit, lane: Lane, message_id: str, rules: Sequence[RelayRule], state: State
) -> frozenset[str]:
    """Make the relay rows of a message that entered ``state``, and name their connections."""
    set_off = due(rules, state)
    if set_off and state in TERMINAL:
        _supersede(commit, message_id, set_off)
    for rule in set_off:
        commit.run(
            "insert_relay",
            message_id=message_id,
            participant=lane.participant,
            site=lane.site,
            connection=rule.connection,
            rule=rows.dump_rule(rule),
            event=state,
            result_seq=_result_seq(commit, lane.site, rule, state),
        )
    return frozenset(rule.connection for rule in set_off)


def _supersede(commit: Commit, message_id: str, rules: Sequence[RelayRule]) -> None:
    for relay_id, event, text in commit.all("pending_relays_of_message", message_id=message_id):
        if State(event) in TERMINAL:
            continue
        (pending,) = rows.load_rules(f"[{text}]")
        if any(_covers(rule, pending) for rule in rules):
            commit.run("supersede_relay", id=relay_id)


def _covers(rule: RelayRule, pending: RelayRule) -> bool:
    """Whether ``rule`` writes everything that ``pending`` would have written."""
    if rule.connection != pending.connection:
        return False
    if pending.mailbox is not None:
        return rule.mailbox == pending.mailbox
    if pending.reply is not None:
        return rule.reply == pending.reply
    own = rule.mailbox is None and rule.reply is None
    return own and pending.write.keys() <= rule.write.keys() and pending.call.keys() <= rule.call.keys()


def _result_seq(commit: Commit, site: str, rule: RelayRule, state: State) -> int | None:
    if rule.mailbox is None or state is State.AWAITING:
        return None
    row = commit.one("mailbox_position", site=site, mailbox=rule.mailbox)
    if row is None or row[3] is None:
        return None
    return take_result_seq(commit, site, rule.mailbox, row[3])


def take_result_seq(commit: Commit, site: str, mailbox: str, previous: int) -> int:
    """Use the next result sequence of a mailbox."""
    result_seq = next_result_seq(previous)
    commit.run("set_result_seq", site=site, mailbox=mailbox, result_seq=result_seq)
    return result_seq
