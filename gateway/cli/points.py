"""`smp-gateway points`: what a site's points are now, as the running gateway read them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from gateway.cli.configured import ConfigPath, StateFolder, load
from gateway.cli.operations import AsJson, print_json, with_gateway
from gateway.core.control import POINTS, Nothing, PointList, PointStanding
from gateway.core.printable import printable
from gateway.ports import Control

_PERIOD_S = 1.0


def points(
    path: ConfigPath,
    site: Annotated[str, typer.Argument(metavar="SITE", help="The site, as its YAML names it.")],
    state: StateFolder = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show every point of a site: its value, how good and how old it is, and why it is not good.

    With --json and --watch, one document per line. Exit codes: 0 done; 2 no such site; 3 no gateway answers.
    """
    configuration = load(path, state)

    async def look(control: Control) -> None:
        if as_json:
            await _print(control, site, again=watch)
        elif watch:
            await _watch(control, site)
        else:
            Console().print(_table(await _look(control, site)))

    try:
        with_gateway(configuration, look)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _look(control: Control, site: str) -> PointList:
    return await control.ask(POINTS, Nothing(), site=site)


async def _print(control: Control, site: str, *, again: bool) -> None:
    while True:
        print_json(await _look(control, site))
        if not again:
            return
        await asyncio.sleep(_PERIOD_S)


async def _watch(control: Control, site: str) -> None:
    with Live(_table(await _look(control, site)), auto_refresh=False) as live:
        while True:
            await asyncio.sleep(_PERIOD_S)
            live.update(_table(await _look(control, site)), refresh=True)


def _table(found: PointList) -> Table:
    at = datetime.fromtimestamp(found.at / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    table = Table(title=f"{printable(found.site)} at {at}", title_justify="left", box=SIMPLE_HEAD)
    for name in ("point", "value", "is", "age", "what is wrong"):
        last = name == "what is wrong"
        table.add_column(
            name, justify="right" if name in {"value", "age"} else "left", no_wrap=not last, overflow="fold"
        )
    for one in found.points:
        table.add_row(*(printable(cell) for cell in _row(one, found.at)))
    return table


def _row(one: PointStanding, now: int) -> Iterator[str]:
    yield one.point
    yield f"{_value(one.value)} {one.unit or ''}".strip()
    away = "" if one.connected else f"{one.connection} is not connected"
    if one.read_at is None:
        yield from ("written" if one.access == "write" else "not read", "", away)
        return
    yield one.quality or ""
    yield f"{max(0, now - one.read_at) / 1_000_000:.1f} s"
    yield one.detail or one.fault or away


def _value(value: str | bool | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "-" if value is None else value
