"""Free loopback ports for parties that must know each other's address before they listen."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import ExitStack

# Below those that outgoing connections are given, so that none is taken;
# each worker of a parallel run has its own slice.
_FIRST, _SLICE, _SLICES = 18_000, 1_750, 8


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; taken together, so that they differ."""
    with ExitStack() as stack:
        return [_free_port(stack) for _ in range(count)]


def _free_port(stack: ExitStack) -> int:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SLICES
    while True:
        port = _FIRST + worker * _SLICE + secrets.randbelow(_SLICE)
        candidate = stack.enter_context(socket.socket())
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port
