"""Counts local steps that fail again and again for one message, so that it can be parked before it turns in circles.

Local means ours: the profile cannot express the message any more, its content cannot be read, signing fails. What the
SMP says or the network does is never poison.
"""

from __future__ import annotations

from dataclasses import dataclass

TRIES = 3
# Between two tries: long enough for a device that signs to come back from a hiccup, short enough for a lane to wait.
PAUSES_S = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class Failure:
    """A local step that failed: for which message, a bounded word, and a sentence for people."""

    message_id: str
    code: str
    reason: str


class Failures:
    """How often in a row each message failed in the same way, since this process started; PARKED is in the journal."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[str, int]] = {}

    def note(self, message_id: str, reason: str) -> float | None:
        """Count one failure; the pause before the next try, or None when that was the last."""
        before, count = self._of.pop(message_id, ("", 0))
        count = count + 1 if reason == before else 1
        if count >= TRIES:
            return None
        self._of[message_id] = (reason, count)
        return PAUSES_S[count - 1]

    def forget(self, message_id: str) -> None:
        """It went well."""
        self._of.pop(message_id, None)
