"""Gathering one message's evidence for `core.evidence_file`: its stretch of the chain, and what is attested there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gateway.core import evidence
from gateway.core.evidence import Entry
from gateway.core.evidence_file import Dossier
from gateway.edge.journal import chain, retiring, rows
from gateway.edge.journal.statements import Reading

_PAGE = 500  # entries read at a time


def gather(reading: Reading, message_id: str) -> Dossier | None:
    """Everything that attests a message, or None when there is none; ``reading`` must show one moment."""
    places = reading.all("audit_places", message_id=message_id)
    if not places:
        return None
    first_id, first, environment, participant = places[0]
    owner = {"environment": environment, "participant": participant}
    before = reading.one("link_before", id=first_id, **owner)
    cut = retiring.find_cut(reading, environment, participant)
    beginning = evidence.genesis(environment, participant) if cut is None else cut.head.link
    covering = reading.one("covering_checkpoint", number=places[-1][1], **owner)
    last = places[-1][1] if covering is None or covering[0] is None else covering[0]
    entries = list(_stretch(reading, owner, first_id, last))
    checkpoints = reading.all("checkpoints", first=first, last=last, **owner)
    issuers = {str(each.exhibits.facts.get("issuer")) for each in entries if each.message_id == message_id}
    keys = [(name, rows.load_key(jwk)) for name, jwk in reading.all("public_keys", environment=environment)]
    return Dossier(
        message_id=message_id,
        environment=environment,
        participant=participant,
        previous=(first - 1, beginning if before is None else before[0]),
        entries=entries,
        checkpoints=[token for *_, token in checkpoints],
        kept=kept(reading, message_id),
        own_keys=[jwk for name, jwk in keys if name == chain.owner_of(participant)],
        smp_keys=[jwk for name, jwk in keys if name in issuers],
    )


def _stretch(reading: Reading, owner: Mapping[str, str], first_id: int, last: int) -> Iterator[Entry]:
    """A chain's entries from a row on, up to this number."""
    after = first_id - 1
    while found := reading.all("chain_entries", after=after, limit=_PAGE, **owner):
        for row in found:
            number, _, entry = chain.read_entry(row)
            if number > last:
                return
            yield entry
        after = found[-1][-1]


def kept(reading: Reading, message_id: str) -> Mapping[str, bytes]:
    """Whatever the journal holds of a message, by digest; what was forgotten is empty and not there."""
    found: list[bytes | str | None] = [*(reading.one("message_bytes", id=message_id) or ())]
    for name in ("bodies_of_message", "answers_of_message", "callback_bytes_of_message", "exhibits_of_message"):
        found += _flat(reading.all(name, message_id=message_id))
    held = (value.encode() if isinstance(value, str) else value for value in found if value)
    return {evidence.digest(value): value for value in held}


def _flat(found: Sequence[tuple[bytes | str | None, ...]]) -> list[bytes | str | None]:
    return [value for row in found for value in row]
