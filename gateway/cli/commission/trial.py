"""One step of a commissioning test: do it, wait for its end, and compare it with what must come of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from gateway.app import MessageStory, open_reader
from gateway.cli.commission.rehearsal import SITE, Rehearsal
from gateway.cli.commission.scenario import Expect, Step
from gateway.core.control import PARTICIPANTS, REQUEST, Nothing, RequestOrder
from gateway.core.record import Disposition
from gateway.core.transaction import TERMINAL, State
from gateway.errors import JournalError
from gateway.simulator.faults import Fault
from gateway.simulator.record import Mischief

_LOOK_S = 0.02
_FORGERIES = frozenset({Fault.CALLBACK_FORGE_KEY, Fault.CALLBACK_FORGE_BODY, Fault.CALLBACK_FORGE_AUD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one step: ``happened`` is one line, ``failures`` is empty when it passed."""

    name: str
    happened: str
    failures: tuple[str, ...] = ()
    message_id: str | None = None
    transaction_id: str | None = None

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.failures


async def attempt(stage: Rehearsal, step: Step, name: str, *, limit_s: float) -> Result:
    """Try one step, whose message has this name; what has not ended after ``limit_s`` has failed."""
    if step.expect is None:
        return await _login(stage, step, limit_s)
    before = len(stage.smp.ledger.mischief())
    stage.smp.faults.change(step.faults)
    try:
        order = RequestOrder(key="once")
        ident = (await stage.control.ask(REQUEST, order, site=SITE, message=name)).message
        ended = await _end(stage, ident, step, before, limit_s)
    finally:
        stage.smp.faults.calm()
    story = _story(stage, ident)
    if not ended:
        happened = f"still {story.message.state} after {limit_s:g} s"
        return Result(name=step.name, happened=happened, failures=("did not end",), message_id=ident)
    transaction = story.message.transaction_id
    mischief = [each for each in stage.smp.ledger.mischief()[before:] if each.transaction_id == transaction]
    return Result(
        name=step.name,
        happened=_happened(story),
        failures=tuple(_differences(step.expect, story, mischief)),
        message_id=ident,
        transaction_id=transaction,
    )


async def _login(stage: Rehearsal, step: Step, limit_s: float) -> Result:
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while not await _logged_in(stage):  # noqa: ASYNC110 - it is asked from outside, as operators do
                await asyncio.sleep(_LOOK_S)
            return Result(name=step.name, happened="a token was given")
    return Result(name=step.name, happened=f"no token after {limit_s:g} s", failures=("the login was not granted",))


async def _logged_in(stage: Rehearsal) -> bool:
    return (await stage.control.ask(PARTICIPANTS, Nothing())).participants[0].logged_in


def _story(stage: Rehearsal, ident: str) -> MessageStory:
    with open_reader(stage.journal) as reader:
        story = reader.story(ident)
    if story is None:
        raise JournalError(f"message {ident} is not in the journal")
    return story


async def _end(stage: Rehearsal, ident: str, step: Step, before: int, limit_s: float) -> bool:
    """Wait for the message's end, and for the lies told about it; a fault is wanted once, not for each attempt."""
    wanted = {str(fault) for fault in step.faults if isinstance(fault, Fault)}
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while True:
                seen = {each.fault for each in stage.smp.ledger.mischief()[before:]}
                if wanted and wanted <= seen:
                    stage.smp.faults.calm()
                if wanted <= seen and _story(stage, ident).message.state in TERMINAL:
                    return True
                await asyncio.sleep(_LOOK_S)
    return False


def _happened(story: MessageStory) -> str:
    message = story.message
    parts = [message.state.value]
    if message.transaction_id is not None:
        parts.append(f"{message.transaction_id} by {_by(story)}")
    if message.problems:
        parts.append(str(message.problems[0]))
    return ", ".join(parts)


def _by(story: MessageStory) -> str:
    return "callback" if any(each.disposition is Disposition.APPLIED for each in story.callbacks) else "status"


def _differences(expect: Expect, story: MessageStory, mischief: list[Mischief]) -> Iterator[str]:
    message = story.message
    codes = [problem.code for problem in message.problems]
    if message.state.value != expect.state:
        yield f"it is {message.state}, not {expect.state}"
    if expect.error is not None and expect.error not in codes[:1]:
        yield f"its first error is {codes[0] if codes else 'none'}, not {expect.error}"
    if expect.by is not None and _by(story) != expect.by:
        yield f"its verdict came by {_by(story)}, not by {expect.by}"
    if expect.doubts and all(row.to_state is not State.IN_DOUBT for row in story.audit):
        yield "it was never in doubt"
    answers = [each.status for each in mischief if each.fault in _FORGERIES]
    if answers != [401] * expect.forgeries:
        yield f"forged callbacks were answered {answers or 'never'}, not {expect.forgeries} times 401"
    replays = sum(each.fault == Fault.CALLBACK_TWICE for each in mischief)
    if replays != expect.replays:
        yield f"{replays} callbacks came again, not {expect.replays}"
    decided = sum(row.from_state is not None and row.to_state in TERMINAL for row in story.audit)
    if decided != 1:
        yield f"its end was written {decided} times"
