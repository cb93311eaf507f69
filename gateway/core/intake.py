"""From a request or a change to a draft: compose, validate, name; everything the commit needs, decided without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core import alignment, codec, validation
from gateway.core.alignment import ALIGNED_ASSETS
from gateway.core.document import Missing, digest
from gateway.core.mapping import AlignedMessage, MessageSpec, VerdictTrigger, compose, name_of
from gateway.core.message import (
    ASSETS,
    UNIT,
    Alignment,
    Creation,
    Draft,
    Follower,
    Hops,
    Kind,
    Lane,
    MailboxPosition,
    Message,
    Problem,
    Ref,
    Reference,
    message_id,
)
from gateway.core.point import Snapshot
from gateway.core.profile import Profile
from gateway.core.relay import MAILBOX_STATES, RelayRule
from gateway.core.transaction import State
from gateway.core.validation import Checked

# The reserved message name under which a request is kept that no message of the site can be made of.
UNBOUND = "unbound"
_OWN_ID = "id:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What is known of an input before it is judged: where it came from, what it brought, and what moves with it.

    ``followers`` are the messages that the end of this one may set off; ``follows`` is the one whose end set it off.
    """

    lane: Lane
    key: str
    raw: bytes
    at: int
    revision: str
    rules: tuple[RelayRule, ...] = ()
    mailbox: str | None = None
    position: MailboxPosition | None = None
    reference: Reference | None = None
    followers: tuple[Follower, ...] = ()
    follows: Message | None = None
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
    return f"{_OWN_ID}{caller_id}"


def called(key: str) -> str | None:
    """The site's own id behind an intake key, where it has one."""
    return key.removeprefix(_OWN_ID) if key.startswith(_OWN_ID) else None


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
    refs, faults = _refs(intake, spec, snapshot, document, profile)
    checked = Checked(problems=(*composed.problems, *faults))
    if not checked.problems:
        checked = check(spec.kind, composed.content, profile)
    content = codec.canonical(composed.content)
    made = _draft(
        intake,
        spec.kind,
        content,
        _rows(composed.content),
        checked.problems,
        warnings=checked.warnings,
        salvage=spec.salvage,
        not_after=None if spec.not_after_us is None else intake.at + spec.not_after_us,
        creates=_creates(spec.kind, composed.content, profile),
        alignment=_alignment(intake, refs, composed.content, profile) if spec.kind == UNIT else None,
    )
    return made, composed.content


def _creates(kind: Kind, content: Mapping[str, object], profile: Profile) -> tuple[Creation, ...]:
    """The names that a message makes; a further kind makes none."""
    if kind not in {ASSETS, UNIT}:
        return ()
    shape = profile.shape(kind)
    return alignment.creations(content, longest=shape.members[shape.ref].length)


def check(kind: Kind, content: Mapping[str, object], profile: Profile) -> Checked:
    """What is wrong with a content before its assets are aligned: whatever validation finds besides those."""
    found = validation.check(kind, content, profile)
    own = (each for each in found.problems if kind != UNIT or not (each.field or "").startswith(ALIGNED_ASSETS))
    return replace(found, problems=tuple(own))


def followers(messages: Mapping[str, MessageSpec], name: str) -> tuple[Follower, ...]:
    """The messages of a site that the end of the message ``name`` may set off."""
    return tuple(
        Follower(message=spec.name, kind=spec.kind, on=spec.trigger.on)
        for spec in messages.values()
        if isinstance(spec.trigger, VerdictTrigger) and spec.trigger.message == name
    )


def _alignment(intake: Intake, refs: Sequence[Ref], content: Mapping[str, object], profile: Profile) -> Alignment:
    return Alignment(
        refs=tuple(refs),
        gsp_group=alignment.gsp_group_of(content.get(UNIT)),
        limit=profile.limits.aligned_assets_per_unit,
        wait_until=intake.at + profile.timings.wait_limit_us,
    )


def _refs(
    intake: Intake, spec: MessageSpec, snapshot: Snapshot, document: object, profile: Profile
) -> tuple[list[Ref], tuple[Problem, ...]]:
    """What a unit aligns, and what is wrong with the names that the site gives."""
    refs: list[Ref] = []
    problems: list[Problem] = []
    member = profile.unit.members.get(ALIGNED_ASSETS)
    for place, entry in enumerate(spec.aligned):
        field = f"{ALIGNED_ASSETS}[{place}]"
        if isinstance(entry, AlignedMessage):
            lane = replace(intake.lane, site=entry.site, message=entry.message)
            parent = intake.follows if intake.follows is not None and intake.follows.lane == lane else None
            refs.append(Ref(lane=lane, message_id=None if parent is None else parent.id))
            continue
        name = name_of(entry, snapshot, document)
        problem = (
            Problem(field=field, code=name.code, message=name.detail)
            if isinstance(name, Missing)
            else alignment.name_fault(name, field, longest=None if member is None else member.length)
        )
        if problem is not None:
            problems.append(problem)
        refs.append(Ref(asset=str(name)))
    return refs, tuple(problems)


def unbound(intake: Intake, problem: Problem) -> Draft:
    """Refuse a request that belongs to no message, so that it is committed and acknowledged all the same."""
    lane = replace(intake.lane, message=UNBOUND)
    return _draft(replace(intake, lane=lane), ASSETS, b"{}", 0, (problem,))


def unconfigured(intake: Intake, kind: Kind) -> Draft:
    """Refuse a message that was to be made, and of which the configuration knows nothing any more."""
    said = f"the configuration has no message {intake.lane.message} any more"
    return _draft(intake, kind, b"{}", 0, (Problem(code="not_configured", message=said),))


def _draft(
    intake: Intake,
    kind: Kind,
    content: bytes,
    rows: int,
    problems: tuple[Problem, ...],
    **further: Any,  # noqa: ANN401 - members of a Draft
) -> Draft:
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
        followers=intake.followers,
        follows=None if intake.follows is None else intake.follows.id,
        hops=intake.hops,
        **further,
    )


def _rows(content: Mapping[str, object]) -> int:
    assets = content.get("assets")
    return len(assets) if isinstance(assets, Sequence) else 1
