"""`smp-gateway check`: everything that is wrong with a configuration, without starting anything."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from gateway.app import adapters
from gateway.cli.configured import ConfigPath, StateFolder
from gateway.errors import ConfigError, ConfigProblem
from gateway.settings.configuration import Configuration, load
from gateway.settings.references import ending_certificates, unreadable


def check(
    path: ConfigPath,
    state: StateFolder = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON document.")] = False,
) -> None:
    """Check a configuration: all mistakes of all files at once, as FILE:LINE:COLUMN: PATH: MESSAGE.

    Ends with 0 when the gateway would start (warnings allowed), 1 when something is wrong, 2 when PATH cannot be read.
    """
    if not path.is_file():
        typer.echo(f"smp-gateway: there is no file {path}", err=True)
        raise typer.Exit(2)
    configuration, problems = examine(path, state, os.environ)
    secrets: tuple[str, ...] = ()
    if configuration is not None:
        secrets = unreadable(configuration, environ=os.environ)
        secrets += ending_certificates(configuration, environ=os.environ, now=time.time_ns() // 1000)
    if as_json:
        typer.echo(json.dumps(_document(configuration, problems, secrets), indent=2))
    else:
        for line in _lines(path, configuration, problems, secrets):
            typer.echo(line)
    raise typer.Exit(0 if configuration is not None else 1)


def examine(
    path: Path, state: Path | None, environ: Mapping[str, str]
) -> tuple[Configuration | None, tuple[ConfigProblem, ...]]:
    """Load a configuration with the installed adapters; without one, the problems say why."""
    try:
        configuration = load(path, adapters=adapters(), state=state, environ=environ)
    except ConfigError as error:
        return None, error.problems
    return configuration, configuration.warnings


def _lines(
    path: Path, configuration: Configuration | None, problems: Sequence[ConfigProblem], secrets: Sequence[str]
) -> list[str]:
    lines = [str(problem) for problem in problems]
    lines += [f"warning: {sentence}" for sentence in secrets]
    errors = sum(not problem.warning for problem in problems)
    warnings = len(problems) - errors + len(secrets)
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
    configuration: Configuration | None, problems: Sequence[ConfigProblem], secrets: Sequence[str]
) -> dict[str, object]:
    return {
        "ok": configuration is not None,
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
        "participants": sorted(configuration.participants) if configuration is not None else [],
        "sites": sorted(configuration.sites) if configuration is not None else [],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
