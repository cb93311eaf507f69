"""What every practice partner is told on the command line: where to listen, and when to end."""

from __future__ import annotations

import asyncio
import signal

import typer


def address(listen: str, *, option: str = "--listen") -> tuple[str, int]:
    """Read an address option as host and port; port 0 picks a free one.

    Raises:
        BadParameter: it is no address.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(f"{listen!r} is not an address such as 127.0.0.1:9443", param_hint=option)
    return host.strip("[]"), int(port)


def told_to_end() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set; needs a running loop."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    return ended
