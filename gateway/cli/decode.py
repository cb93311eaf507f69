"""`smp-gateway decode`: what the registers of a device mean, beside the value that its display shows."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gateway.app import adapters, read_once
from gateway.cli.configured import ConfigPath, StateFolder, fail, load
from gateway.cli.operations import AsJson
from gateway.core.decoding import REGISTERS, Candidate, candidates
from gateway.core.point import PointSpec
from gateway.errors import LinkLost
from gateway.settings.configuration import Configuration, SiteConnection
from gateway.telemetry import Telemetry

_ADDRESS = re.compile(r"(holding|input):([0-9]{1,5})")
_LIMIT_S = 20.0
_SHOWN = 12  # of the readings beside an expected value; the rest is further away


def decode(  # noqa: PLR0917 -- typer makes each an option, given by name
    path: ConfigPath,
    site: Annotated[str, typer.Argument(metavar="SITE", help="The site, as its YAML names it.")],
    address: Annotated[str, typer.Argument(help="The first register, such as holding:1006.")],
    state: StateFolder = None,
    connection: Annotated[str | None, typer.Option(help="Which of the site's Modbus connections.")] = None,
    count: Annotated[int, typer.Option(min=1, max=REGISTERS, help="How many registers to read.")] = 2,
    expect: Annotated[str | None, typer.Option(help="What the device's own display shows, such as 12.5.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Read live registers, once, and show every type, word order, byte order and scale that they may have.

    The readings nearest to --expect come first, each as the YAML members to write. Nothing is written to the device.
    Exit codes: 0 done; 1 nothing comes near the expected value; 2 wrong usage; 3 the device does not answer.
    """
    configuration = load(path, state)
    expected = _expected(expect)
    link = _link(configuration, site, connection)
    registers = _read(configuration, _asking(link, address, count))
    found = candidates(registers, expected)
    if as_json:
        typer.echo(json.dumps({"registers": registers, "readings": [_members(each) for each in found]}))
    else:
        Console().print(_table(address, registers, found if expected is None else found[:_SHOWN], expected))
    if expected is not None and not found[0].near:
        typer.echo(f"nothing comes near {expected}; try the registers beside {address}, or --count 4", err=True)
        raise typer.Exit(1)


def _expected(text: str | None) -> Decimal | None:
    try:
        number = None if text is None else Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if number is not None and not number.is_finite():
        raise typer.BadParameter(f"{text!r} is not a number", param_hint="--expect")
    return number


def _link(configuration: Configuration, site: str, connection: str | None) -> SiteConnection:
    """The connection to read over."""
    found = configuration.sites.get(site)
    if found is None:
        raise typer.BadParameter(f"the configuration has no site {site}", param_hint="SITE")
    able = {
        name: link
        for name, link in found.connections.items()
        if link.protocol == "modbus" and getattr(link.config.settings, "role", "client") == "client"
    }
    if connection is not None and connection not in able:
        able = {}
    if len(able) > 1 and connection is None:
        raise typer.BadParameter(f"which of {', '.join(able)}?", param_hint="--connection")
    if not able:
        raise typer.BadParameter(
            f"{site} has no such Modbus connection of which we are the client", param_hint="--connection"
        )
    return able[connection or next(iter(able))]


def _asking(link: SiteConnection, address: str, count: int) -> SiteConnection:
    """The same connection with nothing but these registers to read, each as it is."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise typer.BadParameter(f"{address!r} is not a register, such as holding:1006", param_hint="ADDRESS")
    model, points = adapters()[link.protocol].point_model, {}
    for number in range(count):
        name = str(number)
        members = {"address": f"{match[1]}:{int(match[2]) + number}", "type": "uint16", "byte_order": "big"}
        try:
            points[name] = (PointSpec(name=name, connection=link.config.name), model.model_validate(members))
        except ValidationError as error:
            raise typer.BadParameter(error.errors()[0]["msg"], param_hint="ADDRESS") from None
    return replace(link, config=replace(link.config, points=points, mailboxes={}, triggers={}))


def _read(configuration: Configuration, link: SiteConnection) -> list[int]:
    async def once() -> list[int]:
        telemetry = Telemetry(console=True, level="error")
        async with asyncio.timeout(_LIMIT_S):
            found = await read_once(configuration, telemetry, link, frozenset(link.config.points))
        for reading in found.values():
            if not isinstance(reading.value, Decimal):
                raise LinkLost(f"the device gives no value: {reading.detail or reading.fault}")
        return [int(str(found[name].value)) for name in link.config.points]

    try:
        return asyncio.run(once())
    except TimeoutError:
        raise fail(LinkLost("the device does not answer")) from None
    except LinkLost as lost:
        raise fail(lost) from None


def _members(one: Candidate) -> dict[str, object]:
    error = None if one.error is None else float(round(one.error, 6))
    return {
        "type": one.type,
        "word_order": one.word_order,
        "byte_order": one.byte_order,
        "scale": format(one.scale, "f"),
        "value": format(one.value, "f"),
        "registers": one.registers,
        "error": error,
    }


def _table(address: str, registers: Sequence[int], found: Sequence[Candidate], expected: Decimal | None) -> Table:
    shown = " ".join(f"0x{register:04X}" for register in registers)
    title = f"{address}: {shown}" + ("" if expected is None else f", beside {expected}")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in ("value", "off by", "what to write in the YAML"):
        table.add_column(name, justify="left" if name.startswith("what") else "right", overflow="fold")
    for one in found:
        off = "" if one.error is None else ("exact" if one.error == 0 else f"{one.error:.1%}")
        table.add_row(f"{one.value:f}"[:30], off, _yaml(address, one), style="bold" if one.near else "")
    return table


def _yaml(address: str, one: Candidate) -> str:
    members = {"address": f'"{address}"', "type": one.type}
    if one.registers > 1 and one.word_order != "big":
        members["word_order"] = one.word_order
    if one.byte_order != "big":
        members["byte_order"] = one.byte_order
    if one.scale != 1:
        members["scale"] = format(one.scale, "f")
    return ", ".join(f"{name}: {value}" for name, value in members.items())
