"""Looking for tampering in a whole journal: every chain is computed again, and what it attests is compared.

What is found: a row of the audit that was changed, deleted, put in, moved or copied from elsewhere; a chain that ends
before its last checkpoint; a checkpoint that its participant's key did not sign; kept bytes that are other ones. No
journal can show by itself that everything after the last checkpoint was taken away together with the chain's own count,
or the last checkpoints too; those in the log and in exported files show that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.core import evidence, jws, strict_json
from gateway.core.evidence import FORGOTTEN, Entry
from gateway.core.jwk import KEY_TYPES, KeyRecord, public_key_from_jwk
from gateway.edge.journal import chain, dossier, retiring
from gateway.edge.journal.statements import Reading, Row
from gateway.errors import JournalError, SignatureRefused, StrictJsonError

_PAGE = 500  # entries read at a time
Owner = tuple[str, str]  # environment, participant


def examine(reading: Reading, known: Mapping[Owner, Mapping[str, KeyRecord]]) -> Iterator[str]:
    """Every fault, as a sentence; none when all is as it was written. ``reading`` must show one moment.

    ``known`` are keys that are trusted whatever the journal says; of others the journal's own are believed.
    """
    chains = reading.all("chains")
    for environment, participant, length, link in chains:
        owner = (environment, participant)
        keys = {**_own_keys(reading, owner), **known.get(owner, {})}
        checkpoints: dict[int, str] = {}
        for fault in _examine_checkpoints(reading, owner, keys, checkpoints):
            yield f"{environment}/{participant}: {fault}"
        for fault in _examine_cut(reading, owner, keys):
            yield f"{environment}/{participant}: {fault}"
        for fault in _examine_chain(reading, owner, checkpoints, (length, link)):
            yield f"{environment}/{participant}: {fault}"
    owners = {(row[0], row[1]) for row in chains}
    for environment, participant in reading.all("audit_owners"):
        if (environment, participant) not in owners:
            yield f"{environment}/{participant}: entries of a chain that does not exist"
    for (message_id,) in reading.all("message_ids"):
        yield from _examine_message(reading, message_id)


def _examine_checkpoints(
    reading: Reading, owner: Owner, keys: Mapping[str, KeyRecord], links: dict[int, str]
) -> Iterator[str]:
    """Verify the signatures, and collect what was signed: number to link."""
    environment, participant = owner
    rows = reading.all("checkpoints", environment=environment, participant=participant, first=1, last=1 << 62)
    for number, link, at, _, token in rows:
        head = evidence.ChainHead(environment=environment, participant=participant, number=number, link=link)
        try:
            signed = jws.verify_compact(token, keys.get, algorithms=KEY_TYPES)
        except SignatureRefused as refused:
            yield f"checkpoint {number} is not signed as it should be, {refused.reason}"
            continue
        if signed.header.get("typ") != evidence.CHECKPOINT_TYP or signed.payload != evidence.checkpoint_payload(
            head, at
        ):
            yield f"checkpoint {number} is another one than was signed"
        links[number] = link


def _examine_cut(reading: Reading, owner: Owner, keys: Mapping[str, KeyRecord]) -> Iterator[str]:
    """See that what was removed was removed by a cut that the participant's key signed."""
    cut = retiring.find_cut(reading, *owner)
    if cut is None:
        return
    try:
        signed = jws.verify_compact(cut.token, keys.get, algorithms=KEY_TYPES)
    except SignatureRefused as refused:
        yield f"it begins after entry {cut.head.number}, which is not signed as it should be, {refused.reason}"
        return
    said = (signed.header.get("typ"), signed.payload)
    if said != (evidence.CUT_TYP, evidence.cut_payload(cut.head, cut.at)):
        yield f"it begins after entry {cut.head.number}, and another beginning was signed"


def _examine_chain(
    reading: Reading, owner: Owner, checkpoints: Mapping[int, str], end: tuple[int, str]
) -> Iterator[str]:
    environment, participant = owner
    number, link, after = 0, evidence.genesis(environment, participant), 0
    cut = retiring.find_cut(reading, environment, participant)
    if cut is not None:
        number, link = cut.head.number, cut.head.link
    while rows := reading.all(
        "chain_entries", environment=environment, participant=participant, after=after, limit=_PAGE
    ):
        for row in rows:
            stated, stated_link, *_ = row
            if cut is not None and stated <= cut.head.number:
                continue  # it is being removed
            number += 1
            computed = _link(link, number, row)
            if computed is None or (stated, stated_link) != (number, computed):
                yield f"entry {number} is not what was written there, or one before it is missing"
                return
            link = computed
            if checkpoints.get(number, link) != link:
                yield f"entry {number} is not what checkpoint {number} signed"
                return
        after = rows[-1][-1]
    if (number, link) != end:
        yield f"it has {number} entries, and {end[0]} were written"
    if (last := max(checkpoints, default=0)) > number:
        yield f"it has {number} entries, and {last} were signed"


def _link(before: str, number: int, row: Row) -> str | None:
    """The link that an entry must have as it stands there; none has an entry that cannot be read."""
    try:
        entry = chain.read_entry(row)[2]
    except JournalError:
        return None
    return evidence.link(before, entry.message_id, evidence.line(number, entry))


def _examine_message(reading: Reading, message_id: str) -> Iterator[str]:
    """See that what is kept of a message is what its entries attest."""
    kept = dossier.kept(reading, message_id)
    try:
        entries = list(_entries_of(reading, message_id))
    except JournalError as error:
        yield f"message {message_id}: {error}"
        return
    attested = {digest for entry in entries for digest in entry.exhibits.digests.values()}
    if not entries:
        yield f"message {message_id}: no entry tells of it"
    if not any(entry.event == FORGOTTEN for entry in entries) and attested - kept.keys():
        yield f"message {message_id}: what is kept of it is not what was attested"


def _entries_of(reading: Reading, message_id: str) -> Iterator[Entry]:
    for row in reading.all("entries_of_message", message_id=message_id):
        yield chain.read_entry(row)[2]


def _own_keys(reading: Reading, owner: Owner) -> dict[str, KeyRecord]:
    """A participant's keys as the journal has them."""
    found: dict[str, KeyRecord] = {}
    for name, text in reading.all("public_keys", environment=owner[0]):
        if name == chain.owner_of(owner[1]):
            try:
                jwk = strict_json.loads(text.encode())
                record = public_key_from_jwk(jwk if isinstance(jwk, dict) else {}, issuer=name, purpose="evidence")
            except (SignatureRefused, StrictJsonError):
                continue  # its checkpoints are told as unsigned
            found[record.key_id] = record
    return found
