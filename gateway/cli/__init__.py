"""The command line: one module per command, imported only when that command runs, so that `--help` is instant.

Exit codes: 0 done; 1 the thing asked about is wrong (a configuration, a demo that lost something); 2 wrong usage, or a
file that cannot be read; 3 the gateway could not start or had to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer.core
import typer.main

# Command, and what `--help` says of it; each is `gateway.cli.<command>` with a function of that name, or with `app`.
COMMANDS: Mapping[str, str] = {
    "run": "Run the gateway until SIGTERM or Ctrl-C.",
    "status": "Say how the running gateway is, and what does not work.",
    "nodes": "Say which gateways share the journal, and which of them serves whom.",
    "check": "Check a configuration: every mistake of every file at once.",
    "demo": "Watch whole conversations over real sockets, with nothing to prepare.",
    "messages": "Look into the journal, and decide what the gateway cannot: retry, refuse, resend, resolve.",
    "callbacks": "Look at every signed callback that is kept, whatever became of it.",
    "journal": "Check the whole journal, and copy it, beside the running gateway.",
    "evidence": "Export what proves a message's way, and check such a file offline.",
    "import": "Create the assets of a CSV file: checked as a whole, sent in batches, safe to repeat.",
    "participants": "Say how the participants' accounts are, and release one that is held.",
    "sites": "Say how the sites are; hold one, so that nothing is written to it, and release it.",
    "assets": "See which assets are known at the SMP; adopt those made long ago.",
    "points": "See what a site's points are now, and watch them.",
    "decode": "Find out what registers mean: every type, order and scale beside an expected value.",
    "simulate": "Practice partners: an SMP, and the plant of a site.",
    "keys": "Make signing keys and practice certificates.",
    "commission": "Try every message flow in order, against the simulated SMP.",
    "proforma": "Print a participant's technical pro-forma for NGESO, and what is missing in it.",
    "schema": "Print the JSON Schemas of the YAML files, for editors.",
}


_MODULES: Mapping[str, str] = {"import": "importing"}  # a word that Python keeps for itself


class _Unloaded(typer.core.TyperCommand):
    """A command whose module is imported when it is used."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:  # noqa: ANN401 - click's own types are private to typer
        return _load(self.name or "").make_context(info_name, args, parent, **extra)


class _Commands(typer.core.TyperGroup):
    """All commands by name, none of them imported."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - see above
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> _Unloaded | None:  # noqa: ANN401 - see above
        del ctx
        return _Unloaded(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None


def _load(name: str) -> Any:  # noqa: ANN401 - see above
    """Import a command's module and make typer's command of it."""
    name = _MODULES.get(name, name)
    module = import_module(f"gateway.cli.{name}")
    if hasattr(module, "app"):
        return typer.main.get_command(module.app)
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(getattr(module, name))
    return typer.main.get_command(single)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help=(
        "Connects plants on Modbus, OPC UA and MQTT to NGESO's Single Markets Platform, "
        "as an intermediate data host.\n\n"
        "Exit codes: 0 done; 1 what was asked about is wrong; 2 wrong usage or an unreadable file; "
        "3 the gateway could not start or had to end."
    ),
)


@app.callback()
def smp_gateway() -> None:
    """Choose a command."""
