"""What every practice run on one machine needs: loopback ports, and SMP passwords that nobody else knows."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack

from gateway.settings.configuration import Configuration
from gateway.settings.secrets import secret_path

HOST = "127.0.0.1"


def write_passwords(configuration: Configuration) -> None:
    """Make up each participant's SMP password where there is none yet; the simulated SMP reads the same files."""
    for participant in configuration.participants.values():
        path = secret_path(participant.password, environ={})
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24), encoding="utf-8")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; taken together, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
