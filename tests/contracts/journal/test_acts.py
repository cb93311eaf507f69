"""What operators decide, on every engine: withdrawing what was not sent, and dismissing a callback that is nobody's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.acts import Act, Decision
from gateway.core.record import Disposition
from gateway.core.transaction import State
from gateway.errors import TransitionRefused
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BATTERY,
    FOREIGN,
    NOT_PROCESSED,
    START,
    accepted,
    callback,
    carrying,
    draft,
    evidence,
    mailbox_rule,
    outgoing,
    sent,
    state_of,
)

REFUSE = Decision(act=Act.REFUSE, actor="operator:alice", reason="the participant rang")
ISSUER = evidence("x").issuer


async def test_a_message_that_was_not_sent_is_withdrawn(journal: Journal) -> None:
    """REFUSED with its relay; what came after it in the lane is next, and it is never sent."""
    await journal.append(draft(1, rules=(mailbox_rule(1),)))
    await journal.append(draft(2))
    (changed,) = await journal.decide(draft(1).id, REFUSE)
    assert (changed.before, changed.state, changed.relays) == (State.ACCEPTED, State.REFUSED, frozenset({"plc"}))
    assert await journal.take(draft(1).id, outgoing("s1")) is None
    head = await journal.head(BATTERY)
    assert head is not None
    assert head[0].id == draft(2).id
    message = await journal.message(draft(1).id)
    assert message is not None
    assert [str(problem) for problem in message.problems] == ["refused by an operator: the participant rang"]


async def test_what_the_smp_may_have_is_not_withdrawn(journal: Journal) -> None:
    """SENDING and AWAITING: refused, and nothing moves."""
    await sent(journal, 1, "s1")
    with pytest.raises(TransitionRefused):
        await journal.decide(draft(1).id, REFUSE)
    await journal.settle("s1", 1, accepted("TX-1"))
    with pytest.raises(TransitionRefused):
        await journal.decide(draft(1).id, REFUSE)
    assert await state_of(journal, 1) is State.AWAITING


async def test_a_withdrawal_spares_the_other_message_of_a_submission_that_fell_back(journal: Journal) -> None:
    """Two messages went together and the SMP took nothing: one is withdrawn, the other goes again by itself."""
    for number in (1, 2):
        await journal.append(draft(number))
    await journal.take(draft(1).id, carrying("s1", (1, range(1)), (2, range(1))))
    await journal.settle("s1", 1, NOT_PROCESSED)
    (changed,) = await journal.decide(draft(1).id, REFUSE)
    assert (changed.message_id, changed.state) == (draft(1).id, State.REFUSED)
    assert await state_of(journal, 2) is State.ACCEPTED
    head = await journal.head(BATTERY)
    assert head is not None
    assert (head[0].id, head[1]) == (draft(2).id, None)


async def test_a_dismissed_callback_is_no_alarm_and_is_still_matched(journal: Journal) -> None:
    """Counted as unmatched until it is dismissed, once; a transaction id that turns up later finds it."""
    await sent(journal, 1, "s1")
    await journal.receive(evidence("c1"), callback("TX-1"), None)
    assert await journal.unmatched(START + 10) == {BATTERY.participant: 1}
    whose = replace(BATTERY, site="", message="")
    assert not await journal.dismiss(replace(whose, participant="nobody"), ISSUER, "c1", actor="a", reason="r")
    assert await journal.dismiss(whose, ISSUER, "c1", actor="operator:alice", reason="a test of NGESO's")
    assert not await journal.dismiss(whose, ISSUER, "c1", actor="operator:alice", reason="again")
    assert await journal.unmatched(START + 10) == {}
    changed = await journal.settle("s1", 1, accepted("TX-1"))
    assert (changed.state, changed.applied_orphan) == (State.COMPLETED, True)


async def test_only_an_unmatched_callback_can_be_dismissed(journal: Journal) -> None:
    """One that decided its message is not, whoever asks."""
    await sent(journal, 1, "s1")
    await journal.settle("s1", 1, accepted("TX-1"))
    received = await journal.receive(evidence("c1"), callback("TX-1"), None)
    assert received.disposition is Disposition.APPLIED
    assert not await journal.dismiss(BATTERY, ISSUER, "c1", actor="a", reason="r")
    assert not await journal.dismiss(FOREIGN, ISSUER, "c2", actor="a", reason="r")
