"""`smp-gateway simulate`: practice partners in a terminal."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer

from gateway.errors import ConfigError
from gateway.simulator import SimulatedSmp
from gateway.simulator.wire import seconds

app = typer.Typer(no_args_is_help=True)

# In a checkout beside the package; in the wheel inside it (pyproject.toml, force-include).
EXAMPLES = (Path(__file__).parents[2] / "config", Path(__file__).parents[1] / "example")


@app.callback()
def simulate() -> None:
    """Practise against simulated partners."""


@app.command()
def smp(  # noqa: PLR0917 -- typer makes each an option, given by name
    state: Annotated[Path, typer.Option(help="Folder shared with the gateway: pki/, secrets/ and the ledger.")],
    callback_url: Annotated[str, typer.Option(help="The gateway's callbacks.public_url.")],
    listen: Annotated[str, typer.Option(help="Address and port.")] = "127.0.0.1:9443",
    callback_ca: Annotated[Path | None, typer.Option(help="CA of the gateway's callback certificate.")] = None,
    delay: Annotated[str, typer.Option(help="Time from the 202 to the verdict, such as 20ms.")] = "20ms",
    profile: Annotated[Path | None, typer.Option(help="Wire profile; default: the packaged smp-v1.")] = None,
    also_known_as: Annotated[list[str] | None, typer.Option(help="A further base URL, such as a proxy's.")] = None,
) -> None:
    """Run a simulated SMP until SIGINT or SIGTERM; one line per event."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(f"{listen!r} is not an address such as 127.0.0.1:9443", param_hint="--listen")
    try:
        delay_s = seconds(delay)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--delay") from error
    try:
        platform = SimulatedSmp(
            profile_path=profile or _packaged_profile(),
            state=state,
            callback_url=callback_url,
            host=host.strip("[]"),
            port=int(port),
            callback_ca=callback_ca,
            processing_delay_s=delay_s,
            also_known_as=also_known_as or (),
            tell=typer.echo,
        )
        asyncio.run(_serve(platform))
    except (ConfigError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


async def _serve(platform: SimulatedSmp) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with platform:
        typer.echo(f"certificate authority  {platform.ca_path}")
        typer.echo(f"callback keys          {platform.jwks_path}")
        typer.echo(f"ledger                 {platform.ledger.path}")
        typer.echo(f"callbacks to           {platform.callback_url}")
        typer.echo(f"listening on           {platform.base_url}")
        await ended.wait()
    typer.echo("ended")


def _packaged_profile() -> Path:
    candidates = [root / "profiles" / "smp-v1.yaml" for root in EXAMPLES]
    return next((path for path in candidates if path.exists()), candidates[0])
