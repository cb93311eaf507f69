"""Random conversations of messages that are cut, merged and salvaged, against what must hold for every row."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.message import Created, Draft, Lane, Problem, Submission
from gateway.core.record import Outgoing, Portion, Settlement, Waiting
from gateway.core.transaction import TERMINAL, TRANSITIONS, Event, State, combine
from gateway.core.verdict import Verdict
from gateway.edge.journal.reader import MessageStory
from gateway.ports import Journal
from tests.contracts.journal.scenario import (
    BATTERY,
    START,
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

LIMIT = 4  # rows that a submission takes
LANES = (BATTERY, UNIT_LANE)


@dataclass
class Model:
    """Every draft in accept order, whose rows each submission carries, and how messages ended; ``rng`` is the dice."""

    rng: random.Random
    count: int = 0
    drafts: dict[str, Draft] = field(default_factory=dict)
    carried: dict[str, list[str]] = field(default_factory=dict)  # submission -> row names, in order
    submissions: dict[str, Submission] = field(default_factory=dict)
    first_sent: dict[Lane, list[str]] = field(default_factory=dict)
    ended: dict[str, State] = field(default_factory=dict)

    def fresh(self) -> int:
        self.count += 1
        return self.count

    def given(self, submission: Submission, portions: tuple[Portion, ...]) -> None:
        self.submissions[submission.id] = submission
        self.carried[submission.id] = [name for portion in portions for name in portion.names]
        for portion in portions:
            ident, order = portion.message_id or submission.message_id, self.first_sent.setdefault(submission.lane, [])
            if ident not in order:
                order.append(ident)

    def any_submission(self) -> Submission | None:
        """One of the last few as a rule, since those are under way."""
        known = list(self.submissions.values())
        return self.rng.choice(known[-3:] if self.rng.random() < 0.9 else known) if known else None

    def problems(self, submission: Submission) -> tuple[Problem, ...]:
        """Errors of some rows, of none, or of the whole; each names its row truly."""
        names = self.carried[submission.id]
        rows = self.rng.sample(range(len(names)), self.rng.randint(0, min(2, len(names))))
        named = tuple(Problem(row=row, ref=names[row], code="BAD", message="m") for row in rows)
        return (*named, Problem(code="ALL", message="m")) if self.rng.random() < 0.2 else named

    def created(self, submission: Submission) -> tuple[Created, ...]:
        return tuple(Created(ref=name, smp_id=f"A-{name}") for name in self.carried[submission.id])


def name(message_id: str, row: int) -> str:
    return f"{message_id}.{row}"


def portion(message_id: str, rows: range) -> Portion:
    return Portion(message_id=message_id, rows=rows, names=tuple(name(message_id, row) for row in rows))


def compose(model: Model, waiting: list[Waiting]) -> tuple[Portion, ...]:
    """Cut the first message at the limit, or merge whole ones as far as they fit and the dice want."""
    first, *others = waiting
    left, portions = LIMIT, []
    for span in first.rows:
        if left:
            portions.append(portion(first.message_id, span[:left]))
            left -= len(span[:left])
    if not first.alone and sum(map(len, first.rows)) <= LIMIT:
        for other in others:
            count = sum(map(len, other.rows))
            if other.alone or count > left or model.rng.random() < 0.2:
                break
            portions += [portion(other.message_id, span) for span in other.rows]
            left -= count
    return tuple(portions)


async def append(journal: Journal, model: Model) -> None:
    """Some messages at once, most of them small, so that a lane has a queue to merge."""
    lane = model.rng.choice((BATTERY, *LANES))
    for _ in range(model.rng.randint(1, 3)):
        n, rows = model.fresh(), model.rng.choice((1, 1, 2, 2, 3, 7))
        made = replace(draft(n, lane, rows=rows, salvage=model.rng.random() < 0.5), mailbox=None)
        model.drafts[made.id] = made
        portions = (portion(made.id, range(min(rows, LIMIT))),)
        going = replace(outgoing(f"s{n}"), portions=portions) if model.rng.random() < 0.5 else None
        appended = await journal.append(made, going)
        if appended.submission is not None:
            model.given(appended.submission, portions)


async def take(journal: Journal, model: Model, *, every: bool = False) -> None:
    for lane in await journal.lanes():
        head = await journal.head(lane)
        assert head is not None
        message, earlier = head
        waiting = list(await journal.waiting(lane, LIMIT))
        if earlier is None:
            assert waiting[0].message_id == message.id
            portions = compose(model, waiting)
            made: Outgoing = replace(outgoing(f"s{model.fresh()}"), portions=portions)
        else:
            made, portions = outgoing("unused"), ()
        if model.rng.random() < 0.8 or every:
            taken = await journal.take(message.id, made)
            assert taken is not None
            if earlier is None:
                model.given(taken, portions)
            else:
                assert (taken.id, taken.body) == (earlier.id, earlier.body)
                model.submissions[taken.id] = taken


async def settle(journal: Journal, model: Model) -> None:
    submission = model.any_submission()
    if submission is None:
        return
    event = model.rng.choice((Event.TRANSACTION, Event.TRANSACTION, Event.DECLINED, Event.NOT_PROCESSED, Event.UNCLEAR))
    settlement = Settlement(event=event, problems=model.problems(submission) if event is Event.DECLINED else ())
    if event is Event.TRANSACTION:
        settlement = accepted(f"TX-{submission.id}")
    await journal.settle(submission.id, submission.attempt.number, settlement)


def told(model: Model, submission: Submission) -> Verdict:
    if model.rng.random() < 0.5:
        return Verdict(event=Event.SUCCESS, created=model.created(submission))
    return Verdict(event=Event.FAILURE, problems=model.problems(submission))


async def call_back(journal: Journal, model: Model) -> None:
    submission = model.any_submission()
    if submission is None:
        return
    named = submission.id if model.rng.random() < 0.5 else None
    said = callback(f"TX-{submission.id}", named, told(model, submission))
    await journal.receive(evidence(f"c{model.fresh()}", lane=submission.lane), said, None)


async def resend(journal: Journal, model: Model) -> None:
    submission = model.any_submission()
    if submission is not None:
        again = await journal.retake(submission.id, Event.RESENT, attempt("again"))
        if again is not None:
            model.submissions[again.id] = again


async def find(journal: Journal, model: Model) -> None:
    submission = model.any_submission()
    if submission is None:
        return
    verdict = told(model, submission)
    event = model.rng.choice((Event.FOUND_PENDING, Event.DOUBT_DEADLINE, Event.VERDICT_LIMIT, verdict.event))
    known = f"TX-{submission.id}" if event is Event.FOUND_PENDING else None
    found = verdict if event is verdict.event else None
    await journal.resolve(submission.id, event, verdict=found, transaction_id=known, due_at=START, note="")


STEPS: tuple[Callable[[Journal, Model], Awaitable[None]], ...] = (
    append,
    take,
    take,
    settle,
    settle,
    call_back,
    call_back,
    resend,
    find,
)


def check(place: Place, model: Model) -> None:
    """What must hold of every message after every step."""
    for lane in LANES:
        order = [ident for ident, made in model.drafts.items() if made.lane == lane]
        first_sent = model.first_sent.get(lane, [])
        assert first_sent == order[: len(first_sent)], "first sent in another order than accepted"
    with place.look() as reader:
        for ident, made in model.drafts.items():
            story = reader.story(ident)
            assert story is not None, "an accepted message is gone"
            check_rows(story, made)
            state = story.message.state
            assert model.ended.setdefault(ident, state) is state if state in TERMINAL else ident not in model.ended


def check_rows(story: MessageStory, made: Draft) -> None:
    """One message: its rows, its state, its errors and what was created for it."""
    states = {each.id: each.state for each in story.submissions}
    rows: Counter[int] = Counter()
    adds_up = []
    for each in story.portions:
        if each.fate is not None and each.fate.released:
            assert states[each.submission_id] in {State.FAILED, State.REJECTED}, "given back although not refused"
        else:
            rows.update(each.rows)
            adds_up.append(states[each.submission_id])
    assert max(rows.values(), default=0) <= 1, "a row stands in two submissions"
    if len(rows) < made.rows:
        adds_up.append(State.ACCEPTED)
    assert story.message.state is combine(adds_up)
    for problem in story.message.problems:
        assert problem.row is None or problem.ref == name(made.id, problem.row), "an error of another row"
    created = [each.ref for each in story.message.created]
    assert len(set(created)) == len(created), "created twice"
    done = {row for each in story.portions if states[each.submission_id] is State.COMPLETED for row in each.rows}
    assert set(created) <= {name(made.id, row) for row in range(made.rows)}
    assert {name(made.id, row) for row in done} >= set(created)
    assert not done & {problem.row for problem in story.message.problems}, "a refused row went again"


async def drain(journal: Journal, model: Model) -> None:
    """Let the SMP say yes to everything from now on: every message ends in as many rounds as there are rows."""
    drained = False
    for _ in range(sum(made.rows for made in model.drafts.values()) + len(model.drafts) + 2):
        before = dict(model.submissions) if drained else {}
        drained = True
        await take(journal, model, every=True)
        for submission in [each for ident, each in model.submissions.items() if before.get(ident) is not each]:
            await journal.settle(submission.id, submission.attempt.number, accepted(f"TX-{submission.id}"))
            yes = Verdict(event=Event.SUCCESS, created=model.created(submission))
            await journal.resolve(
                submission.id, Event.SUCCESS, verdict=yes, transaction_id=None, due_at=None, note="drained"
            )
    for ident in model.drafts:
        message = await journal.message(ident)
        assert message is not None
        assert message.state in TERMINAL


async def converse(place: Place, seed: int, length: int) -> None:
    model = Model(random.Random(seed))
    for _ in range(2):
        async with place.open() as journal:
            for number in range(length):
                await model.rng.choice(STEPS)(journal, model)
                if number % 4 == 0:
                    check(place, model)
    async with place.open() as journal:
        await drain(journal, model)
        check(place, model)
    for ident in model.drafts:
        for before, event, after in place.steps(ident):
            assert TRANSITIONS[before, Event(event)] is after


def test_any_conversation_of_batches_keeps_the_rules(engine: Engine) -> None:
    """Each row in one submission that stands, states that add up, errors in own rows, and an end in bounded time."""

    @engine.trying(25)
    @given(seed=st.integers(0, 2**32), length=st.integers(1, 30))
    def holds(seed: int, length: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(converse(engine.place(Path(folder)), seed, length))

    holds()
