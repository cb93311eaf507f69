"""`smp-gateway check`: everything that is wrong with a configuration, without starting anything."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gateway.app import adapters, open_reader, unusable
from gateway.cli.configured import ConfigPath, StateFolder
from gateway.core.request_plan import RequestPlan, described, listed, overloads, shown
from gateway.errors import ConfigError, ConfigProblem, JournalError
from gateway.settings.configuration import Configuration, load, run_site_tests
from gateway.settings.references import ending_certificates, unreadable


def check(
    path: ConfigPath,
    state: StateFolder = None,
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Also show which points each request brings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON document.")] = False,
) -> None:
    """Check a configuration: all mistakes of all files at once, as FILE:LINE:COLUMN: PATH: MESSAGE.

    Also runs the tests beside the site files (sites/NAME.test.yaml), and tells what each site is asked for, how long
    that takes, and which periods cannot be met.

    A journal that owes results to sites which are not there any more is a warning too.
    Keys, certificates and sets of public keys are tried as a start would; one that is not there yet is a warning.

    Ends with 0 when the gateway would start (warnings allowed), 1 when something is wrong, 2 when PATH cannot be read.
    """
    if not path.is_file():
        typer.echo(f"smp-gateway: there is no file {path}", err=True)
        raise typer.Exit(2)
    configuration, problems = examine(path, state, os.environ)
    tests, failed = run_site_tests(configuration, environ=os.environ) if configuration is not None else (0, [])
    problems = (*problems, *failed)
    secrets: tuple[str, ...] = ()
    if configuration is not None:
        secrets = unreadable(configuration, environ=os.environ)
        secrets += ending_certificates(configuration, environ=os.environ, now=time.time_ns() // 1000)
        secrets += unpaid(configuration)
    broken = unusable(configuration, os.environ) if configuration is not None else ()
    plans = request_plans(configuration) if configuration is not None else {}
    late = tuple(overloads(plans))
    extra = _plan_lines(plans, whole=plan)
    if tests:
        extra.append(f"tests: {_count(tests, 'test')} of sites, {len(failed) or 'nothing'} wrong")
    if as_json:
        typer.echo(json.dumps(_document(configuration, problems, secrets, plans, late, broken=broken), indent=2))
    else:
        for line in _lines(path, configuration, problems, (*secrets, *late), extra, broken=broken):
            typer.echo(line)
    raise typer.Exit(0 if configuration is not None and not broken and not failed else 1)


def examine(
    path: Path, state: Path | None, environ: Mapping[str, str]
) -> tuple[Configuration | None, tuple[ConfigProblem, ...]]:
    """Load a configuration with the installed adapters; without one, the problems say why."""
    try:
        configuration = load(path, adapters=adapters(), state=state, environ=environ)
    except ConfigError as error:
        return None, error.problems
    return configuration, configuration.warnings


def unpaid(configuration: Configuration) -> tuple[str, ...]:
    """What a journal file that is there owes to sites that these files have no more."""
    if not isinstance(configuration.journal, Path) or not configuration.journal.is_file():
        return ()
    try:
        with open_reader(configuration.journal) as reader:
            debts = reader.debts()
    except JournalError as error:
        return (f"journal: {error}",)
    here = {name: site.connections.keys() for name, site in configuration.sites.items()}
    return tuple(debts.unpayable(here).values())


def request_plans(configuration: Configuration) -> dict[str, RequestPlan]:
    """What is asked for, by SITE/CONNECTION, where the protocol asks."""
    specs = adapters()
    return {
        f"{site.site}/{name}": plan
        for site in configuration.sites.values()
        for name, link in site.connections.items()
        if (tell := specs[link.protocol].plan) is not None and (plan := tell(link.config)) is not None
    }


def _plan_lines(plans: Mapping[str, RequestPlan], *, whole: bool) -> list[str]:
    lines = []
    for name, plan in sorted(plans.items()):
        lines.append(f"plan: {name}: {described(plan)}")
        lines += [
            f"plan:   {request.what} every {shown(request.every)}: {listed(request.points)}"
            for request in (plan.requests if whole else ())
        ]
    return lines


def _lines(
    path: Path,
    configuration: Configuration | None,
    problems: Sequence[ConfigProblem],
    said: Sequence[str],
    plans: Sequence[str],
    *,
    broken: Sequence[str],
) -> list[str]:
    lines = [str(problem) for problem in problems]
    lines += [f"error: {sentence}" for sentence in broken]
    lines += [f"warning: {sentence}" for sentence in said]
    lines += plans
    warnings = sum(problem.warning for problem in problems) + len(said)
    errors = len(problems) + len(said) + len(broken) - warnings
    counts = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    if configuration is None:
        return [*lines, f"{path}: {counts}"]
    messages = sum(len(site.messages) for site in configuration.sites.values())
    parts = (
        _count(len(configuration.participants), "participant"),
        _count(len(configuration.sites), "site"),
        _count(messages, "message"),
    )
    return [*lines, f"{path}: {', '.join(parts)}; {counts}"]


def _document(
    configuration: Configuration | None,
    problems: Sequence[ConfigProblem],
    secrets: Sequence[str],
    plans: Mapping[str, RequestPlan],
    late: Sequence[str],
    *,
    broken: Sequence[str],
) -> dict[str, object]:
    return {
        "ok": configuration is not None and not broken and all(problem.warning for problem in problems),
        "problems": [
            {
                "file": problem.place.file,
                "line": problem.place.line,
                "column": problem.place.column,
                "path": problem.path,
                "message": problem.message,
                "warning": problem.warning,
            }
            for problem in problems
        ],
        "secrets": list(secrets),
        "unusable": list(broken),
        "plans": {name: [asdict(request) for request in plan.requests] for name, plan in plans.items()},
        "late": list(late),
        "participants": sorted(configuration.participants) if configuration is not None else [],
        "sites": sorted(configuration.sites) if configuration is not None else [],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
