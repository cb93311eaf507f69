"""A verdict: what the SMP finally says of a submission, by callback or by status answer alike."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.message import Created, Problem
from gateway.core.transaction import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``event`` is SUCCESS, PARTIAL_SUCCESS or FAILURE; ``problems`` rows count within the submission."""

    event: Event
    notification: str | None = None
    created: tuple[Created, ...] = ()
    problems: tuple[Problem, ...] = ()
