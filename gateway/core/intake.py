"""From a request or a change to a draft: compose, validate, name; everything the commit needs, decided without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core import codec, validation
from gateway.core.document import digest
from gateway.core.mapping import MessageSpec, compose
from gateway.core.message import ASSETS, Draft, Hops, Kind, Lane, MailboxPosition, Problem, Reference, message_id
from gateway.core.point import Snapshot
from gateway.core.profile import Profile
from gateway.core.relay import MAILBOX_STATES, RelayRule
from gateway.core.transaction import State
from gateway.core.validation import Checked

# The reserved message name under which a request is kept that no message of the site can be made of.
UNBOUND = "unbound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What is known of an input before it is judged: where it came from, what it brought, and what moves with it."""

    lane: Lane
    key: str
    raw: bytes
    at: int
    revision: str
    rules: tuple[RelayRule, ...] = ()
    mailbox: str | None = None
    position: MailboxPosition | None = None
    reference: Reference | None = None
    hops: Hops = field(default_factory=dict)


def mailbox_rule(connection: str, mailbox: str, sequence: int, *, progress: bool) -> RelayRule:
    """The relay that answers a mailbox request in the mailbox's own result block."""
    on = MAILBOX_STATES | {State.AWAITING} if progress else MAILBOX_STATES
    return RelayRule(connection=connection, on=on, mailbox=mailbox, sequence=sequence)


def reply_rule(connection: str, reply: Mapping[str, str], *, progress: bool) -> RelayRule:
    """The relay that answers a site's own message where the site wants it."""
    on = MAILBOX_STATES | {State.AWAITING} if progress else MAILBOX_STATES
    return RelayRule(connection=connection, on=on, reply=reply)


def caller_key(caller_id: str) -> str:
    """The intake key of a message under the site's own id."""
    return f"id:{caller_id}"


def dedupe_keys(raw: bytes, at: int, window_us: int) -> tuple[str, str]:
    """The intake keys under which the same bytes may have come within the window: (before, now).

    Time is cut into windows; what came within one window before ``at`` lies in this one or in the one before.
    """
    number = at // window_us
    return f"content:{digest(raw)}:{number - 1}", f"content:{digest(raw)}:{number}"


def unread_key(raw: bytes) -> str:
    """The intake key of bytes that nothing can be believed of."""
    return f"unread:{digest(raw)}"


def reused_key(message: str, key: str, raw: bytes) -> str:
    """The intake key under which it is kept that a message's known key came with another content."""
    return f"reused:{message}:{key}:{digest(raw)}"


def draft(
    intake: Intake, spec: MessageSpec, snapshot: Snapshot, profile: Profile, document: object = None
) -> tuple[Draft, Mapping[str, object]]:
    """Make the message that ``spec`` describes, and its content; with problems it is a refused one."""
    composed = compose(spec, snapshot, document)
    checked = Checked(problems=composed.problems)
    if not composed.problems:
        checked = validation.check(spec.kind, composed.content, profile)
    content = codec.dumps(dict(composed.content))
    made = _draft(intake, spec.kind, content, _rows(composed.content), checked.problems)
    made = replace(made, warnings=checked.warnings, salvage=spec.salvage)
    if spec.not_after_us is not None:
        made = replace(made, not_after=intake.at + spec.not_after_us)
    return made, composed.content


def unbound(intake: Intake, problem: Problem) -> Draft:
    """Refuse a request that belongs to no message, so that it is committed and acknowledged all the same."""
    lane = replace(intake.lane, message=UNBOUND)
    return _draft(replace(intake, lane=lane), ASSETS, b"{}", 0, (problem,))


def _draft(intake: Intake, kind: Kind, content: bytes, rows: int, problems: tuple[Problem, ...]) -> Draft:
    return Draft(
        id=message_id(intake.lane, intake.key),
        lane=intake.lane,
        kind=kind,
        intake_key=intake.key,
        raw=intake.raw,
        content=content,
        rows=rows,
        rules=intake.rules,
        revision=intake.revision,
        accepted_at=intake.at,
        problems=problems,
        mailbox=intake.mailbox,
        position=intake.position,
        reference=intake.reference,
        hops=intake.hops,
    )


def _rows(content: Mapping[str, object]) -> int:
    assets = content.get("assets")
    return len(assets) if isinstance(assets, Sequence) else 1
