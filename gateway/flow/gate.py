"""The one way to an environment of the SMP: everybody waits here for a permit, and tells with it what became of it.

Rules
-----
* The rate and the pauses count for all participants together, because they share our address (EAC: 60 requests/s per
  client address, then 429). Whose turn it is, `core.turns` decides.
* A circuit (`core.circuit`) stands before the host (can it be reached?), before its patience (429: the whole host
  pauses) and before each endpoint (login, status, and each kind of submission). After a pause one probe passes, then a
  few, then everybody.
* An *outage* lasts from the first circuit that opens to the last that closes: it is told once at either end
  (`flow.outage`), and shown with its beginning meanwhile. A circuit that may be probed, while nobody has a reason to,
  is not an outage any more. Being asked for a pause by 429 is no outage, and told by itself.
* What waited when the SMP came back is backlog; what comes after goes ahead of it, lane by lane.

Timers run on the loop's monotonic clock; ``back_at`` is wall time (µs UTC), as is every deadline it is compared with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.circuit import Circuit, Outcome
from gateway.core.turns import Errand, Turns, Urgency
from gateway.flow.agreement import Agreement
from gateway.flow.trouble import Trouble
from gateway.ports import Clock, Entropy

LOGIN, STATUS = "login", "status"  # endpoints beside the kinds of submissions
_FIRST_ASKED_S = 1.0  # the first pause after 429 or 503 without a Retry-After
_SPREAD = 0.2
_WHOLE = 1 - 1e-9  # a request's share of the rate, as far as floats can tell


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageNews:
    """An outage began (``lasted_s`` None) or ended."""

    reason: str
    lasted_s: float | None = None


class Permit:
    """One request may leave now. Whoever holds it says once what became of it; a second time changes nothing."""

    def __init__(self, gate: Gate, errand: Errand, lives: tuple[int, int, int]) -> None:
        self.errand = errand
        self.lives = lives
        self._gate: Gate | None = gate

    def settle(self, outcome: Outcome, *, reason: str = "", retry_after_s: float | None = None) -> None:
        """Tell what became of the request; ``reason`` is a sentence for people."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.settle(self, outcome, reason=reason, retry_after_s=retry_after_s)

    def unused(self) -> None:
        """Nothing was sent: give the turn back. After any other settling this changes nothing."""
        self.settle(Outcome.UNUSED)


class Gate:
    """``rate_per_s`` requests may pass in each second, up to one second's worth at once; None is without limit."""

    def __init__(
        self,
        environment: str,
        *,
        clock: Clock,
        entropy: Entropy,
        event: Callable[..., None],
        rate_per_s: float | None = None,
    ) -> None:
        self.environment = environment
        self.back_at = clock.now()  # since when the SMP could be spoken to without a break, as far as we know
        self.agreement = Agreement(environment, clock=clock, event=event)
        self.news: asyncio.Queue[OutageNews] = asyncio.Queue()  # of outages, for flow.outage
        self._clock = clock
        self._entropy = entropy
        self._event = event
        self._host = Circuit()
        self._patience = Circuit()
        self._endpoints: dict[str, Circuit] = {}
        self._turns = Turns()
        self._waiting: dict[Errand, asyncio.Future[Permit]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._whole_rate = self._rate = rate_per_s
        self._left = rate_per_s or 0.0  # requests that may pass now
        self._counted_at = 0.0
        self._outage, self._throttled = Trouble(), Trouble()
        self._outage_since = 0.0  # of the loop's clock

    @property
    def degraded(self) -> tuple[str, ...]:
        """What does not work now in this environment, for `/readyz`."""
        self._look_for_the_end()
        what = f"SMP {self.environment}"
        lines = tuple(trouble.line(what) for trouble in (self._outage, self._throttled) if trouble.reason)
        return (*lines, *self.agreement.degraded)

    @property
    def askable_since(self) -> int:
        """Since when the SMP can be spoken to without a break, as far as we know; now, in an outage (µs UTC)."""
        return self.back_at if self.available else self._clock.now()

    @property
    def available(self) -> bool:
        """Whether there is no outage."""
        self._look_for_the_end()
        return not self._outage.reason

    def share(self, shares: int) -> None:
        """Use one of so many equal shares of the rate from now on: the others are other gateways'."""
        if self._whole_rate is not None:
            self._refill(_now())
            self._rate = self._whole_rate / shares
            self._left = min(self._left, max(self._rate, 1.0))
            self._pump()

    def admits(self, endpoint: str) -> bool:
        """Whether a request to this endpoint could leave right now."""
        return self._may_pass(_now()) and self._circuit(endpoint).admits(_now())

    def try_enter(self, errand: Errand) -> Permit | None:
        """A permit at once or none; it goes before nobody, since whoever could pass has passed already."""
        return self._permit(errand) if self.admits(errand.endpoint) else None

    async def enter(self, errand: Errand) -> Permit:
        """Wait for a permit, however many hours that takes; safe to cancel."""
        future: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._waiting[errand] = future
        self._turns.add(errand)
        self._pump()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.result().unused()
            else:
                self._waiting.pop(errand, None)
                self._turns.remove(errand)
            raise

    def settle(self, permit: Permit, outcome: Outcome, *, reason: str, retry_after_s: float | None) -> None:
        """Let the circuits learn what became of a request (called by its permit)."""
        endpoint = self._circuit(permit.errand.endpoint)
        host_life, patience_life, endpoint_life = permit.lives
        reached = outcome not in {Outcome.UNUSED, Outcome.UNREACHED}
        if outcome is Outcome.UNUSED:
            self._left += 1
        if outcome is Outcome.UNREACHED:
            self._open(self._host, host_life, f"not reachable, {reason}")
        if outcome is Outcome.BUSY:
            self._throttle(patience_life, retry_after_s)
        if outcome is Outcome.UNAVAILABLE or (
            outcome is Outcome.UNCLEAR and endpoint.unclear(endpoint_life, permit.errand.lane)
        ):
            first_s = _FIRST_ASKED_S if outcome is Outcome.UNAVAILABLE else None
            what = f"not available for {permit.errand.endpoint}, {reason}"
            self._open(endpoint, endpoint_life, what, first_s=first_s, asked_s=retry_after_s)
        closed = [
            self._host.leave(host_life, worked=reached),
            self._patience.leave(patience_life, worked=reached),
            endpoint.leave(endpoint_life, worked=outcome in {Outcome.WORKED, Outcome.BUSY}),
        ]
        if any(closed):
            self._came_back()
        self._pump()

    # ------------------------------------------------------------ circuits
    def _open(
        self, circuit: Circuit, life: int, reason: str, *, first_s: float | None = None, asked_s: float | None = None
    ) -> None:
        jitter = self._entropy.jitter(_SPREAD)
        if first_s is None:
            circuit.open(life, _now(), asked_s=asked_s, jitter=jitter)
        else:
            circuit.open(life, _now(), first_s=first_s, asked_s=asked_s, jitter=jitter)
        if not circuit.closed and not self._outage.reason:
            self._outage.begins(f"unavailable, {reason}", self._clock.now())
            self._outage_since = _now()
            self.news.put_nowait(OutageNews(reason=reason))

    def _throttle(self, life: int, asked_s: float | None) -> None:
        jitter = self._entropy.jitter(_SPREAD)
        if self._patience.open(life, _now(), first_s=_FIRST_ASKED_S, asked_s=asked_s, jitter=jitter):
            self._throttled.begins("asks for fewer requests (429)", self._clock.now())
            self._event("smp_throttled", environment=self.environment, retry_after_s=asked_s)

    def _came_back(self) -> None:
        """A circuit closed: whoever has waited until now is backlog."""
        self.back_at = self._clock.now()
        self._turns.demote()
        if self._patience.closed and self._throttled.ends():
            self._event("smp_unthrottled", environment=self.environment)
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        """End the outage when no circuit is open, but for those that nobody has a reason to probe."""
        if not self._outage.reason or not self._host.closed:
            return
        wanted = {errand.endpoint for errand in self._turns}
        for endpoint, circuit in self._endpoints.items():
            if not circuit.closed and (_now() < circuit.until or circuit.probing or endpoint in wanted):
                return
        reason = self._outage.reason
        self._outage.ends()
        self.news.put_nowait(OutageNews(reason=reason, lasted_s=_now() - self._outage_since))

    def _circuit(self, endpoint: str) -> Circuit:
        return self._endpoints.setdefault(endpoint, Circuit())

    # ------------------------------------------------------------ turns
    def _pump(self) -> None:
        """Let pass whoever may, in turn, and see to it that the next look comes in time."""
        now = _now()
        while self._turns and self._may_pass(now):
            errand = self._turns.next(lambda endpoint: self._circuit(endpoint).admits(now))
            if errand is None:
                break
            future = self._waiting.pop(errand)
            if not future.done():
                future.set_result(self._permit(errand))
        self._arm(now)

    def _permit(self, errand: Errand) -> Permit:
        self._left -= 1
        circuits = (self._host, self._patience, self._circuit(errand.endpoint))
        host, patience, endpoint = (circuit.enter() for circuit in circuits)
        return Permit(self, errand, (host, patience, endpoint))

    def _may_pass(self, now: float) -> bool:
        self._refill(now)
        has_rate = self._rate is None or self._left >= _WHOLE
        return has_rate and self._host.admits(now) and self._patience.admits(now)

    def _arm(self, now: float) -> None:
        """Look again when time alone may let somebody pass; a request that ends looks by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._turns:
            return
        first = min(self._circuit(errand.endpoint).until for errand in self._turns)
        at = max(first, self._host.until, self._patience.until)
        if self._rate is not None and self._left < _WHOLE:
            at = max(at, now + (1 - self._left) / self._rate)
        later = [c.until for c in self._endpoints.values() if c.until > now]
        if at <= now and later:
            at = min(later)
        if at > now:
            self._timer = asyncio.get_running_loop().call_at(at, self._pump)

    def _refill(self, now: float) -> None:
        if self._rate is not None:
            self._left = min(self._left + (now - self._counted_at) * self._rate, max(self._rate, 1.0))
        self._counted_at = now


def _now() -> float:
    return asyncio.get_running_loop().time()


def login_errand(participant: str) -> Errand:
    """A login's turn."""
    return Errand(participant=participant, lane=participant, urgency=Urgency.LOGIN, endpoint=LOGIN)
