"""A story of faults, from a YAML file.

For example::

    seed: 7
    faults: {lose-reply: 0.1, delay: 200ms}     # from the start
    steps:
      - {at: 30s, outage: {for: 2min, answer: refused}}
      - {after: 500, faults: {lose-reply: 0, callback-forge-key: 0.05}}
      - {after: 600, rotate-key: {overlap: 30s}}
      - {at: 5min, expire-tokens: true}

``at`` counts from the start of this run; ``after`` counts the signed submissions of this run that reached the ledger,
repetitions included. Each step waits for its own moment, whatever its place in the list; it may give several orders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from gateway.errors import ConfigError, ConfigProblem, Place
from gateway.simulator.orders import (
    READERS,
    BadOrder,
    Change,
    Order,
    nearest,
    read_duration,
    read_faults,
    read_seed,
)
from gateway.simulator.smp import SimulatedSmp

MEMBERS = ["seed", "faults", "steps"]
_FIRST = 1  # the line named for what is wrong outside the steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Orders with their moment: exactly one of ``at_s`` and ``after`` is set."""

    at_s: float | None
    after: int | None
    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What holds from the start, and what happens later."""

    start: Change
    steps: tuple[Step, ...] = ()


def read(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        ConfigError: everything that is wrong with it, with lines.
    """
    try:
        text = path.read_text("utf-8")
        tree, lines = yaml.safe_load(text), _step_lines(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise _refused(path, [(mark.line + 1 if mark else 1, "", str(error.problem))]) from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _refused(path, [(1, "", str(error))]) from error
    if not isinstance(tree, Mapping):
        raise _refused(path, [(1, "", f"a scenario has the members {', '.join(MEMBERS)}")])
    problems = [
        (_FIRST, "", f"there is no {name!r}: {nearest(str(name), MEMBERS)}") for name in tree if name not in MEMBERS
    ]
    start = Change(settings={})
    try:
        start = read_faults(tree.get("faults"))
    except BadOrder as bad:
        problems += [(_FIRST, "", problem) for problem in bad.problems]
    try:
        start = replace(start, seed=read_seed(tree["seed"])) if "seed" in tree else start
    except BadOrder as bad:
        problems += [(_FIRST, "", problem) for problem in bad.problems]
    steps, found = tree.get("steps") or [], []
    if not isinstance(steps, list):
        problems.append((_FIRST, "steps", "must be a list"))
        steps = []
    for index, one in enumerate(steps):
        try:
            found.append(_step(one))
        except BadOrder as bad:
            problems += [(lines[index], f"steps.{index}", problem) for problem in bad.problems]
    if problems:
        raise _refused(path, problems)
    return Scenario(start=start, steps=tuple(found))


async def play(scenario: Scenario, smp: SimulatedSmp) -> None:
    """Give the orders of a scenario to a running SMP; returns after the last step. Safe to cancel."""
    await smp.obey(scenario.start)
    before = smp.ledger.arrived()
    async with asyncio.TaskGroup() as group:
        for index, step in enumerate(scenario.steps):
            group.create_task(_take(step, smp, before), name=f"scenario step {index}")


async def _take(step: Step, smp: SimulatedSmp, before: int) -> None:
    if step.at_s is not None:
        await asyncio.sleep(step.at_s)
    else:
        await smp.arrived(before + (step.after or 0))
    for order in step.orders:
        await smp.obey(order)


def _step(tree: object) -> Step:
    if not isinstance(tree, Mapping):
        raise BadOrder(f"a step has at: or after:, and one of {', '.join(READERS)}")
    problems: list[str] = []
    orders: list[Order] = []
    for name, value in tree.items():
        if name in {"at", "after"}:
            continue
        try:
            orders.append(_order(name, value))
        except BadOrder as bad:
            problems += bad.problems
    if not orders and not problems:
        problems.append(f"nothing to do: name one of {', '.join(READERS)}")
    try:
        at_s, after = _moment(tree)
    except BadOrder as bad:
        raise BadOrder(*bad.problems, *problems) from bad
    if problems:
        raise BadOrder(*problems)
    return Step(at_s=at_s, after=after, orders=tuple(orders))


def _order(name: object, value: object) -> Order:
    if name not in READERS:
        raise BadOrder(f"there is no {name!r}: {nearest(str(name), ['at', 'after', *READERS])}")
    return READERS[str(name)](value)


def _moment(tree: Mapping[object, object]) -> tuple[float | None, int | None]:
    at, after = tree.get("at"), tree.get("after")
    if (at is None) is (after is None):
        raise BadOrder("exactly one of at: and after: is needed")
    if at is not None:
        return read_duration("at", at), None
    if isinstance(after, bool) or not isinstance(after, int) or after < 0:
        raise BadOrder(f"after: {after!r} is no number of submissions")
    return None, after


def _step_lines(text: str) -> list[int]:
    """The line of each step, for messages."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == "steps" and isinstance(value, yaml.SequenceNode):
            return [step.start_mark.line + 1 for step in value.value]
    return []


def _refused(path: Path, problems: list[tuple[int, str, str]]) -> ConfigError:
    return ConfigError(
        [
            ConfigProblem(place=Place(file=str(path), line=line, column=1), path=where, message=message)
            for line, where, message in problems
        ]
    )
