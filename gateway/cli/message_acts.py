"""`smp-gateway messages request|retry|refuse|resend|resolve`: what people ask for and decide, by the control API."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from gateway.cli.configured import ConfigPath, StateFolder, load
from gateway.cli.operations import AsJson, explain, print_json, with_gateway, with_gateway_or_journal
from gateway.core.acts import Act
from gateway.core.control import ACT, REQUEST, Acted, ActOrder, CreatedAsset, RequestOrder
from gateway.core.printable import printable
from gateway.core.transaction import State

MessageId = Annotated[str, typer.Argument(metavar="ID", help="The message's id, or its beginning.")]
WhyOption = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit with your user's name.")]
_CODES = (
    "Exit codes: 0 done; 1 not possible as the message is now (what is possible is said); "
    "2 wrong usage, or no such message; 3 the gateway does not answer, or the journal cannot be used."
)


class End(StrEnum):
    """How a message ends by hand."""

    COMPLETED = "completed"
    FAILED = "failed"


def request(
    path: ConfigPath,
    site: Annotated[str, typer.Argument(help="The site.")],
    message: Annotated[str, typer.Argument(help="A message of it with `when: {request: true}`.")],
    state: StateFolder = None,
    *,
    key: Annotated[
        str | None, typer.Option(help="Name this request: the same key again is the same message. Default: a new one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a running gateway for a message of a site, made from what was read of the site last.

    Exit codes: 0 accepted, or made before under this key; 1 refused (the reasons are printed); 2 wrong usage, or there
    is no such message; 3 the gateway does not answer.
    """
    configuration = load(path, state)
    try:
        order = RequestOrder(key=key or secrets.token_hex(16))
    except ValidationError as error:
        raise explain(error) from None
    done = with_gateway(configuration, lambda control: control.ask(REQUEST, order, site=site, message=message))
    if as_json:
        print_json(done)
    else:
        typer.echo(f"{done.message} is {done.state}{', made before under this key' if done.existed else ''}")
        for problem in done.problems:
            typer.echo(f"  {printable(problem)}")
    raise typer.Exit(1 if done.state is State.REFUSED else 0)


def retry(
    path: ConfigPath, message_id: MessageId, reason: WhyOption, state: StateFolder = None, *, as_json: AsJson = False
) -> None:
    """Let a parked message be tried again, in its place of its lane.

    Works without a running gateway too; then it is sent when one starts.
    """
    _act(path, state, message_id, _order(Act.RETRY, reason), as_json=as_json)


def refuse(
    path: ConfigPath, message_id: MessageId, reason: WhyOption, state: StateFolder = None, *, as_json: AsJson = False
) -> None:
    """Refuse for good what is parked, or withdraw what was not sent yet; its site is told, with the reason.

    Of a message that was sent in part, the rest is withdrawn. Works without a running gateway too.
    """
    _act(path, state, message_id, _order(Act.REFUSE, reason), as_json=as_json)


def resend(
    path: ConfigPath, message_id: MessageId, reason: WhyOption, state: StateFolder = None, *, as_json: AsJson = False
) -> None:
    """Send an escalated message again: the same id, the same bytes. Needs a running gateway.

    Only where you know that the SMP does not have it, or that it recognises a repeated id.
    """
    _act(path, state, message_id, _order(Act.RESEND, reason), as_json=as_json)


def resolve(  # noqa: PLR0917 -- typer makes each an option, given by name
    path: ConfigPath,
    message_id: MessageId,
    reason: WhyOption,
    end: Annotated[End, typer.Option("--as", help="How it ended at the SMP, as you found out there.")],
    created: Annotated[
        list[str] | None,
        typer.Option("--created", metavar="NAME=SMPID", help="An asset or unit that exists now, with the SMP's id."),
    ] = None,
    state: StateFolder = None,
    *,
    as_json: AsJson = False,
) -> None:
    """End an escalated message by hand; its site is told. Works without a running gateway too.

    A verdict of the SMP that comes later and says otherwise is kept and raises a conflict alarm; it changes nothing.
    """
    act = Act.RESOLVE_COMPLETED if end is End.COMPLETED else Act.RESOLVE_FAILED
    _act(path, state, message_id, _order(act, reason, created or ()), as_json=as_json)


for _command in (retry, refuse, resend, resolve):
    _command.__doc__ = f"{_command.__doc__}\n\n    {_CODES}"


def _order(act: Act, reason: str, created: Sequence[str] = ()) -> ActOrder:
    pairs = [entry.rpartition("=") for entry in created]
    if bad := [entry for entry, (name, _, smp_id) in zip(created, pairs, strict=True) if not (name and smp_id)]:
        raise typer.BadParameter(f"{bad[0]!r} is not NAME=SMPID", param_hint="--created")
    try:
        return ActOrder(
            act=act,
            reason=reason,
            created=tuple(CreatedAsset(ref=name, smp_id=smp_id) for name, _, smp_id in pairs),
        )
    except ValidationError as error:
        raise explain(error) from None


def _act(path: Path, state: Path | None, message_id: str, order: ActOrder, *, as_json: bool) -> None:
    acted = with_gateway_or_journal(load(path, state), lambda control: control.ask(ACT, order, message=message_id))
    if as_json:
        print_json(acted)
    else:
        _print(acted)


def _print(acted: Acted) -> None:
    typer.echo(printable(f"{acted.message} was {acted.before} and is {acted.state}"))
    if acted.others:
        typer.echo(printable(f"with it: {', '.join(acted.others)}"))
