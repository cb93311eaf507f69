"""The command line: one module per command, imported only when that command runs.

Exit codes: 0 done; 1 the thing asked about is wrong (a configuration, a demo that lost something); 2 wrong usage, or a
file that cannot be read; 3 the gateway could not start or had to end (journal, secrets, listeners).
"""

from __future__ import annotations

import typer

from gateway.cli import check, demo, keys, messages, run, schema, simulate

app = typer.Typer(
    name="smp-gateway",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help=(
        "Connects plants on Modbus to NGESO's Single Markets Platform as an intermediate data host.\n\n"
        "Exit codes: 0 done; 1 what was asked about is wrong; 2 wrong usage or an unreadable file; "
        "3 the gateway could not start or had to end."
    ),
)
app.command()(run.run)
app.command()(check.check)
app.command()(demo.demo)
app.add_typer(simulate.app, name="simulate", help="Practice partners: an SMP, and the PLC of a site.")
app.add_typer(messages.app, name="messages", help="Look into the journal, also beside a running gateway.")
app.add_typer(keys.app, name="keys", help="Signing keys and practice certificates.")
app.command()(schema.schema)
