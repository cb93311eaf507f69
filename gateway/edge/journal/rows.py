"""Rows as values and values as columns; the one place that knows the order of columns and the shape of JSON texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from gateway.core.division import Fate, Part
from gateway.core.evidence import NOTHING, Exhibits
from gateway.core.message import (
    Alignment,
    Attempt,
    Created,
    Follower,
    Hop,
    Hops,
    Lane,
    MailboxPosition,
    Message,
    Problem,
    Ref,
    Submission,
)
from gateway.core.record import Asset, Origin
from gateway.core.relay import Relay, RelayRule, rule_from_json, rule_to_json
from gateway.core.transaction import Event, State
from gateway.core.verdict import Verdict
from gateway.edge.journal.statements import Row
from gateway.errors import JournalError


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A message as far as moving it needs; ``rest`` is where its rows are that no submission carries."""

    id: str
    rows: int
    state: State
    rest: State
    lane: Lane
    problems: tuple[Problem, ...]
    created: tuple[Created, ...]
    rules: tuple[RelayRule, ...]
    salvage: bool


def message(row: Row, hops: Hops) -> Message:
    """Read the columns of ``message_by_id``."""
    ident, lane, kind, key, content, rows, state, accepted_at, updated_at, *more = row
    not_after, problems, created, transaction, warnings = more
    return Message(
        id=ident,
        lane=Lane.parse(lane),
        kind=kind,
        intake_key=key,
        content=content,
        rows=rows,
        state=State(state),
        accepted_at=accepted_at,
        updated_at=updated_at,
        not_after=not_after,
        problems=load_problems(problems),
        warnings=load_problems(warnings),
        created=load_created(created),
        transaction_id=transaction,
        hops=hops,
    )


def submission(row: Row) -> Submission:
    """Read the columns of ``submission_by_id``."""
    ident, message_id, lane, kind, body, state, transaction, sent, doubt, awaiting, polls, number, jti, iat, key = row
    return Submission(
        id=ident,
        message_id=message_id,
        lane=Lane.parse(lane),
        kind=kind,
        body=body,
        attempt=Attempt(number=number, jti=jti, iat=iat, key_id=key),
        state=State(state),
        transaction_id=transaction,
        first_sent_at=sent,
        doubt_since=doubt,
        awaiting_since=awaiting,
        polls=polls,
    )


def part(row: Row) -> Part:
    """Read the columns of ``parts_of_submission``, with which ``parts_of_message`` begins."""
    message_id, first_row, row_count, first_in_submission, names, fate, *_ = row
    return Part(
        message_id=message_id,
        rows=range(first_row, first_row + row_count),
        offset=first_in_submission,
        names=load_names(names),
        fate=None if fate is None else Fate(fate),
    )


def standing(row: Row) -> Standing:
    """Read the columns of ``message_to_move``."""
    ident, rows, state, rest, lane, problems, created, rules, salvage = row
    return Standing(
        id=ident,
        rows=rows,
        state=State(state),
        rest=State(rest),
        lane=Lane.parse(lane),
        problems=load_problems(problems),
        created=load_created(created),
        rules=load_rules(rules),
        salvage=bool(salvage),
    )


def relay(row: Row) -> Relay:
    """Read the columns of ``next_relay``."""
    ident, message_id, participant, site, event, rule, result_seq = row
    return Relay(
        id=ident,
        message_id=message_id,
        participant=participant,
        site=site,
        event=State(event),
        rule=rule_from_json(orjson.loads(rule)),
        result_seq=result_seq,
    )


def asset(row: Row) -> Asset:
    """Read the columns of ``asset``."""
    environment, participant, kind, name, smp_id, origin, is_there, gsp_group, message_id, note = row
    return Asset(
        environment=environment,
        participant=participant,
        kind=kind,
        name=name,
        there=bool(is_there),
        origin=Origin(origin),
        smp_id=smp_id,
        gsp_group=gsp_group,
        message_id=message_id,
        note=note,
    )


def position(row: Row) -> MailboxPosition:
    """Read the columns of ``mailbox_position``."""
    generation, sequence, crc, result_seq = row
    return MailboxPosition(generation=generation, sequence=sequence, crc=crc, result_seq=result_seq)


def hops(rows: Sequence[Row]) -> Hops:
    """Read the columns of ``hops``, in the order of the way."""
    found: dict[Hop, int] = {Hop(hop): at for hop, at in rows}
    return {hop: found[hop] for hop in Hop if hop in found}


# ---------------------------------------------------------------- JSON texts
def dump_problems(problems: Iterable[Problem]) -> str:
    """As a list of ``[row, ref, field, code, message]``."""
    return _text([[each.row, each.ref, each.field, each.code, each.message] for each in problems])


def load_problems(text: str) -> tuple[Problem, ...]:
    """Read what :func:`dump_problems` wrote."""
    return () if text == _NOTHING else _problems(orjson.loads(text))


def dump_created(created: Iterable[Created]) -> str:
    """As a list of ``[ref, SMP id]``."""
    return _text([[each.ref, each.smp_id] for each in created])


def load_created(text: str) -> tuple[Created, ...]:
    """Read what :func:`dump_created` wrote."""
    return () if text == _NOTHING else _created(orjson.loads(text))


def dump_names(names: Sequence[str]) -> str:
    """As a list of texts."""
    return _text(list(names))


def load_names(text: str) -> tuple[str, ...]:
    """Read what :func:`dump_names` wrote."""
    return () if text == _NOTHING else tuple(orjson.loads(text))


def dump_rules(rules: Iterable[RelayRule]) -> str:
    """As a list of what `core.relay` makes of a rule."""
    return _text([rule_to_json(rule) for rule in rules])


def load_rules(text: str) -> tuple[RelayRule, ...]:
    """Read what :func:`dump_rules` wrote."""
    return () if text == _NOTHING else tuple(rule_from_json(each) for each in orjson.loads(text))


def dump_followers(followers: Iterable[Follower]) -> str | None:
    """As a list of ``[message, kind, states]``; None when there are none, as nearly always."""
    written = [[each.message, each.kind, sorted(each.on)] for each in followers]
    return _text(written) if written else None


def load_followers(text: str | None) -> tuple[Follower, ...]:
    """Read what :func:`dump_followers` wrote."""
    entries = () if text is None else orjson.loads(text)
    return tuple(
        Follower(message=message, kind=kind, on=frozenset(map(State, words))) for message, kind, words in entries
    )


def dump_alignment(alignment: Alignment) -> str:
    """As ``[[[asset, lane, message id], ...], GSP group, limit, wait until]``."""
    refs = [[ref.asset, None if ref.lane is None else str(ref.lane), ref.message_id] for ref in alignment.refs]
    return _text([refs, alignment.gsp_group, alignment.limit, alignment.wait_until])


def load_alignment(text: str) -> Alignment:
    """Read what :func:`dump_alignment` wrote."""
    refs, gsp_group, limit, wait_until = orjson.loads(text)
    return Alignment(
        refs=tuple(
            Ref(asset=asset, lane=None if lane is None else Lane.parse(lane), message_id=message_id)
            for asset, lane, message_id in refs
        ),
        gsp_group=gsp_group,
        limit=limit,
        wait_until=wait_until,
    )


def dump_exhibits(exhibits: Exhibits) -> str | None:
    """As the members that the entry's line has; None when there are none."""
    document = exhibits.document()
    return _text(document) if document else None


def load_exhibits(text: str | None) -> Exhibits:
    """Read what :func:`dump_exhibits` wrote.

    Raises:
        JournalError: it is something else, so somebody has altered the audit.
    """
    if text is None:
        return NOTHING
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    members = found if isinstance(found, dict) else {"": found}
    digests, facts = members.get("exhibits", {}), members.get("facts", {})
    sound = isinstance(digests, dict) and isinstance(facts, dict) and members.keys() <= {"exhibits", "facts"}
    if not sound or not all(isinstance(each, str) for each in digests.values()):
        raise JournalError(f"what an entry of the audit attests was altered: {text:.100}")
    return Exhibits(digests=digests, facts=facts)


def load_key(text: str) -> Mapping[str, str]:
    """Read a public key as a JWK, as we wrote it."""
    found: Mapping[str, str] = orjson.loads(text)
    return found


def dump_rule(rule: RelayRule) -> str:
    """One rule, for its relay row."""
    return _text(rule_to_json(rule))


def dump_writes(writes: Mapping[str, object]) -> str:
    """What the points of a callback's relay get."""
    return _text(dict(writes))


def load_writes(text: str) -> dict[str, object]:
    """Read what :func:`dump_writes` wrote."""
    writes: dict[str, object] = orjson.loads(text)
    return writes


def dump_hops(hops: Hops) -> str:
    """As an object of hop to µs."""
    return _text({hop.value: at for hop, at in hops.items()})


def load_hops(text: str) -> Hops:
    """Read what :func:`dump_hops` wrote."""
    return {Hop(hop): at for hop, at in orjson.loads(text).items()}


def dump_verdict(verdict: Verdict | None) -> str | None:
    """As ``[event, notification, created, problems]``; None stays None."""
    if verdict is None:
        return None
    created = [[each.ref, each.smp_id] for each in verdict.created]
    problems = [[each.row, each.ref, each.field, each.code, each.message] for each in verdict.problems]
    return _text([verdict.event, verdict.notification, created, problems])


def load_verdict(text: str) -> Verdict:
    """Read what :func:`dump_verdict` wrote."""
    event, notification, created, problems = orjson.loads(text)
    return Verdict(
        event=Event(event), notification=notification, created=_created(created), problems=_problems(problems)
    )


_NOTHING = "[]"


def _problems(rows: Iterable[Sequence[Any]]) -> tuple[Problem, ...]:
    return tuple(
        Problem(row=row, ref=ref, field=field, code=code, message=text) for row, ref, field, code, text in rows
    )


def _created(rows: Iterable[Sequence[str]]) -> tuple[Created, ...]:
    return tuple(Created(ref=ref, smp_id=smp_id) for ref, smp_id in rows)


def _text(value: object) -> str:
    return orjson.dumps(value, default=_exact).decode()


def _exact(value: object) -> orjson.Fragment:
    """A constant of a relay rule may be a Decimal; it is written with the digits it has."""
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f").encode())
    raise TypeError(f"{value!r} has no place in the journal")
