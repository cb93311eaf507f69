"""What comes from a site: a draft becomes a message, with everything that moves with it, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.core.division import Part
from gateway.core.message import Attempt, Draft, Hop, Lane, MailboxPosition, Message, Reference, Submission
from gateway.core.record import Appended, Changed, Outgoing, Portion
from gateway.core.relay import RelayRule
from gateway.core.transaction import TERMINAL, Event, State, advance
from gateway.edge.journal import attesting, listing, moving, owing, registry, rows
from gateway.edge.journal.moving import UNSURE, Cause
from gateway.edge.journal.statements import Commit, Reading
from gateway.errors import JournalFull


def append(commit: Commit, draft: Draft, outgoing: Outgoing | None, *, full: bool, after_verdict: bool) -> Appended:
    """Store a draft, unless its id is there; with ``outgoing`` and a free lane it is SENDING when this returns.

    Raises:
        JournalFull: ``full``, and the draft is a new one.
    """
    existing = _existing(commit, draft, full=full)
    if existing is not None:
        return existing
    if full:
        raise JournalFull("the disk is nearly full: nothing new is accepted")
    unsure = _is_unsure(commit, draft)
    taken = registry.claim(commit, draft)
    draft, waits_for = _placed(commit, replace(draft, problems=draft.problems + taken) if taken else draft)
    event = Event.INVALID if draft.problems else Event.VALID
    state = advance(State.RECEIVED, event)
    free = (
        (state is State.ACCEPTED and not unsure)
        and outgoing is not None
        and is_free(commit, draft.lane, after_verdict=after_verdict)
        and _in_turn(commit, draft.lane, outgoing)
    )
    stored = advance(state, Event.TAKEN) if free else state
    _store_message(commit, draft, stored, rest=state)
    attesting.audit(
        commit,
        draft.lane,
        draft.id,
        event,
        step=(State.RECEIVED, state),
        exhibits=attesting.received(draft, final=not waits_for),
    )
    if draft.mailbox is not None and draft.position is not None:
        set_position(commit, draft.lane.site, draft.mailbox, draft.position)
    if draft.reference is not None:
        set_reference(commit, draft.lane, draft.reference)
    if draft.follows is not None:
        commit.run("delete_sequel", parent_id=draft.follows, message=draft.lane.message)
    hops = {**draft.hops, Hop.SETTLED: commit.now} if state in TERMINAL else draft.hops
    moving.record_hops(commit, draft.id, hops)
    relays = owing.make_relays(commit, draft.lane, draft.id, draft.rules, state)
    submission = None
    if free and outgoing is not None:
        whole = (Portion(rows=range(draft.rows)),)
        portions = outgoing.portions or whole
        if not draft.salvage:  # alone and without salvage its rows never go again, and nobody asks for their names
            portions = tuple(replace(each, names=()) if each.names else each for each in portions)
        submission = open_submission(commit, blank_submission(draft, outgoing), portions)
        attesting.audit(
            commit,
            draft.lane,
            draft.id,
            Event.TAKEN,
            step=(state, stored),
            submission_id=submission.id,
            exhibits=attesting.going_out(submission),
        )
    if waits_for or (unsure and stored is State.ACCEPTED):
        held = _hold(commit, draft.id, waits_for, unsure=unsure)
        stored, relays = held.state, relays | held.relays
    others, sequels = moving.end(commit, draft.id) if stored in TERMINAL else ((), False)
    return Appended(
        message_id=draft.id,
        state=stored,
        submission=submission,
        relays=bool(relays),
        problems=draft.problems,
        sequels=sequels,
        others=(*moving.spread(commit, registry.arrived(commit, draft)), *others),
    )


def _is_unsure(commit: Commit, draft: Draft) -> bool:
    """Whether the SMP may have this: what it follows was restored from a backup."""
    return draft.follows is not None and commit.one("unsure", message_id=draft.follows) is not None


def _hold(commit: Commit, message_id: str, waits_for: str, *, unsure: bool) -> Changed:
    """Let a new message wait for its assets, or for people."""
    if unsure:
        commit.run("doubt_message", message_id=message_id)
    event, detail = (Event.DEPENDENCY_MISSING, waits_for) if waits_for else (Event.POISON, UNSURE)
    return moving.move_message(commit, message_id, Cause(event=event, detail=detail))


def _placed(commit: Commit, draft: Draft) -> tuple[Draft, str]:
    """A unit with what the registry knows of its assets, and what it waits for; any other draft as it is."""
    if draft.alignment is None or draft.problems:
        return draft, ""
    placed = registry.place(commit, draft, draft.alignment)
    judged = replace(draft, content=placed.content, alignment=placed.alignment, problems=placed.ruling.problems)
    return judged, "" if judged.problems else placed.waits_for


def _existing(commit: Commit, draft: Draft, *, full: bool) -> Appended | None:
    """What is stored under this id.

    Who asks again under an id of its own, with the same bytes or the same content, is told the stored outcome again.
    """
    row = commit.one("message_same", id=draft.id)
    if row is None:
        return None
    kind, raw, content, state = row
    replies = [rule for rule in draft.rules if rule.reply is not None]
    same_bytes, same_content = raw == draft.raw, not draft.problems and content == draft.content
    # a unit's content was completed since, with whatever assets were there by then
    by_bytes = bool(draft.problems or replies or draft.alignment is not None)
    same = kind == draft.kind and (same_content or (same_bytes and by_bytes))
    told = same and not full and _tell_again(commit, draft, replies, State(state))
    return Appended(message_id=draft.id, state=State(state), existed=True, same=same, relays=told)


def _tell_again(commit: Commit, draft: Draft, replies: Sequence[RelayRule], state: State) -> bool:
    """Make the replies to the stored state due again, unless one is on its way."""
    for _, _, text in commit.all("pending_relays_of_message", message_id=draft.id):
        (pending,) = rows.load_rules(f"[{text}]")
        if pending.reply is not None:
            return False
    return bool(owing.make_relays(commit, draft.lane, draft.id, replies, state))


def is_free(commit: Commit, lane: Lane, *, after_verdict: bool) -> bool:
    """Whether a new message of this lane could be sent at once: nothing blocks it and nothing is before it."""
    return commit.one("lane_busy", lane=str(lane)) is None and not (
        after_verdict and commit.one("lane_awaiting", lane=str(lane), participant=lane.participant) is not None
    )


def _in_turn(reading: Reading, lane: Lane, outgoing: Outgoing) -> bool:
    """Whether none of these rows would overtake one of the same name that may have to go again."""
    names = {name for portion in outgoing.portions for name in portion.names}
    return not names or names.isdisjoint(listing.names_under_way(reading, lane))


def _store_message(commit: Commit, draft: Draft, state: State, *, rest: State) -> None:
    lane = draft.lane
    commit.run(
        "insert_message",
        id=draft.id,
        environment=lane.environment,
        participant=lane.participant,
        site=lane.site,
        name=lane.message,
        lane=str(lane),
        kind=draft.kind,
        intake_key=draft.intake_key,
        raw=draft.raw,
        content=draft.content,
        row_count=draft.rows,
        state=state,
        rest=rest,
        problems=rows.dump_problems(draft.problems),
        warnings=rows.dump_problems(draft.warnings),
        created=rows.dump_created(()),
        rules=rows.dump_rules(draft.rules),
        salvage=int(draft.salvage),
        revision=draft.revision,
        not_after=draft.not_after,
        accepted_at=draft.accepted_at,
        followers=rows.dump_followers(draft.followers),
        alignment=None if draft.alignment is None else rows.dump_alignment(draft.alignment),
        wait_until=None if draft.alignment is None else draft.alignment.wait_until,
    )


def open_submission(commit: Commit, blank: Submission, portions: Sequence[Portion]) -> Submission:
    """Store a submission in SENDING with its portions; its first attempt is number 1. Its messages move beside this."""
    first = blank.attempt.number == 1
    submission = blank if first else replace(blank, attempt=replace(blank.attempt, number=1))
    lane = submission.lane
    commit.run(
        "insert_submission",
        id=submission.id,
        environment=lane.environment,
        participant=lane.participant,
        lane=str(lane),
        kind=submission.kind,
        body=submission.body,
        state=submission.state,
    )
    offset = 0
    for portion in portions:
        ident = portion.message_id or submission.message_id
        part = Part(message_id=ident, rows=portion.rows, offset=offset, names=portion.names)
        moving.insert_part(commit, submission.id, part)
        offset += len(portion.rows)
    store_attempt(commit, submission.id, submission.attempt)
    return submission


def blank_submission(of: Draft | Message, outgoing: Outgoing) -> Submission:
    """The submission that goes out with this message first, not stored yet."""
    return Submission(
        id=outgoing.id,
        message_id=of.id,
        lane=of.lane,
        kind=of.kind,
        body=outgoing.body,
        attempt=outgoing.attempt,
    )


def store_attempt(commit: Commit, submission_id: str, attempt: Attempt) -> None:
    """Store a try at sending before it is made."""
    commit.run(
        "insert_attempt",
        submission_id=submission_id,
        number=attempt.number,
        jti=attempt.jti,
        iat=attempt.iat,
        key_id=attempt.key_id,
    )


def send_again(commit: Commit, submission: Submission, cause: Cause, attempt: Attempt) -> Submission:
    """Move a submission that exists to SENDING once more: the same id, the same bytes, one attempt more."""
    again = replace(submission, attempt=replace(attempt, number=submission.attempt.number + 1))
    moving.move_submission(commit, submission, replace(cause, exhibits=attesting.going_out(again)))
    commit.must("count_attempt", id=submission.id, number=again.attempt.number)
    store_attempt(commit, submission.id, again.attempt)
    return replace(again, state=State.SENDING, polls=0)


def set_position(commit: Commit, site: str, mailbox: str, position: MailboxPosition) -> None:
    """Move a mailbox; a position without a result sequence keeps the journal's own counter."""
    commit.run(
        "set_mailbox_position",
        site=site,
        mailbox=mailbox,
        generation=position.generation,
        sequence=position.sequence,
        crc=position.crc,
        result_seq=position.result_seq,
    )


def set_reference(commit: Commit, lane: Lane, reference: Reference) -> None:
    """Store the reference value of a change trigger."""
    commit.run("set_reference", lane=str(lane), value=reference.value, counter=reference.counter)
