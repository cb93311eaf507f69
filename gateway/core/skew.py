"""How far our clock is from the SMP's, as its answers' `Date` headers tell.

Rules (assurance.md section 1, "Clock")
---------------------------------------
* A `Date` has whole seconds and was written between our sending and the answer's arrival; what these two leave open
  counts as agreement.
* Beyond :data:`ALARM_US` people are told. Beyond half of the profile's tolerance nothing is signed any more: what was
  signed now would soon be refused as stale, and one who checks late would not tell us so in time.
"""

from __future__ import annotations

ALARM_US = 30_000_000
_RESOLUTION_US = 1_000_000


def skew(*, sent_at: int, answered_at: int, date_at: int) -> int:
    """How far our clock is ahead of the SMP's, in µs; negative when it is behind. All times are µs UTC."""
    if sent_at > date_at + _RESOLUTION_US:
        return sent_at - date_at - _RESOLUTION_US
    return min(answered_at - date_at, 0)


def may_sign(skew_us: int, tolerance_us: int) -> bool:
    """Whether what we sign now is fresh enough for long enough; ``tolerance_us`` is the profile's."""
    return abs(skew_us) <= tolerance_us // 2


def sentence(skew_us: int) -> str:
    """For people."""
    return f"our clock is {abs(skew_us) / 1_000_000:.0f} s {'ahead of' if skew_us > 0 else 'behind'} the SMP's"
