"""`smp-gateway simulate`: practice partners in a terminal."""

from __future__ import annotations

import typer

from gateway.cli.simulate.site import site
from gateway.cli.simulate.smp import smp

app = typer.Typer(no_args_is_help=True)
app.command()(smp)
app.command()(site)


@app.callback()
def simulate() -> None:
    """Practise against simulated partners."""
