"""What an operator asks of a gateway may be the business of another one on the same journal."""

from __future__ import annotations

from collections.abc import Callable

# Raises errors.ControlRefused when another gateway serves this participant.
SeeTo = Callable[[str], None]


def everything(_participant: str) -> None:
    """Where no other gateway can be: everything is served here."""
