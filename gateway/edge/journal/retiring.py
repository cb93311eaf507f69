"""Removing what is old: finished messages, and the beginning of their participant's chain of evidence.

Rules
-----
* A chain is cut after an entry, once its participant's key has signed that it is (`core.evidence.Cut`); only then may
  entries up to there be deleted, which a trigger sees to. What is left is linked to the cut as it was to the entry.
* Nothing is cut off that tells of a message which is open, or ended less than the time ago, or still owes its site
  something: one that stays open keeps whatever came after it in its participant's chain.
* A message goes with its first entry. Entries that came later tell of digests only; they go with a later cut.
* The newest entry, message and relay stay, since SQLite gives the number of a deleted last row again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.evidence import ChainHead, Cut
from gateway.edge.journal import chain
from gateway.edge.journal.statements import Commit, Reading, Row

Owner = Mapping[str, str]  # environment and participant, as statements want them


def find_cut(reading: Reading, environment: str, participant: str) -> Cut | None:
    """Where a chain was cut last."""
    owner = {"environment": environment, "participant": participant}
    row = reading.one("cut", **owner)
    if row is None:
        return None
    number, link, at, key_id, token = row
    return Cut(head=ChainHead(**owner, number=number, link=link), at=at, key_id=key_id, token=token)


def removable(reading: Reading, environment: str, participant: str, before: int, limit: int) -> ChainHead | None:
    """How far a chain could be cut: everything to there tells of what ended ``before`` (µs UTC) only.

    ``limit`` is how many entries are looked at.
    """
    owner = {"environment": environment, "participant": participant}
    cut = find_cut(reading, environment, participant)
    (newest,) = reading.one("newest_entry") or (None,)
    stays: dict[str, bool] = {}
    found = None
    for row in reading.all("chain_entries", **owner, after=0, limit=limit):
        number, link, entry = chain.read_entry(row)
        if entry.at > before or row[-1] == newest:
            break
        if (ident := entry.message_id) is not None:
            if ident not in stays:
                stays[ident] = reading.one("message_stays", id=ident, before=before) is not None
            if stays[ident]:
                break
        elif _loose_stays(reading, environment, row):
            break
        found = ChainHead(**owner, number=number, link=link)
    return None if found is None or (cut is not None and found.number <= cut.head.number) else found


def keep_cut(commit: Commit, cut: Cut) -> None:
    """Cut a chain; what is before the cut is deleted by :func:`remove`."""
    head = cut.head
    owner = {"environment": head.environment, "participant": head.participant}
    commit.run("keep_cut", **owner, number=head.number, link=head.link, at=cut.at, key_id=cut.key_id, token=cut.token)
    commit.run("delete_checkpoints", **owner, number=head.number)


def remove(commit: Commit, environment: str, participant: str, limit: int) -> int:
    """Delete so many entries before the cut, oldest first, and what they tell of; how many there were."""
    owner = {"environment": environment, "participant": participant}
    cut = find_cut(commit, environment, participant)
    if cut is None:
        return 0
    entries = [row for row in commit.all("chain_entries", **owner, after=0, limit=limit) if row[0] <= cut.head.number]
    for row in entries:
        if row[5] is None:
            _remove_loose_callback(commit, environment, row)
    for message_id in dict.fromkeys(row[5] for row in entries if row[5] is not None):
        _remove_message(commit, message_id)
    if entries:
        commit.run("delete_entries", **owner, last=entries[-1][-1], number=cut.head.number)
    return len(entries)


def _loose_stays(reading: Reading, environment: str, row: Row) -> bool:
    """Whether an entry without a message tells of a callback that a site is still to get."""
    named = _callback(row)
    return named is not None and reading.one("loose_callback_stays", environment=environment, **named) is not None


def _callback(row: Row) -> Mapping[str, str] | None:
    facts = chain.read_entry(row)[2].exhibits.facts
    return {name: str(facts[name]) for name in ("issuer", "jti")} if {"issuer", "jti"} <= facts.keys() else None


def _remove_loose_callback(commit: Commit, environment: str, row: Row) -> None:
    named = _callback(row)
    if named is not None and commit.one("loose_callback_stays", environment=environment, **named) is None:
        commit.run("delete_relays_of_callback", environment=environment, **named)
        commit.run("delete_callback", environment=environment, **named)


def _remove_message(commit: Commit, message_id: str) -> None:
    for name in ("delete_exhibits", "delete_hops", "delete_relays", "delete_claims", "delete_needs", "delete_unsure"):
        commit.run(name, message_id=message_id)
    carried: Sequence[Row] = commit.all("delete_parts_of_message", message_id=message_id)
    for submission_id in dict.fromkeys(row[0] for row in carried):
        if commit.one("parts_of_submission", submission_id=submission_id) is None:
            for name in ("delete_relays_of_callbacks", "delete_callbacks", "delete_attempts", "delete_submission"):
                commit.run(name, submission_id=submission_id)
    commit.run("delete_message", message_id=message_id)
