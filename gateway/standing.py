"""What the whole gateway is like now: the reasons for not being ready, and all that does not work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from gateway.core.control import GatewayStatus
from gateway.core.record import Debts
from gateway.edge.health import Readiness
from gateway.edge.journal.stored import StoredJournal
from gateway.flow.account import Account
from gateway.flow.attention import AttentionWatch
from gateway.flow.gate import Gate
from gateway.flow.reload import Reloads
from gateway.flow.site import SiteRuntime
from gateway.flow.unmatched import UnmatchedWatch
from gateway.ports import Call, Clock
from gateway.upkeep import Upkeep

_FULL = "journal: the disk is nearly full; nothing new is taken in until there is room"


@dataclass(slots=True)
class Standing:
    """What `/readyz` looks at: ``phase`` is the reason for not being ready, None while running."""

    started_at: int
    phase: str | None = "starting"
    newest: int = 0
    journal: StoredJournal | None = None
    accounts: Mapping[str, Account] = field(default_factory=dict)
    sites: Mapping[str, SiteRuntime] = field(default_factory=dict)
    reloads: Reloads | None = None
    upkeep: Upkeep | None = None
    unmatched: UnmatchedWatch | None = None
    debts: Debts | None = None  # as they were at the start
    attention: AttentionWatch | None = None

    def stand_by(self) -> None:
        """Another gateway has the journal: this one will take over when that ends."""
        self.phase = "standing by: another gateway has the journal"

    def readiness(self, now: int) -> Readiness:
        """Answer `/readyz` at this time (µs UTC)."""
        reasons = [self.phase] if self.phase is not None else []
        if self.journal is not None and self.journal.away is not None:
            reasons.append(f"journal: {self.journal.away}")
        if now < self.newest:
            reasons.append(f"clock: {(self.newest - now) / 1_000_000:.0f} s behind the newest row of the journal")
        held = [line for account in self.accounts.values() for line in account.degraded]
        away = [line for gate in self.gates for line in gate.degraded]
        down = [line for site in self.sites.values() for line in site.degraded]
        stale = self.upkeep.degraded if self.upkeep is not None else ()
        unread = self.reloads.degraded if self.reloads is not None else ()
        lost = self.unmatched.degraded if self.unmatched is not None else ()
        stuck = self.attention.degraded if self.attention is not None else ()
        unpaid = self._unpaid()
        full = (_FULL,) if self.journal is not None and self.journal.full else ()
        return Readiness(
            reasons=tuple(reasons), degraded=(*full, *unread, *away, *stale, *held, *stuck, *lost, *unpaid, *down)
        )

    def _unpaid(self) -> tuple[str, ...]:
        """What waits for sites and connections that no file names any more, whichever gateway would serve them."""
        if self.debts is None or self.reloads is None:
            return ()
        here = {name: runtime.site.connections.keys() for name, runtime in self.sites.items()}
        here |= {name: site.connections.keys() for name, site in self.reloads.running.sites.items()}
        return tuple(self.debts.unpayable(here).values())

    @property
    def gates(self) -> Sequence[Gate]:
        """One gate per environment."""
        return tuple({account.gate.environment: account.gate for account in self.accounts.values()}.values())

    async def status(self, clock: Clock, _call: Call) -> GatewayStatus:
        """Answer core.control.STATUS."""
        now = self.readiness(clock.now())
        return GatewayStatus(
            version=version("smp-gateway"),
            process=os.getpid(),
            started_at=self.started_at,
            status=now.word,
            reasons=now.reasons,
            degraded=now.degraded,
        )
