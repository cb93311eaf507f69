"""What becomes of doubts is found out for each by itself: one that has to wait keeps no other waiting."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from gateway.core.message import ASSETS, Attempt, Lane, Submission
from gateway.core.profile import Profile
from gateway.core.record import Changed
from gateway.core.transaction import Event, State
from gateway.flow.reconciler import Reconciler
from gateway.flow.sender import Sender
from gateway.flow.signals import Signals
from gateway.ports import Journal, Reply, SignedCall
from gateway.telemetry import Telemetry
from tests.flow.test_account import Scene, Smp, tell
from tests.flow.virtual import Even, VirtualClock

LOST, FOUND = "lost", "found"  # a submission that never reached the SMP, and one that it has done


class Knowing(Smp):
    """Knows what became of one of the two."""

    async def submit(self, call: SignedCall, bearer: str) -> Reply:
        assert bearer
        document: dict[str, object] = {"submissionId": FOUND, "transactionId": "TX", "status": "Failed", "errors": []}
        known = json.loads(call.body)["submissionId"] == FOUND
        now = VirtualClock().now()
        body = json.dumps(document if known else {}).encode()
        status = 200 if known else 404
        return Reply(handed_over=True, status=status, body=body, sent_at=now, answered_at=now, date_at=now)


@dataclass
class Doubts:
    """As much of a journal as a reconciler asks for: what is in doubt, and what became of it."""

    due: list[Submission] = field(default_factory=list)
    resolved: dict[str, tuple[Event, float]] = field(default_factory=dict)

    async def overdue(
        self, _environment: str, _participant: str, state: State, _until: int, *, horizon: int, limit: int
    ) -> tuple[Sequence[Submission], int | None]:
        assert horizon
        return (self.due[:limit], None) if state is State.IN_DOUBT else ([], None)

    async def resolve(self, ident: str, event: Event, **_more: object) -> Changed:
        (submission,) = [each for each in self.due if each.id == ident]
        self.due.remove(submission)
        self.resolved[ident] = (event, asyncio.get_running_loop().time())
        return Changed(message_id=submission.message_id, lane=submission.lane, state=State.FAILED, moved=False)


def test_a_doubt_that_waits_to_be_sent_again_keeps_no_other_waiting(profile: Profile) -> None:
    """Its endpoint is held for minutes: a doubt that comes up behind it is asked about at once all the same."""

    async def story(scene: Scene) -> None:
        await scene.ticket()
        journal, signals, log = Doubts(), Signals(), Telemetry(stream=io.StringIO())
        stored = cast("Journal", journal)
        sender = Sender(stored, {}, signals=signals, clock=VirtualClock(), entropy=Even(), telemetry=log)
        reconciler = Reconciler(
            stored, {}, sender=sender, signals=signals, clock=VirtualClock(), entropy=Even(), telemetry=log
        )
        scene.account.hold_endpoint(ASSETS, "404")
        watching = asyncio.create_task(reconciler.attend(scene.account))
        journal.due.append(_doubt(LOST))
        await asyncio.sleep(30)
        journal.due.append(_doubt(FOUND))
        await asyncio.sleep(30)
        assert not watching.done()
        event, at = journal.resolved[FOUND]
        assert (event, at < 40) == (Event.FAILURE, True)
        assert [each.id for each in journal.due] == [LOST]
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    tell(profile, story, Knowing())


def _doubt(ident: str) -> Submission:
    now = VirtualClock().now()
    return Submission(
        id=ident,
        message_id=f"message {ident}",
        lane=Lane(environment="test", participant="exstor", site="hams-bess", message=ident),
        kind=ASSETS,
        body=b"{}",
        attempt=Attempt(number=1, jti="j", iat=now // 1_000_000, key_id="kid"),
        state=State.IN_DOUBT,
        doubt_since=now,
    )
