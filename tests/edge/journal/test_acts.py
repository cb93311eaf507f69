"""What operators decide, in the journal: the exits of PARKED, ids by their beginning, and the audit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.acts import Act, Decision
from gateway.core.transaction import Event, State
from gateway.edge.journal import moving
from gateway.edge.journal.moving import Cause
from gateway.edge.journal.reader import JournalReader
from gateway.edge.journal.sqlite import SqliteJournal
from gateway.errors import TransitionRefused
from tests.contracts.journal.scenario import BATTERY, FOREIGN, HandClock, draft, mailbox_rule, outgoing


def silent(_name: str, **_fields: object) -> None:
    """Tell nobody."""


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    path = tmp_path / "journal.db"
    async with SqliteJournal.open(path, clock=HandClock(), pipeline_after_verdict=False, event=silent) as opened:
        yield opened


async def parked(journal: SqliteJournal) -> str:
    """A message that no local step could get any further."""
    message_id = (await journal.append(draft(1, rules=(mailbox_rule(1),)))).message_id
    poison = Cause(event=Event.POISON, detail="failed three times")
    await journal._commit(lambda commit: moving.move_message(commit, message_id, poison))
    return message_id


def decision(act: Act) -> Decision:
    return Decision(act=act, actor="operator:alice", reason="looked at it")


async def test_a_parked_message_is_tried_again_in_its_place(journal: SqliteJournal) -> None:
    """ACCEPTED again, before what came after it in its lane."""
    message_id = await parked(journal)
    await journal.append(draft(2))
    assert await journal.head(BATTERY) is None
    (changed,) = await journal.decide(message_id, decision(Act.RETRY))
    head = await journal.head(BATTERY)
    assert (changed.before, changed.state) == (State.PARKED, State.ACCEPTED)
    assert head is not None
    assert head[0].id == message_id


async def test_a_parked_message_is_refused_and_its_site_told(journal: SqliteJournal) -> None:
    """REFUSED with the reason as its problem, a relay to the mailbox, the lane free, and who did it on record."""
    message_id = await parked(journal)
    second = (await journal.append(draft(2))).message_id
    (changed,) = await journal.decide(message_id, decision(Act.REFUSE))
    message = await journal.message(message_id)
    head = await journal.head(BATTERY)
    with pytest.raises(TransitionRefused):
        await journal.decide(message_id, decision(Act.RETRY))
    assert changed.relays == {"plc"}
    assert message is not None
    assert [str(problem) for problem in message.problems] == ["refused by an operator: looked at it"]
    assert head is not None
    assert head[0].id == second
    with JournalReader.open(journal.path) as reader:
        story = reader.story(message_id)
    assert story is not None
    last = story.audit[-1]
    assert (last.actor, last.event, last.detail) == ("operator:alice", "operator_refused", "looked at it")


async def test_ids_are_found_by_their_beginning(journal: SqliteJournal) -> None:
    """The whole id, a unique beginning, several that begin alike, and none."""
    ids = sorted(
        [(await journal.append(draft(n, lane))).message_id for n in range(1, 9) for lane in (BATTERY, FOREIGN)]
    )
    for each in ids:
        assert await journal.named(each) == [each]
        assert await journal.named(each[:1]) == [other for other in ids if other[0] == each[0]][:6]
    assert await journal.named("zz") == []
    assert len(await journal.named("")) == 6


async def test_a_submission_that_is_not_escalated_is_not_sent_again(journal: SqliteJournal) -> None:
    """SENDING already: refused, and nothing changes."""
    appended = await journal.append(draft(1), outgoing("s1"))
    assert appended.submission is not None
    with pytest.raises(TransitionRefused):
        await journal.resend("s1", decision(Act.RESEND), appended.submission.attempt)
    (found,) = await journal.submissions(appended.message_id)
    assert (found.state, found.attempt.number) == (State.SENDING, 1)
