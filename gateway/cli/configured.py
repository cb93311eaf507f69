"""What every command that takes a configuration does first: load it, or say everything that is wrong and exit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from gateway.app import adapters
from gateway.errors import ConfigError, GatewayError
from gateway.settings import configuration
from gateway.settings.configuration import Configuration

ConfigPath = Annotated[Path, typer.Argument(help="The gateway.yaml; participants and sites are named in it.")]
StateFolder = Annotated[
    Path | None,
    typer.Option("--state", help="Where journal, keys and secrets are; default: the folder of gateway.yaml."),
]


def load(path: Path, state: Path | None, environ: Mapping[str, str] | None = None) -> Configuration:
    """Load a configuration with the installed adapters, or print every problem and exit 1."""
    try:
        return configuration.load(path, adapters=adapters(), state=state, environ=environ or os.environ)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None


def fail(error: GatewayError | OSError) -> typer.Exit:
    """Say in one line why the gateway cannot start or go on."""
    typer.echo(f"smp-gateway: {error}", err=True)
    return typer.Exit(3)
