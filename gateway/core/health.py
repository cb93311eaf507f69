"""How the gateway is, in numbers that a site's own alarms can watch: one point of the site for each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

GATEWAY, SMP, HELD, CLOCK, WAITING, VERDICT = WORDS = ("gateway", "smp", "held", "clock", "waiting", "verdict")
_MOST = 0xFFFF  # what a register holds


class Clocks(IntEnum):
    """Whether our clock agrees with the SMP's."""

    AGREED = 1
    ALARMED = 2  # by more than 30 s
    STOPPED = 3  # by so much that nothing is signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """``smp``: it can be reached; ``held``: nothing is sent for the participant until people have looked at it.

    ``waiting`` is how many messages of the site are not over, ``verdict`` the state of the last one that is, as
    core.mailbox numbers it; 0 for none yet.
    """

    smp: bool = True
    held: bool = False
    clock: Clocks = Clocks.AGREED
    waiting: int = 0
    verdict: int = 0

    def numbers(self) -> Mapping[str, int]:
        """What is shown for each word; the gateway's own is 1 for as long as anybody counts it up."""
        return {
            GATEWAY: 1,
            SMP: int(self.smp),
            HELD: int(self.held),
            CLOCK: int(self.clock),
            WAITING: min(self.waiting, _MOST),
            VERDICT: self.verdict,
        }
