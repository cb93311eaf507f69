"""The one door through which a site is written to: every write of every connection passes `Guarded`.

What is held back waits here, inside the write, until the site shows something else or the time has come; the link's
loss ends the waiting like everything else of the session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from gateway.core.point import Reading, Snapshot, fresh
from gateway.core.record import SiteHold
from gateway.core.safety import Limits, Objection, objection, silence
from gateway.errors import PointRejected, WritesHeld
from gateway.flow.acceptance import Services
from gateway.flow.trouble import Trouble
from gateway.ports import Busy, Committed, News, PointCall, PointWrite, Receipt, Refused, RoleWrite, Session, Write
from gateway.settings.configuration import SiteConfig

_LONGEST_SLEEP_S = 5.0  # a heartbeat that stops is noticed without any reading
_NO_LIMITS = Limits()


class Safeguard:
    """What one site may be written now; ``up`` says whether a connection is."""

    def __init__(
        self, site: SiteConfig, readings: Mapping[str, Reading], services: Services, *, up: Callable[[str], bool]
    ) -> None:
        self.site = site
        self._readings = readings
        self._services = services
        self._up = up
        self.hold: SiteHold | None = None  # people let nothing be written; :meth:`change_hold` changes it
        self._beat_at: int | None = None
        self._written: dict[str, int] = {}  # point -> when, µs UTC
        self._trouble = Trouble()
        self._waiting: set[asyncio.Event] = set()

    @property
    def degraded(self) -> tuple[str, ...]:
        """Why nothing, or something, is not written now, for `/readyz`."""
        said = "dry run, nothing is written" if self.site.safety.dry_run else self.silence()
        lines = [f"site {self.site.site}: {said}"] if said is not None else []
        if self._trouble.reason and self._trouble.reason != said:
            lines.append(self._trouble.line(f"site {self.site.site}"))
        return tuple(lines)

    @property
    def quiet(self) -> bool:
        """Whether nothing at all is written now."""
        return self.site.safety.dry_run or self.silence() is not None

    def reconfigure(self, site: SiteConfig) -> None:
        """Guard as the site's file says now."""
        self.site = site
        self._wake()

    def change_hold(self, hold: SiteHold | None) -> None:
        """Hold everything back from now on, or nothing any more."""
        self.hold = hold
        self._wake()

    def observe(self, reading: Reading, before: Reading | None) -> None:
        """Learn from a reading that was just told; ``before`` is the one of the same point before it."""
        moved = before is not None and before.value != reading.value
        if moved and reading.point == self.site.safety.heartbeat.read:
            self._beat_at = self._services.clock.now()
        self._wake()

    def silence(self) -> str | None:
        """Why nothing at all may be written to the site now, or None."""
        now = self._services.clock.now()
        return self._silence(self._snapshot(now), now)

    async def clear(self, steps: Sequence[Write]) -> None:
        """Wait until all of these may be written, which then counts as their time.

        Raises:
            PointRejected: one of them never may.
        """
        wake = asyncio.Event()
        self._waiting.add(wake)
        try:
            while (found := self._objection(steps)) is not None:
                name, held = found
                if held.final:
                    raise PointRejected(name, held.reason)
                reason = f"writing waits, {name}: {held.reason}" if name else f"writing waits, {held.reason}"
                if self._trouble.begins(reason, self._services.clock.now()):
                    self._services.telemetry.emit("writes_held", site=self.site.site, reason=reason)
                wake.clear()
                await self._sleep(wake, held.until)
        finally:
            self._waiting.discard(wake)
        if self._trouble.ends():
            self._services.telemetry.emit("writes_released", site=self.site.site)
        now = self._services.clock.now()
        self._written |= {step.point: now for step in steps if isinstance(step, PointWrite | PointCall)}

    def wrote(self, steps: Sequence[Write], connection: str) -> None:
        """Tell what was written and read back, but for our heartbeat."""
        labels = {"site": self.site.site, "connection": connection}
        for step in steps:
            if isinstance(step, PointCall):
                given = ", ".join(str(argument) for argument in step.arguments)
                self._services.telemetry.emit("method_called", **labels, point=step.point, arguments=given)
            elif isinstance(step, PointWrite) and not step.passing:
                self._services.telemetry.emit("point_written", **labels, point=step.point, value=str(step.value))

    def rehearse(self, steps: Sequence[Write], connection: str) -> None:
        """Tell what would be written, and refuse it."""
        labels = {"site": self.site.site, "connection": connection}
        for step in steps:
            self._services.telemetry.emit("write_rehearsed", **labels, write=str(step))
        raise PointRejected(_name(steps[0]), "dry run: nothing was written")

    def _objection(self, steps: Sequence[Write]) -> tuple[str, Objection] | None:
        now = self._services.clock.now()
        snapshot = self._snapshot(now)
        for step in (each for each in steps if isinstance(each, PointWrite | PointCall)):
            found = objection(
                self.site.points.get(step.point),
                self.site.safety.limits.get(step.point, _NO_LIMITS),
                step.value if isinstance(step, PointWrite) else None,
                snapshot,
                written_at=self._written.get(step.point),
                now=now,
            )
            if found is not None:
                return step.point, found
        silent = self._silence(snapshot, now)
        return None if silent is None else ("", Objection(reason=silent))

    def _silence(self, snapshot: Snapshot, now: int) -> str | None:
        if self.hold is not None:
            return f"held by {self.hold.actor}: {self.hold.reason}"
        return silence(self.site.safety, snapshot, self._beat_at, now)

    def _snapshot(self, now: int) -> Snapshot:
        """What can be believed now: nothing of a connection that is down."""
        points = self.site.points
        here = {name: r for name, r in self._readings.items() if name in points and self._up(points[name].connection)}
        return fresh(here, points, now)

    async def _sleep(self, wake: asyncio.Event, until: int | None) -> None:
        pause = _LONGEST_SLEEP_S
        if until is not None:
            pause = min(max((until - self._services.clock.now()) / 1_000_000, 0.0), pause)
        try:
            async with asyncio.timeout(pause):
                await wake.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        for wake in self._waiting:
            wake.set()


class Guarded:
    """A session that writes what the safeguard lets pass."""

    def __init__(self, session: Session, connection: str, guard: Safeguard) -> None:
        self._session = session
        self._connection = connection
        self._guard = guard

    async def read(self) -> Sequence[News]:
        """See `ports.Session`."""
        return await self._session.read()

    async def confirm(self, receipt: Receipt, outcome: Committed | Refused | Busy) -> None:
        """See `ports.Session`; an acknowledgement in a mailbox is a write like any other.

        Raises:
            LinkLost: as `ports.Session` says.
            WritesHeld: nothing may be written now; the request will be seen again.
        """
        if receipt.mailbox in self._guard.site.mailboxes and not isinstance(outcome, Busy) and self._guard.quiet:
            raise WritesHeld(receipt.mailbox)
        await self._session.confirm(receipt, outcome)

    async def write(self, steps: Sequence[Write]) -> None:
        """See `ports.Session`; waits while writing is held back, and is then refused as soon as it never may."""
        if self._guard.site.safety.dry_run:
            self._guard.rehearse(steps, self._connection)
        await self._guard.clear(steps)
        await self._session.write(steps)
        self._guard.wrote(steps, self._connection)


def _name(step: Write) -> str:
    if isinstance(step, PointWrite | PointCall):
        return step.point
    return step.mailbox if isinstance(step, RoleWrite) else "result"
