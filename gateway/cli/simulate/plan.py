"""What a simulated plant is to ask for: a number of requests, a story from a file, or what a person types.

A story file holds its steps in order::

    steps:
      - ask: new             # new: another asset, again: the last name once more, typo: a wrong MPAN check digit
      - pause: 5s
      - values: {asset_name: MY ASSET, export_limit: 12.5}   # ask with these points, and made-up values for the others;
                             # a site that sends JSON of its own: with these members of it
      - show: {energy: 57.5} # change these points and ask for nothing
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import sys
from collections.abc import AsyncIterator, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from gateway.cli.simulate.story import Act
from gateway.core.control import PointList, PointStanding
from gateway.core.point import Value
from gateway.errors import ConfigError
from gateway.settings import document, quantities

WORDS: Mapping[str, Act] = {"new": Act.NEW, "again": Act.AGAIN, "typo": Act.TYPO}
_STEPS = "a step is one of ask:, pause:, values: and show:"
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_TYPED = 4096  # bytes of one read from a terminal, which hands out whole lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Ask for nothing during this time."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """Give points these values, and ask for nothing."""

    values: Mapping[str, Value]


Step = Act | Pause | Show | Mapping[str, Value]


async def counted(requests: int) -> AsyncIterator[Step]:
    """So many requests, each kind in its turn."""
    for act in itertools.islice(itertools.cycle(Act), requests):
        yield act


async def told(steps: Iterable[Step]) -> AsyncIterator[Step]:
    """The steps of a story."""
    for step in steps:
        yield step


def read_story(path: Path, *, environ: Mapping[str, str]) -> tuple[Step, ...]:
    """Read a story file.

    Raises:
        ConfigError: everything that is wrong with it.
        OSError: it cannot be read.
    """
    read = document.read(path.read_bytes(), file=str(path), environ=environ)
    problems = list(read.problems)
    steps = read.tree.get("steps")
    found: list[Step] = []
    if not problems and not isinstance(steps, list):
        problems.append(read.problem((), "a story holds a list of steps"))
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        try:
            found.append(_step(step))
        except ValueError as error:
            problems.append(read.problem(("steps", index), str(error)))
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def read_recording(path: Path, shown: Container[str], speed: float) -> Iterator[Step]:
    """The steps that show a site's readings again, in their own time: lines of `points SITE --watch --json`.

    Only good readings of points in ``shown`` count, and only when they changed.

    Raises:
        ValueError: a line is none of those.
        OSError: it cannot be read.
    """
    before, held = None, dict[str, Value]()
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            found = PointList.model_validate_json(line)
        except ValidationError as error:
            raise ValueError(f"{path}:{number}: no line of `points SITE --watch --json`") from error
        if before is not None and found.at > before:
            yield Pause(seconds=(found.at - before) / 1_000_000 / speed)
        before = found.at
        fresh = {
            one.point: _recorded(one)
            for one in found.points
            if one.point in shown and one.quality == "good" and one.value is not None
        }
        changed = {point: value for point, value in fresh.items() if held.get(point) != value}
        held |= fresh
        if changed:
            yield Show(values=changed)


def _recorded(one: PointStanding) -> Value:
    """A value of a recording; a number comes as its decimal text there."""
    if isinstance(one.value, str) and _NUMBER.fullmatch(one.value):
        return Decimal(one.value)
    return one.value if one.value is not None else ""


async def typed() -> AsyncIterator[Step]:
    """What a person types, one word a line: a word of :data:`WORDS`, or nothing for the next kind in turn.

    Without a terminal or pipe to read from, and after its end, there is nothing to ask for.
    """
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop, source = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        data = os.read(source, _TYPED)
        for line in data.decode("utf-8", "replace").splitlines():
            lines.put_nowait(line.strip().lower())
        if not data:
            lines.put_nowait(None)
            loop.remove_reader(source)

    try:
        loop.add_reader(source, read)
    except PermissionError:  # a file or /dev/null: nobody types there
        return
    try:
        turn = itertools.cycle(Act)
        while (line := await lines.get()) is not None:
            if line in WORDS:
                yield WORDS[line]
            elif line:
                sys.stderr.write(f"not one of {', '.join(WORDS)}: {line}\n")
            else:
                yield next(turn)
    finally:
        loop.remove_reader(source)


def _step(step: object) -> Step:
    if not isinstance(step, Mapping) or len(step) != 1:
        raise ValueError(_STEPS)
    ((name, value),) = step.items()
    if name == "ask":
        if not isinstance(value, str) or value not in WORDS:
            raise ValueError(f"{value!r} is not one of {', '.join(WORDS)}")
        return WORDS[value]
    if name == "pause":
        return Pause(seconds=quantities.duration(value) / 1_000_000)
    if name in {"values", "show"} and isinstance(value, Mapping):
        values = {str(point): _value(one) for point, one in value.items()}
        return Show(values=values) if name == "show" else values
    raise ValueError(_STEPS)


def _value(value: object) -> Value:
    if isinstance(value, bool | str | Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    raise ValueError(f"{value!r} is no value of a point")
