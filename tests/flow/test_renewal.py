"""Files that are exchanged under a running gateway: a bad one changes nothing, and trouble is told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gateway.core.certificate import Certificate
from gateway.errors import SecretError
from gateway.flow.renewal import Renewable, Renewals
from tests.flow.virtual import VirtualClock, run

DAY_US = 86_400_000_000


class Thing:
    """Something read from a file: it changed, did not change, or cannot be read."""

    def __init__(self) -> None:
        self.outcome: bool | SecretError = False
        self.reads = 0

    def renew(self) -> bool:
        self.reads += 1
        if isinstance(self.outcome, SecretError):
            raise self.outcome
        return self.outcome


def test_trouble_is_told_once_and_harms_no_other() -> None:
    """One bad file: told and shown until it is good again; the other is read all the same."""
    told: list[tuple[str, str]] = []

    async def story() -> None:
        bad, good = Thing(), Thing()
        things = [Renewable(what="bad", renew=bad.renew), Renewable(what="good", renew=good.renew)]
        renewals = Renewals(things, clock=VirtualClock(), event=lambda name, what, **_: told.append((name, what)))
        bad.outcome, good.outcome = SecretError("no PEM"), True
        renewals.renew()
        good.outcome = False
        renewals.renew()
        (line,) = renewals.degraded
        assert line.startswith("bad: the new file is not used, no PEM, since 20")
        bad.outcome = False
        renewals.renew()
        assert renewals.degraded == ()

    run(story())
    assert told == [("renewal_failed", "bad"), ("renewal_succeeded", "good"), ("renewal_succeeded", "bad")]


def test_a_noticed_change_and_a_hint_both_read_again() -> None:
    """Each change once; each hint once, however often it was given meanwhile."""

    async def changes() -> AsyncIterator[None]:
        yield
        yield

    async def story() -> int:
        thing = Thing()
        renewals = Renewals(
            [Renewable(what="thing", renew=thing.renew)], clock=VirtualClock(), event=lambda *_, **__: None
        )
        await renewals.watch(changes())
        task = asyncio.create_task(renewals.obey())
        renewals.hint()
        renewals.hint()
        await asyncio.sleep(1)
        task.cancel()
        return thing.reads

    assert run(story()) == 3


def test_the_end_of_a_certificate_is_shown_before_it_comes() -> None:
    """Twenty days left of a year: a line that names member, subject and day; the metric gets the first end."""

    async def story() -> tuple[tuple[str, ...], dict[str, int]]:
        now = VirtualClock().now()
        ends = [now + 20 * DAY_US, now + 200 * DAY_US]
        chain = [certificate(end) for end in ends]
        thing = Renewable(what="callbacks.certificate", renew=lambda: False, certificates=lambda: chain)
        renewals = Renewals([thing], clock=VirtualClock(), event=lambda *_, **__: None)
        assert renewals.ends == {"callbacks.certificate": ends[0]}
        return renewals.degraded, renewals.ends

    (line,), _ = run(story())
    assert line == "callbacks.certificate: CN=host expires on 2026-12-08, in 20 days"


def certificate(not_after: int) -> Certificate:
    return Certificate(
        subject="CN=host",
        issuer="CN=ca",
        serial="1",
        hosts=(),
        not_before=not_after - 365 * DAY_US,
        not_after=not_after,
        sha256="",
    )
