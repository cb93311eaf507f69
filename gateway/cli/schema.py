"""`smp-gateway schema`: JSON Schemas with which an editor completes and checks the YAML while it is typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.app import adapters
from gateway.cli.configured import load
from gateway.settings.editor_schema import schemas, written
from gateway.settings.example import example_configuration


def schema(
    name: Annotated[
        str, typer.Argument(help="gateway, participant, site, site-test, profile, callbacks.openapi.")
    ] = "site",
    write: Annotated[Path | None, typer.Option("--write", help="Write all of them into this folder instead.")] = None,
) -> None:
    """Print a JSON Schema, or write all of them; the members of assets are those of the packaged wire profile.

    callbacks.openapi is the OpenAPI document of the listener that the SMP calls, for NGESO's developers.

    Ends with 0, or with 2 when there is no such schema or the folder cannot be written.
    """
    files = texts()
    if write is None:
        if name not in files:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(files)}", param_hint="NAME")
        typer.echo(files[name], nl=False)
        return
    try:
        write.mkdir(parents=True, exist_ok=True)
        for key, text in files.items():
            (write / f"{key}.json").write_text(text, "utf-8")
            typer.echo(f"wrote {write / key}.json")
    except OSError as error:
        typer.echo(f"smp-gateway: {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(2) from None


def texts() -> dict[str, str]:
    """Every schema as its file holds it, by name."""
    example = load(example_configuration() / "gateway.yaml", None, {})
    profile = next(iter(example.environments.values())).profile
    return {name: written(made) for name, made in schemas(adapters(), profile).items()}
