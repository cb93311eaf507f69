"""`smp-gateway proforma`: the technical pro-forma that NGESO sends and a participant returns, from the YAML alone.

What the configuration does not say is listed as missing, each with what mends it, and never made up. Private keys and
passwords are not printed: of the signing key only its public half is taken, and the password is not even read.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from typing import Annotated

import typer

from gateway.cli.configured import ConfigPath, StateFolder, load
from gateway.cli.proforma.document import proforma_of
from gateway.cli.proforma.markdown import written
from gateway.cli.proforma.material import Origin, gather
from gateway.settings.quantities import among, shown


def proforma(
    path: ConfigPath,
    participant: Annotated[str, typer.Argument(help="Whose pro-forma.")],
    state: StateFolder = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: one JSON document instead of Markdown.")
    ] = False,
) -> None:
    """Print the technical pro-forma of a participant for NGESO, and what is missing in it.

    Ends with 0 when it is complete, 1 when something is missing or the configuration is wrong, 2 when there is no such
    participant.
    """
    configuration = load(path, state)
    member = configuration.participants.get(participant)
    if member is None:
        said = f"there is no participant {shown(participant)}{among(participant, configuration.participants)}"
        typer.echo(f"smp-gateway: {said}", err=True)
        raise typer.Exit(2)
    now = time.time_ns() // 1000
    origin = Origin(gateway=path, state=state)
    material = gather(configuration, member, origin, now=now, environ=os.environ)
    made = proforma_of(configuration, member, material, now=now)
    if as_json:
        typer.echo(json.dumps({**asdict(made), "complete": not made.missing}, indent=2))
    else:
        typer.echo(written(made), nl=False)
    raise typer.Exit(1 if made.missing else 0)
