"""`smp-gateway simulate smp`: an SMP to practise against."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.simulate.partner import address, told_to_end
from gateway.errors import ConfigError
from gateway.settings.example import example_configuration
from gateway.simulator import SimulatedSmp
from gateway.simulator.faults import Faults
from gateway.simulator.wire import seconds


def smp(  # noqa: PLR0917 -- typer makes each an option, given by name
    state: Annotated[Path, typer.Option(help="Folder shared with the gateway: pki/, secrets/ and the ledger.")],
    callback_url: Annotated[str, typer.Option(help="The gateway's callbacks.public_url.")],
    listen: Annotated[str, typer.Option(help="Address and port.")] = "127.0.0.1:9443",
    callback_ca: Annotated[Path | None, typer.Option(help="CA of the gateway's callback certificate.")] = None,
    delay: Annotated[str, typer.Option(help="Time from the 202 to the verdict, such as 20ms.")] = "20ms",
    answer_delay: Annotated[str, typer.Option(help="Time from a submission to its 202, such as 50ms.")] = "0s",
    profile: Annotated[Path | None, typer.Option(help="Wire profile; default: the packaged smp-v1.")] = None,
    also_known_as: Annotated[list[str] | None, typer.Option(help="A further base URL, such as a proxy's.")] = None,
) -> None:
    """Run a simulated SMP until SIGINT or SIGTERM; one line per event."""
    host, port = address(listen)
    faults = Faults(answer_delay_s=_seconds(answer_delay, "--answer-delay"))
    delay_s = _seconds(delay, "--delay")
    try:
        platform = SimulatedSmp(
            profile_path=profile or example_configuration() / "profiles" / "smp-v1.yaml",
            state=state,
            callback_url=callback_url,
            host=host,
            port=port,
            callback_ca=callback_ca,
            processing_delay_s=delay_s,
            also_known_as=also_known_as or (),
            faults=faults,
            tell=typer.echo,
        )
        asyncio.run(_serve(platform))
    except (ConfigError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _seconds(duration: str, option: str) -> float:
    try:
        return seconds(duration)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


async def _serve(platform: SimulatedSmp) -> None:
    ended = told_to_end()
    async with platform:
        typer.echo(f"certificate authority  {platform.ca_path}")
        typer.echo(f"callback keys          {platform.jwks_path}")
        typer.echo(f"ledger                 {platform.ledger.path}")
        typer.echo(f"callbacks to           {platform.callback_url}")
        typer.echo(f"listening on           {platform.base_url}")
        await ended.wait()
    typer.echo("ended")
