"""Every error this product raises on purpose, and whose fault each one is.

::

    GatewayError
    |- ConfigError            the vendor's YAML is wrong; carries every problem found, each with file:line:column
    |- SecretError            a secret reference (file:, env:, credential:) cannot be read
    |- SiteError              the participant's plant or the link to it
    |  |- LinkLost            the link is gone; what was under way has an unknown outcome
    |  |- PointRejected       the site's system refused a write, or it read back differently; final
    |  '- WritesHeld          nothing may be written to the site now; it keeps its request
    |- StrictJsonError        bytes from outside are not the JSON we accept
    |- KeysUnavailable        the SMP's public keys could not be fetched or kept; the last good ones stay in use
    |- SignatureRefused       a signature, its header or its key is not acceptable; nothing was believed
    |- TransitionRefused      a state change that the table of core.transaction does not know; always our own fault
    |- JournalError           the durable store
    |  |- JournalLocked       another gateway has this journal open
    |  |- JournalMismatch     the file is newer than this program, or its migrations were altered
    |  |- JournalFull         the disk is nearly full; nothing was accepted, try again later
    |  |- LeaseEnded          another gateway on this journal serves this participant now; nothing was changed
    |  '- JournalBroken       an I/O error on commit; the process must end and recover from what is on disk
    |- SubmissionRefused      the wire profile cannot express this message; nothing was sent
    |- SigningFailed          our own key, or the device that holds it, could not sign; nothing was sent
    '- ControlError           operators and the running gateway
       |- ControlBlocked      the control socket cannot be opened; somebody must see to its folder
       |- ControlUnreachable  no gateway answers on the control socket
       '- ControlRefused      what an operator asked for was not done; says whose fault that is and what to do next

A library's errors are mapped to these where they are raised. Errors carry data; sentences are built here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a file something stands; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """One mistake in a configuration file; ``path`` is the dotted way to it, such as ``points.soc.address``."""

    place: Place
    path: str
    message: str
    warning: bool = False

    def __str__(self) -> str:
        kind = "warning: " if self.warning else ""
        where = f"{self.path}: " if self.path else ""
        return f"{self.place}: {kind}{where}{self.message}"


class GatewayError(Exception):
    """The root: catching it catches everything raised here on purpose, and nothing else."""


class ConfigError(GatewayError):
    """The configuration cannot be used; ``problems`` holds every mistake found, in file order."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SecretError(GatewayError):
    """A secret reference cannot be resolved; the message names the reference and never the secret."""


class SiteError(GatewayError):
    """Something between the gateway and one site's plant."""


class LinkLost(SiteError):
    """The link to the site is gone; the outcome of what was under way is unknown."""


class PointRejected(SiteError):
    """The site's system refused a write for good, or holds another value than the one written."""

    def __init__(self, point: str, reason: str) -> None:
        self.point = point
        self.reason = reason
        super().__init__(f"{point}: {reason}")


class WritesHeld(SiteError):
    """Nothing may be written to the site now (dry run, kill switch, dead heartbeat), an acknowledgement neither."""


class StrictJsonError(GatewayError):
    """Bytes that are not the JSON this product accepts; ``offset`` is the byte or character position."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        self.reason = reason
        self.offset = offset
        super().__init__(f"{reason} at {offset}")


class SignatureRefused(GatewayError):
    """A JWS that must not be believed; ``code`` is a bounded word for metrics, ``reason`` is for people."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code}: {reason}")


class KeysUnavailable(GatewayError):
    """The SMP's public keys could not be fetched from their address, or not be kept on disk."""


class TransitionRefused(GatewayError):
    """The state table knows no such step."""

    def __init__(self, state: str, event: str) -> None:
        self.state = state
        self.event = event
        super().__init__(f"no transition from {state} on {event}")


class JournalError(GatewayError):
    """The durable store."""


class JournalLocked(JournalError):
    """Another gateway holds this journal."""


class JournalMismatch(JournalError):
    """The journal's schema is not one this program can use."""


class JournalFull(JournalError):
    """The journal cannot take more; nothing of the call was stored, and the caller may try again later."""


class LeaseEnded(JournalError):
    """What was to be changed is another gateway's business now."""


class JournalBroken(JournalError):
    """A commit failed in an unknown way: acknowledge nothing more and end the process."""


class SigningFailed(GatewayError):
    """A signature could not be made; the message holds nothing of the key."""


class SubmissionRefused(GatewayError):
    """The message cannot be put into the wire profile's words."""


class ControlError(GatewayError):
    """Between an operator and a gateway."""


class ControlBlocked(ControlError):
    """The control socket cannot be opened here."""


class ControlUnreachable(ControlError):
    """Nobody answers on the control socket."""


class ControlRefused(ControlError):
    """What was asked for was not done.

    ``code`` and ``blame`` are words of core.control, ``advice`` is what to do next.
    """

    def __init__(self, code: str, detail: str, *, advice: str = "", blame: str = "caller") -> None:
        self.code = code
        self.detail = detail
        self.advice = advice
        self.blame = blame
        super().__init__(f"{detail}; {advice}" if advice else detail)
