"""A circuit in front of something that may fail: closed while it works, open for a pause after it failed, then a probe.

Rules
-----
* Open means: nobody tries. When the pause has passed, one probe may pass; while it is under way, nobody else.
* A probe that works closes the circuit, and the ramp begins: one more request under way at a time for each that works,
  until :data:`RAMP_END`; then there is no limit. A probe that fails opens it again for twice as long.
* What was under way when the circuit opened belongs to an earlier *life*: requests that fail together are one failure,
  and a late success says nothing about now.
* An answer that is unclear (5xx, time-out) opens it only when :data:`UNCLEAR_LANES` lanes met one without anything
  working in between: one lane's bad payload must not stop the others.

Times are seconds of one monotonic clock, given by the caller.
"""

from __future__ import annotations

from enum import StrEnum

from gateway.core.profile import Profile

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
LONGEST_ASKED_S = 3600.0  # whatever Retry-After says: an outage may end early, and a wrong number must not hold us
RAMP_END = 32
UNCLEAR_LANES = 3
TOO_MANY_REQUESTS = 429  # RFC 6585: it counts requests of a client, ours is the whole host


class Outcome(StrEnum):
    """What became of one request, as far as pacing cares."""

    WORKED = "worked"  # an answer that decides something, whatever it says
    UNCLEAR = "unclear"  # handed over, and no answer that could be used
    BUSY = "busy"  # too many requests: the SMP asks the whole host for a pause
    UNAVAILABLE = "unavailable"  # this endpoint is out of service
    UNREACHED = "unreached"  # no byte was handed over
    UNUSED = "unused"  # nothing was sent after all


def outcome_of(profile: Profile, *, handed_over: bool, status: int | None, clear: bool) -> Outcome:
    """What an HTTP answer means for pacing; ``clear`` says that its body could be understood."""
    if not handed_over:
        return Outcome.UNREACHED
    if status == TOO_MANY_REQUESTS:
        return Outcome.BUSY
    if status is not None and profile.answers.submission.meaning(status) == "not_processed":
        return Outcome.UNAVAILABLE
    return Outcome.WORKED if clear else Outcome.UNCLEAR


class Circuit:
    """One circuit. ``failures`` counts the openings since it last worked; ``until`` is when a probe may pass."""

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0
        self._window: int | None = None  # how many may be under way; None is without limit
        self._under_way = 0
        self._life = 0
        self._unclear: set[str] = set()

    @property
    def closed(self) -> bool:
        """Whether it works, as far as we know."""
        return self.failures == 0

    @property
    def probing(self) -> bool:
        """Whether it failed, and a request is under way that will tell how it is now."""
        return self.failures > 0 and self._under_way > 0

    def admits(self, now: float) -> bool:
        """Whether one more request may pass."""
        return now >= self.until and (self._window is None or self._under_way < self._window)

    def enter(self) -> int:
        """Count a request that passes; returns the life it belongs to, for leaving."""
        self._under_way += 1
        return self._life

    def leave(self, life: int, *, worked: bool) -> bool:
        """Count a request out; True when that closes the circuit."""
        if life != self._life:
            return False
        self._under_way -= 1
        if not worked:
            return False
        self._unclear.clear()
        if self._window is not None:
            self._window = self._window + 1 if self._window < RAMP_END else None
        opened, self.failures = self.failures > 0, 0
        return opened

    def unclear(self, life: int, lane: str) -> bool:
        """Note an unclear answer of this life; True when that is reason to open the circuit."""
        if life != self._life:
            return False
        self._unclear.add(lane)
        return not self.closed or len(self._unclear) >= UNCLEAR_LANES

    def open(
        self,
        life: int,
        now: float,
        *,
        first_s: float = FIRST_PAUSE_S,
        asked_s: float | None = None,
        jitter: float = 1.0,
    ) -> bool:
        """Open for ``asked_s``, or else for a pause that doubles each time; True when it was closed before."""
        floor = now + min(asked_s, LONGEST_ASKED_S) if asked_s is not None else 0.0
        if life != self._life:  # met together with the request that opened it: only a longer wish counts
            self.until = max(self.until, floor)
            return False
        self.failures += 1
        pause = min(first_s * 2 ** min(self.failures - 1, 10), LONGEST_PAUSE_S) * jitter
        self.until = max(floor, now + (first_s if asked_s is not None else pause))
        self._window = 1
        self._under_way = 0
        self._life += 1
        self._unclear.clear()
        return self.failures == 1
