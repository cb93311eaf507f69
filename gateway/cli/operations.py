"""What every command that asks a gateway for something does: reach it, ask, and say in one line why it was not done.

Exit codes: 1 what was asked for cannot be done as things are; 2 wrong usage, or there is no such thing; 3 no gateway
answers, or the journal cannot be used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError

from gateway.app import open_control, open_control_or_journal
from gateway.cli.configured import fail
from gateway.core.control import Answer
from gateway.core.printable import printable
from gateway.errors import ControlRefused, GatewayError
from gateway.ports import Control
from gateway.settings.configuration import Configuration
from gateway.telemetry import Telemetry

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs instead of text.")]

# What a refusal's code means for the exit code; every other one is 1.
_EXIT_CODES: Mapping[str, int] = {
    "ambiguous": 2,
    "invalid": 2,
    "not_found": 2,
    "internal": 3,
    "journal_broken": 3,
    "journal_full": 3,
}


def with_gateway(configuration: Configuration, work: Callable[[Control], Awaitable[T]]) -> T:
    """Do this with the gateway that runs on the configuration, or say why not and exit."""
    return _within(lambda: open_control(configuration), work)


def with_gateway_or_journal(configuration: Configuration, work: Callable[[Control], Awaitable[T]]) -> T:
    """The same; when no gateway runs, on its journal, which is then ours alone for the moment."""
    telemetry = Telemetry(console=True, level="error")
    return _within(lambda: open_control_or_journal(configuration, telemetry), work)


def _within(opened: Callable[[], AbstractAsyncContextManager[Control]], work: Callable[[Control], Awaitable[T]]) -> T:
    async def reach() -> T:
        async with opened() as control:
            return await work(control)

    try:
        return asyncio.run(reach())
    except ControlRefused as refused:
        raise refuse(refused) from None
    except GatewayError as error:
        raise fail(error) from None


def refuse(refused: ControlRefused) -> typer.Exit:
    """Say why something was not done, whose fault that is, and what to do next."""
    typer.echo(printable(f"smp-gateway: {refused.detail}"), err=True)
    if refused.advice:
        typer.echo(printable(f"  next: {refused.advice}"), err=True)
    return typer.Exit(_EXIT_CODES.get(refused.code, 1))


def print_json(answer: Answer) -> None:
    """Print an answer for programs."""
    typer.echo(answer.model_dump_json(by_alias=True))


def explain(error: ValidationError) -> typer.BadParameter:
    """Say which option is wrong, and why."""
    first = error.errors(include_url=False)[0]
    option = f"--{first['loc'][0]}" if first["loc"] else None
    return typer.BadParameter(first["msg"].removeprefix("Value error, "), param_hint=option)
