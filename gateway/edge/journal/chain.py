"""The audit as a chain: a transaction's entries are linked to their participant's chain just before it commits.

Rules
-----
* Commands add entries to their commit; :func:`seal` writes them, chain by chain in one order, so that gateways on one
  database never wait for each other crosswise. An entry is on disk exactly if its step is.
* The writer remembers how far each chain was after its last COMMIT, so that nothing is read to extend it. What it
  remembers is never trusted: the UPDATE changes a chain only where it still is so, and otherwise the row is asked.
* `audit` only ever grows. What an entry attests is hashed there; the bytes are in the tables of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence

from gateway.core import evidence
from gateway.core.evidence import ChainHead, Checkpoint, Entry
from gateway.edge.journal import rows
from gateway.edge.journal.statements import Commit, Reading, Row

Heads = MutableMapping[tuple[str, str], ChainHead]  # by environment and participant


def seal(commit: Commit, known: Mapping[tuple[str, str], ChainHead]) -> Sequence[ChainHead]:
    """Write the entries of a transaction, and say how far their chains are then; nothing may follow but its COMMIT.

    ``known`` tells how far chains were, as far as somebody remembers.
    """
    chains: dict[tuple[str, str], list[Entry]] = {}
    for entry in commit.entries:
        chains.setdefault((entry.environment, entry.participant), []).append(entry)
    heads = [_extend(commit, owner, chains[owner], known.get(owner)) for owner in sorted(chains)]
    commit.entries.clear()
    return heads


def remember(heads: Sequence[ChainHead], known: Heads) -> None:
    """Keep how far these chains are, now that it is on disk."""
    for head in heads:
        known[head.environment, head.participant] = head


def _extend(commit: Commit, owner: tuple[str, str], entries: Sequence[Entry], known: ChainHead | None) -> ChainHead:
    environment, participant = owner
    whose = {"environment": environment, "participant": participant}
    links = [] if known is None else _links(known, entries)
    if known is None or not commit.all(
        "extend_chain",
        **whose,
        before=known.number,
        link_before=known.link,
        length=known.number + len(entries),
        link=links[-1],
    ):
        genesis = evidence.genesis(environment, participant)
        length, link = commit.must("lengthen_chain", **whose, more=len(entries), genesis=genesis)
        known = ChainHead(**whose, number=length - len(entries), link=link)
        links = _links(known, entries)
        commit.run("set_chain_link", **whose, link=links[-1])
    _insert(commit, known.number, zip(entries, links, strict=True))
    return ChainHead(**whose, number=known.number + len(entries), link=links[-1])


def _links(head: ChainHead, entries: Sequence[Entry]) -> list[str]:
    """The links of the entries that follow a head."""
    links, link = [], head.link
    for number, entry in enumerate(entries, head.number + 1):
        link = evidence.link(link, entry.message_id, evidence.line(number, entry))
        links.append(link)
    return links


def _insert(commit: Commit, before: int, entries: Iterable[tuple[Entry, str]]) -> None:
    commit.each(
        "insert_audit",
        (
            {
                "environment": entry.environment,
                "participant": entry.participant,
                "number": number,
                "at": entry.at,
                "message_id": entry.message_id,
                "submission_id": entry.submission_id,
                "actor": entry.actor,
                "event": entry.event,
                "from_state": entry.from_state,
                "to_state": entry.to_state,
                "detail": entry.detail,
                "exhibits": rows.dump_exhibits(entry.exhibits),
                "link": link,
            }
            for number, (entry, link) in enumerate(entries, before + 1)
        ),
    )


def head(reading: Reading, environment: str, participant: str) -> tuple[ChainHead, int] | None:
    """How far a chain is, and the number of its last checkpoint (0: none); None before its first entry."""
    owner = {"environment": environment, "participant": participant}
    row, last = reading.one("chain", **owner), reading.one("last_checkpoint", **owner)
    if row is None:
        return None
    return ChainHead(**owner, number=row[0], link=row[1]), 0 if last is None or last[0] is None else last[0]


def keep_checkpoint(commit: Commit, checkpoint: Checkpoint, jwks: Sequence[str]) -> None:
    """Keep a checkpoint, and the public keys that its participant signs with."""
    head = checkpoint.head
    owner = {"environment": head.environment, "participant": head.participant}
    commit.run(
        "insert_checkpoint",
        **owner,
        number=head.number,
        link=head.link,
        at=checkpoint.at,
        key_id=checkpoint.key_id,
        token=checkpoint.token,
    )
    for jwk in jwks:
        commit.run("insert_public_key", environment=head.environment, owner=owner_of(head.participant), jwk=jwk)


def owner_of(participant: str) -> str:
    """Whose a participant's own public keys are; no issuer of callbacks is called so."""
    return f"participant {participant}"


def read_entry(row: Row) -> tuple[int, str, Entry]:
    """Read the columns of ``chain_entries``: number, link, and the entry itself."""
    number, link, at, environment, participant, message_id, submission_id, actor, event, *more = row
    from_state, to_state, detail, epoch, exhibits, _ = more
    return (
        number,
        link,
        Entry(
            at=at,
            environment=environment,
            participant=participant,
            epoch=epoch,
            actor=actor,
            event=event,
            message_id=message_id,
            submission_id=submission_id,
            from_state=from_state,
            to_state=to_state,
            detail=detail,
            exhibits=rows.load_exhibits(exhibits),
        ),
    )
