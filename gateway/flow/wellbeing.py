"""How the gateway is for one site: what its own alarms may watch (core/health.py)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gateway.core.health import VERDICT, WAITING, Clocks, Health
from gateway.core.mailbox import STATE_CODES
from gateway.core.record import MessageFilter
from gateway.core.transaction import TERMINAL
from gateway.flow.account import Account
from gateway.ports import Journal
from gateway.settings.configuration import SiteConfig

_LOOKED_AT = 50  # newest messages, among which the last one that is over is looked for


class Wellbeing:
    """Asks whoever knows; the journal only for what is wanted of it."""

    def __init__(self, accounts: Mapping[str, Account], journal: Journal) -> None:
        self._accounts = accounts
        self._journal = journal

    async def of(self, site: SiteConfig, words: Collection[str]) -> Health:
        """As it is now; safe to cancel."""
        waiting = (await self._journal.owed(site.site)).messages if WAITING in words else 0
        verdict = await self._last(site.site) if VERDICT in words else 0
        account = self._accounts.get(site.participant)
        if account is None:
            return Health(waiting=waiting, verdict=verdict)
        agreement = account.gate.agreement
        clock = Clocks.STOPPED if not agreement.holds else Clocks.ALARMED if agreement.degraded else Clocks.AGREED
        return Health(
            smp=account.gate.available, held=account.held is not None, clock=clock, waiting=waiting, verdict=verdict
        )

    async def _last(self, site: str) -> int:
        newest = await self._journal.history(MessageFilter(site=site, limit=_LOOKED_AT))
        return next((STATE_CODES[message.state] for message in newest if message.state in TERMINAL), 0)
