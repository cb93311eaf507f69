"""From a request or a change to a draft: compose, validate, name; everything the commit needs, decided without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core import codec, validation
from gateway.core.mapping import MessageSpec, compose
from gateway.core.message import ASSETS, Draft, Hops, Kind, Lane, MailboxPosition, Problem, Reference, message_id
from gateway.core.point import Snapshot
from gateway.core.profile import Profile
from gateway.core.relay import MAILBOX_STATES, RelayRule
from gateway.core.transaction import State

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


def draft(
    intake: Intake, spec: MessageSpec, snapshot: Snapshot, profile: Profile
) -> tuple[Draft, Mapping[str, object]]:
    """Make the message that ``spec`` describes, and its content; with problems it is a refused one."""
    composed = compose(spec, snapshot)
    problems = composed.problems or validation.check(spec.kind, composed.content, profile).problems
    content = codec.dumps(dict(composed.content))
    made = _draft(intake, spec.kind, content, _rows(composed.content), tuple(problems))
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
