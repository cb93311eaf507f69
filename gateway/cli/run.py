"""`smp-gateway run`: the gateway itself, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from enum import StrEnum
from typing import Annotated, TypeVar

import typer

from gateway.app import gateway
from gateway.cli.configured import ConfigPath, StateFolder, fail, load
from gateway.errors import GatewayError
from gateway.settings.configuration import Configuration
from gateway.telemetry import Telemetry

ErrorT = TypeVar("ErrorT", bound=Exception)


class LogLevel(StrEnum):
    """The least important lines to keep."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def run(
    path: ConfigPath,
    state: StateFolder = None,
    *,
    console: Annotated[bool, typer.Option("--console", help="Log lines for people instead of JSON.")] = False,
    log_level: Annotated[LogLevel, typer.Option(help="Leave out what matters less.")] = LogLevel.INFO,
) -> None:
    """Run the gateway until it is told to end (SIGTERM, Ctrl-C); it then finishes what is under way.

    SIGHUP reads the configuration, certificates and key sets again, which also happens by itself when files change.
    """
    configuration = load(path, state)
    for warning in configuration.warnings:
        typer.echo(str(warning), err=True)
    telemetry = Telemetry(console=console, level=log_level)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            runner.run(_until_told(configuration, telemetry))
        except* GatewayError as group:
            raise fail(_first(group)) from None
        except* OSError as group:  # a listener's address is taken or not ours
            raise fail(_first(group)) from None


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Use uvloop where it is installed, which it is on every platform it exists for."""
    try:
        import uvloop  # noqa: PLC0415 - optional: Windows has none
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _until_told(configuration: Configuration, telemetry: Telemetry) -> None:
    told, opening = asyncio.Event(), asyncio.current_task()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        told.set()
        if opening is not None:  # it may stand by for another gateway's end
            opening.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    try:
        async with gateway(configuration, environ=os.environ, telemetry=telemetry) as running:
            opening = None
            gc.freeze()  # sites and their points stay: walking through them again and again would delay every poll
            loop.add_signal_handler(signal.SIGHUP, running.renew)
            await told.wait()
    except asyncio.CancelledError:
        if not told.is_set():
            raise


def _first(group: BaseExceptionGroup[ErrorT]) -> ErrorT:
    """The first error of a group, however deeply its task groups are nested."""
    (first, *_) = group.exceptions
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
