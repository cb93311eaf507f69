"""Looking into a journal from another process, while a gateway writes it or when none runs: it can only read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from gateway.core.division import Fate
from gateway.core.evidence_file import Dossier
from gateway.core.jwk import KeyRecord
from gateway.core.message import Message, Submission
from gateway.core.record import Asset, AssetFilter, CallbackFilter, Debts, Depth, Disposition, MessageFilter
from gateway.core.relay import RelayRule
from gateway.core.transaction import State
from gateway.edge.journal import acts, dossier, listing, relaying, rows
from gateway.edge.journal.connection import open_reading
from gateway.edge.journal.engine import Looking
from gateway.edge.journal.examining import Owner, examine
from gateway.edge.journal.nodes import Nodes, nodes
from gateway.edge.journal.statements import Reading, Row
from gateway.errors import JournalError


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One step, or one piece of evidence that moved nothing; then both states are None."""

    at: int
    actor: str
    event: str
    submission_id: str | None
    from_state: State | None
    to_state: State | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantAudit:
    """What was done for a participant as a whole, such as its release."""

    environment: str
    participant: str
    row: AuditRow


@dataclass(frozen=True, slots=True, kw_only=True)
class PortionRow:
    """Consecutive rows of the message in one submission, where they begin at row ``offset``.

    ``fate`` is what became of them where that is not what became of the submission.
    """

    submission_id: str
    rows: range
    offset: int
    fate: Fate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One try at sending; without an outcome it was under way when the gateway died, and its signature is not known."""

    submission_id: str
    number: int
    jti: str
    iat: int
    key_id: str
    started_at: int
    signature: str | None
    outcome: str | None
    status: int | None
    answer: bytes | None
    answer_signature: str | None
    note: str | None
    settled_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRow:
    """One signed callback that belongs to the message, with its exact bytes."""

    issuer: str
    jti: str
    received_at: int
    disposition: Disposition
    note: str
    transaction_id: str | None
    body: bytes
    signature: str
    dismissed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCallback:
    """One signed callback, whoever and whatever it belongs to."""

    environment: str
    participant: str
    row: CallbackRow


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayRow:
    """One delivery to the site; ``state`` is pending, superseded, delivered or rejected."""

    id: int
    connection: str
    event: State
    result_seq: int | None
    state: str
    problem: str | None
    created_at: int
    finished_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStory:
    """Everything that the journal knows of one message, each list in its order of time."""

    message: Message
    raw: bytes
    revision: str
    rules: tuple[RelayRule, ...]
    submissions: tuple[Submission, ...]
    portions: tuple[PortionRow, ...]
    attempts: tuple[AttemptRow, ...]
    callbacks: tuple[CallbackRow, ...]
    relays: tuple[RelayRow, ...]
    audit: tuple[AuditRow, ...]


class JournalReader:
    """An open journal; every answer is a consistent picture of one moment."""

    def __init__(self, looking: Looking) -> None:
        self._reading = Reading(looking)
        self._moment = looking.moment

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[JournalReader]:
        """Open a journal for reading; it may be in use.

        Raises:
            JournalMismatch: not a journal that this program can read.
            JournalError: there is none, or it cannot be read, now or while it is open.
        """
        with closing(open_reading(path)) as connection:
            try:
                yield cls(connection)
            except apsw.Error as error:
                raise JournalError(f"{path} cannot be read: {error}") from error

    def nodes(self) -> Nodes:
        """The gateways that share this journal; only a database has them."""
        with self._moment():
            return nodes(self._reading)

    def history(self, which: MessageFilter) -> Sequence[Message]:
        """Messages, newest first."""
        with self._moment():
            return listing.history(self._reading, which)

    def depth(self) -> Depth:
        """How many messages are in each state, and relays are pending."""
        with self._moment():
            return listing.depth(self._reading)

    def message(self, message_id: str) -> Message | None:
        """One message, or None."""
        with self._moment():
            return relaying.find_message(self._reading, message_id)

    def named(self, beginning: str) -> Sequence[str]:
        """The ids of the messages whose id begins so; not all of them, when they are many."""
        with self._moment():
            return acts.named(self._reading, beginning)

    def assets(self, which: AssetFilter) -> Sequence[Asset]:
        """What the registry holds, by name."""
        with self._moment():
            return listing.assets(self._reading, which)

    def story(self, message_id: str) -> MessageStory | None:
        """Everything about one message, or None."""
        with self._moment():
            message = relaying.find_message(self._reading, message_id)
            dossier = self._reading.one("message_dossier", id=message_id)
            if message is None or dossier is None:
                return None
            return self._tell(message, *dossier)

    def dossier(self, message_id: str) -> Dossier | None:
        """Everything that attests a message, or None."""
        with self._moment():
            return dossier.gather(self._reading, message_id)

    def examine(self, known: Mapping[Owner, Mapping[str, KeyRecord]]) -> list[str]:
        """Every sign of tampering in the whole journal, as a sentence; none when there is none."""
        with self._moment():
            return list(examine(self._reading, known))

    def debts(self) -> Debts:
        """What is owed to every site."""
        with self._moment():
            return Debts(
                results={(site, link): count for site, link, count in self._reading.all("places_owed")},
                messages=dict(self._reading.all("sites_open")),
            )

    def participant_audit(self, participant: str | None, limit: int) -> Sequence[ParticipantAudit]:
        """What was done for participants as a whole, newest first; None is all of them."""
        with self._moment():
            found = self._reading.all("audit_of_participants", participant=participant, limit=limit)
            return [ParticipantAudit(environment=row[0], participant=row[1], row=_audit(row[2:])) for row in found]

    def callbacks(self, which: CallbackFilter) -> Sequence[KeptCallback]:
        """Callbacks, newest first; other message types, quarantined and unmatched ones included."""
        with self._moment():
            found = self._reading.all(
                "callbacks",
                environment=which.environment,
                participant=which.participant,
                disposition=which.disposition,
                jti=which.jti,
                limit=which.limit,
            )
            return [KeptCallback(environment=row[0], participant=row[1], row=_callback(row[2:])) for row in found]

    def _tell(self, message: Message, raw: bytes, revision: str, rules: str) -> MessageStory:
        reading, ident = self._reading, message.id
        return MessageStory(
            message=message,
            raw=raw,
            revision=revision,
            rules=rows.load_rules(rules),
            submissions=tuple(map(rows.submission, reading.all("submissions_of_message", message_id=ident))),
            portions=tuple(map(_portion, reading.all("portions_of_message", message_id=ident))),
            attempts=tuple(map(_attempt, reading.all("attempts_of_message", message_id=ident))),
            callbacks=tuple(map(_callback, reading.all("callbacks_of_message", message_id=ident))),
            relays=tuple(map(_relay, reading.all("relays_of_message", message_id=ident))),
            audit=tuple(map(_audit, reading.all("audit_of_message", message_id=ident))),
        )


def _state(word: str | None) -> State | None:
    return None if word is None else State(word)


def _audit(row: Row) -> AuditRow:
    at, actor, event, submission_id, before, after, detail = row
    return AuditRow(
        at=at,
        actor=actor,
        event=event,
        submission_id=submission_id,
        from_state=_state(before),
        to_state=_state(after),
        detail=detail,
    )


def _portion(row: Row) -> PortionRow:
    submission_id, first, count, offset, fate = row
    return PortionRow(
        submission_id=submission_id,
        rows=range(first, first + count),
        offset=offset,
        fate=None if fate is None else Fate(fate),
    )


def _attempt(row: Row) -> AttemptRow:
    submission_id, number, jti, iat, key_id, started_at, signature, outcome, status, *answered, note, settled_at = row
    answer, answer_signature = answered
    return AttemptRow(
        submission_id=submission_id,
        number=number,
        jti=jti,
        iat=iat,
        key_id=key_id,
        started_at=started_at,
        signature=signature,
        outcome=outcome,
        status=status,
        answer=answer,
        answer_signature=answer_signature,
        note=note,
        settled_at=settled_at,
    )


def _callback(row: Row) -> CallbackRow:
    issuer, jti, received_at, disposition, note, transaction_id, body, signature, dismissed = row
    return CallbackRow(
        issuer=issuer,
        jti=jti,
        received_at=received_at,
        disposition=Disposition(disposition),
        note=note,
        transaction_id=transaction_id,
        body=body,
        signature=signature,
        dismissed=dismissed,
    )


def _relay(row: Row) -> RelayRow:
    ident, connection, event, result_seq, state, problem, created_at, finished_at = row
    return RelayRow(
        id=ident,
        connection=connection,
        event=State(event),
        result_seq=result_seq,
        state=state,
        problem=problem,
        created_at=created_at,
        finished_at=finished_at,
    )
