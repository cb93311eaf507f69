"""Cancellation that a library swallowed: asked for after every await of foreign code, so that leaving never hangs."""

from __future__ import annotations

import asyncio


def heed() -> None:
    """Raise the cancellation that the running task was asked for and that no await has delivered.

    Before Python 3.12 ``asyncio.wait_for`` returns its result, and drops the cancellation, when both come in the same
    moment; protocol libraries call it around every exchange, and some catch ``CancelledError`` themselves.

    Raises:
        asyncio.CancelledError: the running task is to end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
