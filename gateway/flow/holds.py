"""Sites that people hold: nothing is written to them, whatever their files say, until somebody releases them.

Rules
-----
* Holding and releasing have an actor and a reason, and are on disk with both before they count; a restart changes
  nothing.
* A held site is still read, and what it asks for is stored and sent. Nothing is written: no result, no heartbeat, no
  acknowledgement; all of it waits (flow/safeguard.py), since verdicts never expire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.core.control import (
    HOLD_SITE,
    RELEASE_SITE,
    SITES,
    ConnectionStanding,
    HoldOrder,
    SiteHeld,
    SiteList,
    SiteStanding,
)
from gateway.core.message import Lane
from gateway.core.record import SiteHold
from gateway.errors import ControlRefused
from gateway.flow.site import SiteRuntime
from gateway.ports import Call, Journal, OperationHandlers
from gateway.settings.configuration import SiteConfig
from gateway.telemetry import Telemetry


class Holds:
    """Answers the operations about sites; ``configured`` are those that are known, ``running`` those that run here."""

    def __init__(
        self, journal: Journal, telemetry: Telemetry, configured: Mapping[str, SiteConfig] | None = None
    ) -> None:
        self.running: Mapping[str, SiteRuntime] = {}
        self._journal = journal
        self._configured = configured or {}
        self._telemetry = telemetry
        self._holds: dict[str, SiteHold] = {}

    async def load(self) -> None:
        """Learn which sites are held."""
        self._holds = dict(await self._journal.site_holds())

    def building(self, build: Callable[[SiteConfig], SiteRuntime]) -> Callable[[SiteConfig], SiteRuntime]:
        """The same way to build a site, which is then held if it is."""

        def built(site: SiteConfig) -> SiteRuntime:
            runtime = build(site)
            runtime.guard.change_hold(self._holds.get(site.site))
            return runtime

        return built

    def handlers(self) -> OperationHandlers:
        """What is answered here."""
        return {SITES: self.sites, HOLD_SITE: self.hold, RELEASE_SITE: self.release}

    async def sites(self, _call: Call) -> SiteList:
        """Answer core.control.SITES."""
        return SiteList(sites=tuple(_standing(runtime) for _, runtime in sorted(self.running.items())))

    async def hold(self, call: Call) -> SiteHeld:
        """Answer core.control.HOLD_SITE."""
        site, order = self._site(call), _order(call)
        if not await self._journal.hold_site(_lane(site), held=True, actor=call.actor, reason=order.reason):
            await self.load()
            before = self._holds[site.site]
            raise ControlRefused(
                "wrong_state",
                f"{site.site} is held already, by {before.actor}: {before.reason}",
                advice="`smp-gateway sites release` ends that",
            )
        return await self._changed(site.site, call, order, before=None)

    async def release(self, call: Call) -> SiteHeld:
        """Answer core.control.RELEASE_SITE."""
        site, order = self._site(call), _order(call)
        await self.load()
        before = self._holds.get(site.site)
        if before is None or not await self._journal.hold_site(
            _lane(site), held=False, actor=call.actor, reason=order.reason
        ):
            raise ControlRefused(
                "wrong_state",
                f"{site.site} is not held",
                advice="`smp-gateway sites list` says what else keeps writes back",
            )
        return await self._changed(site.site, call, order, before=f"{before.actor}: {before.reason}")

    async def _changed(self, site: str, call: Call, order: HoldOrder, *, before: str | None) -> SiteHeld:
        await self.load()
        held = self._holds.get(site)
        if site in self.running:
            self.running[site].guard.change_hold(held)
        act = "hold" if held is not None else "release"
        self._telemetry.emit("operator_acted", act=f"site_{act}", actor=call.actor, reason=order.reason, site=site)
        return SiteHeld(site=site, held=held is not None, before=before)

    def _site(self, call: Call) -> SiteConfig:
        name = call.parameters["site"]
        runtime = self.running.get(name)
        found = runtime.site if runtime is not None else self._configured.get(name)
        if found is None:
            known = ", ".join(sorted({*self.running, *self._configured})) or "none"
            raise ControlRefused("not_found", f"no site {name:.64} runs here", advice=f"known: {known}")
        return found


def _order(call: Call) -> HoldOrder:
    if not isinstance(call.order, HoldOrder):
        raise TypeError(call.order)
    return call.order


def _lane(site: SiteConfig) -> Lane:
    return Lane(environment=site.environment, participant=site.participant, site=site.site, message="")


def _standing(runtime: SiteRuntime) -> SiteStanding:
    site, guard = runtime.site, runtime.guard
    up = {link.connection for link in runtime.links if link.up}
    return SiteStanding(
        site=site.site,
        participant=site.participant,
        environment=site.environment,
        connections=tuple(
            ConnectionStanding(connection=name, protocol=link.protocol, connected=name in up)
            for name, link in site.connections.items()
        ),
        held=None if guard.hold is None else f"{guard.hold.actor}: {guard.hold.reason}",
        held_at=None if guard.hold is None else guard.hold.at,
        writing="dry run" if site.safety.dry_run else guard.silence() if guard.hold is None else None,
        degraded=runtime.degraded,
    )
