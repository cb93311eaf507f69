"""`smp-gateway simulate smp`: an SMP to practise against."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.simulate.ledger import show
from gateway.cli.simulate.partner import address, told_to_end
from gateway.errors import ConfigError
from gateway.settings.example import example_configuration
from gateway.simulator import SimulatedSmp, control, scenario
from gateway.simulator.faults import Faults
from gateway.simulator.orders import BadOrder, read_faults
from gateway.simulator.wire import seconds


def smp(  # noqa: PLR0917 -- typer makes each an option, given by name
    state: Annotated[Path, typer.Option(help="Folder shared with the gateway: pki/, secrets/ and the ledger.")],
    callback_url: Annotated[str | None, typer.Option(help="The gateway's callbacks.public_url.")] = None,
    listen: Annotated[str, typer.Option(help="Address and port.")] = "127.0.0.1:9443",
    callback_ca: Annotated[Path | None, typer.Option(help="CA of the gateway's callback certificate.")] = None,
    client_ca: Annotated[Path | None, typer.Option(help="Let in only clients with a certificate of this CA.")] = None,
    delay: Annotated[str, typer.Option(help="Time from the 202 to the verdict, such as 20ms.")] = "20ms",
    answer_delay: Annotated[str, typer.Option(help="Time from a submission to its 202, such as 50ms.")] = "0s",
    profile: Annotated[Path | None, typer.Option(help="Wire profile; default: the packaged smp-v1.")] = None,
    also_known_as: Annotated[list[str] | None, typer.Option(help="A further base URL, such as a proxy's.")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="NAME=0.1 or NAME=200ms, see below.", metavar="NAME=")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the faults' dice.")] = None,
    story: Annotated[Path | None, typer.Option("--scenario", help="A YAML file of faults over time.")] = None,
    control_address: Annotated[
        str | None, typer.Option("--control", help="Loopback address of the control API, such as 127.0.0.1:9444.")
    ] = None,
    *,
    ledger: Annotated[bool, typer.Option("--ledger", help="Print the ledger of --state and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --ledger: JSON instead of tables.")] = False,
) -> None:
    """Run a simulated SMP until SIGINT or SIGTERM; one line per event. Exit code 2: it could not be started.

    Faults with a probability: lose-request, fail-before, unavailable, busy, expire-tokens, lose-reply, cut-reply,
    fail-after, fail-status, callback-early, callback-late, callback-twice, callback-never, callback-contradict,
    callback-forge-key, callback-forge-body, callback-forge-aud, callback-reorder. Durations: delay, jitter,
    retry-after, late-by.

    A scenario: `seed: 7`, `faults: {lose-reply: 0.1, delay: 200ms}`, and `steps:` such as
    `- {at: 30s, outage: {for: 2min, answer: refused}}` (or 503), `- {after: 500, rotate-key: {overlap: 30s}}`,
    `- {at: 5min, expire-tokens: true}`, `- {after: 600, faults: {lose-reply: 0}}`.

    Control API: GET and PUT /faults, POST /outage, /rotate-key, /expire-tokens, with the bearer token that is printed.
    """
    if ledger:
        show(state, as_json=as_json)
        return
    if callback_url is None:
        raise typer.BadParameter("is needed to run the SMP", param_hint="--callback-url")
    host, port = address(listen)
    try:
        platform = SimulatedSmp(
            profile_path=profile or example_configuration() / "profiles" / "smp-v1.yaml",
            state=state,
            callback_url=callback_url,
            host=host,
            port=port,
            callback_ca=callback_ca,
            client_ca=client_ca,
            processing_delay_s=_seconds(delay, "--delay"),
            also_known_as=also_known_as or (),
            faults=_faults(_seconds(answer_delay, "--answer-delay"), fault or (), seed),
            tell=typer.echo,
        )
        told = scenario.read(story) if story else None
        asyncio.run(_serve(platform, told, _control(control_address)))
    except (ConfigError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    host: str
    port: int


def _seconds(duration: str, option: str) -> float:
    try:
        return seconds(duration)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _faults(answer_delay_s: float, settings: Sequence[str], seed: int | None) -> Faults:
    faults = Faults(answer_delay_s=answer_delay_s)
    pairs = [setting.partition("=") for setting in settings]
    try:
        order = read_faults({name.strip(): value.strip() for name, _, value in pairs})
    except BadOrder as bad:
        raise typer.BadParameter(str(bad), param_hint="--fault") from bad
    faults.change(order.settings, seed=seed)
    return faults


def _control(listen: str | None) -> _Address | None:
    if listen is None:
        return None
    host, port = address(listen, option="--control")
    if not control.is_loopback(host):
        raise typer.BadParameter(f"{host} is not a loopback address", param_hint="--control")
    return _Address(host=host, port=port)


async def _serve(platform: SimulatedSmp, told: scenario.Scenario | None, controlled: _Address | None) -> None:
    ended = told_to_end()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(platform)
        typer.echo(f"certificate authority  {platform.ca_path}")
        typer.echo(f"callback keys          {platform.jwks_path}")
        typer.echo(f"ledger                 {platform.ledger.path}")
        typer.echo(f"callbacks to           {platform.callback_url}")
        if controlled is not None:
            serving = control.serve(platform, host=controlled.host, port=controlled.port)
            opened = await stack.enter_async_context(serving)
            typer.echo(f"control                {opened.url}")
            typer.echo(f"control token          {opened.token}")
        typer.echo(f"listening on           {platform.base_url}")
        async with asyncio.TaskGroup() as group:
            playing = group.create_task(scenario.play(told, platform), name="scenario") if told is not None else None
            await ended.wait()
            if playing is not None:
                playing.cancel()
    typer.echo("ended")
