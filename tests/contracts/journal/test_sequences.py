"""Random conversations against the rules: order per lane, one submission per message, only steps of the table."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.message import Lane, Submission
from gateway.core.record import Settlement
from gateway.core.transaction import TERMINAL, TRANSITIONS, Event, State
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BATTERY,
    FAILURE,
    FOREIGN,
    START,
    SUCCESS,
    UNIT_LANE,
    Engine,
    Place,
    accepted,
    attempt,
    callback,
    draft,
    evidence,
    outgoing,
)

LANES = (BATTERY, UNIT_LANE, FOREIGN)
ANSWERS = (Event.TRANSACTION, Event.DECLINED, Event.NOT_PROCESSED, Event.UNCLEAR)


@dataclass
class Model:
    """What was accepted and first sent, in order; and every submission that was given out."""

    rng: random.Random
    count: int = 0
    accepted: dict[Lane, list[str]] = field(default_factory=dict)
    first_sent: dict[Lane, list[str]] = field(default_factory=dict)
    submissions: dict[str, Submission] = field(default_factory=dict)
    ended: dict[str, State] = field(default_factory=dict)

    def fresh(self) -> int:
        self.count += 1
        return self.count

    def given(self, submission: Submission) -> None:
        known = self.submissions.get(submission.id)
        if known is None:
            assert submission.message_id not in {each.message_id for each in self.submissions.values()}
            self.first_sent.setdefault(submission.lane, []).append(submission.message_id)
        else:
            assert (known.body, known.message_id) == (submission.body, submission.message_id)
            assert submission.attempt.number == known.attempt.number + 1
        self.submissions[submission.id] = submission

    def any_submission(self) -> Submission | None:
        return self.rng.choice(list(self.submissions.values())) if self.submissions else None


async def append(journal: Journal, model: Model) -> None:
    n, lane = model.fresh(), model.rng.choice(LANES)
    made = replace(draft(n, lane), mailbox=None)
    appended = await journal.append(made, outgoing(f"s{n}") if model.rng.random() < 0.7 else None)
    model.accepted.setdefault(lane, []).append(made.id)
    if appended.submission is not None:
        model.given(appended.submission)
    again = await journal.append(made, outgoing(f"x{n}"))
    assert (again.existed, again.submission) == (True, None)


async def take(journal: Journal, model: Model) -> None:
    for lane in await journal.lanes():
        head = await journal.head(lane)
        assert head is not None
        taken = await journal.take(head[0].id, outgoing(f"s{model.fresh()}"))
        assert taken is not None
        model.given(taken)


async def settle(journal: Journal, model: Model) -> None:
    submission = model.any_submission()
    if submission is None:
        return
    event = model.rng.choice(ANSWERS)
    settlement = accepted(f"TX-{submission.id}") if event is Event.TRANSACTION else Settlement(event=event)
    await journal.settle(submission.id, submission.attempt.number, settlement)


async def call_back(journal: Journal, model: Model) -> None:
    submission = model.any_submission()
    if submission is None:
        return
    named = submission.id if model.rng.random() < 0.5 else None
    told = callback(f"TX-{submission.id}", named, model.rng.choice((SUCCESS, FAILURE)))
    await journal.receive(evidence(f"c{model.fresh()}", lane=submission.lane), told, None)


async def resend(journal: Journal, model: Model) -> None:
    submission = model.any_submission()
    if submission is not None:
        again = await journal.retake(submission.id, Event.RESENT, attempt("again"))
        if again is not None:
            model.given(again)


async def find(journal: Journal, model: Model) -> None:
    submission = model.any_submission()
    if submission is not None:
        event = model.rng.choice((Event.FOUND_PENDING, Event.DOUBT_DEADLINE, Event.SUCCESS, Event.VERDICT_LIMIT))
        known = f"TX-{submission.id}" if event is Event.FOUND_PENDING else None
        await journal.resolve(submission.id, event, verdict=None, transaction_id=known, due_at=START, note="")


STEPS: tuple[Callable[[Journal, Model], Awaitable[None]], ...] = (append, take, settle, call_back, resend, find)


async def check(journal: Journal, model: Model) -> None:
    """Every accepted message is there, first sent in accept order, and what has ended stays as it ended."""
    for lane in LANES:
        order, first_sent = model.accepted.get(lane, []), model.first_sent.get(lane, [])
        assert first_sent == order[: len(first_sent)], "first sent in another order than accepted"
        for ident in order:
            message = await journal.message(ident)
            assert message is not None, "an accepted message is gone"
            if message.state in TERMINAL:
                assert model.ended.setdefault(ident, message.state) is message.state
            else:
                assert ident not in model.ended


async def converse(place: Place, seed: int, length: int) -> None:
    model = Model(random.Random(seed))
    for _ in range(3):
        async with place.open() as journal:
            await check(journal, model)
            for _ in range(length):
                await model.rng.choice(STEPS)(journal, model)
                await check(journal, model)
    for ident in (each for order in model.accepted.values() for each in order):
        state = State.RECEIVED
        for before, event, after in place.steps(ident):
            assert before is state, "a gap in the audit"
            assert TRANSITIONS[before, Event(event)] is after
            state = after


def test_any_conversation_keeps_the_rules(engine: Engine) -> None:
    """Order per lane, one submission per message, ends that stay, and only steps of the table, across restarts."""

    @engine.trying(25)
    @given(seed=st.integers(0, 2**32), length=st.integers(1, 25))
    def holds(seed: int, length: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(converse(engine.place(Path(folder)), seed, length))

    holds()
