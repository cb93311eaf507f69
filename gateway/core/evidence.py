"""The chain of evidence: what each entry says, byte for byte, and how entries are linked so that none can be changed.

Rules
-----
* One chain per environment and participant; entries are numbered from 1. An entry's line is one JSON object, UTF-8, no
  spaces, members in the order of :func:`line`, absent ones left out.
* ``link = sha256(previous link + subject + digest)``, all three as 64 hexadecimal characters; ``digest`` is that of the
  line, ``subject`` that of the message's id ("" without one). The link before the first entry names the chain.
* An entry holds the digests of everything it attests (its *exhibits*), never the bytes, so that bytes can be forgotten.
* Subjects stand beside digests so that a part of the chain can be shown with other messages' lines left out, and hiding
  a line of the message in question is noticed.

Changing anything here makes another format: old chains would not verify any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core import codec

FORMAT = "smp-gateway evidence 1"
CHECKPOINT_FORMAT = "smp-gateway checkpoint 1"
CHECKPOINT_TYP = "smp-evidence+jws"
CUT_FORMAT = "smp-gateway cut 1"
CUT_TYP = "smp-evidence-cut+jws"
FORGOTTEN = "bodies_forgotten"  # the event that says that exhibits were deleted when their time was over


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibits:
    """What an entry attests: SHA-256 digests of bytes by what they are, and facts that are not kept as bytes."""

    digests: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str | int] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """As members of the entry's line."""
        found: dict[str, object] = {"exhibits": dict(self.digests), "facts": dict(self.facts)}
        return {name: value for name, value in found.items() if value}


NOTHING = Exhibits()


def exhibits(kept: Mapping[str, bytes | str | None], facts: Mapping[str, str | int | None] | None = None) -> Exhibits:
    """Attest these bytes (a text counts as its UTF-8) and these facts; what is None is left out."""
    return Exhibits(
        digests={name: digest(value) for name, value in kept.items() if value is not None},
        facts={name: value for name, value in (facts or {}).items() if value is not None},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One step of something, or one piece of evidence that moved nothing (both states None); ``at`` in µs UTC."""

    at: int
    environment: str
    participant: str
    epoch: int
    actor: str
    event: str
    message_id: str | None = None
    submission_id: str | None = None
    from_state: str | None = None
    to_state: str | None = None
    detail: str = ""
    exhibits: Exhibits = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """How far a chain is: the number of its entries, and the link of the last one."""

    environment: str
    participant: str
    number: int
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A chain's head, signed by the participant's key; ``token`` is a compact JWS of :func:`checkpoint_payload`."""

    head: ChainHead
    at: int
    key_id: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Where a chain begins since its older entries were removed: after ``head``, signed as a checkpoint is."""

    head: ChainHead
    at: int
    key_id: str
    token: str


def line(number: int, entry: Entry) -> bytes:
    """The exact bytes of an entry."""
    members: dict[str, object] = {
        "number": number,
        "at": entry.at,
        "environment": entry.environment,
        "participant": entry.participant,
        "message": entry.message_id,
        "submission": entry.submission_id,
        "actor": entry.actor,
        "event": entry.event,
        "from": entry.from_state,
        "to": entry.to_state,
        "detail": entry.detail or None,
        "epoch": entry.epoch,
        **entry.exhibits.document(),
    }
    return codec.dumps({name: value for name, value in members.items() if value is not None})


def digest(value: bytes | str) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).hexdigest()


def genesis(environment: str, participant: str) -> str:
    """The link before a chain's first entry."""
    return digest(f"{FORMAT}\n{environment}/{participant}")


def subject(message_id: str | None) -> str:
    """Which message an entry is about, without telling it to whom does not know it."""
    return digest(message_id or "")


def link(previous: str, message_id: str | None, text: bytes) -> str:
    """The link of an entry with this line."""
    return digest(previous + subject(message_id) + digest(text))


def checkpoint_payload(head: ChainHead, at: int) -> bytes:
    """What a checkpoint signs."""
    return _payload(CHECKPOINT_FORMAT, head, at)


def cut_payload(head: ChainHead, at: int) -> bytes:
    """What a cut signs."""
    return _payload(CUT_FORMAT, head, at)


def _payload(form: str, head: ChainHead, at: int) -> bytes:
    return codec.dumps(
        {
            "format": form,
            "environment": head.environment,
            "participant": head.participant,
            "entries": head.number,
            "link": head.link,
            "at": at,
        }
    )
