"""The calls of `ports.Journal` that carry out what people decide, and find what they decide about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.acts import Decision
from gateway.core.message import Attempt, Lane, Submission
from gateway.core.record import Adopted, Adoption, Changed, SiteHold
from gateway.core.transaction import State
from gateway.edge.journal import acts, adopting
from gateway.edge.journal.access import Access


class Decisions(Access):
    """What operators ask of a journal."""

    async def named(self, beginning: str) -> Sequence[str]:
        """See `ports.Journal`."""
        return await self._lookup(lambda reading: acts.named(reading, beginning))

    async def standings(self, message_ids: Sequence[str]) -> Mapping[str, tuple[State, int]]:
        """See `ports.Journal`."""
        return await self._list(lambda reading: acts.standings(reading, message_ids))

    async def submissions(self, message_id: str) -> Sequence[Submission]:
        """See `ports.Journal`."""
        return await self._list(lambda reading: acts.submissions(reading, message_id))

    async def decide(self, message_id: str, decision: Decision) -> Sequence[Changed]:
        """See `ports.Journal`."""
        return await self._commit(lambda commit: acts.decide(commit, message_id, decision))

    async def resend(self, submission_id: str, decision: Decision, attempt: Attempt) -> Submission | None:
        """See `ports.Journal`."""
        return await self._commit(lambda commit: acts.resend(commit, submission_id, decision, attempt))

    async def audit_release(self, environment: str, participant: str, *, actor: str, detail: str) -> None:
        """See `ports.Journal`."""
        await self._commit(lambda c: acts.audit_release(c, environment, participant, actor=actor, detail=detail))

    async def dismiss(self, lane: Lane, issuer: str, jti: str, *, actor: str, reason: str) -> bool:
        """See `ports.Journal`."""
        return await self._commit(lambda commit: acts.dismiss(commit, lane, issuer, jti, actor=actor, reason=reason))

    async def hold_site(self, lane: Lane, *, held: bool, actor: str, reason: str) -> bool:
        """See `ports.Journal`."""
        return await self._commit(lambda commit: acts.hold_site(commit, lane, held=held, actor=actor, reason=reason))

    async def site_holds(self) -> Mapping[str, SiteHold]:
        """See `ports.Journal`."""
        return await self._lookup(acts.site_holds)

    async def adopt(
        self, environment: str, participant: str, adoptions: Sequence[Adoption], *, actor: str, detail: str
    ) -> Adopted:
        """See `ports.Journal`."""
        return await self._commit(
            lambda commit: adopting.adopt(commit, environment, participant, adoptions, actor=actor, detail=detail)
        )
